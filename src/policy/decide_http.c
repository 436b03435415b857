/* L7 decisions on one request (spec/policy.md 5.1, 5.3, 5.4): deny over allow, across all matching endpoints
 * of all matching rules. No lock, no allocation. A REST rule decides here whether a POST passes; what rules
 * say of GraphQL operations and JSON-RPC calls is in the files beside this one. */
#include <string.h>

#include "core/str.h"
#include "policy/engine_priv.h"
#include "policy/glob.h"

enum l7_verdict l7_pattern_matches(const struct l7_pattern *p, const char *value)
{
    if (p->bad)
        return L7_BROKEN;
    return glob_run(&p->glob, value) ? L7_YES : L7_NO;
}

enum l7_verdict l7_any_pattern(const struct l7_pattern *p, size_t n, const char *value)
{
    for (size_t i = 0; i < n; i++) {
        enum l7_verdict v = l7_pattern_matches(&p[i], value);
        if (v != L7_NO)
            return v;
    }
    return L7_NO;
}

/* --- method, path and query --- */

static bool method_matches(const char *rule, const char *method)
{
    if (!rule || os_str_eq_nocase(rule, method))
        return true;
    return os_str_eq_nocase(rule, "GET") && os_str_eq_nocase(method, "HEAD");
}

/* Allow: the key is there and every value matches. Deny: at least one value matches. */
static enum l7_verdict query_matches(const struct l7_query *q, const struct policy_http *req, bool deny)
{
    bool seen = false;
    for (size_t i = 0; i < req->n_query; i++) {
        if (strcmp(req->query[i].key, q->key) != 0)
            continue;
        seen = true;
        enum l7_verdict v = l7_any_pattern(q->patterns, q->n, req->query[i].value);
        if (v == L7_BROKEN || v == (deny ? L7_YES : L7_NO))
            return v;
    }
    return seen && !deny ? L7_YES : L7_NO;
}

static enum l7_verdict clause_matches(const struct l7_clause *c, const struct policy_http *req, bool deny)
{
    if (!method_matches(c->method, req->method))
        return L7_NO;
    enum l7_verdict v = c->every_path ? L7_YES : l7_pattern_matches(&c->path, req->path);
    for (size_t i = 0; v == L7_YES && i < c->n_query; i++)
        v = query_matches(&c->query[i], req, deny);
    return v;
}

static enum l7_verdict any_clause(const struct l7_rules *rules, const struct policy_http *req, bool deny)
{
    for (size_t i = 0; i < rules->n_clauses; i++) {
        enum l7_verdict v = clause_matches(&rules->clauses[i], req, deny);
        if (v != L7_NO)
            return v;
    }
    return L7_NO;
}

/* --- one endpoint --- */

struct opinion {
    enum l7_verdict allow, deny;
};

/* What a GraphQL endpoint does not allow it denies, so that no broader endpoint lets it through. */
static struct opinion on_operations(const struct engine_endpoint *ep, const struct graphql_request *g)
{
    struct opinion o = {.deny = l7_operations_denied(ep, g), .allow = l7_operations_allowed(ep, g)};
    if (o.deny == L7_NO && o.allow == L7_NO)
        o.deny = L7_YES;
    return o;
}

/* "*" on a websocket endpoint speaks of the upgrade and of messages; it opens nothing to other requests. */
static bool is_websocket_method(const char *method)
{
    return os_str_eq_nocase(method, "GET") || os_str_eq(method, "WEBSOCKET_TEXT");
}

static struct opinion on_clauses(const struct engine_endpoint *ep, const struct policy_http *req)
{
    struct opinion o = {.deny = any_clause(&ep->deny, req, true)};
    /* Calls are allowed only by endpoints that tell them apart: a broader endpoint would let all through. */
    if (req->jsonrpc)
        return o;
    if (ep->pub.protocol != POLICY_WEBSOCKET || is_websocket_method(req->method))
        o.allow = any_clause(&ep->allow, req, false);
    return o;
}

static struct opinion opinion_of(const struct engine_endpoint *ep, const struct policy_http *req,
                                 const struct jsonrpc_call *call)
{
    switch (ep->pub.protocol) {
    case POLICY_TCP:
        break;
    case POLICY_GRAPHQL:
        if (req->graphql)
            return on_operations(ep, req->graphql);
        break;
    case POLICY_JSON_RPC:
    case POLICY_MCP:
        if (req->jsonrpc)
            return (struct opinion){.deny = l7_call_denied(ep, call), .allow = l7_call_allowed(ep, call)};
        break;
    case POLICY_WEBSOCKET:
        if (req->graphql)
            return on_operations(ep, req->graphql);
        /* fallthrough */
    case POLICY_L4:
    case POLICY_REST:
    case POLICY_SQL:
        return on_clauses(ep, req);
    }
    return (struct opinion){0};
}

/* --- all endpoints --- */

static enum policy_l7_why authorise(const struct policy_l4 *l4, const struct policy_http *req,
                                    const struct jsonrpc_call *call)
{
    bool allowed = false;
    bool denied = false;
    for (size_t i = 0; i < l4->n_matched; i++) {
        const struct engine_endpoint *ep = l4->matched[i];
        enum l7_verdict in = ep->every_path ? L7_YES : l7_pattern_matches(&ep->path, req->path);
        if (in == L7_NO)
            continue;
        struct opinion o = in == L7_YES ? opinion_of(ep, req, call) : (struct opinion){.deny = L7_BROKEN};
        if (o.deny == L7_BROKEN || o.allow == L7_BROKEN)
            return POLICY_L7_ERROR;
        denied |= o.deny == L7_YES;
        allowed |= o.allow == L7_YES;
    }
    if (denied)
        return req->graphql ? POLICY_L7_GRAPHQL_DENIED : POLICY_L7_DENY_RULE;
    if (allowed)
        return POLICY_L7_ALLOWED;
    return req->graphql ? POLICY_L7_GRAPHQL_NOT_ALLOWED : POLICY_L7_NOT_ALLOWED;
}

/* Every call of a batch has to pass, and so do the response frames in it. */
static enum policy_l7_why authorise_calls(const struct policy_l4 *l4, const struct policy_http *req)
{
    const struct jsonrpc_request *j = req->jsonrpc;
    enum policy_l7_why why = j->n ? POLICY_L7_ALLOWED : POLICY_L7_NOT_ALLOWED;
    if (j->has_response || j->receive_stream)
        why = authorise(l4, req, NULL);
    for (size_t i = 0; i < j->n && (why == POLICY_L7_ALLOWED); i++)
        why = authorise(l4, req, &j->calls[i]);
    return why;
}

static bool unregistered(const struct policy_endpoint *config, const struct graphql_request *g)
{
    const struct engine_endpoint *ep = (const struct engine_endpoint *)(const void *)config;
    for (size_t i = 0; i < g->n; i++)
        if (!l7_operation_known(ep, &g->operations[i]))
            return true;
    return false;
}

/* What rules are not asked about: requests that do not follow the protocol of the endpoint. */
static enum policy_l7_why refuse_form(const struct policy_endpoint *config, const struct policy_http *req)
{
    bool wants_graphql =
        config->protocol == POLICY_GRAPHQL || (config->websocket_graphql && req->kind == POLICY_HTTP_MESSAGE);
    bool wants_jsonrpc = config->protocol == POLICY_JSON_RPC || config->protocol == POLICY_MCP;
    if (config->protocol == POLICY_WEBSOCKET && req->kind == POLICY_HTTP_REQUEST)
        return POLICY_L7_NEEDS_UPGRADE;
    if ((wants_graphql && !req->graphql) || (wants_jsonrpc && !req->jsonrpc))
        return POLICY_L7_ERROR;
    if (wants_graphql && req->graphql->error)
        return POLICY_L7_GRAPHQL_ERROR;
    if (wants_jsonrpc && req->jsonrpc->error)
        return POLICY_L7_JSONRPC_ERROR;
    if (config->protocol == POLICY_JSON_RPC && req->jsonrpc->has_response)
        return POLICY_L7_JSONRPC_RESPONSE;
    return POLICY_L7_ALLOWED;
}

size_t engine_clause_places(const struct engine_endpoint *ep, bool deny)
{
    const struct l7_rules *rules = deny ? &ep->deny : &ep->allow;
    return rules->n_clauses ? rules->clauses[rules->n_clauses - 1].at + 1 : 0;
}

bool engine_clause_hits(const struct engine_endpoint *ep, bool deny, size_t i, const struct policy_http *req)
{
    const struct l7_rules *rules = deny ? &ep->deny : &ep->allow;
    if (!ep->every_path && l7_pattern_matches(&ep->path, req->path) != L7_YES)
        return false;
    for (size_t k = 0; k < rules->n_clauses; k++)
        if (rules->clauses[k].at == i)
            return clause_matches(&rules->clauses[k], req, deny) == L7_YES;
    return false;
}

/* The most specific path. */
const struct policy_endpoint *policy_l7_config(const struct policy_l4 *l4, const char *path)
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
    out->config = policy_l7_config(l4, req->path);
    if (!out->config)
        return;
    out->why = refuse_form(out->config, req);
    if (out->why != POLICY_L7_ALLOWED)
        return;
    out->why = req->jsonrpc ? authorise_calls(l4, req) : authorise(l4, req, NULL);
    bool refused = out->why == POLICY_L7_GRAPHQL_DENIED || out->why == POLICY_L7_GRAPHQL_NOT_ALLOWED;
    if (refused && unregistered(out->config, req->graphql))
        out->why = POLICY_L7_GRAPHQL_UNKNOWN;
    out->allow = out->why == POLICY_L7_ALLOWED;
    out->audit = !out->allow && out->why != POLICY_L7_ERROR && !out->config->enforce;
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
    case POLICY_L7_NEEDS_UPGRADE:
        os_buf_adds(out, "websocket endpoint requires a valid WebSocket upgrade request");
        break;
    case POLICY_L7_GRAPHQL_ERROR:
        os_buf_addf(out, "GraphQL request rejected: %s", req->graphql->error);
        break;
    case POLICY_L7_GRAPHQL_UNKNOWN:
        os_buf_adds(out, "GraphQL persisted query is not registered");
        break;
    case POLICY_L7_GRAPHQL_DENIED:
        os_buf_adds(out, "GraphQL operation blocked by endpoint policy");
        break;
    case POLICY_L7_GRAPHQL_NOT_ALLOWED:
        os_buf_adds(out, "GraphQL operation not permitted by policy");
        break;
    case POLICY_L7_JSONRPC_ERROR:
        os_buf_addf(out, "JSON-RPC request rejected: %s", req->jsonrpc->error);
        break;
    case POLICY_L7_JSONRPC_RESPONSE:
        os_buf_adds(out, "JSON-RPC response frames are not permitted from client to server");
        break;
    case POLICY_L7_ERROR:
        os_buf_adds(out, "request denied by policy");
        break;
    }
}
