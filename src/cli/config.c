/* Files of the configuration directory. Names become paths only after config_name_valid(). */
#include "cli/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/limits.h"
#include "core/log.h"
#include "sys/file.h"
#include "sys/paths.h"

bool config_name_valid(const char *name)
{
    return *name && strlen(name) <= OS_LIMIT_NAME && !strchr(name, '/') && strcmp(name, ".") != 0 &&
           strcmp(name, "..") != 0;
}

int config_name_check(const char *name, struct os_error *err)
{
    if (config_name_valid(name))
        return 0;
    return os_error_set(err, OS_INVALID_ARGUMENT,
                        "invalid gateway name '%s': expected a single path component", name);
}

char *config_gateway_path(const char *name, const char *file, struct os_error *err)
{
    cleanup_free char *root = os_config_dir(err);
    return root ? os_asprintf("%s/gateways/%s/%s", root, name, file) : NULL;
}

static int write_in(const char *path, const char *data, mode_t mode, struct os_error *err)
{
    cleanup_free char *dir = os_strdup(path);
    *strrchr(dir, '/') = '\0';
    if (os_dir_make(dir, 0700, err) < 0)
        return -1;
    return os_file_write_atomic(path, data, strlen(data), mode, err);
}

static int remove_file(const char *path, struct os_error *err)
{
    if (unlink(path) == 0 || errno == ENOENT || errno == ENOTDIR)
        return 0;
    return os_error_sys(err, errno, "cannot remove '%s'", path);
}

/* Trimmed text of a small file in the arena; NULL when it cannot be read. */
static const char *read_text(struct os_arena *a, const char *path)
{
    cleanup_buf struct os_buf b = {0};
    cleanup_error struct os_error err = {0};
    if (os_file_read(path, OS_LIMIT_CONFIG_FILE, &b, &err) < 0)
        return NULL;
    return os_str_trim(os_arena_strdup(a, os_buf_str(&b)));
}

/* --- active gateway --- */

static const char *active_in(struct os_arena *a, const char *root)
{
    cleanup_free char *path = os_asprintf("%s/active_gateway", root);
    const char *name = read_text(a, path);
    if (!name || !*name)
        return NULL;
    if (config_name_valid(name))
        return name;
    os_log_warn("config", "'%s' does not hold a gateway name; ignored", path);
    return NULL;
}

const char *config_active(struct os_arena *a)
{
    cleanup_error struct os_error err = {0};
    cleanup_free char *root = os_config_dir(&err);
    const char *name = root ? active_in(a, root) : NULL;
    return name ? name : active_in(a, config_system_root());
}

int config_use(const struct gateway_record *r, struct os_error *err)
{
    return config_save(r, err) < 0 || config_set_active(r->name, err) < 0 ? -1 : 0;
}

int config_set_active(const char *name, struct os_error *err)
{
    cleanup_free char *root = os_config_dir(err);
    if (!root || config_name_check(name, err) < 0)
        return -1;
    cleanup_free char *path = os_asprintf("%s/active_gateway", root);
    return write_in(path, name, 0600, err);
}

int config_clear_active(struct os_error *err)
{
    cleanup_free char *root = os_config_dir(err);
    if (!root)
        return -1;
    cleanup_free char *path = os_asprintf("%s/active_gateway", root);
    return remove_file(path, err);
}

bool config_user_has(const char *name)
{
    cleanup_error struct os_error err = {0};
    cleanup_free char *path =
        config_name_valid(name) ? config_gateway_path(name, "metadata.json", &err) : NULL;
    return path && os_file_exists(path);
}

int config_write_metadata(const char *name, const char *text, struct os_error *err)
{
    if (config_name_check(name, err) < 0)
        return -1;
    cleanup_free char *path = config_gateway_path(name, "metadata.json", err);
    return path ? write_in(path, text, 0644, err) : -1;
}

int config_remove(const char *name, struct os_error *err)
{
    static const char *const files[] = {"edge_token",      "cf_token",
                                        "oidc_token.json", "oidc_login_prompt_required",
                                        "last_sandbox",    "metadata.json"};
    if (config_name_check(name, err) < 0)
        return -1;
    for (size_t i = 0; i < OS_ARRAY_LEN(files); i++) {
        cleanup_free char *path = config_gateway_path(name, files[i], err);
        if (!path || remove_file(path, err) < 0)
            return -1;
    }
    return 0;
}

/* --- last-used sandbox --- */

static const char *last_path(const char *gateway, char **path)
{
    cleanup_error struct os_error err = {0};
    *path = config_name_valid(gateway) ? config_gateway_path(gateway, "last_sandbox", &err) : NULL;
    return *path;
}

const char *config_last_sandbox(struct os_arena *a, const char *gateway, const char *workspace)
{
    cleanup_free char *path = NULL;
    const char *text = last_path(gateway, &path) ? read_text(a, path) : NULL;
    const char *newline = text ? strchr(text, '\n') : NULL;
    if (!newline || (size_t)(newline - text) != strlen(workspace) ||
        strncmp(text, workspace, strlen(workspace)) != 0)
        return NULL;
    const char *name = newline + 1;
    return *name && !strchr(name, '\n') ? name : NULL;
}

/* Not synced to disk: losing it costs a name on the command line, a sync costs more than the command itself.
 */
void config_set_last_sandbox(const char *gateway, const char *workspace, const char *sandbox)
{
    cleanup_arena struct os_arena a = {0};
    cleanup_free char *path = NULL;
    if (!last_path(gateway, &path) || os_str_eq(config_last_sandbox(&a, gateway, workspace), sandbox))
        return;
    cleanup_free char *temporary = os_asprintf("%s.%d", path, (int)getpid());
    cleanup_free char *text = os_asprintf("%s\n%s", workspace, sandbox);
    cleanup_error struct os_error err = {0};
    char *slash = strrchr(path, '/');
    *slash = '\0';
    int made = os_dir_make(path, 0700, &err);
    *slash = '/';
    cleanup_close int fd =
        made < 0 ? -1 : open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return;
    if (os_write_all(fd, text, strlen(text)) < 0 || rename(temporary, path) < 0)
        unlink(temporary);
}

void config_forget_sandbox(const char *gateway, const char *workspace, const char *sandbox)
{
    cleanup_arena struct os_arena a = {0};
    cleanup_free char *path = NULL;
    if (last_path(gateway, &path) && os_str_eq(config_last_sandbox(&a, gateway, workspace), sandbox))
        unlink(path);
}
