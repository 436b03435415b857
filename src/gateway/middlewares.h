/* The operator's middleware services: registered in gateway.toml, asked by the gateway to describe themselves
 * and to check configurations, named to the sandboxes whose policies use them
 * (spec/gateway.md 1.2, 1.3, 6.3). Read-only once they are there. */
#ifndef GATEWAY_MIDDLEWARES_H
#define GATEWAY_MIDDLEWARES_H

#include "gateway/config_file.h"
#include "gateway/identity/jwt.h"
#include "middleware/manifest.h"
#include "policy/policy.h"

struct middlewares;

/* Checks the registrations and has every service describe itself; blocks, before the gateway serves. jwt NULL
 * = calls carry no tokens. NULL with *err: the gateway must not start. */
struct middlewares *middlewares_new(const struct config_middlewares *list, const struct jwt_keys *jwt,
                                    int64_t jwt_ttl_s, struct os_error *err);
void middlewares_free(struct middlewares *m);
/* Every middleware of the policy is known, and takes its configuration. Blocks for as long as the services
 * may take; worker threads. OS_FAILED_PRECONDITION or OS_INVALID_ARGUMENT otherwise. */
int middlewares_check_policy(const struct middlewares *m, const policy_doc *doc, struct os_error *err);
/* The registrations that the policy uses, sorted by name, in the arena; -1 when one of them is missing. doc
 * may be NULL. */
int middlewares_select(const struct middlewares *m, const policy_doc *doc, struct os_arena *a,
                       middleware_registration ***out, size_t *n, struct os_error *err);

#endif
