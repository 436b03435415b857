/* Request validation shared by the handlers. */
#include "gateway/validate.h"

#include <ctype.h>
#include <string.h>

#include "core/arena.h"
#include "core/limits.h"
#include "core/str.h"

/* Generated map entries all look alike: base, key, value. */
struct map_entry {
    ProtobufCMessage base;
    char *key, *value;
};
typedef const struct map_entry *const *map;

_Static_assert(sizeof(struct map_entry) == sizeof(Openshell__V1__SandboxSpec__EnvironmentEntry),
               "map layout");

#define INVALID(...) os_error_set(err, OS_INVALID_ARGUMENT, __VA_ARGS__)

static bool alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool lower_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

int validate_label_name(const char *f, const char *v, size_t max, struct os_error *err)
{
    size_t n = strlen(v);
    if (n > max)
        return INVALID("%s exceeds maximum length (%zu > %zu)", f, n, max);
    for (size_t i = 0; i < n; i++)
        if (!lower_alnum(v[i]) && v[i] != '-')
            return INVALID("%s must contain only lowercase alphanumeric characters or hyphens", f);
    if (n && (v[0] == '-' || v[n - 1] == '-'))
        return INVALID("%s must not start or end with a hyphen", f);
    if (strstr(v, "--"))
        return INVALID("%s must not contain consecutive hyphens", f);
    return 0;
}

static bool label_char(char c)
{
    return alnum(c) || c == '-' || c == '_' || c == '.';
}

static int label_prefix(const char *k, size_t n, struct os_error *err)
{
    if (!n)
        return INVALID("label key prefix cannot be empty when '/' is present: '%s'", k);
    if (n > 253)
        return INVALID("label key prefix exceeds 253 characters: '%s'", k);
    for (size_t i = 0; i < n; i++)
        if (!lower_alnum(k[i]) && k[i] != '-' && k[i] != '.')
            return INVALID(
                "label key prefix must be a DNS subdomain (lowercase alphanumeric, '-', '.'): '%s'", k);
    if (!lower_alnum(k[0]) || !lower_alnum(k[n - 1]))
        return INVALID("label key prefix cannot start or end with '-' or '.': '%s'", k);
    for (size_t i = 1; i < n; i++)
        if (k[i] == '.' && k[i - 1] == '.')
            return INVALID("label key prefix cannot contain consecutive dots: '%s'", k);
    return 0;
}

int validate_label_key(const char *k, struct os_error *err)
{
    if (!*k)
        return INVALID("label key cannot be empty");
    if (strlen(k) > 253)
        return INVALID("label key exceeds 253 characters: '%s'", k);
    const char *slash = strchr(k, '/'), *name = slash ? slash + 1 : k;
    size_t n = strlen(name);
    if (!n)
        return INVALID("label key name segment cannot be empty: '%s'", k);
    if (n > 63)
        return INVALID("label key name segment exceeds 63 characters: '%s'", k);
    for (size_t i = 0; i < n; i++)
        if (!label_char(name[i]))
            return INVALID(
                "label key name segment contains invalid characters (must be alphanumeric, '-', '_', "
                "or '.'): '%s'",
                k);
    if (!alnum(name[0]))
        return INVALID("label key name segment must start with alphanumeric character: '%s'", k);
    if (!alnum(name[n - 1]))
        return INVALID("label key name segment must end with alphanumeric character: '%s'", k);
    return slash ? label_prefix(k, (size_t)(slash - k), err) : 0;
}

int validate_label_value(const char *v, struct os_error *err)
{
    size_t n = strlen(v);
    if (!n)
        return 0;
    if (n > 63)
        return INVALID("label value exceeds 63 characters: '%s'", v);
    for (size_t i = 0; i < n; i++)
        if (!label_char(v[i]))
            return INVALID(
                "label value contains invalid characters (must be alphanumeric, '-', '_', or '.'): '%s'", v);
    if (!alnum(v[0]))
        return INVALID("label value must start with alphanumeric character: '%s'", v);
    if (!alnum(v[n - 1]))
        return INVALID("label value must end with alphanumeric character: '%s'", v);
    return 0;
}

int validate_labels(Openshell__V1__CreateSandboxRequest__LabelsEntry *const *e, size_t n,
                    struct os_error *err)
{
    for (size_t i = 0; i < n; i++)
        if (validate_label_key(e[i]->key, err) < 0 || validate_label_value(e[i]->value, err) < 0)
            return -1;
    return 0;
}

static int check_map(const char *f, map e, size_t n, struct os_error *err)
{
    if (n > OS_LIMIT_MAP_ENTRIES)
        return INVALID("%s exceeds maximum entries (%zu > %d)", f, n, OS_LIMIT_MAP_ENTRIES);
    for (size_t i = 0; i < n; i++) {
        if (strlen(e[i]->key) > OS_LIMIT_MAP_KEY)
            return INVALID("%s key exceeds maximum length (%zu > %d)", f, strlen(e[i]->key),
                           OS_LIMIT_MAP_KEY);
        if (strlen(e[i]->value) > OS_LIMIT_MAP_VALUE)
            return INVALID("%s value exceeds maximum length (%zu > %d)", f, strlen(e[i]->value),
                           OS_LIMIT_MAP_VALUE);
    }
    return 0;
}

int validate_annotations(const char *f, Openshell__V1__CreateSandboxRequest__AnnotationsEntry *const *e,
                         size_t n, struct os_error *err)
{
    if (check_map(f, (map)e, n, err) < 0)
        return -1;
    for (size_t i = 0; i < n; i++)
        if (validate_label_key(e[i]->key, err) < 0)
            return -1;
    return 0;
}

static bool env_key_ok(const char *k)
{
    if (!(*k == '_' || (alnum(*k) && !isdigit((unsigned char)*k))))
        return false;
    for (; *k; k++)
        if (!alnum(*k) && *k != '_')
            return false;
    return true;
}

static int check_env_value(const char *f, const char *k, const char *v, struct os_error *err)
{
    if (strpbrk(v, "\r\n"))
        return INVALID("%s value for '%s' contains newline or carriage return characters", f, k);
    return 0;
}

static int check_env(const char *f, map e, size_t n, struct os_error *err)
{
    if (check_map(f, e, n, err) < 0)
        return -1;
    size_t total = 0;
    for (size_t i = 0; i < n; i++)
        total += strlen(e[i]->key) + strlen(e[i]->value);
    if (total > OS_LIMIT_ENV_TOTAL)
        return INVALID("%s total size exceeds %d byte limit (%zu bytes)", f, OS_LIMIT_ENV_TOTAL, total);
    for (size_t i = 0; i < n; i++) {
        if (!env_key_ok(e[i]->key))
            return INVALID("%s keys must match ^[A-Za-z_][A-Za-z0-9_]*$; got '%s'", f, e[i]->key);
        if (os_str_starts(e[i]->key, "OPENSHELL_"))
            return INVALID("%s keys starting with OPENSHELL_ are reserved; got '%s'", f, e[i]->key);
        if (check_env_value(f, e[i]->key, e[i]->value, err) < 0)
            return -1;
    }
    return 0;
}

static int check_template(const Openshell__V1__SandboxTemplate *t, struct os_error *err)
{
    const struct {
        const char *name, *value;
    } texts[] = {{"image", t->image},
                 {"runtime_class_name", t->runtime_class_name},
                 {"agent_socket", t->agent_socket}};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        if (strlen(texts[i].value) > OS_LIMIT_TEMPLATE_TEXT)
            return INVALID("template.%s exceeds maximum length (%zu > %d)", texts[i].name,
                           strlen(texts[i].value), OS_LIMIT_TEMPLATE_TEXT);
    if (check_map("template.labels", (map)t->labels, t->n_labels, err) < 0 ||
        check_map("template.annotations", (map)t->annotations, t->n_annotations, err) < 0 ||
        check_map("template.environment", (map)t->environment, t->n_environment, err) < 0)
        return -1;
    const struct {
        const char *name;
        const ProtobufCMessage *value;
    } structs[] = {{"resources", (const ProtobufCMessage *)t->resources},
                   {"driver_config", (const ProtobufCMessage *)t->driver_config}};
    for (size_t i = 0; i < sizeof(structs) / sizeof(structs[0]); i++) {
        size_t n = structs[i].value ? protobuf_c_message_get_packed_size(structs[i].value) : 0;
        if (n > OS_LIMIT_TEMPLATE_STRUCT)
            return INVALID("template.%s serialized size exceeds maximum (%zu > %d)", structs[i].name, n,
                           OS_LIMIT_TEMPLATE_STRUCT);
    }
    return check_env("spec.template.environment", (map)t->environment, t->n_environment, err);
}

static int check_command(char *const *argv, size_t n, struct os_error *err)
{
    if (n > OS_LIMIT_COMMAND_ARGS)
        return INVALID("spec.command exceeds %d argument limit", OS_LIMIT_COMMAND_ARGS);
    if (n && !*argv[0])
        return INVALID("spec.command[0] must not be empty");
    size_t total = 0;
    for (size_t i = 0; i < n; i++)
        total += strlen(argv[i]);
    if (total > OS_LIMIT_COMMAND_TOTAL)
        return INVALID("spec.command total size exceeds %d byte limit", OS_LIMIT_COMMAND_TOTAL);
    for (size_t i = 0; i < n; i++)
        if (strlen(argv[i]) > OS_LIMIT_ARG)
            return INVALID("spec.command[%zu] exceeds %d byte limit", i, OS_LIMIT_ARG);
    return 0;
}

int validate_sandbox(const char *name, const Openshell__V1__SandboxSpec *spec, struct os_error *err)
{
    if (validate_label_name("name", name, OS_LIMIT_ROUTABLE_NAME, err) < 0)
        return -1;
    if (spec->n_providers > OS_LIMIT_PROVIDERS)
        return INVALID("providers list exceeds maximum (%zu > %d)", spec->n_providers, OS_LIMIT_PROVIDERS);
    if (strlen(spec->log_level) > OS_LIMIT_LOG_LEVEL)
        return INVALID("log_level exceeds maximum length (%zu > %d)", strlen(spec->log_level),
                       OS_LIMIT_LOG_LEVEL);
    if (check_env("spec.environment", (map)spec->environment, spec->n_environment, err) < 0)
        return -1;
    if (spec->template_ && check_template(spec->template_, err) < 0)
        return -1;
    const Openshell__V1__GpuResourceRequirements *gpu =
        spec->resource_requirements ? spec->resource_requirements->gpu : NULL;
    if (gpu && gpu->_count_case == OPENSHELL__V1__GPU_RESOURCE_REQUIREMENTS___COUNT_COUNT && gpu->count == 0)
        return INVALID("gpu count must be greater than 0");
    if (check_command(spec->command, spec->n_command, err) < 0)
        return -1;
    size_t policy = spec->policy ? protobuf_c_message_get_packed_size(&spec->policy->base) : 0;
    if (policy > OS_LIMIT_POLICY_BYTES)
        return INVALID("policy serialized size exceeds maximum (%zu > %d)", policy, OS_LIMIT_POLICY_BYTES);
    return 0;
}

int validate_exec(const Openshell__V1__ExecSandboxRequest *req, struct os_error *err)
{
    if (!*req->sandbox_id)
        return INVALID("sandbox_id is required");
    if (!req->n_command && !req->attach_main)
        return INVALID("command is required");
    for (size_t i = 0; i < req->n_environment; i++)
        if (!env_key_ok(req->environment[i]->key))
            return INVALID("environment keys must match ^[A-Za-z_][A-Za-z0-9_]*$");
    if (req->n_command > OS_LIMIT_EXEC_ARGS)
        return INVALID("command array exceeds %d argument limit", OS_LIMIT_EXEC_ARGS);
    for (size_t i = 0; i < req->n_command; i++)
        if (strlen(req->command[i]) > OS_LIMIT_ARG)
            return INVALID("command argument %zu exceeds %d byte limit", i, OS_LIMIT_ARG);
    for (size_t i = 0; i < req->n_environment; i++) {
        const char *k = req->environment[i]->key, *v = req->environment[i]->value;
        if (strlen(v) > OS_LIMIT_ARG)
            return INVALID("environment value for '%s' exceeds %d byte limit", k, OS_LIMIT_ARG);
        if (check_env_value("environment", k, v, err) < 0)
            return -1;
        if (os_str_starts(k, "OPENSHELL_") && strcmp(k, "OPENSHELL_PYFUNC_B64") != 0)
            return INVALID("environment keys starting with OPENSHELL_ are reserved; got '%s'", k);
    }
    if (strlen(req->workdir) > OS_LIMIT_WORKDIR)
        return INVALID("workdir exceeds %d byte limit", OS_LIMIT_WORKDIR);
    if (strpbrk(req->workdir, "\r\n"))
        return INVALID("workdir contains newline or carriage return characters");
    return 0;
}

int validate_selector(struct os_arena *a, const char *text, struct validate_selector **out, size_t *n,
                      struct os_error *err)
{
    struct validate_selector *pairs = os_arena_alloc(a, OS_LIMIT_SELECTOR_PAIRS * sizeof(*pairs));
    size_t count = 0;
    char *copy = os_arena_strdup(a, text), *save = NULL;
    for (char *item = strtok_r(copy, ",", &save); item; item = strtok_r(NULL, ",", &save)) {
        item = os_str_trim(item);
        if (!*item)
            continue;
        if (count == OS_LIMIT_SELECTOR_PAIRS)
            return INVALID("label selector exceeds %d pair limit", OS_LIMIT_SELECTOR_PAIRS);
        char *whole = os_arena_strdup(a, item), *eq = strchr(item, '=');
        if (!eq)
            return INVALID("invalid label selector: expected 'key=value', got '%s'", whole);
        *eq = '\0';
        char *key = os_str_trim(item), *value = os_str_trim(eq + 1);
        if (!*key)
            return INVALID("invalid label selector: key cannot be empty in '%s'", whole);
        if (validate_label_key(key, err) < 0 || validate_label_value(value, err) < 0)
            return -1;
        size_t at = 0;
        while (at < count && strcmp(pairs[at].key, key) != 0)
            at++;
        pairs[at] = (struct validate_selector){key, value};
        if (at == count)
            count++;
    }
    *out = pairs;
    *n = count;
    return 0;
}
