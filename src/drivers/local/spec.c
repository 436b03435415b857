/* What the local driver accepts in a DriverSandbox: see spec.h. */
#include "drivers/local/spec.h"

#include <string.h>

#include "core/cleanup.h"
#include "core/limits.h"
#include "drivers/local/environ.h"
#include "drivers/local/rootfs.h"
#include "drivers/local/shares.h"

#define ID_MAX 64
#define MEMORY_MIN ((uint64_t)16 << 20) /* the supervisor itself has to fit */
#define QUANTITY_DIGITS 15

typedef Openshell__Compute__V1__DriverSandboxTemplate driver_template;

static bool all_in(const char *text, const char *punctuation)
{
    for (const char *p = text; *p; p++)
        if (!((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') ||
              strchr(punctuation, *p)))
            return false;
    return true;
}

bool spec_id_valid(const char *id)
{
    return *id && strlen(id) <= ID_MAX && all_in(id, "-_");
}

static bool name_valid(const char *name)
{
    return *name && *name != '.' && *name != '-' && strlen(name) <= OS_LIMIT_NAME && all_in(name, "-_.");
}

/* --- quantities --- */

/* "12.345" in thousandths, rounded down; the rest of the text goes to *rest. */
static bool decimal(const char *text, uint64_t *thousandths, const char **rest)
{
    uint64_t value = 0;
    int digits = 0, fraction = -1;
    for (; (*text >= '0' && *text <= '9') || (*text == '.' && fraction < 0); text++) {
        if (*text == '.') {
            fraction = 0;
            continue;
        }
        if (++digits > QUANTITY_DIGITS)
            return false;
        if (fraction >= 3)
            continue;
        value = value * 10 + (uint64_t)(*text - '0');
        if (fraction >= 0)
            fraction++;
    }
    for (int i = fraction < 0 ? 0 : fraction; i < 3; i++)
        value *= 10;
    *thousandths = value;
    *rest = text;
    return digits > 0;
}

int spec_parse_cpu(const char *text, uint64_t *out, struct os_error *err)
{
    const char *rest;
    uint64_t value;
    bool ok = decimal(text, &value, &rest);
    if (ok && strcmp(rest, "m") == 0 && !strchr(text, '.'))
        value /= 1000;
    else if (ok && *rest)
        ok = false;
    if (!ok || value > UINT32_MAX)
        return os_error_set(err, OS_FAILED_PRECONDITION,
                            "invalid local cpu_limit '%.64s'; expected an integer or millicore quantity",
                            text);
    if (value == 0)
        return os_error_set(err, OS_FAILED_PRECONDITION, "local cpu_limit must be greater than zero");
    if (value < 10)
        return os_error_set(err, OS_FAILED_PRECONDITION,
                            "local cpu_limit '%.64s' is below the kernel's minimum of 10m", text);
    *out = value;
    return 0;
}

static bool suffix(const char *text, uint64_t *factor)
{
    static const char letters[] = "KMGTPE";
    *factor = 1;
    if (!*text)
        return true;
    const char *at = strchr(letters, *text);
    if (!at || (text[1] && strcmp(text + 1, "i") != 0))
        return false;
    for (const char *p = letters; p <= at; p++)
        *factor *= text[1] ? 1024 : 1000;
    return true;
}

int spec_parse_memory(const char *text, uint64_t *out, struct os_error *err)
{
    const char *rest;
    uint64_t value, factor, bytes;
    if (!decimal(text, &value, &rest))
        return os_error_set(err, OS_FAILED_PRECONDITION,
                            "invalid local memory_limit '%.64s'; expected a Kubernetes-style quantity", text);
    if (!suffix(rest, &factor))
        return os_error_set(err, OS_FAILED_PRECONDITION, "invalid local memory_limit suffix '%.64s'", rest);
    if (__builtin_mul_overflow(value, factor, &bytes) || bytes / 1000 > INT64_MAX / 2)
        return os_error_set(err, OS_FAILED_PRECONDITION, "local memory_limit '%.64s' is too large", text);
    bytes /= 1000;
    if (bytes == 0)
        return os_error_set(err, OS_FAILED_PRECONDITION, "local memory_limit must be greater than zero");
    if (bytes < MEMORY_MIN)
        return os_error_set(err, OS_FAILED_PRECONDITION,
                            "local memory_limit '%.64s' is too small for the supervisor; use 16Mi or more",
                            text);
    *out = bytes;
    return 0;
}

static int check_limit(const char *field, const char *value, unsigned have, const char *controller,
                       struct os_error *err)
{
    if (have)
        return 0;
    return os_error_set(err, OS_FAILED_PRECONDITION,
                        "%s '%.64s' cannot be enforced: this machine has no control group with a writable %s "
                        "controller; enable it or leave the limit out",
                        field, value, controller);
}

static int check_resources(const Openshell__Compute__V1__DriverResourceRequirements *r,
                           const struct cgroups *c, struct os_error *err)
{
    uint64_t value;
    if (!r)
        return 0;
    if (*r->cpu_request)
        return os_error_set(err, OS_FAILED_PRECONDITION,
                            "local compute driver does not support resources.requests.cpu");
    if (*r->memory_request)
        return os_error_set(err, OS_FAILED_PRECONDITION,
                            "local compute driver does not support resources.requests.memory");
    if (*r->cpu_limit &&
        (spec_parse_cpu(r->cpu_limit, &value, err) < 0 ||
         check_limit("cpu_limit", r->cpu_limit, c->controllers & CGROUP_CPU, "cpu", err) < 0))
        return -1;
    if (*r->memory_limit &&
        (spec_parse_memory(r->memory_limit, &value, err) < 0 ||
         check_limit("memory_limit", r->memory_limit, c->controllers & CGROUP_MEMORY, "memory", err) < 0))
        return -1;
    return 0;
}

void spec_limits(const driver_sandbox *s, struct local_limits *out)
{
    const Openshell__Compute__V1__DriverResourceRequirements *r =
        s->spec->template_ ? s->spec->template_->resources : NULL;
    *out = (struct local_limits){.pids = OS_LOCAL_PIDS};
    if (r && *r->cpu_limit)
        spec_parse_cpu(r->cpu_limit, &out->cpu, NULL);
    if (r && *r->memory_limit)
        spec_parse_memory(r->memory_limit, &out->memory, NULL);
}

/* --- the rest --- */

static int check_template(const struct local_settings *cfg, const driver_template *t, const struct cgroups *c,
                          struct os_error *err)
{
    if (!t)
        return 0;
    if (rootfs_check(cfg, t->image, err) < 0)
        return -1;
    if (*t->agent_socket_path)
        return os_error_set(err, OS_FAILED_PRECONDITION,
                            "local compute driver does not support template.agent_socket_path");
    if (t->platform_config && t->platform_config->n_fields)
        return os_error_set(err, OS_FAILED_PRECONDITION,
                            "local compute driver does not support template.platform_config");
    struct shares shares;
    int rc = shares_parse(cfg, t->driver_config, INSIDE_WORKSPACE, &shares, err);
    shares_clear(&shares);
    if (rc < 0)
        return -1;
    return check_resources(t->resources, c, err);
}

static int check_environment(const char *what,
                             Openshell__Compute__V1__DriverSandboxSpec__EnvironmentEntry **e, size_t n,
                             struct os_error *err)
{
    for (size_t i = 0; i < n; i++)
        if (!*e[i]->key || strchr(e[i]->key, '=') || !os_utf8_valid(e[i]->key, strlen(e[i]->key)) ||
            !os_utf8_valid(e[i]->value, strlen(e[i]->value)))
            return os_error_set(err, OS_INVALID_ARGUMENT,
                                "%s: variable '%.64s' needs a name without '=' and UTF-8 text", what,
                                e[i]->key);
    return 0;
}

static int check_command(const Openshell__Compute__V1__DriverSandboxSpec *s, struct os_error *err)
{
    if (s->n_command && !*s->command[0])
        return os_error_set(err, OS_INVALID_ARGUMENT, "command[0] must not be empty");
    for (size_t i = 0; i < s->n_command; i++)
        if (!os_utf8_valid(s->command[i], strlen(s->command[i])))
            return os_error_set(err, OS_INVALID_ARGUMENT, "command[%zu] is not UTF-8 text", i);
    return 0;
}

const char *spec_image(const driver_sandbox *s)
{
    return s->spec->template_ ? s->spec->template_->image : "";
}

int spec_validate(const struct local_settings *cfg, const driver_sandbox *s, const struct cgroups *cgroups,
                  struct os_error *err)
{
    if (!spec_id_valid(s->id))
        return os_error_set(err, OS_INVALID_ARGUMENT,
                            "sandbox id '%.64s' must have 1 to %d letters, digits, '-' or '_'", s->id,
                            ID_MAX);
    if (!name_valid(s->name))
        return os_error_set(
            err, OS_INVALID_ARGUMENT,
            "sandbox name '%.64s' must have 1 to %d letters, digits, '-', '_' or '.', and start with "
            "a letter or digit",
            s->name, OS_LIMIT_NAME);
    if (!s->spec)
        return os_error_set(err, OS_INVALID_ARGUMENT, "sandbox.spec is required");
    if (s->spec->resource_requirements && s->spec->resource_requirements->gpu)
        return os_error_set(
            err, OS_FAILED_PRECONDITION,
            "local compute driver does not support GPU requests; use the docker or podman driver");
    const driver_template *t = s->spec->template_;
    if (check_template(cfg, t, cgroups, err) < 0 || check_command(s->spec, err) < 0 ||
        check_environment("spec.environment", s->spec->environment, s->spec->n_environment, err) < 0)
        return -1;
    return t ? check_environment(
                   "template.environment",
                   (Openshell__Compute__V1__DriverSandboxSpec__EnvironmentEntry **)t->environment,
                   t->n_environment, err)
             : 0;
}
