/* Which middleware configurations of a policy look at the traffic to a host (spec/policy.md 2.5, 3 H). */
#ifndef POLICY_MIDDLEWARE_H
#define POLICY_MIDDLEWARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/arena.h"
#include "policy/engine.h"
#include "policy/policy.h"
#include "struct.pb-c.h"

/* A host pattern, split into labels in lower case. */
struct policy_selector {
    const char *const *labels;
    size_t n;
};

/* One entry of network_middlewares as compiled. Lives as long as the engine. */
struct policy_middleware_config {
    const char *key;     /* its name in the policy */
    const char *service; /* "openshell/..." or a registered service */
    int32_t order;
    bool fail_open;                         /* a failed stage is skipped; else it denies */
    const Google__Protobuf__Struct *config; /* NULL = none given */
    size_t config_size;                     /* bytes of it, encoded */
    const struct policy_selector *include, *exclude;
    size_t n_include, n_exclude;
};

/* Those that select the host (lower case, without brackets and trailing dot), in the order in which they run;
 * out has room for OS_LIMIT_MIDDLEWARES. Any thread. */
size_t policy_middlewares_for(const struct policy_engine *e, const char *host,
                              const struct policy_middleware_config **out);

/* H(pattern, host) of spec/policy.md 3. */
void policy_selector_make(struct os_arena *arena, const char *pattern, struct policy_selector *out);
bool policy_selector_matches(const struct policy_selector *s, const char *host);
/* There may be a host that both patterns stand for: false only when there is certainly none. */
bool policy_selectors_overlap(const struct policy_selector *a, const struct policy_selector *b);

/* Something that belongs to this generation of the policy and goes with it: the middleware services it uses.
 * Set once, before the engine is published; free_fn runs with the last reference. */
void policy_engine_attach(struct policy_engine *e, void *object, void (*free_fn)(void *object));
void *policy_engine_attached(const struct policy_engine *e);

#endif
