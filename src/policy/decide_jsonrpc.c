/* Decisions on JSON-RPC and MCP calls (spec/policy.md 5.8). No lock, no allocation. */
#include <string.h>

#include "policy/engine_priv.h"

static enum l7_verdict call_matches(const struct l7_call *rule, const struct jsonrpc_call *call)
{
    enum l7_verdict v = L7_YES;
    if (!rule->every_method)
        v = rule->exact ? (strcmp(rule->exact, call->method) ? L7_NO : L7_YES)
                        : l7_pattern_matches(&rule->method, call->method);
    if (v != L7_YES || !rule->names_tool)
        return v;
    return call->tool ? l7_any_pattern(rule->tools, rule->n_tools, call->tool) : L7_NO;
}

static enum l7_verdict any_rule(const struct l7_rules *rules, const struct jsonrpc_call *call)
{
    for (size_t i = 0; i < rules->n_calls; i++) {
        enum l7_verdict v = call_matches(&rules->calls[i], call);
        if (v != L7_NO)
            return v;
    }
    return L7_NO;
}

enum l7_verdict l7_call_allowed(const struct engine_endpoint *ep, const struct jsonrpc_call *call)
{
    /* Answers to the server's requests, and the stream they come in on, are part of the MCP protocol. */
    if (!call)
        return ep->pub.protocol == POLICY_MCP ? L7_YES : L7_NO;
    if (ep->every_call && !(ep->tools_narrowed && !strcmp(call->method, "tools/call")))
        return L7_YES;
    return any_rule(&ep->allow, call);
}

enum l7_verdict l7_call_denied(const struct engine_endpoint *ep, const struct jsonrpc_call *call)
{
    return call ? any_rule(&ep->deny, call) : L7_NO;
}
