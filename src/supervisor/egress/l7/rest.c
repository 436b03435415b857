/* The judgement of one HTTP request: canonical target, rules, decision event (spec/proxy.md 6.2,
 * spec/policy.md 5). */
#include <string.h>

#include "core/str.h"
#include "supervisor/egress/internal.h"

static bool is_l7(const struct policy_endpoint *ep)
{
    return ep->protocol != POLICY_L4 && ep->protocol != POLICY_TCP;
}

int rest_parse(struct egress_request *r, struct os_error *err)
{
    const struct egress_conn *c = r->conn;
    bool slash = false;
    for (size_t i = 0; i < c->l4.n_configs; i++)
        slash = slash || (is_l7(c->l4.configs[i]) && c->l4.configs[i]->allow_encoded_slash);
    if (policy_target_parse(r->arena, c->head.target.p, c->head.target.n, slash, &r->target, err) < 0)
        return -1;
    r->path = r->target.path;
    return policy_query_parse(r->arena, r->target.query, &r->query, &r->n_query, err);
}

bool rest_is_h2c_upgrade(const struct http1_head *h)
{
    return http1_has_token(h, "upgrade", "h2c") && http1_has_token(h, "connection", "upgrade");
}

static void log_decision(const struct egress_request *r, const char *scheme, bool forward,
                         const struct policy_l7 *v, const char *reason)
{
    const struct egress_conn *c = r->conn;
    bool upgrade = http1_find(&c->head, "upgrade", NULL) != NULL;
    const char *word = v->allow ? (upgrade ? "allow_upgrade" : "allow") : v->audit ? "audit" : "deny";
    struct conn_event ev = {.rule_type = "l7", .detail = reason};
    ev.severity = v->allow ? AUDIT_SEV_INFO : v->audit ? AUDIT_SEV_LOW : AUDIT_SEV_MEDIUM;
    ev.action = v->allow ? AUDIT_ALLOWED : v->audit ? AUDIT_OBSERVED : AUDIT_DENIED;
    event_http(r, scheme, v->policy, &ev, "%s %s %s %s:%u%s reason=%s", forward ? "FORWARD_L7" : "L7_REQUEST",
               word, r->method, c->host, c->port, r->path, reason);
}

enum rest_verdict rest_judge(struct egress_request *r, const char *scheme, bool forward, const char **policy,
                             struct os_buf *reason)
{
    const struct egress_conn *c = r->conn;
    const struct policy_http http = {
        .method = r->method, .path = r->path, .query = r->query, .n_query = r->n_query};
    struct policy_l7 v;
    policy_decide_http(c->engine, &c->l4, &http, &v);
    if (rest_is_h2c_upgrade(&c->head)) {
        v.allow = v.audit = false;
        os_buf_adds(reason, "HTTP/2 cleartext upgrade (h2c) is not supported for L7-inspected endpoints");
    } else if (r->target.has_encoded_slash && v.config && !v.config->allow_encoded_slash) {
        v.allow = v.audit = false;
        os_buf_adds(reason,
                    "request-target contains an encoded '/' (%2F) which is not allowed on this endpoint");
    } else if (!v.allow) {
        policy_l7_reason(&v, &http, reason);
    }
    *policy = os_arena_strdup(r->arena, v.policy);
    log_decision(r, scheme, forward, &v, os_buf_str(reason));
    return v.allow || v.audit ? REST_FORWARD : REST_DENY;
}
