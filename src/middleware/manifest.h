/* What gateway and supervisor both have to know of middleware services (spec/proxy.md 13.2, 13.5): which
 * registrations and manifests are good, and how built-in stages are configured. Pure; any thread. */
#ifndef MIDDLEWARE_MANIFEST_H
#define MIDDLEWARE_MANIFEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"
#include "middleware.pb-c.h"
#include "sandbox.pb-c.h"

typedef Openshell__Sandbox__V1__SupervisorMiddlewareService middleware_registration;

#define MIDDLEWARE_BUILTIN_PREFIX "openshell/"

/* What a service looks at; max_payload 0 = not this. */
struct middleware_binding {
    size_t max_payload; /* bytes of a body or message */
    int timeout_ms;
};

struct middleware_bindings {
    struct middleware_binding http, websocket;
};

/* "500ms", "2s": milliseconds within OS_MIDDLEWARE_TIMEOUT_MIN_MS and _MAX_MS; empty = the default; -1
 * otherwise. */
int middleware_timeout_parse(const char *text);
/* 1 to 128 bytes of A-Za-z0-9._-/, and not of the built-in stages. */
bool middleware_name_ok(const char *name);
/* Name, endpoint, limit and timeout of a registration; authenticated: calls carry a token, which must not
 * travel in the clear. */
int middleware_registration_check(const middleware_registration *r, bool authenticated, struct os_error *err);
/* The manifest of a registered service, and what follows from both. */
int middleware_manifest_check(const Openshell__Middleware__V1__MiddlewareManifest *m,
                              const middleware_registration *r, bool authenticated,
                              struct middleware_bindings *out, struct os_error *err);
/* NULL = a built-in stage of that name takes the configuration (which may be NULL); else what is wrong. */
const char *middleware_builtin_check(const char *name, const Google__Protobuf__Struct *config);

#endif
