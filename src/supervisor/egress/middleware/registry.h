/* The services that one generation of the policy uses. Built before that policy is published and attached to
 * its engine (policy_engine_attach), so that both are swapped as one; immutable but for the tokens. */
#ifndef SUPERVISOR_EGRESS_MIDDLEWARE_REGISTRY_H
#define SUPERVISOR_EGRESS_MIDDLEWARE_REGISTRY_H

#include "supervisor/egress/middleware/loop.h"
#include "supervisor/egress/middleware/service.h"

struct middleware_registry;

/* A token for one service, from the gateway. */
struct middleware_token {
    const char *service, *token;
    int64_t expires_ms; /* wall clock; 0 = never */
};

struct middleware_registry_options {
    struct middleware_loop *loop; /* NULL = no services of the operator */
    middleware_registration *const *services;
    size_t n_services;
    bool authentication; /* calls carry tokens, but for services that opted out */
    const struct middleware_token *tokens;
    size_t n_tokens;
    /* What stages are told of the sandbox; copied. NULL = "" */
    const char *sandbox_id, *sandbox_name, *workspace;
};

/* Describes every service, all at once, and blocks until that is done (at most 35 s). One that is not fit to
 * be used, or does not answer, fails the build: NULL with *err. */
struct middleware_registry *middleware_registry_new(const struct middleware_registry_options *opt,
                                                    struct os_error *err);
/* References, any thread; NULL is fine. The second one is for policy_engine_attach(), too: the services go
 * with the last of them. */
struct middleware_registry *middleware_registry_ref(struct middleware_registry *r);
void middleware_registry_unref(void *registry);
/* New tokens of services; those that are not named lose theirs. Any thread but the loop; blocks shortly. */
void middleware_registry_set_tokens(struct middleware_registry *r, const struct middleware_token *tokens,
                                    size_t n);
/* By name, built-in or registered; NULL = not described. registry may be NULL: only the built-in ones. */
const struct middleware_service *middleware_registry_find(const struct middleware_registry *registry,
                                                          const char *name);
/* Fills in what stages are told of the sandbox; texts are borrowed. registry may be NULL. */
void middleware_registry_context(const struct middleware_registry *registry, mw_context *out);

#endif
