/* The judgement of one request: canonical target, rules, decision event (spec/proxy.md 6.2, spec/policy.md
 * 5).
 */
#include <string.h>

#include "core/str.h"
#include "supervisor/egress/credentials/guard.h"
#include "supervisor/egress/credentials/placeholder.h"
#include "supervisor/egress/internal.h"

static bool is_l7(const struct policy_endpoint *ep)
{
    return ep->protocol != POLICY_L4 && ep->protocol != POLICY_TCP;
}

/* Rules see that there is a credential, not which one. */
static void judge_redacted_query(struct egress_request *r)
{
    struct policy_query_pair *pairs = os_arena_alloc(r->arena, (r->n_query + 1) * sizeof(*pairs));
    for (size_t i = 0; i < r->n_query; i++)
        pairs[i] =
            (struct policy_query_pair){placeholder_redact(r->arena, r->query[i].key, &r->bad_placeholder),
                                       placeholder_redact(r->arena, r->query[i].value, &r->bad_placeholder)};
    r->query = pairs;
}

int request_parse(struct egress_request *r, struct os_error *err)
{
    const struct egress_conn *c = r->conn;
    bool slash = false;
    for (size_t i = 0; i < c->l4.n_configs; i++)
        slash = slash || (is_l7(c->l4.configs[i]) && c->l4.configs[i]->allow_encoded_slash);
    if (policy_target_parse(r->arena, r->head->target.p, r->head->target.n, slash, &r->target, err) < 0)
        return -1;
    guard_show_path(r);
    if (policy_query_parse(r->arena, r->target.query, &r->query, &r->n_query, err) < 0)
        return -1;
    judge_redacted_query(r);
    return 0;
}

void request_drop_body(struct egress_request *r)
{
    os_buf_free(&r->body);
    if (r->body_held)
        body_let_go(r->conn->egress, r->body_held);
    r->body_held = 0;
}

void request_free(struct egress_request *r)
{
    middleware_session_free(r->session);
    r->session = NULL;
    request_drop_body(r);
    os_buf_free(&r->out);
    if (r->refusal)
        deny_answer_free(r->refusal);
    r->refusal = NULL;
}

bool request_is_h2c_upgrade(const struct http1_head *h)
{
    return http1_has_token(h, "upgrade", "h2c") && http1_has_token(h, "connection", "upgrade");
}

/* --- events --- */

/* At most this many operations or calls are named in one event. */
#define NAMED 16

static void put_graphql(struct os_buf *out, const struct graphql_request *g)
{
    for (size_t i = 0; i < g->n && i < NAMED; i++) {
        const struct graphql_operation *op = &g->operations[i];
        os_buf_addf(out, "%stype=%s name=%s fields=", i ? ";" : "", op->type ? op->type : "-",
                    op->name ? op->name : "-");
        for (size_t k = 0; k < op->n_fields && k < NAMED; k++)
            os_buf_addf(out, "%s%s", k ? "," : "", op->fields[k]);
        os_buf_addf(out, "%s persisted=%s", op->n_fields ? "" : "-", op->persisted ? "true" : "false");
    }
    os_buf_adds(out, g->n ? "" : "-");
}

static void put_calls(struct os_buf *out, const struct jsonrpc_request *j)
{
    os_buf_adds(out, "rule_methods=");
    for (size_t i = 0; i < j->n && i < NAMED; i++)
        os_buf_addf(out, "%s%s", i ? "," : "", j->calls[i].method);
    os_buf_adds(out, j->n ? " tools=" : "- tools=");
    bool any = false;
    for (size_t i = 0; i < j->n && i < NAMED; i++) {
        if (!j->calls[i].tool)
            continue;
        os_buf_addf(out, "%s%s", any ? "," : "", j->calls[i].tool);
        any = true;
    }
    os_buf_adds(out, any ? "" : "-");
}

static const char *rule_type(const struct egress_request *r, const struct policy_l7 *v)
{
    if (r->graphql)
        return "l7-graphql";
    if (r->jsonrpc)
        return v->config && v->config->protocol == POLICY_MCP ? "l7-mcp" : "l7-jsonrpc";
    return r->kind == POLICY_HTTP_REQUEST ? "l7" : "l7-websocket";
}

static void log_decision(const struct egress_request *r, const char *scheme, bool forward,
                         const struct policy_l7 *v, const char *reason)
{
    const struct egress_conn *c = r->conn;
    bool upgrade = http1_find(r->head, "upgrade", NULL) != NULL;
    const char *word = v->allow ? (upgrade ? "allow_upgrade" : "allow") : v->audit ? "audit" : "deny";
    struct conn_event ev = {.rule_type = rule_type(r, v), .detail = reason};
    ev.severity = v->allow ? AUDIT_SEV_INFO : v->audit ? AUDIT_SEV_LOW : AUDIT_SEV_MEDIUM;
    ev.action = v->allow ? AUDIT_ALLOWED : v->audit ? AUDIT_OBSERVED : AUDIT_DENIED;
    cleanup_buf struct os_buf what = {.max = OS_AUDIT_LINE};
    if (r->graphql) {
        put_graphql(&what, r->graphql);
        event_http(r, scheme, v->policy, &ev, "%s %s %s %s:%u%s graphql_ops=%s reason=%s",
                   forward ? "FORWARD_GRAPHQL_L7" : "GRAPHQL_L7_REQUEST", word, r->method, c->host, c->port,
                   r->path, os_buf_str(&what), reason);
    } else if (r->jsonrpc) {
        put_calls(&what, r->jsonrpc);
        event_http(r, scheme, v->policy, &ev,
                   "JSONRPC_L7_REQUEST decision=%s %s http_method=%s endpoint=%s:%u%s policy_version=%llu "
                   "reason=%s",
                   word, os_buf_str(&what), r->method, c->host, c->port, r->path,
                   (unsigned long long)c->generation, reason);
    } else {
        event_http(r, scheme, v->policy, &ev, "%s %s %s %s:%u%s reason=%s",
                   r->kind == POLICY_HTTP_MESSAGE ? "WEBSOCKET_L7_REQUEST"
                   : forward                      ? "FORWARD_L7"
                                                  : "L7_REQUEST",
                   word, r->method, c->host, c->port, r->path, reason);
    }
}

/* What the request is was understood; whether it may pass is for the rules alone to say. */
static bool others_decide(const struct egress_conn *c, const struct policy_l7 *v)
{
    return c->egress->opt.extra && c->egress->opt.extra->alone && v->config &&
           (v->why == POLICY_L7_DENY_RULE || v->why == POLICY_L7_NOT_ALLOWED ||
            v->why == POLICY_L7_GRAPHQL_UNKNOWN || v->why == POLICY_L7_GRAPHQL_DENIED ||
            v->why == POLICY_L7_GRAPHQL_NOT_ALLOWED);
}

/* Connections without inspection are not asked about: nobody reads what else is sent on them. */
static void ask_extra(const struct egress_conn *c, const struct policy_http *http, struct policy_l7 *v,
                      struct os_buf *reason)
{
    const struct policy_extra *extra = c->egress->opt.extra;
    if (!extra || !v->config)
        return;
    enum policy_opinion o = extra->l7(extra->ctx, c->host, c->port, &c->who.process, http, reason);
    v->allow = o == POLICY_EXTRA_ALLOW;
    v->audit = o == POLICY_EXTRA_DENY && !v->config->enforce;
}

static void decide(struct egress_request *r, struct policy_l7 *v, struct os_buf *reason)
{
    const struct egress_conn *c = r->conn;
    const struct policy_http http = {.method = r->method,
                                     .path = r->judged,
                                     .query = r->query,
                                     .n_query = r->n_query,
                                     .kind = r->kind,
                                     .graphql = r->graphql,
                                     .jsonrpc = r->jsonrpc};
    policy_decide_http(c->engine, &c->l4, &http, v);
    if (request_is_h2c_upgrade(r->head)) {
        v->allow = v->audit = false;
        os_buf_adds(reason, "HTTP/2 cleartext upgrade (h2c) is not supported for L7-inspected endpoints");
    } else if (r->target.has_encoded_slash && v->config && !v->config->allow_encoded_slash) {
        v->allow = v->audit = false;
        os_buf_adds(reason,
                    "request-target contains an encoded '/' (%2F) which is not allowed on this endpoint");
    } else if (v->allow || others_decide(c, v)) {
        ask_extra(c, &http, v, reason);
    } else {
        struct policy_http shown = http;
        shown.path = r->path;
        policy_l7_reason(v, &shown, reason);
    }
}

enum request_verdict request_judge(struct egress_request *r, const char *scheme, bool forward,
                                   const char **policy, struct os_buf *reason)
{
    struct policy_l7 v;
    decide(r, &v, reason);
    *policy = os_arena_strdup(r->arena, v.policy);
    log_decision(r, scheme, forward, &v, os_buf_str(reason));
    return v.allow || v.audit ? REQUEST_FORWARD : REQUEST_DENY;
}

enum request_verdict request_rejudge(struct egress_request *r, const char *scheme, const char **policy,
                                     struct os_buf *reason)
{
    const struct egress_conn *c = r->conn;
    struct policy_l7 v;
    decide(r, &v, reason);
    *policy = os_arena_strdup(r->arena, v.policy);
    if (v.allow)
        return REQUEST_FORWARD;
    const struct conn_event ev = {"Open", v.audit ? AUDIT_SEV_LOW : AUDIT_SEV_MEDIUM,
                                  v.audit ? AUDIT_OBSERVED : AUDIT_DENIED, rule_type(r, &v),
                                  os_buf_str(reason)};
    event_http(r, scheme, v.policy, &ev, "L7_REQUEST_TRANSFORMED %s %s %s:%u%s reason=%s",
               v.audit ? "audit" : "deny", r->method, c->host, c->port, r->path, os_buf_str(reason));
    return v.audit ? REQUEST_FORWARD : REQUEST_DENY;
}
