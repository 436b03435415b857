/* Registrations and manifests of middleware services. */
#include "middleware/manifest.h"

#include <string.h>

#include "core/limits.h"
#include "core/str.h"

#define OPERATION(x)                                                                                         \
    OPENSHELL__MIDDLEWARE__V1__SUPERVISOR_MIDDLEWARE_OPERATION__SUPERVISOR_MIDDLEWARE_OPERATION_##x
#define PHASE(x) OPENSHELL__MIDDLEWARE__V1__SUPERVISOR_MIDDLEWARE_PHASE__SUPERVISOR_MIDDLEWARE_PHASE_##x

int middleware_timeout_parse(const char *text)
{
    size_t n = strlen(text);
    uint64_t value = 0;
    if (!n)
        return OS_MIDDLEWARE_TIMEOUT_MS;
    bool ms = os_str_ends(text, "ms");
    if ((!ms && text[n - 1] != 's') ||
        !os_str_u64n(text, n - (ms ? 2 : 1), OS_MIDDLEWARE_TIMEOUT_MAX_MS, &value))
        return -1;
    value *= ms ? 1 : 1000;
    return value >= OS_MIDDLEWARE_TIMEOUT_MIN_MS && value <= OS_MIDDLEWARE_TIMEOUT_MAX_MS ? (int)value : -1;
}

bool middleware_name_ok(const char *name)
{
    size_t n = strlen(name);
    return n >= 1 && n <= OS_MIDDLEWARE_NAME && !os_str_starts(name, MIDDLEWARE_BUILTIN_PREFIX) &&
           strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-/") == n;
}

int middleware_registration_check(const middleware_registration *r, bool authenticated, struct os_error *err)
{
    if (!middleware_name_ok(r->name))
        return os_error_set(
            err, OS_INVALID_ARGUMENT,
            "supervisor middleware name '%.140s' must be 1 to %d characters of A-Z a-z 0-9 . _ - / "
            "and not begin with '" MIDDLEWARE_BUILTIN_PREFIX "'",
            r->name, OS_MIDDLEWARE_NAME);
    bool https = os_str_starts(r->grpc_endpoint, "https://");
    if (!https && !os_str_starts(r->grpc_endpoint, "http://"))
        return os_error_set(err, OS_INVALID_ARGUMENT,
                            "supervisor middleware '%s': grpc_endpoint must begin with http:// or https://",
                            r->name);
    if (authenticated && !https)
        return os_error_set(
            err, OS_INVALID_ARGUMENT,
            "authenticated middleware '%s' must use https://; set allow_insecure_transport = true to opt "
            "this registration out of extension authentication instead",
            r->name);
    if (!https && r->tls_ca_cert_pem.len)
        return os_error_set(err, OS_INVALID_ARGUMENT,
                            "supervisor middleware '%s': a TLS CA certificate needs an https:// endpoint",
                            r->name);
    if (r->max_payload_bytes < 1 || r->max_payload_bytes > OS_MIDDLEWARE_PAYLOAD)
        return os_error_set(
            err, OS_INVALID_ARGUMENT,
            "supervisor middleware '%s': max_payload_bytes must be between 1 and %d, not %llu", r->name,
            OS_MIDDLEWARE_PAYLOAD, (unsigned long long)r->max_payload_bytes);
    if (middleware_timeout_parse(r->timeout) < 0)
        return os_error_set(
            err, OS_INVALID_ARGUMENT,
            "supervisor middleware '%s': timeout must be a number of ms or s such as 500ms or 2s, "
            "between 10ms and 30s, not '%.40s'",
            r->name, r->timeout);
    return 0;
}

static int refuse(struct os_error *err, const middleware_registration *r, const char *what)
{
    return os_error_set(err, OS_FAILED_PRECONDITION, "manifest of supervisor middleware '%s' is invalid: %s",
                        r->name, what);
}

static int take_binding(const Openshell__Middleware__V1__MiddlewareBinding *b,
                        const middleware_registration *r, struct middleware_bindings *out,
                        struct os_error *err)
{
    if (b->phase == PHASE(PRE_RETURN))
        return refuse(err, r, "phase PRE_RETURN is not supported; use PRE_CREDENTIALS");
    if (b->phase != PHASE(PRE_CREDENTIALS) ||
        (b->operation != OPERATION(HTTP_REQUEST) && b->operation != OPERATION(WEBSOCKET_MESSAGE)))
        return refuse(err, r, "a binding must be HTTP_REQUEST or WEBSOCKET_MESSAGE in phase PRE_CREDENTIALS");
    struct middleware_binding *to = b->operation == OPERATION(HTTP_REQUEST) ? &out->http : &out->websocket;
    int timeout = middleware_timeout_parse(b->timeout), ceiling = middleware_timeout_parse(r->timeout);
    if (to->max_payload)
        return refuse(err, r, "a binding is there twice");
    if (b->max_payload_bytes < 1 || b->max_payload_bytes > OS_MIDDLEWARE_PAYLOAD)
        return refuse(err, r, "max_payload_bytes of a binding must be between 1 and 4194304");
    if (r->max_payload_bytes > b->max_payload_bytes)
        return refuse(err, r, "the operator's max_payload_bytes is above that of a binding");
    if (timeout < 0)
        return refuse(err, r, "timeout of a binding must be between 10ms and 30s, as 500ms or 2s");
    *to = (struct middleware_binding){(size_t)r->max_payload_bytes, timeout < ceiling ? timeout : ceiling};
    return 0;
}

int middleware_manifest_check(const Openshell__Middleware__V1__MiddlewareManifest *m,
                              const middleware_registration *r, bool authenticated,
                              struct middleware_bindings *out, struct os_error *err)
{
    *out = (struct middleware_bindings){0};
    if (!m->n_bindings)
        return refuse(err, r, "it has no bindings");
    for (size_t i = 0; i < m->n_bindings; i++)
        if (take_binding(m->bindings[i], r, out, err) < 0)
            return -1;
    if (authenticated && *m->expected_audience && strcmp(m->expected_audience, r->audience) != 0)
        return refuse(err, r, "its expected_audience is not the audience of the registration");
    return 0;
}

const char *middleware_builtin_check(const char *name, const Google__Protobuf__Struct *config)
{
    if (strcmp(name, "openshell/regex") != 0)
        return "no built-in middleware has this name";
    for (size_t i = 0; config && i < config->n_fields; i++) {
        const Google__Protobuf__Value *v = config->fields[i]->value;
        if (strcmp(config->fields[i]->key, "mode") != 0)
            return "openshell/regex takes only the field 'mode'";
        if (!v || v->kind_case != GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE ||
            strcmp(v->string_value, "redact") != 0)
            return "openshell/regex: mode must be 'redact'";
    }
    return NULL;
}
