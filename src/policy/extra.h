/* A second opinion on decisions of the compiled policy: it can only narrow what that allows, unless it
 * decides alone. Callbacks come from connection threads and may block; without one a decision takes no lock
 * and allocates nothing. */
#ifndef POLICY_EXTRA_H
#define POLICY_EXTRA_H

#include "policy/engine.h"

enum policy_opinion {
    POLICY_EXTRA_ALLOW,
    POLICY_EXTRA_DENY,        /* as a rule of the policy would: an endpoint that only audits forwards it */
    POLICY_EXTRA_UNAVAILABLE, /* nobody was there to ask: denied, whatever the endpoint says */
};

/* Both append the reason unless they allow. */
struct policy_extra {
    void *ctx;
    /* The policy is from files: the compiled one only says how connections and requests are read. */
    bool alone;
    /* A connection that the compiled policy allows. May clear l4->declared_host. Alone: any connection, with
     * its candidates in l4, of which it chooses. */
    enum policy_opinion (*l4)(void *ctx, const struct policy_engine *e, const char *host, uint16_t port,
                              const struct policy_process *who, struct policy_l4 *l4, struct os_buf *reason);
    /* A request that the compiled policy allows; alone: any that could be read. */
    enum policy_opinion (*l7)(void *ctx, const char *host, uint16_t port, const struct policy_process *who,
                              const struct policy_http *req, struct os_buf *reason);
};

#endif
