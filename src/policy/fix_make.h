/* Merge operations and their parts for one question. Everything is in the arena. Private to src/policy. */
#ifndef POLICY_FIX_MAKE_H
#define POLICY_FIX_MAKE_H

#include "policy/explain.h"
#include "policy/merge_priv.h"

struct fix_maker {
    struct os_arena *arena;
    const struct policy_question *q;
};

/* add_rule with one endpoint; binaries NULL: the program that asks. */
policy_merge_op *fix_rule(const struct fix_maker *f, const char *key, policy_endpoint_doc *ep,
                          policy_binary_doc **binaries, size_t n);
/* add_allow_rules for the request on an endpoint of that host. */
policy_merge_op *fix_allow(const struct fix_maker *f, const char *host, const char *path);
/* An allow rule for the method asked and just this canonical path. */
policy_allow_doc *fix_request(const struct fix_maker *f, const char *path);
/* An endpoint of the host and the port asked, without inspection. */
policy_endpoint_doc *fix_endpoint(const struct fix_maker *f, const char *host);
/* An endpoint of the host asked whose requests are judged as those of `like` are; enforced when it is NULL.
 */
policy_endpoint_doc *fix_rest_endpoint(const struct fix_maker *f, const policy_endpoint_doc *like);
/* The same endpoint for the port asked alone. */
policy_endpoint_doc *fix_narrowed(const struct fix_maker *f, const policy_endpoint_doc *from);

#endif
