/* What a sandbox is given of the machine: see shares.h. */
#include "drivers/local/shares.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/cleanup.h"
#include "core/limits.h"
#include "drivers/local/environ.h"

#define TMPFS_SIZE ((uint64_t)64 << 20)
#define MODE_MAX 01777

typedef Google__Protobuf__Value value;
typedef Google__Protobuf__Struct object;

/* Nothing a user gives may equal, contain or lie under one of these (spec/drivers.md 3.1). */
static const char *const reserved[] = {"/opt/openshell", "/etc/openshell",         "/etc/openshell-tls",
                                       "/run/openshell", "/run/openshell-sidecar", "/run/netns",
                                       "/var/run/netns"};
static const char *const kernel[] = {"/proc", "/sys", "/dev"};

static bool below(const char *path, const char *dir)
{
    size_t n = strlen(dir);
    return strncmp(path, dir, n) == 0 && (path[n] == '/' || !path[n] || n == 1);
}

static bool overlaps(const char *a, const char *b)
{
    return below(a, b) || below(b, a);
}

static int invalid(struct os_error *err, const char *reason)
{
    return os_error_set(err, OS_INVALID_ARGUMENT, "invalid local driver_config: %s", reason);
}

/* --- texts --- */

static int check_text(const char *field, const char *text, struct os_error *err)
{
    size_t n = strlen(text);
    if (!n)
        return os_error_set(err, OS_FAILED_PRECONDITION, "%s must not be empty", field);
    if (strchr(" \t\r\n", text[0]) || strchr(" \t\r\n", text[n - 1]))
        return os_error_set(err, OS_FAILED_PRECONDITION, "%s must not contain surrounding whitespace", field);
    return 0;
}

/* A copy without a trailing slash; NULL with *err. */
static char *check_target(const char *text, const char *workdir, struct os_error *err)
{
    const char *problem = NULL;
    size_t n = strlen(text);
    if (check_text("mount target", text, err) < 0)
        return NULL;
    for (const char *p = text; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            problem = "mount target must not contain control characters";
    if (!problem && *text != '/')
        problem = "mount target must be an absolute container path";
    if (!problem && n == 1)
        problem = "mount target must not be the container root";
    cleanup_free char *target = os_strndup(text, n > 1 && text[n - 1] == '/' ? n - 1 : n);
    for (const char *p = target; !problem && *p == '/'; p += 1 + strcspn(p + 1, "/")) {
        size_t len = strcspn(p + 1, "/");
        if (len == 0 || (len == 1 && p[1] == '.') || (len == 2 && p[1] == '.' && p[2] == '.'))
            problem = "mount target must be normalized without empty, '.', or '..' path segments";
    }
    if (problem) {
        os_error_set(err, OS_FAILED_PRECONDITION, "%s", problem);
        return NULL;
    }
    for (size_t i = 0; i < OS_ARRAY_LEN(reserved) + OS_ARRAY_LEN(kernel); i++) {
        const char *path = i < OS_ARRAY_LEN(reserved) ? reserved[i] : kernel[i - OS_ARRAY_LEN(reserved)];
        if (!overlaps(target, path))
            continue;
        os_error_set(err, OS_FAILED_PRECONDITION,
                     "mount target '%.256s' conflicts with reserved OpenShell path '%s'", target, path);
        return NULL;
    }
    if (below(workdir, target) || below(INSIDE_WORKSPACE, target)) {
        os_error_set(err, OS_FAILED_PRECONDITION,
                     "mount target '%.256s' is reserved for the OpenShell workspace", target);
        return NULL;
    }
    return os_steal(target);
}

/* The directory, resolved; NULL with *err. What sandboxes must not see at all cannot be given either. */
static char *check_source(const struct local_settings *cfg, const char *text, struct os_error *err)
{
    struct stat st;
    if (check_text("bind source", text, err) < 0)
        return NULL;
    if (*text != '/') {
        os_error_set(err, OS_FAILED_PRECONDITION, "bind source must be an absolute host path");
        return NULL;
    }
    cleanup_free char *real = realpath(text, NULL);
    if (!real || stat(real, &st) < 0) {
        os_error_set(err, OS_FAILED_PRECONDITION,
                     errno == ENOENT ? "bind source path does not exist: %.256s"
                                     : "bind source path cannot be reached by the gateway: %.256s",
                     text);
        return NULL;
    }
    if (!S_ISDIR(st.st_mode)) {
        os_error_set(err, OS_FAILED_PRECONDITION, "bind source is not a directory: %.256s", text);
        return NULL;
    }
    const char *hidden = !real[1] ? "/" : NULL;
    for (size_t i = 0; i < OS_ARRAY_LEN(kernel); i++)
        hidden = below(real, kernel[i]) ? kernel[i] : hidden;
    hidden = below(real, "/run") ? "/run" : hidden; /* control sockets of the machine's services */
    for (size_t i = 0; i < cfg->mask.n; i++)
        hidden = overlaps(real, cfg->mask.v[i]) ? cfg->mask.v[i] : hidden;
    if (hidden) {
        os_error_set(
            err, OS_FAILED_PRECONDITION,
            "bind source '%.256s' overlaps with '%s', which is hidden from sandboxes; give a directory "
            "that does not hold it",
            text, hidden);
        return NULL;
    }
    return os_steal(real);
}

/* --- the configuration --- */

static const value *field(const object *o, const char *key)
{
    for (size_t i = 0; i < o->n_fields; i++)
        if (strcmp(o->fields[i]->key, key) == 0)
            return o->fields[i]->value;
    return NULL;
}

static int check_keys(const object *o, const char *const *keys, struct os_error *err)
{
    for (size_t i = 0; i < o->n_fields; i++) {
        const char *const *k = keys;
        while (*k && strcmp(*k, o->fields[i]->key) != 0)
            k++;
        if (!*k)
            return os_error_set(err, OS_INVALID_ARGUMENT,
                                "invalid local driver_config: unknown field '%.64s'", o->fields[i]->key);
    }
    return 0;
}

static const char *text_field(const object *o, const char *key)
{
    const value *v = field(o, key);
    return v && v->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE ? v->string_value : "";
}

static int flag_field(const object *o, const char *key, bool otherwise, bool *out, struct os_error *err)
{
    const value *v = field(o, key);
    *out = otherwise;
    if (!v)
        return 0;
    if (v->kind_case != GOOGLE__PROTOBUF__VALUE__KIND_BOOL_VALUE)
        return os_error_set(err, OS_INVALID_ARGUMENT, "invalid local driver_config: %s must be a boolean",
                            key);
    *out = v->bool_value;
    return 0;
}

static int number_field(const object *o, const char *key, uint64_t max, uint64_t *out, struct os_error *err)
{
    const value *v = field(o, key);
    if (!v)
        return 0;
    double d = v->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_NUMBER_VALUE ? v->number_value : -1;
    if (!(d >= 0 && d <= (double)max) || d != (double)(uint64_t)d)
        return os_error_set(err, OS_FAILED_PRECONDITION, "tmpfs %s must be an integer from 0 to %llu", key,
                            (unsigned long long)max);
    *out = (uint64_t)d;
    return 0;
}

static int parse_bind(const struct local_settings *cfg, const object *o, struct share *s,
                      struct os_error *err)
{
    static const char *const keys[] = {"type", "source", "target", "read_only", NULL};
    if (check_keys(o, keys, err) < 0 || flag_field(o, "read_only", true, &s->read_only, err) < 0)
        return -1;
    if (!cfg->bind_mounts)
        return os_error_set(
            err, OS_FAILED_PRECONDITION,
            "local bind mounts require enable_bind_mounts = true in [openshell.drivers.local] of "
            "the gateway (or OPENSHELL_LOCAL_ENABLE_BIND_MOUNTS=true in its environment)");
    s->source = check_source(cfg, text_field(o, "source"), err);
    return s->source ? 0 : -1;
}

static int parse_tmpfs(const object *o, struct share *s, struct os_error *err)
{
    static const char *const keys[] = {"type", "target", "size_bytes", "mode", NULL};
    uint64_t mode = MODE_MAX;
    s->size = TMPFS_SIZE;
    if (check_keys(o, keys, err) < 0 || number_field(o, "size_bytes", OS_LOCAL_TMPFS, &s->size, err) < 0 ||
        number_field(o, "mode", MODE_MAX, &mode, err) < 0)
        return -1;
    if (!s->size)
        return os_error_set(err, OS_FAILED_PRECONDITION, "tmpfs size_bytes must be positive");
    s->mode = (unsigned)mode;
    return 0;
}

static int parse_one(const struct local_settings *cfg, const value *v, const char *workdir,
                     struct shares *out, struct os_error *err)
{
    if (v->kind_case != GOOGLE__PROTOBUF__VALUE__KIND_STRUCT_VALUE)
        return invalid(err, "an element of mounts is not an object");
    const object *o = v->struct_value;
    const char *type = text_field(o, "type");
    out->v = os_realloc(out->v, out->n + 1, sizeof(*out->v));
    struct share *s = &out->v[out->n++];
    *s = (struct share){0};
    if (strcmp(type, "bind") != 0 && strcmp(type, "tmpfs") != 0)
        return os_error_set(
            err, OS_INVALID_ARGUMENT,
            "invalid local driver_config: mounts of type '%.32s' are not supported; use bind or "
            "tmpfs",
            type);
    if ((*type == 'b' ? parse_bind(cfg, o, s, err) : parse_tmpfs(o, s, err)) < 0)
        return -1;
    s->target = check_target(text_field(o, "target"), workdir, err);
    for (size_t i = 0; s->target && i + 1 < out->n; i++)
        if (strcmp(out->v[i].target, s->target) == 0)
            return os_error_set(err, OS_FAILED_PRECONDITION,
                                "duplicate local driver_config mount target '%.256s'", s->target);
    return s->target ? 0 : -1;
}

int shares_parse(const struct local_settings *cfg, const object *config, const char *workdir,
                 struct shares *out, struct os_error *err)
{
    static const char *const keys[] = {"mounts", NULL};
    *out = (struct shares){0};
    const value *mounts = config ? field(config, "mounts") : NULL;
    if (!config || check_keys(config, keys, err) < 0)
        return config ? -1 : 0;
    if (!mounts)
        return 0;
    if (mounts->kind_case != GOOGLE__PROTOBUF__VALUE__KIND_LIST_VALUE)
        return invalid(err, "mounts is not a list");
    const Google__Protobuf__ListValue *list = mounts->list_value;
    if (list->n_values > OS_LOCAL_MOUNTS)
        return os_error_set(err, OS_INVALID_ARGUMENT,
                            "invalid local driver_config: %zu mounts; %d are allowed", list->n_values,
                            OS_LOCAL_MOUNTS);
    for (size_t i = 0; i < list->n_values; i++)
        if (parse_one(cfg, list->values[i], workdir, out, err) < 0)
            return -1;
    return 0;
}

void shares_clear(struct shares *s)
{
    for (size_t i = 0; i < s->n; i++) {
        free(s->v[i].source);
        free(s->v[i].target);
    }
    free(s->v);
    *s = (struct shares){0};
}
