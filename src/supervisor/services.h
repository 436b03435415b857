/* The operator's middleware services that a configuration names: tokens from the gateway, the registry of
 * what they say of themselves, another try when they do not answer (spec/supervisor.md 13, spec/identity.md
 * 6). Loop thread only. */
#ifndef SUPERVISOR_SERVICES_H
#define SUPERVISOR_SERVICES_H

#include "supervisor/egress/middleware/registry.h"
#include "supervisor/session/session.h"

struct services;

/* Everything that can be had for the configuration is there: registry (a reference for the callee, NULL =
 * none) belongs to it. why is NULL, or says why services that it names are missing; they are asked again
 * later, and then this comes once more. config is borrowed. */
typedef void services_ready_fn(void *ctx, const session_config *config, struct middleware_registry *registry,
                               const struct os_error *why);

struct services *services_new(uv_loop_t *loop, struct session *session, const char *sandbox_id,
                              const char *sandbox_name, services_ready_fn *ready, void *ctx);
/* A newer configuration; ready comes before this returns when it names no services, or the same as before. */
void services_prepare(struct services *s, const session_config *config);

#endif
