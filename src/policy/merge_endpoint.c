/* Two endpoints for the same place become one (spec/policy.md 9.3): what is there stays, lists grow, nothing
 * is narrowed. Copies are shallow; only lists and fields that change are new. */
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "policy/merge_priv.h"
#include "policy/validate.h"

#define SANDBOX(name) (&openshell__sandbox__v1__##name##__descriptor)

/* --- ports --- */

static int by_number(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

void merge_set_ports(struct os_arena *arena, policy_endpoint_doc *ep, const uint32_t *a, size_t na,
                     const uint32_t *b, size_t nb)
{
    uint32_t *all = os_arena_alloc(arena, (na + nb) * sizeof(*all));
    for (size_t i = 0; i < na; i++)
        all[i] = a[i];
    for (size_t i = 0; i < nb; i++)
        all[na + i] = b[i];
    if (na + nb > 1)
        qsort(all, na + nb, sizeof(*all), by_number);
    size_t n = 0;
    for (size_t i = 0; i < na + nb; i++) {
        if (!n || all[n - 1] != all[i])
            all[n++] = all[i];
    }
    ep->ports = all;
    ep->n_ports = n;
    ep->port = n ? all[0] : 0;
}

bool merge_endpoint_has_port(const policy_endpoint_doc *ep, uint32_t port)
{
    size_t n;
    const uint32_t *ports = policy_endpoint_ports(ep, &n);
    for (size_t i = 0; i < n; i++) {
        if (ports[i] == port)
            return true;
    }
    return false;
}

bool merge_endpoints_overlap(const policy_endpoint_doc *a, const policy_endpoint_doc *b, uint32_t *port)
{
    if (!os_str_eq_nocase(policy_text(a->host), policy_text(b->host)) ||
        strcmp(policy_text(a->path), policy_text(b->path)) != 0)
        return false;
    size_t n;
    const uint32_t *ports = policy_endpoint_ports(b, &n);
    for (size_t i = 0; i < n; i++) {
        *port = ports[i];
        if (merge_endpoint_has_port(a, ports[i]))
            return true;
    }
    return false;
}

/* --- lists --- */

/* Appends those of more that no element is equal to. *list is replaced by a copy, *n grows. True when it
 * grew. */
static bool append_new(struct os_arena *arena, void ***list, size_t *n, void *const *more, size_t n_more,
                       bool (*equal)(const void *, const void *))
{
    void **all = os_arena_alloc(arena, (*n + n_more) * sizeof(*all));
    size_t count = *n;
    if (count)
        memcpy(all, *list, count * sizeof(*all));
    for (size_t i = 0; i < n_more; i++) {
        bool there = false;
        for (size_t k = 0; k < count && !there; k++)
            there = equal(all[k], more[i]);
        if (!there)
            all[count++] = more[i];
    }
    bool grew = count > *n;
    *list = all;
    *n = count;
    return grew;
}

static bool same_allow(const void *a, const void *b)
{
    return policy_clause_equal(((const policy_allow_doc *)a)->allow, ((const policy_allow_doc *)b)->allow);
}

static bool same_deny(const void *a, const void *b)
{
    return policy_clause_equal(policy_deny_clause(a), policy_deny_clause(b));
}

static bool same_address(const void *a, const void *b)
{
    return !strcmp(policy_text(a), policy_text(b));
}

bool merge_append_allow(struct os_arena *arena, policy_endpoint_doc *ep, policy_allow_doc *const *list,
                        size_t n)
{
    return append_new(arena, (void ***)&ep->rules, &ep->n_rules, (void *const *)list, n, same_allow);
}

bool merge_append_deny(struct os_arena *arena, policy_endpoint_doc *ep, policy_deny_doc *const *list,
                       size_t n)
{
    return append_new(arena, (void ***)&ep->deny_rules, &ep->n_deny_rules, (void *const *)list, n, same_deny);
}

static bool append_addresses(struct os_arena *arena, policy_endpoint_doc *ep, char *const *list, size_t n)
{
    void **trimmed = os_arena_alloc(arena, n * sizeof(*trimmed));
    for (size_t i = 0; i < n; i++)
        trimmed[i] = os_str_trim(os_arena_strdup(arena, policy_text(list[i])));
    return append_new(arena, (void ***)&ep->allowed_ips, &ep->n_allowed_ips, trimmed, n, same_address);
}

policy_endpoint_doc *merge_endpoint_normal(struct os_arena *arena, const policy_endpoint_doc *from)
{
    policy_endpoint_doc *ep = os_arena_memdup(arena, from, sizeof(*from));
    size_t n;
    const uint32_t *ports = policy_endpoint_ports(from, &n);
    merge_set_ports(arena, ep, ports, n, NULL, 0);
    ep->host = os_str_trim(os_arena_strdup(arena, policy_text(from->host)));
    ep->n_rules = ep->n_deny_rules = ep->n_allowed_ips = 0;
    merge_append_allow(arena, ep, from->rules, from->n_rules);
    merge_append_deny(arena, ep, from->deny_rules, from->n_deny_rules);
    append_addresses(arena, ep, from->allowed_ips, from->n_allowed_ips);
    return ep;
}

/* --- access presets as rules (spec/policy.md 5.5) --- */

struct preset {
    const char *access;
    const char *words[7]; /* methods, or operation types */
};

static const struct preset rest_presets[] = {
    {"read-only", {"GET", "HEAD", "OPTIONS"}},
    {"read-write", {"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH"}},
    {"full", {"*"}},
};
static const struct preset websocket_presets[] = {
    {"read-only", {"GET"}},
    {"read-write", {"GET", "WEBSOCKET_TEXT"}},
    {"full", {"*"}},
};
static const struct preset graphql_presets[] = {
    {"read-only", {"query"}},
    {"read-write", {"query", "mutation"}},
    {"full", {"*"}},
};

static policy_allow_doc *preset_rule(struct os_arena *arena, const char *word, bool graphql)
{
    policy_allow_doc *rule = policy_message_new(arena, SANDBOX(l7_rule));
    rule->allow = policy_message_new(arena, SANDBOX(l7_allow));
    if (graphql) {
        rule->allow->operation_type = os_arena_strdup(arena, word);
    } else {
        rule->allow->method = os_arena_strdup(arena, word);
        rule->allow->path = os_arena_strdup(arena, "**");
    }
    return rule;
}

policy_endpoint_doc *merge_expand_access(struct merge *m, const policy_endpoint_doc *from, uint32_t port)
{
    policy_endpoint_doc *ep = os_arena_memdup(m->arena, from, sizeof(*from));
    const char *access = policy_text(from->access);
    if (!*access)
        return ep;
    enum policy_protocol p = POLICY_L4;
    policy_protocol_parse(from->protocol, &p);
    const struct preset *list = p == POLICY_WEBSOCKET ? websocket_presets
                                : p == POLICY_GRAPHQL ? graphql_presets
                                                      : rest_presets;
    const struct preset *found = NULL;
    for (size_t i = 0; i < OS_ARRAY_LEN(rest_presets) && !found; i++)
        found = !strcmp(list[i].access, access) ? &list[i] : NULL;
    if (!found) {
        os_error_set(m->err, OS_INVALID_ARGUMENT, "endpoint %s:%u uses unsupported access preset '%s'",
                     policy_text(from->host), port, access);
        return NULL;
    }
    for (size_t i = 0; found->words[i]; i++) {
        policy_allow_doc *rule = preset_rule(m->arena, found->words[i], p == POLICY_GRAPHQL);
        merge_append_allow(m->arena, ep, &rule, 1);
    }
    ep->access = (char *)"";
    os_strv_addf(m->warnings, "expanded access preset '%s' to explicit rules for endpoint %s:%u", access,
                 policy_text(from->host), port);
    return ep;
}

/* --- merge --- */

struct pair {
    struct merge *m;
    policy_endpoint_doc *ep; /* becomes the result */
    const policy_endpoint_doc *in;
    uint32_t port;
    bool changed;
};

/* The value that is there wins; an empty one is filled. */
static void merge_text(struct pair *p, const char *what, char **have, char *incoming)
{
    if (!*policy_text(incoming) || os_str_eq(*have, incoming))
        return;
    if (!*policy_text(*have)) {
        *have = incoming;
        p->changed = true;
        return;
    }
    os_strv_addf(p->m->warnings, "endpoint %s:%u keeps existing %s '%s' and ignores incoming '%s'",
                 policy_text(p->ep->host), p->port, what, *have, incoming);
}

static void merge_flag(struct pair *p, protobuf_c_boolean *have, protobuf_c_boolean incoming)
{
    p->changed |= incoming && !*have;
    *have = *have || incoming;
}

static int merge_contracts(struct pair *p)
{
    policy_endpoint_doc *ep = p->ep;
    if (!merge_is_mcp(ep) && !merge_is_mcp(p->in))
        return 0;
    if (merge_no_contract(p->in))
        return 0;
    if (merge_no_contract(ep)) {
        ep->protocol = p->in->protocol;
        ep->mcp = p->in->mcp;
        ep->json_rpc_max_body_bytes = p->in->json_rpc_max_body_bytes;
        p->changed = true;
        return 0;
    }
    if (merge_same_contract(ep, p->in))
        return 0;
    return os_error_set(p->m->err, OS_FAILED_PRECONDITION,
                        "merge operation %zu cannot combine MCP contracts at %s:%u: existing %s, incoming %s",
                        p->m->index, policy_text(ep->host), p->port, merge_contract_text(p->m->arena, ep),
                        merge_contract_text(p->m->arena, p->in));
}

static int merge_rules(struct pair *p)
{
    policy_endpoint_doc *ep = p->ep;
    const char *access = policy_text(p->in->access);
    if (p->in->n_rules) {
        if (*policy_text(ep->access)) {
            p->ep = ep = merge_expand_access(p->m, ep, p->port);
            if (!ep)
                return -1;
            p->changed = true;
        }
        p->changed |= merge_append_allow(p->m->arena, ep, p->in->rules, p->in->n_rules);
    }
    if (*access && ep->n_rules)
        os_strv_addf(p->m->warnings,
                     "endpoint %s:%u already uses explicit rules; incoming access preset '%s' was ignored",
                     policy_text(ep->host), p->port, access);
    else
        merge_text(p, "access preset", &ep->access, p->in->access);
    return 0;
}

policy_endpoint_doc *merge_endpoint(struct merge *m, const policy_endpoint_doc *into,
                                    const policy_endpoint_doc *in, uint32_t port, bool *changed)
{
    struct pair p = {.m = m, .in = in, .port = port};
    p.ep = os_arena_memdup(m->arena, into, sizeof(*into));
    if (merge_contracts(&p) < 0)
        return NULL;
    merge_text(&p, "protocol", &p.ep->protocol, in->protocol);
    merge_text(&p, "enforcement", &p.ep->enforcement, in->enforcement);
    merge_text(&p, "tls mode", &p.ep->tls, in->tls);
    if (merge_rules(&p) < 0)
        return NULL;
    policy_endpoint_doc *ep = p.ep;
    p.changed |= merge_append_deny(m->arena, ep, in->deny_rules, in->n_deny_rules);
    p.changed |= append_addresses(m->arena, ep, in->allowed_ips, in->n_allowed_ips);
    merge_flag(&p, &ep->allow_encoded_slash, in->allow_encoded_slash);
    merge_flag(&p, &ep->websocket_credential_rewrite, in->websocket_credential_rewrite);
    merge_flag(&p, &ep->request_body_credential_rewrite, in->request_body_credential_rewrite);
    merge_flag(&p, &ep->allow_uninspected_credentials, in->allow_uninspected_credentials);
    merge_flag(&p, &ep->advisor_proposed, in->advisor_proposed);
    size_t n;
    const uint32_t *ports = policy_endpoint_ports(into, &n);
    merge_set_ports(m->arena, ep, ports, n, in->ports, in->n_ports);
    *changed = p.changed;
    return ep;
}
