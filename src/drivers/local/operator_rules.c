/* Checks of the operator's rules before any sandbox needs them: see operator_rules.h. */
#include "drivers/local/operator_rules.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/limits.h"
#include "core/str.h"
#include "sys/file.h"

const struct local_rules_names operator_rules_keys = {
    .rules = "policy_rules_file", .data = "policy_data_file", .opa = "opa_path"};

static int check_text(const char *name, const char *path, size_t max, struct os_error *err)
{
    cleanup_buf struct os_buf text = {.max = max + 1};
    if (os_file_read(path, max, &text, err) < 0)
        return os_error_wrap(err, "%s", name);
    if (text.len && os_utf8_valid(text.data, text.len) && !memchr(text.data, '\0', text.len))
        return 0;
    return os_error_set(err, OS_INVALID_ARGUMENT, "%s: '%s' holds no text in UTF-8", name, path);
}

/* It decides over every connection of every sandbox: whoever could replace it could open them all. */
static int check_opa(const char *name, const char *path, struct os_error *err)
{
    struct stat st;
    if (path[0] != '/' || stat(path, &st) < 0 || !S_ISREG(st.st_mode) || access(path, X_OK) < 0)
        return os_error_set(err, OS_NOT_FOUND, "%s: '%s' is not the absolute path of a program", name, path);
    if ((st.st_uid != 0 && st.st_uid != geteuid()) || (st.st_mode & (S_IWGRP | S_IWOTH)))
        return os_error_set(err, OS_PERMISSION_DENIED,
                            "%s: '%s' must belong to root or to the user of this process, and nobody else "
                            "may write it",
                            name, path);
    return 0;
}

static const char *find_opa(void)
{
    static const char *const places[] = {"/usr/local/bin/opa", "/usr/bin/opa"};
    for (size_t i = 0; i < OS_ARRAY_LEN(places); i++)
        if (access(places[i], X_OK) == 0)
            return places[i];
    return NULL;
}

int operator_rules_load(const struct local_driver_config *cfg, struct local_settings *out,
                        struct os_error *err)
{
    const struct local_rules_names *names = cfg->rules_names ? cfg->rules_names : &operator_rules_keys;
    const char *opa = cfg->opa_path;
    if (!cfg->policy_rules_file && cfg->policy_data_file)
        return os_error_set(err, OS_INVALID_ARGUMENT, "%s '%s' needs %s, the rules that decide over it",
                            names->data, cfg->policy_data_file, names->rules);
    if (!cfg->policy_rules_file)
        return 0;
    if (check_text(names->rules, cfg->policy_rules_file, OS_RULES_TEXT, err) < 0 ||
        (cfg->policy_data_file &&
         check_text(names->data, cfg->policy_data_file, OS_LIMIT_POLICY_YAML, err) < 0))
        return -1;
    if (!opa && !(opa = find_opa()))
        return os_error_set(err, OS_NOT_FOUND,
                            "%s needs Open Policy Agent, and neither /usr/local/bin/opa nor /usr/bin/opa is "
                            "there; install opa or name it with %s",
                            names->rules, names->opa);
    if (check_opa(names->opa, opa, err) < 0)
        return -1;
    out->opa = realpath(opa, NULL);
    if (!out->opa)
        return os_error_sys(err, errno, "%s: cannot resolve '%s'", names->opa, opa);
    out->policy_rules_file = os_strdup(cfg->policy_rules_file);
    out->policy_data_file = cfg->policy_data_file ? os_strdup(cfg->policy_data_file) : NULL;
    return 0;
}
