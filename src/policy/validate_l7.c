/* L7 reasons shared by every validator (spec/policy.md 2.2): what makes an endpoint's inspection settings
 * contradictory or void. */
#include <stdio.h>
#include <string.h>

#include "core/cleanup.h"
#include "policy/glob.h"
#include "policy/validate.h"

static const struct {
    const char *name;
    enum policy_protocol value;
} protocols[] = {
    {"", POLICY_L4},
    {"tcp", POLICY_TCP},
    {"rest", POLICY_REST},
    {"websocket", POLICY_WEBSOCKET},
    {"graphql", POLICY_GRAPHQL},
    {"sql", POLICY_SQL},
    {"json-rpc", POLICY_JSON_RPC},
    {"mcp", POLICY_MCP},
};

bool policy_protocol_parse(const char *name, enum policy_protocol *out)
{
    for (size_t i = 0; i < OS_ARRAY_LEN(protocols); i++) {
        if (os_str_eq_nocase(policy_text(name), protocols[i].name)) {
            *out = protocols[i].value;
            return true;
        }
    }
    return false;
}

const char *policy_protocol_name(enum policy_protocol p)
{
    for (size_t i = 0; i < OS_ARRAY_LEN(protocols); i++)
        if (protocols[i].value == p)
            return protocols[i].name;
    return "";
}

static bool filled(const char *s)
{
    return s && *s;
}

static bool clause_empty(const policy_clause *c, bool fields_count)
{
    if (!c)
        return true;
    if (filled(c->method) || filled(c->path) || filled(c->command) || filled(c->operation_type) ||
        filled(c->operation_name))
        return false;
    if (fields_count)
        return !c->n_fields && !c->n_params;
    return !policy_map_find(c->params, c->n_params, "name");
}

bool policy_rules_all_empty(const policy_endpoint_doc *ep, bool fields_count)
{
    for (size_t i = 0; i < ep->n_rules; i++) {
        if (!clause_empty(ep->rules[i]->allow, fields_count))
            return false;
    }
    return ep->n_rules > 0;
}

static void base_reasons(const policy_endpoint_doc *ep, enum policy_protocol p, struct os_strv *out)
{
    bool access = filled(ep->access);
    bool mcp_all = p == POLICY_MCP && policy_endpoint_allows_all_mcp(ep);
    if (p == POLICY_TCP && (access || ep->n_rules || ep->n_deny_rules))
        os_strv_add(out,
                    "protocol tcp does not support access, rules, or deny_rules; remove those L7 fields");
    if (ep->n_rules && access)
        os_strv_add(out, "rules and access are mutually exclusive");
    if (p == POLICY_MCP && access)
        os_strv_add(out, "protocol mcp does not support access presets; use rules/deny_rules or set "
                         "mcp.allow_all_known_mcp_methods: true for an allow-all MCP policy");
    if (p == POLICY_JSON_RPC && access)
        os_strv_add(out, "protocol json-rpc does not support access presets; use explicit rules with "
                         "allow.method such as \"*\"");
    if (p == POLICY_JSON_RPC && !ep->n_rules)
        os_strv_add(out, "protocol json-rpc requires explicit rules with allow.method");
    bool by_preset = p == POLICY_REST || p == POLICY_WEBSOCKET || p == POLICY_GRAPHQL || p == POLICY_SQL;
    if (by_preset && !ep->n_rules && !access)
        os_strv_add(out, "protocol requires rules or access to define allowed traffic");
    if (p == POLICY_MCP && !ep->n_rules && !mcp_all)
        os_strv_add(out, "protocol mcp requires rules when mcp.allow_all_known_mcp_methods is false");
    if (!mcp_all && policy_rules_all_empty(ep, true))
        os_strv_add(out, "rules would deny all traffic (no allow clause found). Use `access: full` or add "
                         "allow clauses to rules.");
    /* Accepted silently they would restrict nothing. */
    if (ep->n_rules && p == POLICY_L4)
        os_strv_add(out, "rules require protocol (L7 inspection must be enabled)");
    if (access && strcmp(ep->access, "full") != 0 && p == POLICY_L4)
        os_strv_add(out, "access other than full requires protocol (L7 inspection must be enabled)");
    if (ep->n_deny_rules && p == POLICY_L4)
        os_strv_add(out, "deny_rules require protocol (L7 inspection must be enabled)");
    if (ep->n_deny_rules && !ep->n_rules && !access && p != POLICY_MCP)
        os_strv_add(out, "deny_rules require rules or access to define the base allow set");
}

static void tcp_reason(const policy_endpoint_doc *ep, struct os_strv *out)
{
    const struct {
        const char *name;
        bool set;
    } fields[] = {
        {"enforcement", filled(ep->enforcement)},
        {"path", filled(ep->path)},
        {"allow_encoded_slash", ep->allow_encoded_slash},
        {"websocket_credential_rewrite", ep->websocket_credential_rewrite},
        {"request_body_credential_rewrite", ep->request_body_credential_rewrite},
        {"persisted_queries", filled(ep->persisted_queries)},
        {"graphql_persisted_queries", ep->n_graphql_persisted_queries > 0},
        {"graphql_max_body_bytes", ep->graphql_max_body_bytes > 0},
        {"json_rpc_max_body_bytes", ep->json_rpc_max_body_bytes > 0},
        {"mcp", ep->mcp != NULL},
    };
    cleanup_strv struct os_strv names = {0};
    for (size_t i = 0; i < OS_ARRAY_LEN(fields); i++) {
        if (fields[i].set)
            os_strv_add(&names, fields[i].name);
    }
    if (!names.n)
        return;
    cleanup_free char *list = os_strv_join(&names, ", ");
    os_strv_addf(out, "protocol tcp does not support L7-only fields: %s; remove those fields", list);
}

static bool operation_type_ok(const char *type)
{
    /* A name is optional here; the runtime rules ask for it. '*' is documented, so it is accepted. */
    static const char *const known[] = {"query", "mutation", "subscription", "*"};
    for (size_t i = 0; i < OS_ARRAY_LEN(known); i++) {
        if (!strcmp(type, known[i]))
            return true;
    }
    return false;
}

static void graphql_reasons(const policy_endpoint_doc *ep, struct os_strv *out)
{
    for (size_t i = 0; i < ep->n_rules; i++) {
        const policy_clause *c = ep->rules[i]->allow;
        if (c && !operation_type_ok(policy_text(c->operation_type)))
            os_strv_addf(out, "rules[%zu].allow.operation_type must be query, mutation, or subscription", i);
    }
    for (size_t i = 0; i < ep->n_deny_rules; i++) {
        if (!operation_type_ok(policy_text(ep->deny_rules[i]->operation_type)))
            os_strv_addf(out, "deny_rules[%zu].operation_type must be query, mutation, or subscription", i);
    }
    for (size_t i = 0; i < ep->n_graphql_persisted_queries; i++) {
        const policy_graphql *g = ep->graphql_persisted_queries[i]->value;
        const char *type = g ? policy_text(g->operation_type) : "";
        if (!operation_type_ok(type) || !strcmp(type, "*"))
            os_strv_addf(out,
                         "graphql_persisted_queries[%s].operation_type must be query, mutation, or "
                         "subscription",
                         policy_text(ep->graphql_persisted_queries[i]->key));
    }
}

static void value_reasons(const policy_endpoint_doc *ep, enum policy_protocol p, struct os_strv *out)
{
    const char *path = policy_text(ep->path);
    const char *persisted = policy_text(ep->persisted_queries);
    const char *access = policy_text(ep->access);
    if (*path && *path != '/' && strcmp(path, "**") != 0)
        os_strv_add(out, "path must start with '/' or be '**'");
    if (*persisted && strcmp(persisted, "deny") != 0 && strcmp(persisted, "allow_registered") != 0)
        os_strv_addf(out, "persisted_queries must be 'deny' or 'allow_registered', got '%s'", persisted);
    if (p == POLICY_SQL && os_str_eq(ep->enforcement, "enforce"))
        os_strv_add(out, "SQL enforcement requires full SQL parsing; use enforcement: audit");
    if (ep->mcp && p != POLICY_MCP)
        os_strv_add(out, "mcp options are only valid for protocol mcp");
    if (p == POLICY_GRAPHQL)
        graphql_reasons(ep, out);
    if (*access && strcmp(access, "read-only") != 0 && strcmp(access, "read-write") != 0 &&
        strcmp(access, "full") != 0)
        os_strv_addf(out, "unsupported access preset '%s' (expected read-only, read-write, or full)", access);
}

static void pattern_reason(const char *where, const char *pattern, struct os_strv *out)
{
    const char *bad = policy_glob_check(policy_text(pattern));
    if (bad)
        os_strv_addf(out, "%s: glob pattern '%s' has %s", where, pattern, bad);
}

static void matcher_reasons(const char *where, const void *entries, size_t n, struct os_strv *out)
{
    struct policy_map_entry *const *list = entries;
    for (size_t i = 0; i < n; i++) {
        const policy_matcher *m = (const void *)list[i]->value;
        if (m && !m->n_any)
            pattern_reason(where, m->glob, out);
        for (size_t k = 0; m && k < m->n_any; k++)
            pattern_reason(where, m->any[k], out);
    }
}

static void clause_patterns(const char *where, const policy_clause *c, struct os_strv *out)
{
    pattern_reason(where, c->path, out);
    pattern_reason(where, c->operation_name, out);
    for (size_t i = 0; i < c->n_fields; i++)
        pattern_reason(where, c->fields[i], out);
    matcher_reasons(where, c->query, c->n_query, out);
    matcher_reasons(where, c->params, c->n_params, out);
}

/* A malformed pattern can only ever make an evaluation fail, so it is refused where it is written. */
static void pattern_reasons(const policy_endpoint_doc *ep, struct os_strv *out)
{
    char where[64];
    for (size_t i = 0; i < ep->n_rules; i++) {
        snprintf(where, sizeof(where), "rules[%zu].allow", i);
        if (ep->rules[i]->allow)
            clause_patterns(where, ep->rules[i]->allow, out);
    }
    for (size_t i = 0; i < ep->n_deny_rules; i++) {
        snprintf(where, sizeof(where), "deny_rules[%zu]", i);
        clause_patterns(where, policy_deny_clause(ep->deny_rules[i]), out);
    }
}

void policy_l7_reasons(const policy_endpoint_doc *ep, struct os_strv *reasons)
{
    enum policy_protocol p;
    if (!policy_protocol_parse(ep->protocol, &p)) {
        os_strv_addf(reasons,
                     "unknown protocol '%s' (expected tcp, rest, websocket, graphql, sql, json-rpc, or mcp)",
                     ep->protocol);
        return;
    }
    base_reasons(ep, p, reasons);
    if (p == POLICY_TCP)
        tcp_reason(ep, reasons);
    value_reasons(ep, p, reasons);
    pattern_reasons(ep, reasons);
}
