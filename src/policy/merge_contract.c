/* How a host and port is inspected as far as MCP is concerned: a sandbox resolves one contract per host and
 * port (spec/policy.md 9.4). */
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/limits.h"
#include "policy/merge_priv.h"
#include "policy/validate.h"

static bool strict_tools(const policy_endpoint_doc *ep)
{
    return !ep->mcp || !ep->mcp->_strict_tool_names_case || ep->mcp->strict_tool_names;
}

static uint32_t body_limit(const policy_endpoint_doc *ep)
{
    return ep->json_rpc_max_body_bytes ? ep->json_rpc_max_body_bytes : OS_LIMIT_L7_BODY;
}

bool merge_is_mcp(const policy_endpoint_doc *ep)
{
    return os_str_eq_nocase(policy_text(ep->protocol), "mcp");
}

bool merge_no_contract(const policy_endpoint_doc *ep)
{
    return !*policy_text(ep->protocol) && !ep->mcp && !ep->json_rpc_max_body_bytes;
}

bool merge_same_contract(const policy_endpoint_doc *a, const policy_endpoint_doc *b)
{
    if (!merge_is_mcp(a) || !merge_is_mcp(b))
        return merge_is_mcp(a) == merge_is_mcp(b);
    return strict_tools(a) == strict_tools(b) &&
           policy_endpoint_allows_all_mcp(a) == policy_endpoint_allows_all_mcp(b) &&
           body_limit(a) == body_limit(b);
}

const char *merge_contract_text(struct os_arena *arena, const policy_endpoint_doc *ep)
{
    if (!merge_is_mcp(ep))
        return os_arena_printf(arena, "non-mcp(protocol='%s')", policy_text(ep->protocol));
    return os_arena_printf(arena,
                           "mcp(strict_tool_names=%s, allow_all_known_mcp_methods=%s, max_body_bytes=%u)",
                           strict_tools(ep) ? "true" : "false",
                           policy_endpoint_allows_all_mcp(ep) ? "true" : "false", body_limit(ep));
}

/* --- over a whole document --- */

/* One inspected endpoint on one port. */
struct claim {
    const char *host;
    uint32_t port;
    const char *contract;
    bool mcp;
};

static int by_place(const void *a, const void *b)
{
    const struct claim *x = a;
    const struct claim *y = b;
    int host = strcmp(x->host, y->host);
    if (host || x->port != y->port)
        return host ? host : x->port < y->port ? -1 : 1;
    return strcmp(x->contract, y->contract);
}

static bool inspected(const policy_endpoint_doc *ep)
{
    enum policy_protocol p;
    return !policy_protocol_parse(ep->protocol, &p) || (p != POLICY_L4 && p != POLICY_TCP);
}

static size_t count_claims(const policy_doc *doc, bool *mcp)
{
    size_t total = 0;
    for (size_t i = 0; i < doc->n_network_policies; i++) {
        const policy_rule *rule = doc->network_policies[i]->value;
        for (size_t k = 0; rule && k < rule->n_endpoints; k++) {
            size_t n;
            policy_endpoint_ports(rule->endpoints[k], &n);
            total += n;
            *mcp |= merge_is_mcp(rule->endpoints[k]);
        }
    }
    return total;
}

static size_t add_claims(struct os_arena *arena, const policy_endpoint_doc *ep, struct claim *out)
{
    size_t n;
    const uint32_t *ports = policy_endpoint_ports(ep, &n);
    if (!inspected(ep))
        return 0;
    const char *host = os_str_lower(os_arena_strdup(arena, policy_text(ep->host)));
    const char *contract = merge_contract_text(arena, ep);
    for (size_t i = 0; i < n; i++)
        out[i] = (struct claim){host, ports[i], contract, merge_is_mcp(ep)};
    return n;
}

/* Sorted by place, then contract; none when there is no MCP endpoint. */
static struct claim *all_claims(struct os_arena *arena, const policy_doc *doc, size_t *n)
{
    bool mcp = false;
    size_t max = count_claims(doc, &mcp);
    *n = 0;
    if (!mcp)
        return NULL;
    struct claim *list = os_arena_alloc(arena, max * sizeof(*list));
    for (size_t i = 0; i < doc->n_network_policies; i++) {
        const policy_rule *rule = doc->network_policies[i]->value;
        for (size_t k = 0; rule && k < rule->n_endpoints; k++)
            *n += add_claims(arena, rule->endpoints[k], list + *n);
    }
    qsort(list, *n, sizeof(*list), by_place);
    return list;
}

static bool same_place(const struct claim *a, const struct claim *b)
{
    return !strcmp(a->host, b->host) && a->port == b->port;
}

static bool present(const struct claim *list, size_t n, const struct claim *c)
{
    return n && bsearch(c, list, n, sizeof(*list), by_place) != NULL;
}

int merge_check_contracts(const policy_doc *base, const policy_doc *doc, struct os_error *err)
{
    cleanup_arena struct os_arena arena = {0};
    size_t n;
    size_t n_before;
    struct claim *now = all_claims(&arena, doc, &n);
    struct claim *before = all_claims(&arena, base, &n_before);
    for (size_t i = 1; i < n; i++) {
        const struct claim *a = &now[i - 1];
        const struct claim *b = &now[i];
        if (!same_place(a, b) || !strcmp(a->contract, b->contract) || (!a->mcp && !b->mcp))
            continue;
        if (present(before, n_before, a) && present(before, n_before, b))
            continue;
        return os_error_set(
            err, OS_FAILED_PRECONDITION,
            "%s:%u would carry more than one L7 inspection contract (%s, %s); the sandbox resolves one "
            "contract per host and port, so these cannot coexist even in different rules or under different "
            "paths",
            a->host, a->port, a->contract, b->contract);
    }
    return 0;
}
