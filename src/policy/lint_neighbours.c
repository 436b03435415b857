/* Endpoints that undo each other: one that looks into requests beside one that lets the same requests through
 * under another spelling of the path, which many servers take for the same (a slash at the end, other case).
 */
#include <string.h>

#include "core/str.h"
#include "policy/lint_priv.h"

static bool looks_into_bodies(const policy_endpoint_doc *ep)
{
    enum policy_protocol p;
    return policy_protocol_parse(ep->protocol, &p) &&
           (p == POLICY_GRAPHQL || p == POLICY_JSON_RPC || p == POLICY_MCP);
}

/* The endpoint judges by method and path, everywhere on its host. */
static bool is_broad(const policy_endpoint_doc *ep)
{
    const char *path = policy_text(ep->path);
    enum policy_protocol p;
    return policy_protocol_parse(ep->protocol, &p) && (p == POLICY_REST || p == POLICY_L4) &&
           (!*path || !strcmp(path, "**") || !strcmp(path, "/**"));
}

static bool lets_post_through(const policy_endpoint_doc *ep)
{
    const char *access = policy_text(ep->access);
    if (!ep->n_rules)
        return !strcmp(access, "full") || !strcmp(access, "read-write");
    for (size_t i = 0; i < ep->n_rules; i++) {
        const policy_clause *a = ep->rules[i]->allow;
        const char *method = a ? policy_text(a->method) : "", *path = a ? policy_text(a->path) : "";
        if ((!strcmp(method, "*") || os_str_eq_nocase(method, "POST")) && strchr(path, '*'))
            return true;
    }
    return false;
}

static bool share_port(const policy_endpoint_doc *a, const policy_endpoint_doc *b)
{
    size_t na, nb;
    const uint32_t *pa = policy_endpoint_ports(a, &na), *pb = policy_endpoint_ports(b, &nb);
    for (size_t i = 0; i < na; i++)
        for (size_t k = 0; k < nb; k++)
            if (pa[i] == pb[k])
                return true;
    return false;
}

void lint_neighbours(struct lint *l, const policy_endpoint_doc *ep)
{
    if (!looks_into_bodies(ep) || !*policy_text(ep->path))
        return;
    for (size_t i = 0; i < l->doc->n_network_policies; i++) {
        const policy_rule *rule = l->doc->network_policies[i]->value;
        for (size_t k = 0; rule && k < rule->n_endpoints; k++) {
            const policy_endpoint_doc *other = rule->endpoints[k];
            if (is_broad(other) && lets_post_through(other) && share_port(ep, other) &&
                os_str_eq_nocase(policy_text(ep->host), policy_text(other->host)))
                lint_endpoint(l, "open-neighbour",
                              "network_policies.%s.endpoints[%zu] lets POST through on every other path of "
                              "'%s', also on spellings that many servers take for '%s' (a slash at the end, "
                              "other case), where nobody looks into requests; narrow its path or its methods",
                              policy_text(l->doc->network_policies[i]->key), k, policy_text(ep->host),
                              ep->path);
        }
    }
}
