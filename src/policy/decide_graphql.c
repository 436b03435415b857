/* Decisions on GraphQL operations (spec/policy.md 5.7). No lock, no allocation. */
#include <stdlib.h>
#include <string.h>

#include "core/str.h"
#include "policy/engine_priv.h"

static int compare_key(const void *key, const void *entry)
{
    return strcmp(key, ((const struct l7_registered *)entry)->key);
}

const struct graphql_operation *l7_operation_known(const struct engine_endpoint *ep,
                                                   const struct graphql_operation *op)
{
    if (op->type)
        return op;
    const char *key = op->hash ? op->hash : op->id;
    const struct l7_registered *found =
        key && ep->registry ? bsearch(key, ep->registry, ep->n_registry, sizeof(*ep->registry), compare_key)
                            : NULL;
    return found ? &found->operation : NULL;
}

static bool type_matches(const struct l7_operation *rule, const struct graphql_operation *op)
{
    return !rule->type || (*rule->type && os_str_eq_nocase(rule->type, op->type));
}

/* Allow: there are fields, and each one is listed. Deny: one of them is. */
static enum l7_verdict fields_match(const struct l7_operation *rule, const struct graphql_operation *op,
                                    bool deny)
{
    if (!rule->n_fields)
        return L7_YES;
    for (size_t i = 0; i < op->n_fields; i++) {
        enum l7_verdict v = l7_any_pattern(rule->fields, rule->n_fields, op->fields[i]);
        if (v == L7_BROKEN || v == (deny ? L7_YES : L7_NO))
            return v;
    }
    return !deny && op->n_fields ? L7_YES : L7_NO;
}

static enum l7_verdict any_rule(const struct l7_rules *rules, const struct graphql_operation *op, bool deny)
{
    for (size_t i = 0; i < rules->n_operations; i++) {
        const struct l7_operation *rule = &rules->operations[i];
        if (!type_matches(rule, op))
            continue;
        enum l7_verdict v =
            rule->every_name ? L7_YES : l7_pattern_matches(&rule->name, op->name ? op->name : "");
        if (v == L7_YES)
            v = fields_match(rule, op, deny);
        if (v != L7_NO)
            return v;
    }
    return L7_NO;
}

enum l7_verdict l7_operations_allowed(const struct engine_endpoint *ep, const struct graphql_request *g)
{
    for (size_t i = 0; i < g->n; i++) {
        const struct graphql_operation *op = l7_operation_known(ep, &g->operations[i]);
        enum l7_verdict v = op ? any_rule(&ep->allow, op, false) : L7_NO;
        if (v != L7_YES)
            return v;
    }
    return g->n && !g->error ? L7_YES : L7_NO;
}

enum l7_verdict l7_operations_denied(const struct engine_endpoint *ep, const struct graphql_request *g)
{
    for (size_t i = 0; i < g->n; i++) {
        const struct graphql_operation *op = l7_operation_known(ep, &g->operations[i]);
        enum l7_verdict v = op ? any_rule(&ep->deny, op, true) : L7_NO;
        if (v != L7_NO)
            return v;
    }
    return L7_NO;
}
