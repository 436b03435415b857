/* One question to the engine, taken through the stages of the egress path in their order: connection,
 * address, request (docs/architecture/paths.md 1). */
#include "policy/explain.h"

#include <string.h>

#include "core/cleanup.h"
#include "policy/engine_priv.h"
#include "policy/explain_priv.h"
#include "policy/target.h"
#include "policy/validate.h"

struct policy_engine *explain_compile(const policy_doc *doc, bool identity, struct os_error *err)
{
    const struct policy_compile_options opt = {.binary_identity = identity};
    return policy_compile(doc, &opt, err);
}

struct explain_place explain_place_of(struct os_arena *arena, const policy_doc *doc,
                                      const struct policy_engine *e, const struct engine_endpoint *ep)
{
    struct policy_map_entry **sorted =
        policy_map_sorted(arena, doc->network_policies, doc->n_network_policies);
    size_t left = (size_t)(ep - e->endpoints);
    for (size_t i = 0; i < doc->n_network_policies; i++) {
        policy_rule *rule = (void *)sorted[i]->value;
        size_t n = rule ? rule->n_endpoints : 0;
        if (left < n)
            return (struct explain_place){sorted[i]->key, rule, left};
        left -= n;
    }
    return (struct explain_place){.key = ""};
}

/* --- texts --- */

static char *endpoint_text(struct os_arena *arena, const struct explain_place *at)
{
    cleanup_buf struct os_buf out = {0};
    const policy_endpoint_doc *ep = at->rule->endpoints[at->endpoint];
    size_t n;
    const uint32_t *ports = policy_endpoint_ports(ep, &n);
    os_buf_addf(&out, "endpoints[%zu] (%s:", at->endpoint, *policy_text(ep->host) ? ep->host : "<any-host>");
    for (size_t i = 0; i < n; i++)
        os_buf_addf(&out, "%s%u", i ? "," : "", ports[i]);
    os_buf_addf(&out, "%s)", policy_text(ep->path));
    return os_arena_strdup(arena, os_buf_str(&out));
}

static void put_clause(struct os_buf *out, const char *list, size_t i, const policy_clause *c)
{
    os_buf_addf(out, ", %s[%zu] (%s %s", list, i, *policy_text(c->method) ? c->method : "*",
                *policy_text(c->path) ? c->path : "**");
    for (size_t k = 0; k < c->n_query; k++)
        os_buf_addf(out, "%s%s", k ? "&" : "?", policy_text(c->query[k]->key));
    os_buf_addc(out, ')');
}

/* The first clause of the matching endpoints that decides, with its place. */
static void name_clause(struct os_arena *arena, const policy_doc *doc, const struct policy_engine *e,
                        const struct policy_l4 *l4, const struct policy_http *req, bool deny,
                        struct policy_answer *out)
{
    for (size_t i = 0; i < l4->n_matched; i++) {
        const struct engine_endpoint *ep = l4->matched[i];
        size_t n = engine_clause_places(ep, deny);
        for (size_t k = 0; k < n; k++) {
            if (!engine_clause_hits(ep, deny, k, req))
                continue;
            struct explain_place at = explain_place_of(arena, doc, e, ep);
            const policy_endpoint_doc *from = at.rule->endpoints[at.endpoint];
            cleanup_buf struct os_buf text = {0};
            os_buf_adds(&text, endpoint_text(arena, &at));
            if (deny)
                put_clause(&text, "deny_rules", k, policy_deny_clause(from->deny_rules[k]));
            else if (from->n_rules)
                put_clause(&text, "rules", k, from->rules[k]->allow);
            else
                os_buf_addf(&text, ", access: %s", policy_text(from->access));
            out->rule = at.key;
            out->detail = os_arena_strdup(arena, os_buf_str(&text));
            return;
        }
    }
}

/* --- stages --- */

static void deny(struct policy_answer *out, enum policy_cause cause, const char *layer, const char *reason)
{
    out->verdict = POLICY_VERDICT_DENIED;
    out->cause = cause;
    out->layer = layer;
    out->reason = reason;
}

static int judge_connection(struct explain *x, struct policy_l4 *l4)
{
    const struct policy_question *q = x->q;
    policy_decide_l4(x->engine, q->host, q->port, &q->who, l4);
    if (l4->allow) {
        struct explain_place at = explain_place_of(x->arena, x->doc, x->engine, l4->matched[0]);
        x->out->rule = at.key;
        x->out->detail = endpoint_text(x->arena, &at);
        return 0;
    }
    cleanup_buf struct os_buf reason = {0};
    policy_l4_reason(x->engine, q->host, q->port, &q->who, &reason);
    struct policy_engine *any = explain_compile(x->doc, false, NULL);
    struct policy_l4 without;
    policy_decide_l4(any, q->host, q->port, &q->who, &without);
    policy_engine_unref(any);
    deny(x->out, without.allow ? POLICY_CAUSE_BINARY : POLICY_CAUSE_ENDPOINT, "connection",
         os_arena_strdup(x->arena, os_buf_str(&reason)));
    return -1;
}

static int judge_address(struct explain *x, const struct policy_l4 *l4)
{
    cleanup_error struct os_error reason = {0};
    if (!x->q->address || !x->q->check_address || x->q->check_address(l4, x->q, &reason) == 0)
        return 0;
    deny(x->out, POLICY_CAUSE_ADDRESS, "address", os_arena_strdup(x->arena, os_error_text(&reason)));
    return -1;
}

/* The target as the proxy reads it; what it would refuse before any rule is asked ends here. */
static int read_request(struct explain *x, const struct policy_l4 *l4, struct policy_target *target,
                        struct policy_http *req)
{
    cleanup_error struct os_error err = {0};
    bool slash = false;
    for (size_t i = 0; i < l4->n_configs; i++)
        slash |= l4->configs[i]->allow_encoded_slash && l4->configs[i]->protocol != POLICY_L4 &&
                 l4->configs[i]->protocol != POLICY_TCP;
    const char *raw = x->q->target;
    *req = (struct policy_http){.method = x->q->method};
    if (policy_target_parse(x->arena, raw, strlen(raw), slash, target, &err) == 0 &&
        policy_query_parse(x->arena, target->query, &req->query, &req->n_query, &err) == 0) {
        req->path = target->path;
        return 0;
    }
    deny(x->out, POLICY_CAUSE_OTHER, "request", os_arena_strdup(x->arena, os_error_text(&err)));
    return -1;
}

static enum policy_cause cause_of(enum policy_l7_why why)
{
    switch (why) {
    case POLICY_L7_ALLOWED:
        return POLICY_CAUSE_NONE;
    case POLICY_L7_NO_PATH:
        return POLICY_CAUSE_NO_PATH;
    case POLICY_L7_DENY_RULE:
        return POLICY_CAUSE_DENY_RULE;
    case POLICY_L7_NOT_ALLOWED:
        return POLICY_CAUSE_NOT_ALLOWED;
    default:
        return POLICY_CAUSE_OTHER;
    }
}

/* Asks no rule about method and path alone. */
static bool reads_body(const struct policy_endpoint *config)
{
    return config && (config->protocol == POLICY_GRAPHQL || config->protocol == POLICY_JSON_RPC ||
                      config->protocol == POLICY_MCP);
}

static void judge_request(struct explain *x, const struct policy_l4 *l4)
{
    struct policy_target target;
    struct policy_http req;
    struct policy_l7 l7;
    struct policy_answer *out = x->out;
    if (read_request(x, l4, &target, &req) < 0)
        return;
    policy_decide_http(x->engine, l4, &req, &l7);
    out->layer = "request";
    if (target.has_encoded_slash && l7.config && !l7.config->allow_encoded_slash) {
        deny(out, POLICY_CAUSE_OTHER, "request",
             "request-target contains an encoded '/' (%2F) which is not allowed on this endpoint");
        return;
    }
    if (reads_body(l7.config)) {
        out->verdict = POLICY_VERDICT_DEPENDS;
        out->reason = os_arena_printf(x->arena,
                                      "the rules of this endpoint (protocol: %s) are about what is in the "
                                      "body of a request, which a method and a URL do not say",
                                      policy_protocol_name(l7.config->protocol));
        return;
    }
    out->cause = cause_of(l7.why);
    bool by_deny = l7.why == POLICY_L7_DENY_RULE;
    if (l7.why == POLICY_L7_ALLOWED || by_deny)
        name_clause(x->arena, x->doc, x->engine, l4, &req, by_deny, out);
    if (l7.allow)
        return;
    cleanup_buf struct os_buf reason = {0};
    policy_l7_reason(&l7, &req, &reason);
    deny(out, out->cause, "request", os_arena_strdup(x->arena, os_buf_str(&reason)));
    if (l7.audit)
        out->verdict = POLICY_VERDICT_AUDITED;
}

/* Relayed as it comes: the sandbox does not read SQL (spec/policy.md 5.10). */
static bool only_sql(const struct policy_l4 *l4)
{
    for (size_t i = 0; i < l4->n_configs; i++)
        if (l4->configs[i]->protocol != POLICY_SQL)
            return false;
    return l4->n_configs > 0;
}

int policy_explain(struct os_arena *arena, const policy_doc *doc, const struct policy_question *q,
                   struct policy_answer *out, struct os_error *err)
{
    struct policy_engine *engine = explain_compile(doc, q->who.exe != NULL, err);
    struct policy_l4 l4;
    if (!engine)
        return -1;
    *out = (struct policy_answer){.layer = "connection"};
    struct explain x = {.arena = arena, .doc = doc, .engine = engine, .q = q, .out = out};
    if (judge_connection(&x, &l4) == 0 && judge_address(&x, &l4) == 0) {
        bool skip =
            l4.opaque || only_sql(&l4) || (q->tls && l4.n_configs && l4.configs[0]->tls == POLICY_TLS_SKIP);
        out->unread = skip || !policy_l4_inspects(&l4);
        if (q->method && !out->unread)
            judge_request(&x, &l4);
    }
    policy_engine_unref(engine);
    return 0;
}
