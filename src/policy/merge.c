/* Operations on a private copy of a policy, in order; the first error ends it (spec/policy.md 9.3). */
#include "policy/merge.h"

#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/limits.h"
#include "policy/merge_priv.h"
#include "policy/validate.h"

#define SANDBOX(name) (&openshell__sandbox__v1__##name##__descriptor)
#define OP(name) OPENSHELL__V1__POLICY_MERGE_OPERATION__OPERATION_##name

/* --- the private copy --- */

policy_rule_entry *merge_find_rule(const policy_doc *doc, const char *key)
{
    for (size_t i = 0; i < doc->n_network_policies; i++) {
        if (!strcmp(policy_text(doc->network_policies[i]->key), key))
            return doc->network_policies[i];
    }
    return NULL;
}

void merge_put_rule(struct merge *m, const char *key, policy_rule *rule)
{
    policy_doc *doc = m->doc;
    policy_rule_entry *e = policy_message_new(m->arena, SANDBOX(sandbox_policy__network_policies_entry));
    e->key = os_arena_strdup(m->arena, key);
    e->value = rule;
    for (size_t i = 0; i < doc->n_network_policies; i++) {
        if (!strcmp(policy_text(doc->network_policies[i]->key), key)) {
            doc->network_policies[i] = e;
            return;
        }
    }
    policy_rule_entry **grown =
        os_arena_alloc(m->arena, (doc->n_network_policies + 1) * sizeof(policy_rule_entry *));
    for (size_t i = 0; i < doc->n_network_policies; i++)
        grown[i] = doc->network_policies[i];
    grown[doc->n_network_policies++] = e;
    doc->network_policies = grown;
}

static void drop_rule(policy_doc *doc, const char *key)
{
    size_t kept = 0;
    for (size_t i = 0; i < doc->n_network_policies; i++) {
        if (strcmp(policy_text(doc->network_policies[i]->key), key) != 0)
            doc->network_policies[kept++] = doc->network_policies[i];
    }
    doc->n_network_policies = kept;
}

static policy_doc *private_copy(struct os_arena *arena, const policy_doc *base)
{
    policy_doc *doc = policy_message_new(arena, SANDBOX(sandbox_policy));
    if (!base) {
        doc->version = 1;
        return doc;
    }
    *doc = *base;
    doc->network_policies = os_arena_memdup(arena, base->network_policies,
                                            base->n_network_policies * sizeof(*base->network_policies));
    return doc;
}

static char *trimmed(struct merge *m, const char *s)
{
    return os_str_trim(os_arena_strdup(m->arena, policy_text(s)));
}

static int check_reference(struct merge *m, const char *host, uint32_t port)
{
    return *host && port && port <= UINT16_MAX
               ? 0
               : os_error_set(m->err, OS_INVALID_ARGUMENT, "invalid endpoint reference '%s:%u'", host, port);
}

/* --- remove --- */

/* The endpoint without the port; NULL when no port is left. */
static policy_endpoint_doc *without_port(struct os_arena *arena, const policy_endpoint_doc *ep, uint32_t port)
{
    policy_endpoint_doc *out = os_arena_memdup(arena, ep, sizeof(*ep));
    size_t n;
    size_t kept = 0;
    const uint32_t *ports = policy_endpoint_ports(ep, &n);
    uint32_t *left = os_arena_alloc(arena, n * sizeof(*left));
    for (size_t i = 0; i < n; i++) {
        if (ports[i] != port)
            left[kept++] = ports[i];
    }
    merge_set_ports(arena, out, left, kept, NULL, 0);
    return kept ? out : NULL;
}

/* The rule without the endpoint: the same when it has none, NULL when nothing is left of it. */
static policy_rule *without_endpoint(struct os_arena *arena, policy_rule *rule, const char *host,
                                     uint32_t port)
{
    policy_rule *out = os_arena_memdup(arena, rule, sizeof(*rule));
    out->endpoints = os_arena_alloc(arena, rule->n_endpoints * sizeof(*out->endpoints));
    out->n_endpoints = 0;
    bool found = false;
    for (size_t i = 0; i < rule->n_endpoints; i++) {
        policy_endpoint_doc *ep = rule->endpoints[i];
        if (os_str_eq_nocase(policy_text(ep->host), host) && merge_endpoint_has_port(ep, port)) {
            found = true;
            ep = without_port(arena, ep, port);
        }
        if (ep)
            out->endpoints[out->n_endpoints++] = ep;
    }
    return !found ? rule : out->n_endpoints ? out : NULL;
}

static int remove_endpoint(struct merge *m, const Openshell__V1__RemoveNetworkEndpoint *op)
{
    const char *host = trimmed(m, op->host);
    const char *name = trimmed(m, op->rule_name);
    if (check_reference(m, host, op->port) < 0)
        return -1;
    policy_doc *doc = m->doc;
    for (size_t i = doc->n_network_policies; i-- > 0;) {
        policy_rule_entry *e = doc->network_policies[i];
        if (!e->value || (*name && strcmp(policy_text(e->key), name) != 0))
            continue;
        policy_rule *left = without_endpoint(m->arena, e->value, host, op->port);
        if (!left)
            drop_rule(doc, policy_text(e->key));
        else if (left != e->value)
            merge_put_rule(m, policy_text(e->key), left);
    }
    return 0;
}

static int remove_binary(struct merge *m, const Openshell__V1__RemoveNetworkBinary *op)
{
    const char *name = trimmed(m, op->rule_name);
    const char *path = trimmed(m, op->binary_path);
    policy_rule_entry *e = merge_find_rule(m->doc, name);
    if (!e || !e->value)
        return 0;
    if (!e->value->n_binaries)
        return os_error_set(
            m->err, OS_FAILED_PRECONDITION,
            "merge operation %zu cannot remove binary '%s' from rule '%s' because the rule authorizes any "
            "binary; replace the policy with an explicit binary list or remove the rule",
            m->index, path, name);
    policy_rule *rule = os_arena_memdup(m->arena, e->value, sizeof(*rule));
    rule->binaries = os_arena_alloc(m->arena, e->value->n_binaries * sizeof(*rule->binaries));
    rule->n_binaries = 0;
    for (size_t i = 0; i < e->value->n_binaries; i++) {
        if (strcmp(policy_text(e->value->binaries[i]->path), path) != 0)
            rule->binaries[rule->n_binaries++] = e->value->binaries[i];
    }
    if (rule->n_binaries)
        merge_put_rule(m, name, rule);
    else
        drop_rule(m->doc, name);
    return 0;
}

/* --- allow and deny rules of one endpoint --- */

struct target {
    policy_rule_entry *entry;
    size_t endpoint;
};

static int ambiguous_target(struct merge *m, const char *host, uint32_t port,
                            struct policy_map_entry **sorted)
{
    cleanup_buf struct os_buf list = {0};
    for (size_t i = 0; i < m->doc->n_network_policies; i++) {
        const policy_rule *rule = (const void *)sorted[i]->value;
        for (size_t k = 0; rule && !policy_provider_key(sorted[i]->key) && k < rule->n_endpoints; k++) {
            const policy_endpoint_doc *ep = rule->endpoints[k];
            if (!os_str_eq_nocase(policy_text(ep->host), host) || !merge_endpoint_has_port(ep, port))
                continue;
            os_buf_addf(&list, "%s%s", list.len ? ", " : "", policy_text(sorted[i]->key));
            if (*policy_text(ep->path))
                os_buf_addf(&list, " (path '%s')", ep->path);
        }
    }
    return os_error_set(
        m->err, OS_FAILED_PRECONDITION,
        "endpoint %s:%u resolves to %s; this operation selects its target by host and port alone, so it "
        "cannot say which binary scope and L7 surface to widen. Replace the policy with the full YAML "
        "instead",
        host, port, os_buf_str(&list));
}

/* The one endpoint of this host and port that requests are checked on. */
static int find_target(struct merge *m, const char *host, uint32_t port, struct target *out)
{
    struct policy_map_entry **sorted =
        policy_map_sorted(m->arena, m->doc->network_policies, m->doc->n_network_policies);
    size_t found = 0;
    for (size_t i = 0; i < m->doc->n_network_policies; i++) {
        const policy_rule *rule = (const void *)sorted[i]->value;
        for (size_t k = 0; rule && !policy_provider_key(sorted[i]->key) && k < rule->n_endpoints; k++) {
            if (!os_str_eq_nocase(policy_text(rule->endpoints[k]->host), host) ||
                !merge_endpoint_has_port(rule->endpoints[k], port))
                continue;
            found++;
            *out = (struct target){(void *)sorted[i], k};
        }
    }
    if (found > 1)
        return ambiguous_target(m, host, port, sorted);
    if (!found)
        return os_error_set(m->err, OS_FAILED_PRECONDITION,
                            "endpoint %s:%u was not found in the current policy", host, port);
    const char *protocol = policy_text(out->entry->value->endpoints[out->endpoint]->protocol);
    if (!*protocol)
        return os_error_set(m->err, OS_FAILED_PRECONDITION,
                            "endpoint %s:%u has no L7 inspection configured (protocol is empty)", host, port);
    if (!os_str_eq_nocase(protocol, "rest") && !os_str_eq_nocase(protocol, "websocket"))
        return os_error_set(
            m->err, OS_FAILED_PRECONDITION,
            "endpoint %s:%u uses unsupported protocol '%s'; this operation currently supports "
            "only protocol 'rest' or 'websocket'",
            host, port, protocol);
    return 0;
}

static void put_endpoint(struct merge *m, const struct target *t, policy_endpoint_doc *ep)
{
    const policy_rule *old = t->entry->value;
    policy_rule *rule = os_arena_memdup(m->arena, old, sizeof(*old));
    rule->endpoints = os_arena_memdup(m->arena, old->endpoints, old->n_endpoints * sizeof(*old->endpoints));
    rule->endpoints[t->endpoint] = ep;
    merge_put_rule(m, policy_text(t->entry->key), rule);
}

static int add_allow_rules(struct merge *m, const Openshell__V1__AddAllowRules *op)
{
    const char *host = trimmed(m, op->host);
    struct target t;
    if (check_reference(m, host, op->port) < 0 || find_target(m, host, op->port, &t) < 0)
        return -1;
    policy_endpoint_doc *ep = merge_expand_access(m, t.entry->value->endpoints[t.endpoint], op->port);
    if (!ep)
        return -1;
    merge_append_allow(m->arena, ep, op->rules, op->n_rules);
    put_endpoint(m, &t, ep);
    return 0;
}

static int add_deny_rules(struct merge *m, const Openshell__V1__AddDenyRules *op)
{
    const char *host = trimmed(m, op->host);
    struct target t;
    if (check_reference(m, host, op->port) < 0 || find_target(m, host, op->port, &t) < 0)
        return -1;
    const policy_endpoint_doc *old = t.entry->value->endpoints[t.endpoint];
    if (!old->n_rules && !*policy_text(old->access))
        return os_error_set(m->err, OS_FAILED_PRECONDITION,
                            "endpoint %s:%u has no base allow set; configure access or explicit allow rules "
                            "before adding deny rules",
                            host, op->port);
    policy_endpoint_doc *ep = os_arena_memdup(m->arena, old, sizeof(*old));
    merge_append_deny(m->arena, ep, op->deny_rules, op->n_deny_rules);
    put_endpoint(m, &t, ep);
    return 0;
}

/* --- all of them --- */

static int apply(struct merge *m, const policy_merge_op *op)
{
    switch ((int)op->operation_case) {
    case OP(ADD_RULE):
        return merge_add_rule(m, op->add_rule);
    case OP(REMOVE_ENDPOINT):
        return remove_endpoint(m, op->remove_endpoint);
    case OP(REMOVE_RULE):
        drop_rule(m->doc, trimmed(m, op->remove_rule->rule_name));
        return 0;
    case OP(ADD_DENY_RULES):
        return add_deny_rules(m, op->add_deny_rules);
    case OP(ADD_ALLOW_RULES):
        return add_allow_rules(m, op->add_allow_rules);
    case OP(REMOVE_BINARY):
        return remove_binary(m, op->remove_binary);
    }
    return os_error_set(m->err, OS_INVALID_ARGUMENT, "merge_operations[%zu] is missing an operation",
                        m->index);
}

policy_doc *policy_merge(struct os_arena *arena, const policy_doc *base, policy_merge_op *const *ops,
                         size_t n, struct os_strv *warnings, struct os_error *err)
{
    static const policy_doc nothing;
    cleanup_error struct os_error local = {0};
    struct merge m = {.arena = arena, .doc = private_copy(arena, base), .warnings = warnings, .err = &local};
    int rc = 0;
    for (; m.index < n && rc == 0; m.index += rc == 0)
        rc = apply(&m, ops[m.index]);
    if (rc == 0)
        rc = merge_check_contracts(base ? base : &nothing, m.doc, &local);
    size_t size = rc == 0 ? protobuf_c_message_get_packed_size(&m.doc->base) : 0;
    if (size > OS_LIMIT_GRPC_MESSAGE)
        rc = os_error_set(&local, OS_INVALID_ARGUMENT, "policy serialized size exceeds maximum (%zu > %d)",
                          size, OS_LIMIT_GRPC_MESSAGE);
    if (rc == 0)
        return m.doc;
    os_error_move(err, &local);
    return NULL;
}
