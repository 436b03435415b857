/* Between the files of the chain. */
#ifndef SUPERVISOR_EGRESS_MIDDLEWARE_INTERNAL_H
#define SUPERVISOR_EGRESS_MIDDLEWARE_INTERNAL_H

#include "supervisor/egress/internal.h"
#include "supervisor/egress/middleware/chain.h"
#include "supervisor/egress/middleware/registry.h"

/* --- chain.c --- */

const struct middleware_registry *middleware_registry_of(const struct egress_conn *c);
/* Context and target as stages are told; in the arena. query NULL = without. */
mw_context *middleware_context(const struct egress_conn *c, struct os_arena *arena);
mw_target *middleware_target(const struct egress_request *r, const char *scheme, const char *query,
                             struct os_arena *arena);
/* For struct middleware_limit: ctx is the connection. */
bool middleware_cancelled(void *conn);
/* The limit of one stage inside that of the chain. */
struct middleware_limit middleware_stage_limit(const struct middleware_limit *chain, int timeout_ms);

/* --- preflight.c --- */

/* The preflight of an upgrade: true when it may go upstream, with r->session set when somebody listens.
 * False: *answer says why not. */
bool middleware_preflight(struct egress_request *r, const char *scheme, bool forward,
                          struct deny_answer *answer);

/* --- events.c --- */

struct middleware_verdict {
    const struct middleware_stage *stage;
    const char *word;        /* "allow", "deny", "failed" */
    const char *failure;     /* its name; NULL = none */
    const char *reason_code; /* "" = none */
    mw_finding *const *findings;
    size_t n_findings;
    const char *note; /* what an in-process stage says of itself; NULL = nothing */
    bool transformed;
};
/* One stage looked at a request. */
void middleware_event(const struct egress_request *r, const char *scheme, const struct middleware_verdict *v);
/* One stage looked at a message of a WebSocket, or would have. */
struct middleware_message_verdict {
    struct middleware_verdict v;
    uint64_t sequence;         /* 0 = the session as a whole */
    size_t input, replacement; /* bytes */
};
void middleware_message_event(const struct egress_request *r, const char *scheme,
                              const struct middleware_message_verdict *m);
/* Something that nobody looked at. */
void middleware_coverage_event(const struct egress_request *r, const char *scheme, const char *config,
                               const char *implementation, const char *outcome);
/* A finding below openshell.middleware. */
void middleware_finding(struct egress_conn *c, enum audit_severity severity, enum audit_action action,
                        const char *what, const char *title, const char *message);

#endif
