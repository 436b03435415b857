/* L7 decisions on one HTTP request (spec/policy.md 5.1, 5.3, 5.4). No lock, no allocation. A REST rule
 * decides here whether a POST passes. */
#include <string.h>

#include "core/str.h"
#include "policy/engine_priv.h"
#include "policy/glob.h"

enum verdict { NO = 0, YES = 1, BROKEN = -1 }; /* BROKEN: a pattern that cannot be evaluated */

static enum verdict pattern_matches(const struct l7_pattern *p, const char *value)
{
    if (p->bad)
        return BROKEN;
    return glob_run(&p->glob, value) ? YES : NO;
}

static bool method_matches(const char *rule, const char *method)
{
    if (!rule || os_str_eq_nocase(rule, method))
        return true;
    return os_str_eq_nocase(rule, "GET") && os_str_eq_nocase(method, "HEAD");
}

static enum verdict value_matches(const struct l7_query *q, const char *value)
{
    for (size_t i = 0; i < q->n; i++) {
        enum verdict v = pattern_matches(&q->patterns[i], value);
        if (v != NO)
            return v;
    }
    return NO;
}

/* Allow: the key is there and every value matches. Deny: at least one value matches. */
static enum verdict query_matches(const struct l7_query *q, const struct policy_http *req, bool deny)
{
    bool seen = false;
    for (size_t i = 0; i < req->n_query; i++) {
        if (strcmp(req->query[i].key, q->key) != 0)
            continue;
        seen = true;
        enum verdict v = value_matches(q, req->query[i].value);
        if (v == BROKEN || v == (deny ? YES : NO))
            return v;
    }
    return seen && !deny ? YES : NO;
}

static enum verdict clause_matches(const struct l7_clause *c, const struct policy_http *req, bool deny)
{
    if (!method_matches(c->method, req->method))
        return NO;
    enum verdict v = c->every_path ? YES : pattern_matches(&c->path, req->path);
    for (size_t i = 0; v == YES && i < c->n_query; i++)
        v = query_matches(&c->query[i], req, deny);
    return v;
}

static enum verdict any_clause(const struct l7_clause *list, size_t n, const struct policy_http *req,
                               bool deny)
{
    for (size_t i = 0; i < n; i++) {
        enum verdict v = clause_matches(&list[i], req, deny);
        if (v != NO)
            return v;
    }
    return NO;
}

static enum verdict covers(const struct engine_endpoint *ep, const char *path)
{
    return ep->every_path ? YES : pattern_matches(&ep->path, path);
}

bool engine_clause_hits(const struct engine_endpoint *ep, bool deny, size_t i, const struct policy_http *req)
{
    return covers(ep, req->path) == YES &&
           clause_matches(deny ? &ep->deny[i] : &ep->allow[i], req, deny) == YES;
}

/* The configuration that parses the request: the most specific path. */
static const struct policy_endpoint *choose(const struct policy_l4 *l4, const char *path)
{
    const struct policy_endpoint *best = NULL;
    for (size_t i = 0; i < l4->n_configs; i++) {
        const struct policy_endpoint *ep = l4->configs[i];
        if (ep->protocol == POLICY_L4 || ep->protocol == POLICY_TCP || !policy_path_selects(ep->path, path))
            continue;
        if (!best || ep->path_weight > best->path_weight)
            best = ep;
    }
    return best;
}

/* Deny over allow, across all matching endpoints of all matching rules. */
static enum policy_l7_why authorise(const struct policy_l4 *l4, const struct policy_http *req)
{
    bool allowed = false;
    bool denied = false;
    for (size_t i = 0; i < l4->n_matched; i++) {
        const struct engine_endpoint *ep = l4->matched[i];
        if (!ep->n_allow && !ep->n_deny)
            continue;
        enum verdict in = covers(ep, req->path);
        if (in == NO)
            continue;
        enum verdict deny = in == YES ? any_clause(ep->deny, ep->n_deny, req, true) : BROKEN;
        enum verdict allow = deny == NO && !allowed ? any_clause(ep->allow, ep->n_allow, req, false) : NO;
        if (deny == BROKEN || allow == BROKEN)
            return POLICY_L7_ERROR;
        denied |= deny == YES;
        allowed |= allow == YES;
    }
    if (denied)
        return POLICY_L7_DENY_RULE;
    return allowed ? POLICY_L7_ALLOWED : POLICY_L7_NOT_ALLOWED;
}

void policy_decide_http(const struct policy_engine *e, const struct policy_l4 *l4,
                        const struct policy_http *req, struct policy_l7 *out)
{
    *out = (struct policy_l7){.why = POLICY_L7_NO_PATH, .policy = l4->policy ? l4->policy : ""};
    if (!l4->allow)
        return;
    if (!policy_l4_inspects(l4)) {
        out->allow = true;
        out->why = POLICY_L7_ALLOWED;
        return;
    }
    out->config = choose(l4, req->path);
    if (!out->config)
        return;
    out->why = out->config->protocol == POLICY_REST ? authorise(l4, req) : POLICY_L7_UNSUPPORTED;
    out->allow = out->why == POLICY_L7_ALLOWED;
    bool by_rule = out->why == POLICY_L7_DENY_RULE || out->why == POLICY_L7_NOT_ALLOWED;
    out->audit = by_rule && !out->config->enforce;
}

static const char *protocol_name(enum policy_protocol p)
{
    static const char *const names[] = {
        [POLICY_L4] = "l4",
        [POLICY_TCP] = "tcp",
        [POLICY_REST] = "rest",
        [POLICY_WEBSOCKET] = "websocket",
        [POLICY_GRAPHQL] = "graphql",
        [POLICY_SQL] = "sql",
        [POLICY_JSON_RPC] = "json-rpc",
        [POLICY_MCP] = "mcp",
    };
    return names[p];
}

void policy_l7_reason(const struct policy_l7 *r, const struct policy_http *req, struct os_buf *out)
{
    switch (r->why) {
    case POLICY_L7_ALLOWED:
        os_buf_addf(out, "%s %s permitted by policy", req->method, req->path);
        break;
    case POLICY_L7_NO_PATH:
        os_buf_adds(out, "no L7 endpoint path matched request");
        break;
    case POLICY_L7_DENY_RULE:
        os_buf_addf(out, "%s %s blocked by deny rule", req->method, req->path);
        break;
    case POLICY_L7_NOT_ALLOWED:
        os_buf_addf(out, "%s %s not permitted by policy", req->method, req->path);
        break;
    case POLICY_L7_UNSUPPORTED:
        os_buf_addf(out, "%s inspection is not supported by this sandbox; request refused",
                    protocol_name(r->config->protocol));
        break;
    case POLICY_L7_ERROR:
        os_buf_adds(out, "request denied by policy");
        break;
    }
}
