/* What one endpoint or rule says about another (spec/policy.md 9.5): does an operation declare everything it
 * touches, and does a policy already grant what somebody asks for. */
#include <string.h>

#include "core/cleanup.h"
#include "policy/merge_priv.h"

static bool same_text(const char *a, const char *b)
{
    return !strcmp(policy_text(a), policy_text(b));
}

/* --- equality of rules --- */

static bool same_list(char *const *a, size_t na, char *const *b, size_t nb)
{
    for (size_t i = 0; i < na && na == nb; i++) {
        if (!same_text(a[i], b[i]))
            return false;
    }
    return na == nb;
}

static bool same_matchers(const void *a, size_t na, const void *b, size_t nb)
{
    struct policy_map_entry *const *list = a;
    for (size_t i = 0; i < na && na == nb; i++) {
        const struct policy_map_entry *other = policy_map_find(b, nb, policy_text(list[i]->key));
        const policy_matcher *x = (const void *)list[i]->value;
        const policy_matcher *y = other ? (const void *)other->value : NULL;
        if (!other || !x != !y)
            return false;
        if (x && (!same_text(x->glob, y->glob) || !same_list(x->any, x->n_any, y->any, y->n_any)))
            return false;
    }
    return na == nb;
}

bool policy_clause_equal(const policy_clause *a, const policy_clause *b)
{
    if (!a || !b)
        return a == b;
    return same_text(a->method, b->method) && same_text(a->path, b->path) &&
           same_text(a->command, b->command) && same_text(a->operation_type, b->operation_type) &&
           same_text(a->operation_name, b->operation_name) &&
           same_list(a->fields, a->n_fields, b->fields, b->n_fields) &&
           same_matchers(a->query, a->n_query, b->query, b->n_query) &&
           same_matchers(a->params, a->n_params, b->params, b->n_params);
}

/* --- one endpoint and another --- */

static bool same_place(const policy_endpoint_doc *a, const policy_endpoint_doc *b)
{
    return os_str_eq_nocase(policy_text(a->host), policy_text(b->host)) && same_text(a->path, b->path);
}

static bool unset_or_same(const char *asked, const char *have)
{
    return !*policy_text(asked) || same_text(asked, have);
}

static bool persisted_agree(const policy_endpoint_doc *asked, const policy_endpoint_doc *have)
{
    for (size_t i = 0; i < asked->n_graphql_persisted_queries; i++) {
        const struct policy_map_entry *e =
            policy_map_find(have->graphql_persisted_queries, have->n_graphql_persisted_queries,
                            policy_text(asked->graphql_persisted_queries[i]->key));
        const policy_graphql *x = asked->graphql_persisted_queries[i]->value;
        const policy_graphql *y = e ? (const void *)e->value : NULL;
        if (!x || !y || !same_text(x->operation_type, y->operation_type) ||
            !same_text(x->operation_name, y->operation_name) ||
            !same_list(x->fields, x->n_fields, y->fields, y->n_fields))
            return false;
    }
    return true;
}

/* Every single-valued field that `asked` sets has the same value in `have`. */
static bool scalars_agree(const policy_endpoint_doc *asked, const policy_endpoint_doc *have)
{
    const char *binding = asked->credential_binding ? policy_text(asked->credential_binding->provider) : "";
    const char *bound = have->credential_binding ? policy_text(have->credential_binding->provider) : "";
    return unset_or_same(asked->protocol, have->protocol) && unset_or_same(asked->tls, have->tls) &&
           unset_or_same(asked->enforcement, have->enforcement) &&
           unset_or_same(asked->access, have->access) &&
           unset_or_same(asked->persisted_queries, have->persisted_queries) &&
           unset_or_same(asked->credential_signing, have->credential_signing) &&
           unset_or_same(asked->signing_service, have->signing_service) &&
           unset_or_same(asked->signing_region, have->signing_region) && unset_or_same(binding, bound) &&
           (!asked->graphql_max_body_bytes ||
            asked->graphql_max_body_bytes == have->graphql_max_body_bytes) &&
           (!asked->json_rpc_max_body_bytes ||
            asked->json_rpc_max_body_bytes == have->json_rpc_max_body_bytes) &&
           persisted_agree(asked, have) && (merge_no_contract(asked) || merge_same_contract(asked, have));
}

static bool has_allow(const policy_endpoint_doc *ep, const policy_clause *c)
{
    for (size_t i = 0; i < ep->n_rules; i++) {
        if (policy_clause_equal(ep->rules[i]->allow, c))
            return true;
    }
    return false;
}

static bool has_deny(const policy_endpoint_doc *ep, const policy_clause *c)
{
    for (size_t i = 0; i < ep->n_deny_rules; i++) {
        if (policy_clause_equal(policy_deny_clause(ep->deny_rules[i]), c))
            return true;
    }
    return false;
}

static bool has_address(const policy_endpoint_doc *ep, const char *entry)
{
    for (size_t i = 0; i < ep->n_allowed_ips; i++) {
        if (same_text(ep->allowed_ips[i], entry))
            return true;
    }
    return false;
}

/* Every entry and flag of `part` is in `whole`. */
static bool contains(const policy_endpoint_doc *whole, const policy_endpoint_doc *part)
{
    for (size_t i = 0; i < part->n_rules; i++) {
        if (!has_allow(whole, part->rules[i]->allow))
            return false;
    }
    for (size_t i = 0; i < part->n_deny_rules; i++) {
        if (!has_deny(whole, policy_deny_clause(part->deny_rules[i])))
            return false;
    }
    for (size_t i = 0; i < part->n_allowed_ips; i++) {
        if (!has_address(whole, part->allowed_ips[i]))
            return false;
    }
    return (whole->allow_encoded_slash || !part->allow_encoded_slash) &&
           (whole->websocket_credential_rewrite || !part->websocket_credential_rewrite) &&
           (whole->request_body_credential_rewrite || !part->request_body_credential_rewrite) &&
           (whole->allow_uninspected_credentials || !part->allow_uninspected_credentials);
}

bool policy_endpoint_declares(const policy_endpoint_doc *op, const policy_endpoint_doc *ep)
{
    return same_place(op, ep) && scalars_agree(op, ep) && contains(op, ep);
}

/* --- a policy and a rule --- */

static bool rule_grants_binary(const policy_rule *rule, const policy_binary_doc *binary)
{
    for (size_t i = 0; binary && i < rule->n_binaries; i++) {
        if (same_text(rule->binaries[i]->path, binary->path))
            return true;
    }
    return !rule->n_binaries;
}

static bool rule_grants_port(const policy_rule *rule, const policy_endpoint_doc *asked, uint32_t port)
{
    for (size_t i = 0; i < rule->n_endpoints; i++) {
        const policy_endpoint_doc *have = rule->endpoints[i];
        if (same_place(asked, have) && merge_endpoint_has_port(have, port) && scalars_agree(asked, have) &&
            contains(have, asked))
            return true;
    }
    return false;
}

/* binary NULL: any. */
static bool pair_covered(const policy_doc *doc, const policy_endpoint_doc *ep, uint32_t port,
                         const policy_binary_doc *binary)
{
    for (size_t i = 0; i < doc->n_network_policies; i++) {
        const policy_rule *rule = doc->network_policies[i]->value;
        if (rule && rule_grants_binary(rule, binary) && rule_grants_port(rule, ep, port))
            return true;
    }
    return false;
}

bool policy_covers(const policy_doc *doc, const policy_rule *proposal)
{
    for (size_t i = 0; i < proposal->n_endpoints; i++) {
        size_t n;
        const uint32_t *ports = policy_endpoint_ports(proposal->endpoints[i], &n);
        for (size_t k = 0; k < n; k++) {
            for (size_t b = 0; b < proposal->n_binaries || b == 0; b++) {
                const policy_binary_doc *binary = proposal->n_binaries ? proposal->binaries[b] : NULL;
                if (!pair_covered(doc, proposal->endpoints[i], ports[k], binary))
                    return false;
            }
        }
        if (!n)
            return false;
    }
    return proposal->n_endpoints > 0;
}
