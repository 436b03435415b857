/* gateway.toml: from the parsed tree to typed settings, by one table of keys. */
#include "gateway/config_file.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "core/buf.h"
#include "core/cleanup.h"
#include "core/str.h"
#include "gateway/toml/toml.h"
#include "net/dns.h"
#include "sys/file.h"

#define VERSION 1

enum kind { SUBTABLE, SUBTABLES, TEXT, BOOL, ADDRESS, NUMBER, LIST, MODE, NOTHING, NOT_BUILT };

struct key {
    const char *table, *key;
    enum kind kind;
    size_t offset; /* into struct config_file, or struct config_middleware */
    bool required;
    const char *part; /* NOT_BUILT: what is missing */
};

static const struct key keys[] = {
#define TABLE(table) {table, NULL, SUBTABLE, 0, false, NULL},
#define KEY(table, key, kind, field, help)                                                                   \
    {table, key, kind, offsetof(struct config_file, field), false, NULL},
#define REQUIRED(table, key, field, help) {table, key, TEXT, offsetof(struct config_file, field), true, NULL},
#define LISTED(table) {table, NULL, SUBTABLES, 0, false, NULL},
#define MEMBER(table, key, kind, must, field, help)                                                          \
    {table, key, kind, offsetof(struct config_middleware, field), must, NULL},
#define IGNORED(table, key) {table, key, NOTHING, 0, false, NULL},
#define UNBUILT(table, key, part) {table, key, NOT_BUILT, 0, false, part},
#include "gateway/tbl/config_keys.h"
};

struct walk {
    struct config_file *out;
    void *base; /* what offsets count from */
    struct os_arena *arena;
    const char *path;
    struct os_error *err;
};

static int fail(struct walk *w, const struct toml_value *v, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static int fail(struct walk *w, const struct toml_value *v, const char *fmt, ...)
{
    char text[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    return os_error_set(w->err, OS_INVALID_ARGUMENT,
                        "failed to parse gateway config file '%s': line %u, column %u: %s", w->path, v->line,
                        v->column, text);
}

static int want(struct walk *w, const struct toml_value *v, enum toml_type type, const char *what)
{
    return v->type == type ? 0 : fail(w, v, "'%s' must be %s, not %s", v->key, what, toml_type_name(v->type));
}

/* --- values --- */

static int take_text(struct walk *w, const struct toml_value *v, const char **out)
{
    if (want(w, v, TOML_STRING, "a string") < 0)
        return -1;
    *out = v->text;
    return *v->text ? 0 : fail(w, v, "'%s' must not be empty", v->key);
}

static int take_bool(struct walk *w, const struct toml_value *v, enum config_bool *out)
{
    *out = v->boolean ? CONFIG_TRUE : CONFIG_FALSE;
    return want(w, v, TOML_BOOLEAN, "true or false");
}

static int take_number(struct walk *w, const struct toml_value *v, struct config_number *out)
{
    if (want(w, v, TOML_INTEGER, "a number") < 0)
        return -1;
    if (v->integer < 0 || v->integer > UINT32_MAX)
        return fail(w, v, "'%s' must be between 0 and %u, not %lld", v->key, UINT32_MAX,
                    (long long)v->integer);
    *out = (struct config_number){true, (uint64_t)v->integer};
    return 0;
}

static int take_list(struct walk *w, const struct toml_value *v, struct config_list *out)
{
    if (want(w, v, TOML_ARRAY, "a list of strings") < 0)
        return -1;
    size_t n = 0;
    for (const struct toml_value *item = v->first; item; item = item->next, n++)
        if (item->type != TOML_STRING || !*item->text)
            return fail(w, item, "'%s' must be a list of non-empty strings", v->key);
    const char **list = os_arena_alloc(w->arena, (n + 1) * sizeof(*list));
    *out = (struct config_list){true, list, n};
    for (const struct toml_value *item = v->first; item; item = item->next)
        *list++ = item->text;
    return 0;
}

/* "127.0.0.1:80", "[::1]:80" */
static int take_address(struct walk *w, const struct toml_value *v, struct config_address *out)
{
    const char *text;
    struct net_addr addr;
    uint64_t port;
    if (take_text(w, v, &text) < 0)
        return -1;
    const char *colon = strrchr(text, ':');
    char *ip = os_arena_strndup(w->arena, text, colon ? (size_t)(colon - text) : 0);
    size_t n = strlen(ip);
    bool brackets = n > 2 && ip[0] == '[' && ip[n - 1] == ']';
    if (brackets) {
        ip[n - 1] = '\0';
        ip++;
    }
    if (net_addr_parse(ip, &addr) < 0 || brackets != (strchr(ip, ':') != NULL) ||
        !os_str_u64(colon + 1, UINT16_MAX, &port))
        return fail(w, v,
                    "'%s' must be an IP address and a port such as 127.0.0.1:17670 or [::1]:17670, not "
                    "'%.60s'",
                    v->key, text);
    *out = (struct config_address){ip, (uint16_t)port};
    return 0;
}

static int take_mode(struct walk *w, const struct toml_value *v, const char **out)
{
    if (take_text(w, v, out) < 0)
        return -1;
    return strcmp(*out, "fail_closed") == 0 || strcmp(*out, "retain_last_valid") == 0
               ? 0
               : fail(w, v, "'%s' must be fail_closed or retain_last_valid, not '%.60s'", v->key, *out);
}

static int take(struct walk *w, const struct key *k, const struct toml_value *v)
{
    void *at = (char *)w->base + k->offset;
    switch (k->kind) {
    case TEXT:
        return take_text(w, v, at);
    case BOOL:
        return take_bool(w, v, at);
    case ADDRESS:
        return take_address(w, v, at);
    case NUMBER:
        return take_number(w, v, at);
    case LIST:
        return take_list(w, v, at);
    case MODE:
        return take_mode(w, v, at);
    case NOTHING:
    case SUBTABLE:
    case SUBTABLES:
        return 0;
    case NOT_BUILT:
        break;
    }
    return fail(w, v, "'%s' in [%s] is for %s, which this gateway does not have; remove it", v->key, k->table,
                k->part);
}

/* --- tables --- */

static const struct key *find(const char *table, const char *key)
{
    for (size_t i = 0; i < OS_ARRAY_LEN(keys); i++)
        if (os_str_eq(keys[i].key, key) && strcmp(keys[i].table, table) == 0)
            return &keys[i];
    return NULL;
}

static int check_required(struct walk *w, const struct toml_value *table, const char *name)
{
    for (size_t i = 0; i < OS_ARRAY_LEN(keys); i++)
        if (keys[i].required && strcmp(keys[i].table, name) == 0 && !toml_get(table, keys[i].key))
            return fail(w, table, "[%s] needs '%s'", name, keys[i].key);
    return 0;
}

/* The texts of these are published, without a place in the file. */
static int check_special(struct walk *w, const char *table, const struct toml_value *v)
{
    bool gateway = strcmp(table, "openshell.gateway") == 0;
    if (gateway && strcmp(v->key, "database_url") == 0)
        return os_error_set(w->err, OS_INVALID_ARGUMENT,
                            "`database_url` is not allowed in the gateway config file — set the "
                            "OPENSHELL_DB_URL env var or pass --db-url on the command line");
    if (gateway && strcmp(v->key, "credential_drivers") == 0 && v->type == TOML_ARRAY && !v->first)
        return os_error_set(
            w->err, OS_INVALID_ARGUMENT,
            "invalid gateway config field `openshell.gateway.credential_drivers`: omit the field to use "
            "default encrypted gateway credential storage, or specify exactly one external credential "
            "driver");
    if (strcmp(table, "openshell") != 0 || strcmp(v->key, "version") != 0)
        return 0;
    if (want(w, v, TOML_INTEGER, "a number") < 0)
        return -1;
    if (v->integer < 0)
        return fail(w, v, "'version' must be %d", VERSION);
    return v->integer <= VERSION
               ? 0
               : os_error_set(w->err, OS_INVALID_ARGUMENT,
                              "unsupported gateway config version %lld; this build only supports version %d",
                              (long long)v->integer, VERSION);
}

static int walk_table(struct walk *w, const struct toml_value *table, const char *name);

/* [[openshell.supervisor.middleware]] */
static int walk_list(struct walk *w, const struct toml_value *list, const char *name)
{
    size_t n = 0;
    if (want(w, list, TOML_ARRAY, "a list of tables") < 0)
        return -1;
    for (const struct toml_value *item = list->first; item; item = item->next)
        n++;
    struct config_middleware *v = os_arena_alloc(w->arena, (n + 1) * sizeof(*v));
    w->out->middlewares = (struct config_middlewares){v, n};
    for (const struct toml_value *item = list->first; item; item = item->next, v++) {
        if (item->type != TOML_TABLE)
            return fail(w, item, "'%s' must be a list of tables", list->key);
        w->base = v;
        if (walk_table(w, item, name) < 0)
            return -1;
        if (!v->max_payload.given)
            return fail(w, item, "[%s] needs 'max_payload_bytes'", name);
    }
    w->base = w->out;
    return 0;
}

static int walk_entry(struct walk *w, const char *table, const struct toml_value *v)
{
    if (check_special(w, table, v) < 0)
        return -1;
    const struct key *k = find(table, v->key);
    if (k)
        return take(w, k, v);
    const char *name = os_arena_printf(w->arena, "%s.%s", table, v->key);
    const struct key *sub = find(name, NULL);
    if (sub && sub->kind == SUBTABLES)
        return walk_list(w, v, name);
    if (sub)
        return v->type == TOML_TABLE
                   ? walk_table(w, v, name)
                   : fail(w, v, "'%s' must be a table, not %s", v->key, toml_type_name(v->type));
    /* A driver looks at its own table when it is selected; the others are not. */
    if (strcmp(table, "openshell.drivers") == 0 && v->type == TOML_TABLE)
        return 0;
    return fail(w, v, "unknown key '%.60s' in [%s]", v->key, table);
}

static int walk_table(struct walk *w, const struct toml_value *table, const char *name)
{
    w->out->mtls_table |= strcmp(name, "openshell.gateway.mtls_auth") == 0;
    for (const struct toml_value *v = table->first; v; v = v->next)
        if (walk_entry(w, name, v) < 0)
            return -1;
    return check_required(w, table, name);
}

int config_file_parse(struct config_file *out, struct os_arena *arena, const char *path, const char *text,
                      size_t n, struct os_error *err)
{
    struct walk w = {out, out, arena, path, err};
    *out = (struct config_file){0};
    const struct toml_value *root = toml_parse(arena, text, n, err);
    if (!root)
        return os_error_wrap(err, "failed to parse gateway config file '%s'", path);
    for (const struct toml_value *v = root->first; v; v = v->next) {
        if (strcmp(v->key, "openshell") != 0)
            return fail(&w, v, "unknown key '%.60s'; everything stands below [openshell]", v->key);
        if (want(&w, v, TOML_TABLE, "a table") < 0 || walk_table(&w, v, "openshell") < 0)
            return -1;
    }
    return 0;
}

int config_file_read(struct config_file *out, struct os_arena *arena, const char *path, struct os_error *err)
{
    cleanup_buf struct os_buf text = {0};
    if (os_file_read(path, TOML_TEXT_MAX, &text, err) < 0) {
        cleanup_free char *why = os_strdup(err->sys_errno ? strerror(err->sys_errno) : os_error_text(err));
        return os_error_set(err, OS_FAILED_PRECONDITION, "failed to read gateway config file '%s': %s", path,
                            why);
    }
    return config_file_parse(out, arena, path, os_buf_str(&text), text.len, err);
}
