/* add_rule (spec/policy.md 9.3): which rule the incoming one goes into, and that going there grants nothing
 * that the operation does not spell out (9.5). */
#include <string.h>

#include "core/cleanup.h"
#include "policy/merge_priv.h"

#define SANDBOX(name) (&openshell__sandbox__v1__##name##__descriptor)

/* The deprecated field of the file marks, on the wire, what the policy advisor proposed. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
static bool advisor_mark(const policy_binary_doc *b)
{
    return b->harness;
}

static void clear_advisor_mark(policy_binary_doc *b)
{
    b->harness = false;
}
#pragma GCC diagnostic pop

/* --- binaries --- */

static policy_binary_doc *find_binary(const policy_rule *rule, const char *path)
{
    for (size_t i = 0; i < rule->n_binaries; i++) {
        if (!strcmp(policy_text(rule->binaries[i]->path), path))
            return rule->binaries[i];
    }
    return NULL;
}

static char *binary_list(struct os_arena *arena, policy_binary_doc *const *list, size_t n)
{
    cleanup_buf struct os_buf out = {0};
    for (size_t i = 0; i < n; i++)
        os_buf_addf(&out, "%s%s", i ? ", " : "", policy_text(list[i]->path));
    return os_arena_strdup(arena, os_buf_str(&out));
}

/* Unique append; what a user declares is no longer the advisor's. */
static void append_binaries(struct os_arena *arena, policy_rule *rule, policy_binary_doc *const *list,
                            size_t n)
{
    policy_binary_doc **all = os_arena_alloc(arena, (rule->n_binaries + n) * sizeof(*all));
    for (size_t i = 0; i < rule->n_binaries; i++)
        all[i] = rule->binaries[i];
    rule->binaries = all;
    for (size_t i = 0; i < n; i++) {
        size_t k = 0;
        while (k < rule->n_binaries && strcmp(policy_text(all[k]->path), policy_text(list[i]->path)) != 0)
            k++;
        if (k == rule->n_binaries) {
            all[rule->n_binaries++] = list[i];
        } else if (advisor_mark(all[k]) && !advisor_mark(list[i])) {
            all[k] = os_arena_memdup(arena, all[k], sizeof(*all[k]));
            clear_advisor_mark(all[k]);
        }
    }
}

static void merge_binaries(struct merge *m, const char *key, policy_rule *rule, const policy_rule *in)
{
    if (!rule->n_binaries) {
        if (in->n_binaries)
            os_strv_addf(
                m->warnings,
                "rule '%s' already authorizes any binary; kept that scope instead of narrowing it to %s", key,
                binary_list(m->arena, in->binaries, in->n_binaries));
        return;
    }
    if (in->n_binaries)
        append_binaries(m->arena, rule, in->binaries, in->n_binaries);
    else
        rule->n_binaries = 0;
}

/* --- one merge into a rule --- */

struct change {
    const policy_endpoint_doc *before; /* NULL for an endpoint that was appended */
    policy_endpoint_doc *after;
    bool changed; /* on the ports it had */
};

struct fold {
    struct merge *m;
    const char *name; /* as the operation gives it */
    const policy_rule *in;
    const policy_rule *old;
    policy_rule *rule; /* the result */
    struct change *changes;
    size_t n_changes;
    bool inheritance; /* the error is one of 9.5 */
};

static struct change *change_of(struct fold *f, const policy_endpoint_doc *ep)
{
    for (size_t i = 0; i < f->n_changes; i++) {
        if (f->changes[i].after == ep)
            return &f->changes[i];
    }
    return NULL;
}

static int fold_endpoint(struct fold *f, policy_endpoint_doc *in)
{
    policy_rule *rule = f->rule;
    uint32_t port = 0;
    size_t at = 0;
    while (at < rule->n_endpoints && !merge_endpoints_overlap(rule->endpoints[at], in, &port))
        at++;
    if (at == rule->n_endpoints) {
        rule->endpoints[rule->n_endpoints++] = in;
        f->changes[f->n_changes++] = (struct change){.after = in, .changed = true};
        return 0;
    }
    bool changed;
    policy_endpoint_doc *merged = merge_endpoint(f->m, rule->endpoints[at], in, port, &changed);
    if (!merged)
        return -1;
    struct change *c = change_of(f, rule->endpoints[at]);
    if (!c) {
        c = &f->changes[f->n_changes++];
        *c = (struct change){.before = rule->endpoints[at]};
    }
    c->after = rule->endpoints[at] = merged;
    c->changed |= changed;
    return 0;
}

/* The operation names this port of the endpoint; with `fully`, and says everything there is about it. */
static bool declared(const struct fold *f, const policy_endpoint_doc *ep, uint32_t port, bool fully)
{
    for (size_t i = 0; i < f->in->n_endpoints; i++) {
        const policy_endpoint_doc *in = f->in->endpoints[i];
        bool there = os_str_eq_nocase(policy_text(in->host), policy_text(ep->host)) &&
                     !strcmp(policy_text(in->path), policy_text(ep->path)) &&
                     merge_endpoint_has_port(in, port);
        if (there && (!fully || policy_endpoint_declares(in, ep)))
            return true;
    }
    return false;
}

/* "[80, 443]": ascending. */
static const char *port_list(struct os_arena *arena, const uint32_t *ports, size_t n)
{
    policy_endpoint_doc sorted = {0};
    cleanup_buf struct os_buf out = {0};
    merge_set_ports(arena, &sorted, ports, n, NULL, 0);
    for (size_t i = 0; i < sorted.n_ports; i++)
        os_buf_addf(&out, "%s%u", i ? ", " : "[", sorted.ports[i]);
    os_buf_addc(&out, ']');
    return os_arena_strdup(arena, os_buf_str(&out));
}

/* Binaries that come into the rule get all of its endpoints: the operation must have said so. */
static int check_new_binaries(struct fold *f)
{
    struct merge *m = f->m;
    const policy_binary_doc *added = NULL;
    for (size_t i = 0; i < f->in->n_binaries && !added; i++) {
        if (!find_binary(f->old, policy_text(f->in->binaries[i]->path)))
            added = f->in->binaries[i];
    }
    if (!f->old->n_binaries || (f->in->n_binaries && !added))
        return 0;
    for (size_t i = 0; i < f->rule->n_endpoints; i++) {
        const policy_endpoint_doc *ep = f->rule->endpoints[i];
        size_t n;
        size_t missing = 0;
        const uint32_t *ports = policy_endpoint_ports(ep, &n);
        uint32_t *list = os_arena_alloc(m->arena, n * sizeof(*list));
        for (size_t k = 0; k < n; k++) {
            if (!declared(f, ep, ports[k], true))
                list[missing++] = ports[k];
        }
        if (!missing)
            continue;
        f->inheritance = true;
        const char *scope =
            added ? os_arena_printf(m->arena, "binary '%s'", policy_text(added->path)) : "any binary";
        return os_error_set(
            m->err, OS_FAILED_PRECONDITION,
            "merge operation %zu add-rule '%s' would grant %s undeclared authorization for %s on ports %s",
            m->index, f->name, scope, policy_text(ep->host), port_list(m->arena, list, missing));
    }
    return 0;
}

static int check_undeclared_ports(struct fold *f, const struct change *c)
{
    struct merge *m = f->m;
    if (!c->before || !c->changed)
        return 0;
    size_t n;
    size_t missing = 0;
    const uint32_t *ports = policy_endpoint_ports(c->before, &n);
    uint32_t *list = os_arena_alloc(m->arena, n * sizeof(*list));
    for (size_t k = 0; k < n; k++) {
        if (!declared(f, c->after, ports[k], false))
            list[missing++] = ports[k];
    }
    if (!missing)
        return 0;
    f->inheritance = true;
    return os_error_set(
        m->err, OS_FAILED_PRECONDITION,
        "merge operation %zu add-rule '%s' would change authorization for %s on undeclared ports %s; "
        "declare every port of the endpoint it modifies",
        m->index, f->name, policy_text(c->after->host), port_list(m->arena, list, missing));
}

/* Existing binaries get what is new: the operation must list them. */
static int check_existing_binaries(struct fold *f, const struct change *c)
{
    struct merge *m = f->m;
    if (!f->in->n_binaries)
        return 0;
    policy_binary_doc **silent = os_arena_alloc(m->arena, f->old->n_binaries * sizeof(*silent));
    size_t n_silent = 0;
    for (size_t i = 0; i < f->old->n_binaries; i++) {
        if (!find_binary(f->in, policy_text(f->old->binaries[i]->path)))
            silent[n_silent++] = f->old->binaries[i];
    }
    if (f->old->n_binaries && !n_silent)
        return 0;
    uint32_t *list = os_arena_alloc(m->arena, c->after->n_ports * sizeof(*list));
    size_t n = 0;
    for (size_t k = 0; k < c->after->n_ports; k++) {
        if (c->changed || !c->before || !merge_endpoint_has_port(c->before, c->after->ports[k]))
            list[n++] = c->after->ports[k];
    }
    if (!n)
        return 0;
    f->inheritance = true;
    return os_error_set(m->err, OS_FAILED_PRECONDITION,
                        "merge operation %zu add-rule '%s' would grant existing binaries new or changed "
                        "authorization for %s on ports %s; also declare %s",
                        m->index, f->name, policy_text(c->after->host), port_list(m->arena, list, n),
                        n_silent ? binary_list(m->arena, silent, n_silent) : "the existing any-binary scope");
}

static int check_inheritance(struct fold *f)
{
    if (check_new_binaries(f) < 0)
        return -1;
    for (size_t i = 0; i < f->n_changes; i++) {
        if (check_undeclared_ports(f, &f->changes[i]) < 0)
            return -1;
    }
    for (size_t i = 0; i < f->n_changes; i++) {
        if (check_existing_binaries(f, &f->changes[i]) < 0)
            return -1;
    }
    return 0;
}

static int fold_into(struct fold *f, const char *key)
{
    struct merge *m = f->m;
    policy_rule *rule = f->rule = os_arena_memdup(m->arena, f->old, sizeof(*f->old));
    rule->endpoints =
        os_arena_alloc(m->arena, (f->old->n_endpoints + f->in->n_endpoints) * sizeof(*rule->endpoints));
    for (size_t i = 0; i < f->old->n_endpoints; i++)
        rule->endpoints[i] = f->old->endpoints[i];
    f->changes = os_arena_alloc(m->arena, f->in->n_endpoints * sizeof(*f->changes));
    for (size_t i = 0; i < f->in->n_endpoints; i++) {
        if (fold_endpoint(f, f->in->endpoints[i]) < 0)
            return -1;
    }
    merge_binaries(m, key, rule, f->in);
    return check_inheritance(f);
}

/* --- where it goes --- */

static policy_rule *normal_rule(struct os_arena *arena, const char *name, const policy_rule *from)
{
    policy_rule *rule = policy_message_new(arena, SANDBOX(network_policy_rule));
    rule->name = *policy_text(from->name) ? from->name : (char *)name;
    rule->endpoints = os_arena_alloc(arena, from->n_endpoints * sizeof(*rule->endpoints));
    for (size_t i = 0; i < from->n_endpoints; i++)
        rule->endpoints[rule->n_endpoints++] = merge_endpoint_normal(arena, from->endpoints[i]);
    append_binaries(arena, rule, from->binaries, from->n_binaries);
    return rule;
}

static bool rules_overlap(const policy_rule *a, const policy_rule *b)
{
    uint32_t port;
    for (size_t i = 0; i < a->n_endpoints; i++) {
        for (size_t k = 0; k < b->n_endpoints; k++) {
            if (merge_endpoints_overlap(a->endpoints[i], b->endpoints[k], &port))
                return true;
        }
    }
    return false;
}

/* The first one by key, so that the order of the map never matters. */
static policy_rule_entry *overlapping_rule(const policy_doc *doc, const policy_rule *in)
{
    policy_rule_entry *best = NULL;
    for (size_t i = 0; i < doc->n_network_policies; i++) {
        policy_rule_entry *e = doc->network_policies[i];
        if (!e->value || policy_provider_key(e->key) || !rules_overlap(e->value, in))
            continue;
        if (!best || strcmp(policy_text(e->key), policy_text(best->key)) < 0)
            best = e;
    }
    return best;
}

int merge_add_rule(struct merge *m, const Openshell__V1__AddNetworkRule *op)
{
    static const policy_rule empty;
    char *name = os_str_trim(os_arena_strdup(m->arena, policy_text(op->rule_name)));
    if (!*name)
        return os_error_set(m->err, OS_INVALID_ARGUMENT, "add-rule operation requires a rule name");
    if (!op->rule || !op->rule->n_endpoints)
        return os_error_set(m->err, OS_INVALID_ARGUMENT,
                            "merge operation %zu add-rule '%s' must contain at least one endpoint", m->index,
                            name);
    policy_rule *in = normal_rule(m->arena, name, op->rule);
    policy_rule_entry *named = merge_find_rule(m->doc, name);
    policy_rule_entry *target = named ? named : overlapping_rule(m->doc, in);
    if (!target) {
        merge_put_rule(m, name, in);
        return 0;
    }
    cleanup_strv struct os_strv warnings = {0};
    struct os_strv *outer = m->warnings;
    m->warnings = &warnings;
    struct fold f = {.m = m, .name = name, .in = in, .old = target->value ? target->value : &empty};
    int rc = fold_into(&f, target->key);
    m->warnings = outer;
    if (rc < 0 && (named || !f.inheritance))
        return -1;
    if (rc < 0) {
        os_strv_addf(outer,
                     "kept add-rule '%s' on its own rule instead of folding it into overlapping rule '%s': "
                     "%s",
                     name, target->key, os_error_text(m->err));
        os_error_clear(m->err);
        merge_put_rule(m, name, in);
        return 0;
    }
    for (size_t i = 0; i < warnings.n; i++)
        os_strv_add(outer, warnings.v[i]);
    merge_put_rule(m, target->key, f.rule);
    return 0;
}
