/* metadata.json: gateway registrations of the user and of the system (spec/cli.md 2). */
#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/config.h"
#include "core/cleanup.h"
#include "core/limits.h"
#include "sys/file.h"
#include "sys/paths.h"

static const struct {
    const char *key, *old_key;
    size_t offset;
} optional[] = {
#define FIELD(key, old, member)                                                                              \
    {                                                                                                        \
        key, old, offsetof(struct gateway_record, member)                                                    \
    }
    FIELD("remote_host", NULL, remote_host),
    FIELD("resolved_host", NULL, resolved_host),
    FIELD("auth_mode", NULL, auth_mode),
    FIELD("edge_team_domain", "cf_team_domain", edge_team_domain),
    FIELD("edge_auth_url", "cf_auth_url", edge_auth_url),
    FIELD("oidc_issuer", NULL, oidc_issuer),
    FIELD("oidc_client_id", NULL, oidc_client_id),
    FIELD("oidc_audience", NULL, oidc_audience),
    FIELD("oidc_scopes", NULL, oidc_scopes),
    FIELD("vm_driver_state_dir", NULL, vm_driver_state_dir),
#undef FIELD
};

static const char **slot(struct gateway_record *r, size_t i)
{
    return (const char **)((char *)r + optional[i].offset);
}

const char *config_system_root(void)
{
    const char *set = getenv("OPENSHELL_SYSTEM_GATEWAY_DIR");
    return set && *set == '/' ? set : "/etc/openshell";
}

static int field_error(struct os_error *err, const char *path, const char *key, const char *kind)
{
    return os_error_set(err, OS_INVALID_ARGUMENT, "'%s': key \"%s\" must be %s", path, key, kind);
}

static int parse_record(struct os_arena *a, const char *path, const json_t *j, struct gateway_record *r,
                        struct os_error *err)
{
    const json_t *name = json_object_get(j, "name"), *endpoint = json_object_get(j, "gateway_endpoint");
    const json_t *remote = json_object_get(j, "is_remote"), *port = json_object_get(j, "gateway_port");
    if (!json_is_object(j))
        return os_error_set(err, OS_INVALID_ARGUMENT, "'%s' is not a JSON object", path);
    if (!json_is_string(name))
        return field_error(err, path, "name", "a string");
    if (!json_is_string(endpoint))
        return field_error(err, path, "gateway_endpoint", "a string");
    if (!json_is_boolean(remote))
        return field_error(err, path, "is_remote", "true or false");
    if (!json_is_integer(port) || json_integer_value(port) < 0 || json_integer_value(port) > UINT16_MAX)
        return field_error(err, path, "gateway_port", "a number from 0 to 65535");
    *r = (struct gateway_record){.name = os_arena_strdup(a, json_string_value(name)),
                                 .endpoint = os_arena_strdup(a, json_string_value(endpoint)),
                                 .is_remote = json_is_true(remote),
                                 .port = (unsigned)json_integer_value(port)};
    for (size_t i = 0; i < OS_ARRAY_LEN(optional); i++) {
        const json_t *v = json_object_get(j, optional[i].key);
        if (!v && optional[i].old_key)
            v = json_object_get(j, optional[i].old_key);
        if (!v || json_is_null(v))
            continue;
        if (!json_is_string(v))
            return field_error(err, path, optional[i].key, "a string");
        *slot(r, i) = os_arena_strdup(a, json_string_value(v));
    }
    return 0;
}

static int load_from(struct os_arena *a, const char *root, const char *name, struct gateway_record *r,
                     struct os_error *err)
{
    cleanup_free char *path = os_asprintf("%s/gateways/%s/metadata.json", root, name);
    cleanup_buf struct os_buf text = {0};
    if (os_file_read(path, OS_LIMIT_CONFIG_FILE, &text, err) < 0) {
        if (err->sys_errno == ENOENT || err->sys_errno == ENOTDIR)
            err->code = OS_NOT_FOUND;
        return -1;
    }
    json_error_t why;
    json_t *j = json_loadb(os_buf_str(&text), text.len, JSON_REJECT_DUPLICATES, &why);
    if (!j)
        return os_error_set(err, OS_INVALID_ARGUMENT, "'%s' is not valid JSON: %s (line %d)", path, why.text,
                            why.line);
    int rc = parse_record(a, path, j, r, err);
    json_decref(j);
    /* The directory is what users type; a name inside the file never redirects. */
    if (rc == 0)
        r->name = os_arena_strdup(a, name);
    return rc;
}

int config_load(struct os_arena *a, const char *name, struct gateway_record *out, struct os_error *err)
{
    cleanup_free char *root = os_config_dir(err);
    if (!root || config_name_check(name, err) < 0)
        return -1;
    if (load_from(a, root, name, out, err) == 0)
        return 0;
    if (err->code != OS_NOT_FOUND)
        return -1;
    os_error_clear(err);
    if (load_from(a, config_system_root(), name, out, err) < 0)
        return -1;
    out->system = true;
    return 0;
}

/* Names of directories below <root>/gateways that may hold a registration. */
static void names_in(const char *root, struct os_strv *names)
{
    cleanup_free char *path = os_asprintf("%s/gateways", root);
    DIR *d = opendir(path);
    struct dirent *e;
    while (d && (e = readdir(d)))
        if (config_name_valid(e->d_name) && !os_strv_has(names, e->d_name) && names->n < OS_LIMIT_GATEWAYS)
            os_strv_add(names, e->d_name);
    if (d)
        closedir(d);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int config_list(struct os_arena *a, struct gateway_record **out, size_t *n, struct os_error *err)
{
    cleanup_free char *root = os_config_dir(err);
    cleanup_strv struct os_strv names = {0};
    if (!root)
        return -1;
    names_in(root, &names);
    names_in(config_system_root(), &names);
    if (names.n)
        qsort(names.v, names.n, sizeof(*names.v), by_name);
    *out = os_arena_alloc(a, (names.n + 1) * sizeof(**out));
    *n = 0;
    for (size_t i = 0; i < names.n; i++) {
        cleanup_error struct os_error broken = {0};
        if (config_load(a, names.v[i], *out + *n, &broken) == 0)
            ++*n;
    }
    return 0;
}

int config_save(const struct gateway_record *r, struct os_error *err)
{
    struct gateway_record copy = *r;
    json_t *j = json_object();
    json_object_set_new(j, "name", json_string(r->name));
    json_object_set_new(j, "gateway_endpoint", json_string(r->endpoint));
    json_object_set_new(j, "is_remote", json_boolean(r->is_remote));
    json_object_set_new(j, "gateway_port", json_integer(r->port));
    for (size_t i = 0; i < OS_ARRAY_LEN(optional); i++)
        if (*slot(&copy, i))
            json_object_set_new(j, optional[i].key, json_string(*slot(&copy, i)));
    char *text = json_dumps(j, JSON_INDENT(2));
    json_decref(j);
    if (!text)
        return os_error_set(err, OS_INVALID_ARGUMENT,
                            "gateway '%s': the registration holds text that is not UTF-8", r->name);
    int rc = config_write_metadata(r->name, text, err);
    free(text);
    return rc;
}

#define EXPIRY_SLACK 30 /* seconds, spec/cli.md 2 */

const char *config_oidc_token(struct os_arena *a, const char *name, bool *expired)
{
    cleanup_error struct os_error err = {0};
    cleanup_free char *root = os_config_dir(&err);
    cleanup_buf struct os_buf text = {0};
    *expired = false;
    if (!root || !config_name_valid(name))
        return NULL;
    cleanup_free char *path = os_asprintf("%s/gateways/%s/oidc_token.json", root, name);
    if (os_file_read(path, OS_LIMIT_CONFIG_FILE, &text, &err) < 0)
        return NULL;
    json_t *j = json_loadb(os_buf_str(&text), text.len, 0, NULL);
    const json_t *token = json_object_get(j, "access_token"), *until = json_object_get(j, "expires_at");
    const char *value = json_is_string(token) ? os_arena_strdup(a, json_string_value(token)) : NULL;
    *expired = json_is_integer(until) && json_integer_value(until) <= (json_int_t)time(NULL) + EXPIRY_SLACK;
    json_decref(j);
    explicit_bzero(text.data, text.len);
    return value;
}
