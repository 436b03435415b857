/* Rules that a running supervisor adds (spec/policy.md 2.3): contradictions inside L7 rules that the gateway
 * rule set does not look at. */
#include <stdio.h>
#include <string.h>

#include "core/cleanup.h"
#include "policy/glob.h"
#include "policy/validate.h"

struct place {
    struct os_strv *out;
    char loc[512];
    const policy_endpoint_doc *ep;
    enum policy_protocol protocol;
};

static bool filled(const char *s)
{
    return s && *s;
}

static void report(struct place *p, const char *text)
{
    os_strv_addf(p->out, "%s%s", p->loc, text);
}

static const policy_matcher *tool_of(const policy_clause *c)
{
    static const policy_matcher empty;
    const struct policy_map_entry *e = policy_map_find(c->params, c->n_params, "name");
    if (!e)
        return NULL;
    return e->value ? (const void *)e->value : &empty;
}

static bool only_tool(const policy_clause *c)
{
    return c->n_params == 1 && tool_of(c);
}

static bool has_wildcard(const char *s)
{
    return strpbrk(policy_text(s), "*?[]{}") != NULL;
}

static bool tool_has_wildcard(const policy_matcher *m)
{
    for (size_t i = 0; i < m->n_any; i++) {
        if (has_wildcard(m->any[i]))
            return true;
    }
    return !m->n_any && has_wildcard(m->glob);
}

static void check_json_rpc(struct place *p, const policy_clause *c)
{
    if (!filled(c->method))
        report(p, ".method: required for json-rpc L7 rules");
    else if (strcmp(c->method, "*") != 0 && has_wildcard(c->method))
        report(p,
               ".method: generic JSON-RPC method rules do not support glob or wildcard matchers; use \"*\" "
               "to allow all methods or an exact method name");
    if (tool_of(c))
        report(p, ".tool: MCP tool matching is only valid for protocol mcp");
    if (c->n_params && !only_tool(c))
        report(p, ": JSON-RPC rules do not support params matchers yet");
    if (filled(c->path) || c->n_query)
        report(p, ": json-rpc L7 rules must use method, not path/query");
}

static void check_mcp(struct place *p, const policy_clause *c)
{
    const char *method = policy_text(c->method);
    const policy_matcher *tool = tool_of(c);
    const Openshell__Sandbox__V1__McpOptions *mcp = p->ep->mcp;
    bool lenient = mcp && mcp->_strict_tool_names_case && !mcp->strict_tool_names;
    if (has_wildcard(method) && strcmp(method, "*") != 0 && !os_str_starts(method, "tools/"))
        report(p, ".method: MCP method globs are only valid for the tools/ method family; omit method to use "
                  "the endpoint method profile");
    if (!*method && !policy_endpoint_allows_all_mcp(p->ep))
        report(p, ".method: required when mcp.allow_all_known_mcp_methods is false");
    if (tool && *method && strcmp(method, "tools/call") != 0)
        os_strv_addf(p->out,
                     "%s.method: must be tools/call when an MCP rule uses tool or params.name, got '%s'",
                     p->loc, method);
    for (size_t i = 0; i < c->n_params; i++) {
        if (strcmp(policy_text(c->params[i]->key), "name") != 0)
            os_strv_addf(p->out, "%s.params.%s: MCP tool argument matching is not supported yet", p->loc,
                         policy_text(c->params[i]->key));
    }
    if (tool && lenient && tool_has_wildcard(tool))
        report(p, ".tool: wildcard tool-name matchers require mcp.strict_tool_names to remain enabled");
    if (filled(c->path) || c->n_query)
        report(p, ": mcp L7 rules must use method/tool, not path/query");
}

bool policy_clause_is_graphql(const policy_clause *c)
{
    return filled(c->operation_type) || filled(c->operation_name) || c->n_fields;
}

static void check_graphql(struct place *p, const policy_clause *c)
{
    static const char *const known[] = {"query", "mutation", "subscription", "*"};
    bool ok = false;
    for (size_t i = 0; i < OS_ARRAY_LEN(known); i++)
        ok |= os_str_eq_nocase(policy_text(c->operation_type), known[i]);
    if (!filled(c->operation_type))
        report(p, ".operation_type: required for GraphQL L7 rules");
    else if (!ok)
        os_strv_addf(p->out, "%s.operation_type: expected query, mutation, subscription, or *, got '%s'",
                     p->loc, c->operation_type);
    for (size_t i = 0; i < c->n_fields; i++) {
        if (!filled(c->fields[i])) {
            report(p, ".fields: field glob must not be empty");
            break;
        }
    }
}

bool policy_websocket_graphql(const policy_endpoint_doc *ep)
{
    if (ep->n_graphql_persisted_queries ||
        (filled(ep->persisted_queries) && strcmp(ep->persisted_queries, "deny") != 0))
        return true;
    for (size_t i = 0; i < ep->n_rules; i++) {
        if (ep->rules[i]->allow && policy_clause_is_graphql(ep->rules[i]->allow))
            return true;
    }
    for (size_t i = 0; i < ep->n_deny_rules; i++) {
        if (policy_clause_is_graphql(policy_deny_clause(ep->deny_rules[i])))
            return true;
    }
    return false;
}

static void check_websocket(struct place *p, const policy_clause *c, bool deny)
{
    if (policy_clause_is_graphql(c)) {
        if (filled(c->method) || filled(c->path) || c->n_query)
            os_strv_addf(p->out,
                         "%s: WebSocket GraphQL %s rules must not combine method/path/query with "
                         "operation_type/operation_name/fields",
                         p->loc, deny ? "deny" : "allow");
        check_graphql(p, c);
    } else if (!deny && os_str_eq_nocase(policy_text(c->method), "WEBSOCKET_TEXT") &&
               policy_websocket_graphql(p->ep)) {
        report(p, ": WebSocket endpoints with GraphQL operation policy must use "
                  "operation_type/operation_name/fields rules for client messages instead of WEBSOCKET_TEXT");
    }
}

static void check_clause(struct place *p, const policy_clause *c, bool deny)
{
    switch (p->protocol) {
    case POLICY_JSON_RPC:
        check_json_rpc(p, c);
        return;
    case POLICY_MCP:
        check_mcp(p, c);
        return;
    case POLICY_GRAPHQL:
        check_graphql(p, c);
        break;
    case POLICY_WEBSOCKET:
        check_websocket(p, c, deny);
        break;
    default:
        break;
    }
    if (tool_of(c))
        report(p, ".tool: MCP tool matching is only valid for protocol mcp");
    if (c->n_params && !only_tool(c))
        report(p, ".params: params matching is only valid for protocol mcp");
}

static bool covers_every_call(const policy_endpoint_doc *ep, const policy_clause *c)
{
    if (tool_of(c))
        return false;
    if (!filled(c->method))
        return policy_endpoint_allows_all_mcp(ep);
    return policy_glob(c->method, '.', "tools/call") == 1;
}

static void check_tool_conflicts(struct place *p, const policy_clause *c, bool deny)
{
    bool narrowed = false;
    for (size_t i = 0; i < p->ep->n_rules; i++)
        narrowed |= p->ep->rules[i]->allow && tool_of(p->ep->rules[i]->allow);
    if (p->protocol != POLICY_MCP || !narrowed || !covers_every_call(p->ep, c))
        return;
    report(p,
           deny ? ": method matcher denies every tool call and conflicts with MCP tool allow rules; add tool "
                  "or params.name to deny specific tools, or remove the tool allow rules"
                : ": method matcher allows every tool call and conflicts with MCP tool allow rules; add tool "
                  "or params.name to narrow tools/call, or remove the tool allow rules");
}

static void check_endpoint_itself(struct place *p)
{
    const char *host = policy_text(p->ep->host);
    size_t n_ports;
    policy_endpoint_ports(p->ep, &n_ports);
    if (p->protocol == POLICY_MCP && host[strspn(host, " \t")] == '\0')
        report(p, ": protocol mcp requires host; protocol alone is not a wildcard endpoint");
    if (p->protocol == POLICY_MCP && n_ports == 0)
        report(p, ": protocol mcp requires port or ports; protocol alone is not a wildcard endpoint");
    const char *dot = strchr(host, '.');
    if (strchr(host, '*') && (!dot || !strchr(dot + 1, '.')))
        os_strv_addf(
            p->out,
            "%s: TLD wildcard '%s' is not allowed; use subdomain wildcards like '*.example.com' instead",
            p->loc, host);
    bool mcp_all = p->protocol == POLICY_MCP && policy_endpoint_allows_all_mcp(p->ep);
    if (!mcp_all && p->protocol != POLICY_GRAPHQL && p->protocol != POLICY_WEBSOCKET &&
        policy_rules_all_empty(p->ep, false) && !policy_rules_all_empty(p->ep, true))
        report(p, ": rules would deny all traffic (no allow clause found). Use `access: full` or add allow "
                  "clauses to rules.");
    if (p->protocol == POLICY_TCP && (filled(p->ep->credential_signing) || filled(p->ep->signing_service) ||
                                      filled(p->ep->signing_region) || p->ep->credential_binding))
        report(p, ": protocol tcp does not support L7-only fields: credential_signing, signing_service, "
                  "signing_region, credential_binding; remove those fields");
}

static void check_endpoint(const char *key, const policy_endpoint_doc *ep, size_t index, struct os_strv *out)
{
    struct place p = {.out = out, .ep = ep};
    if (!policy_protocol_parse(ep->protocol, &p.protocol))
        return;
    char loc[400];
    snprintf(loc, sizeof(loc), "%.300s.endpoints[%zu]", key, index);
    memcpy(p.loc, loc, sizeof(loc));
    check_endpoint_itself(&p);
    for (size_t i = 0; i < ep->n_rules; i++) {
        if (!ep->rules[i]->allow)
            continue;
        snprintf(p.loc, sizeof(p.loc), "%s.rules[%zu].allow", loc, i);
        check_clause(&p, ep->rules[i]->allow, false);
        check_tool_conflicts(&p, ep->rules[i]->allow, false);
    }
    for (size_t i = 0; i < ep->n_deny_rules; i++) {
        const policy_clause *c = policy_deny_clause(ep->deny_rules[i]);
        snprintf(p.loc, sizeof(p.loc), "%s.deny_rules[%zu]", loc, i);
        check_clause(&p, c, true);
        check_tool_conflicts(&p, c, true);
    }
}

void policy_validate_runtime(const policy_doc *doc, struct os_strv *violations)
{
    cleanup_arena struct os_arena arena = {0};
    struct policy_map_entry **sorted =
        policy_map_sorted(&arena, doc->network_policies, doc->n_network_policies);
    for (size_t i = 0; i < doc->n_network_policies; i++) {
        const policy_rule *rule = (const void *)sorted[i]->value;
        for (size_t k = 0; rule && k < rule->n_endpoints; k++)
            check_endpoint(policy_text(sorted[i]->key), rule->endpoints[k], k, violations);
    }
}
