/* The smallest change that would allow what is asked: every cause of a denial has a few candidates, the
 * narrowest first; each is applied and the question asked again, so that only what was seen to work is named.
 */
#include <string.h>

#include "core/cleanup.h"
#include "policy/explain_priv.h"
#include "policy/fix_make.h"
#include "policy/target.h"

#define SANDBOX(name) (&openshell__sandbox__v1__##name##__descriptor)
/* Changes that may have to come together: reach the host, then its address, then the request. */
#define STEPS 3
#define OPS_MAX (2 * STEPS)
#define TRIES_MAX 200 /* policies looked at; a wide policy has many candidates */

/* Changes so far, and what came of them. */
struct state {
    policy_doc *doc;
    policy_merge_op *ops[OPS_MAX];
    size_t n_ops;
    bool edited; /* by hand: no operation says it */
    const char *note;
};

struct search {
    struct os_arena *arena;
    const struct policy_question *q;
    struct fix_maker make;
    const policy_doc *start;
    struct policy_fix *found;
    size_t n_found;
    unsigned tries;
};

/* One look at a state: the engine and what it matched. */
struct look {
    struct policy_engine *engine;
    struct policy_l4 l4;
    const char *path; /* canonical; NULL without a request */
    const struct policy_query_pair *query;
    size_t n_query;
};

static void search(struct search *s, const struct state *at, unsigned steps);

/* --- trying --- */

static void try_ops(struct search *s, const struct state *from, policy_merge_op *const *ops, size_t n,
                    unsigned steps, const char *note)
{
    cleanup_strv struct os_strv warnings = {0};
    struct state next = *from;
    if (from->n_ops + n > OPS_MAX || policy_merge_check(ops, n, NULL) < 0)
        return;
    next.doc = policy_merge(s->arena, from->doc, ops, n, &warnings, NULL);
    for (size_t i = 0; i < n; i++)
        next.ops[next.n_ops++] = ops[i];
    next.note = note ? note : from->note;
    if (next.doc)
        search(s, &next, steps - 1);
}

/* --- candidates: one function per cause --- */

static void try_new_host(struct search *s, const struct state *at, const struct look *l, unsigned steps)
{
    const char *key = policy_merge_rule_name(s->arena, s->q->host, s->q->port);
    if (!l->path) {
        policy_merge_op *op = fix_rule(&s->make, key, fix_endpoint(&s->make, s->q->host), NULL, 0);
        try_ops(s, at, &op, 1, steps, NULL);
        return;
    }
    policy_merge_op *ops[] = {fix_rule(&s->make, key, fix_rest_endpoint(&s->make, NULL), NULL, 0),
                              fix_allow(&s->make, s->q->host, l->path)};
    try_ops(s, at, ops, 2, steps, NULL);
    policy_endpoint_doc *ep = fix_rest_endpoint(&s->make, NULL);
    policy_allow_doc *rule = fix_request(&s->make, l->path);
    merge_append_allow(s->arena, ep, &rule, 1);
    policy_merge_op *whole = fix_rule(&s->make, key, ep, NULL, 0);
    try_ops(s, at, &whole, 1, steps, NULL);
}

/* The rights that other programs have on the endpoint, or a rule for this request alone. */
static void try_new_binary(struct search *s, const struct state *at, const struct look *l, unsigned steps)
{
    struct policy_engine *any = explain_compile(at->doc, false, NULL);
    struct policy_l4 l4;
    policy_decide_l4(any, s->q->host, s->q->port, &s->q->who, &l4);
    for (size_t i = 0; i < l4.n_matched; i++) {
        struct explain_place p = explain_place_of(s->arena, at->doc, any, l4.matched[i]);
        const policy_endpoint_doc *like = p.rule->endpoints[p.endpoint];
        const char *key = policy_merge_rule_name(s->arena, policy_text(like->host), s->q->port);
        policy_merge_op *same = fix_rule(&s->make, key, fix_narrowed(&s->make, like), NULL, 0);
        try_ops(s, at, &same, 1, steps, NULL);
        if (!l->path || !os_str_eq_nocase(policy_text(like->protocol), "rest"))
            continue;
        key = policy_merge_rule_name(s->arena, s->q->host, s->q->port);
        policy_merge_op *ops[] = {fix_rule(&s->make, key, fix_rest_endpoint(&s->make, like), NULL, 0),
                                  fix_allow(&s->make, s->q->host, l->path)};
        try_ops(s, at, ops, 2, steps, NULL);
    }
    policy_engine_unref(any);
}

/* One more request on an endpoint that judges this one already. */
static void try_more_requests(struct search *s, const struct state *at, const struct look *l, unsigned steps)
{
    for (size_t i = 0; i < l->l4.n_matched; i++) {
        const struct engine_endpoint *from = l->l4.matched[i];
        struct explain_place p = explain_place_of(s->arena, at->doc, l->engine, from);
        const policy_endpoint_doc *ep = p.rule->endpoints[p.endpoint];
        if (from->pub.protocol != POLICY_REST)
            continue;
        policy_merge_op *op = fix_allow(&s->make, policy_text(ep->host), l->path);
        try_ops(s, at, &op, 1, steps, NULL);
        policy_endpoint_doc *more = os_arena_memdup(s->arena, ep, sizeof(*ep));
        policy_allow_doc *rule = fix_request(&s->make, l->path);
        more->access = (char *)"";
        more->n_rules = 0;
        merge_append_allow(s->arena, more, &rule, 1);
        op = fix_rule(&s->make, p.key, more, p.rule->binaries, p.rule->n_binaries);
        try_ops(s, at, &op, 1, steps, NULL);
    }
}

/* An endpoint for paths that no other one is for. */
static void try_new_path(struct search *s, const struct state *at, const struct look *l, unsigned steps)
{
    const char *key = policy_merge_rule_name(s->arena, s->q->host, s->q->port);
    for (size_t i = 0; i < l->l4.n_matched; i++) {
        const struct engine_endpoint *from = l->l4.matched[i];
        struct explain_place p = explain_place_of(s->arena, at->doc, l->engine, from);
        const policy_endpoint_doc *like = p.rule->endpoints[p.endpoint];
        if (from->pub.protocol != POLICY_REST)
            continue;
        policy_merge_op *ops[] = {fix_rule(&s->make, key, fix_rest_endpoint(&s->make, like), NULL, 0),
                                  fix_allow(&s->make, s->q->host, l->path)};
        try_ops(s, at, ops, 2, steps, NULL);
        policy_endpoint_doc *ep = fix_rest_endpoint(&s->make, like);
        policy_allow_doc *rule = fix_request(&s->make, l->path);
        ep->host = os_arena_strdup(s->arena, policy_text(like->host));
        merge_append_allow(s->arena, ep, &rule, 1);
        policy_merge_op *op = fix_rule(&s->make, key, ep, NULL, 0);
        try_ops(s, at, &op, 1, steps, NULL);
    }
}

/* The address in the list, when there is one; else the host by name, which permits private addresses. */
static void try_address(struct search *s, const struct state *at, const struct look *l, unsigned steps)
{
    const struct engine_endpoint *first = l->l4.matched[0];
    for (size_t i = 0; i < l->l4.n_matched && l->l4.n_configs; i++) {
        const struct engine_endpoint *ep = l->l4.matched[i];
        if (&ep->pub == l->l4.configs[0])
            first = ep;
    }
    struct explain_place p = explain_place_of(s->arena, at->doc, l->engine, first);
    const policy_endpoint_doc *ep = p.rule->endpoints[p.endpoint];
    if (!ep->n_allowed_ips) {
        policy_endpoint_doc *exact = fix_narrowed(&s->make, ep);
        exact->host = os_arena_strdup(s->arena, policy_text(s->q->host));
        exact->advisor_proposed = false;
        const char *key = policy_merge_rule_name(s->arena, s->q->host, s->q->port);
        policy_merge_op *op = fix_rule(&s->make, key, exact, NULL, 0);
        try_ops(s, at, &op, 1, steps, NULL);
    }
    size_t n;
    const uint32_t *ports = policy_endpoint_ports(ep, &n);
    policy_endpoint_doc *listed = policy_message_new(s->arena, SANDBOX(network_endpoint));
    listed->host = os_arena_strdup(s->arena, policy_text(ep->host));
    listed->path = os_arena_strdup(s->arena, policy_text(ep->path));
    merge_set_ports(s->arena, listed, ports, n, NULL, 0);
    char *address = os_arena_strdup(s->arena, policy_text(s->q->address));
    listed->allowed_ips = os_arena_memdup(s->arena, &address, sizeof(address));
    listed->n_allowed_ips = 1;
    policy_merge_op *op = fix_rule(&s->make, p.key, listed, p.rule->binaries, p.rule->n_binaries);
    try_ops(s, at, &op, 1, steps,
            ep->n_allowed_ips ? NULL
                              : "with allowed_ips, every address of the endpoint has to be in the list");
}

/* The endpoint without the deny rules that match; the state's document gets a new rule. */
static void drop_denials(struct search *s, struct state *next, const struct look *l,
                         const struct engine_endpoint *from, const struct explain_place *p)
{
    const struct policy_http req = {
        .method = s->q->method, .path = l->path, .query = l->query, .n_query = l->n_query};
    struct merge m = {.arena = s->arena, .doc = next->doc};
    policy_rule_entry *e = merge_find_rule(next->doc, p->key);
    policy_rule *rule = os_arena_memdup(s->arena, e->value, sizeof(*rule));
    rule->endpoints =
        os_arena_memdup(s->arena, rule->endpoints, rule->n_endpoints * sizeof(*rule->endpoints));
    const policy_endpoint_doc *old = rule->endpoints[p->endpoint];
    policy_endpoint_doc *ep = os_arena_memdup(s->arena, old, sizeof(*old));
    ep->deny_rules = os_arena_alloc(s->arena, old->n_deny_rules * sizeof(*ep->deny_rules));
    ep->n_deny_rules = 0;
    for (size_t k = 0; k < old->n_deny_rules; k++) {
        if (!engine_clause_hits(from, true, k, &req))
            ep->deny_rules[ep->n_deny_rules++] = old->deny_rules[k];
    }
    rule->endpoints[p->endpoint] = ep;
    merge_put_rule(&m, p->key, rule);
}

static void try_without_denials(struct search *s, const struct state *at, const struct look *l,
                                unsigned steps)
{
    cleanup_strv struct os_strv none = {0};
    struct state next = *at;
    next.edited = true;
    next.note =
        "a deny rule is in the way, and deny rules win over allow rules: it has to go, or to be written "
        "narrower; what else it keeps out would be open, too";
    next.doc = policy_merge(s->arena, at->doc, NULL, 0, &none, NULL);
    for (size_t i = 0; next.doc && i < l->l4.n_matched; i++) {
        const struct engine_endpoint *from = l->l4.matched[i];
        struct explain_place p = explain_place_of(s->arena, at->doc, l->engine, from);
        if (from->deny.n_clauses)
            drop_denials(s, &next, l, from, &p);
    }
    if (next.doc)
        search(s, &next, steps - 1);
}

/* --- the search --- */

/* In the order in which a command line sends them: rules, then what is allowed on them. */
static size_t in_order(const struct state *at, policy_merge_op **out)
{
    size_t n = 0;
    for (int rules = 1; rules >= 0; rules--) {
        for (size_t i = 0; i < at->n_ops; i++) {
            bool rule =
                at->ops[i]->operation_case == OPENSHELL__V1__POLICY_MERGE_OPERATION__OPERATION_ADD_RULE;
            if (rule == (rules == 1))
                out[n++] = at->ops[i];
        }
    }
    return n;
}

static bool passes(const struct policy_answer *a)
{
    return a->verdict == POLICY_VERDICT_ALLOWED || a->verdict == POLICY_VERDICT_AUDITED;
}

/* Once more, all at once on the policy as it is: that is what will be sent. */
static void keep(struct search *s, const struct state *at)
{
    cleanup_strv struct os_strv warnings = {0};
    struct policy_answer answer;
    struct policy_fix fix = {.doc = at->doc, .note = at->note};
    if (!at->edited) {
        fix.ops = os_arena_alloc(s->arena, sizeof(at->ops));
        fix.n_ops = in_order(at, fix.ops);
        fix.doc = policy_merge(s->arena, s->start, fix.ops, fix.n_ops, &warnings, NULL);
    }
    bool good = fix.doc && policy_explain(s->arena, fix.doc, s->q, &answer, NULL) == 0 && passes(&answer);
    if (good && s->n_found < POLICY_FIXES)
        s->found[s->n_found++] = fix;
}

static bool look_at(struct search *s, const struct state *at, struct look *l)
{
    struct policy_target target;
    *l = (struct look){.engine = explain_compile(at->doc, s->q->who.exe != NULL, NULL)};
    if (!l->engine)
        return false;
    policy_decide_l4(l->engine, s->q->host, s->q->port, &s->q->who, &l->l4);
    if (!s->q->method)
        return true;
    if (policy_target_parse(s->arena, s->q->target, strlen(s->q->target), true, &target, NULL) < 0 ||
        policy_query_parse(s->arena, target.query, &l->query, &l->n_query, NULL) < 0)
        return false;
    l->path = target.path;
    return true;
}

static void try_all(struct search *s, const struct state *at, const struct look *l, enum policy_cause cause,
                    unsigned steps)
{
    switch (cause) {
    case POLICY_CAUSE_ENDPOINT:
        try_new_host(s, at, l, steps);
        break;
    case POLICY_CAUSE_BINARY:
        try_new_binary(s, at, l, steps);
        break;
    case POLICY_CAUSE_ADDRESS:
        try_address(s, at, l, steps);
        break;
    case POLICY_CAUSE_NO_PATH:
        try_new_path(s, at, l, steps);
        break;
    case POLICY_CAUSE_NOT_ALLOWED:
        try_more_requests(s, at, l, steps);
        break;
    case POLICY_CAUSE_DENY_RULE:
        try_without_denials(s, at, l, steps);
        break;
    case POLICY_CAUSE_NONE:
    case POLICY_CAUSE_OTHER:
        break;
    }
}

static void search(struct search *s, const struct state *at, unsigned steps)
{
    struct policy_answer answer;
    struct look l = {0};
    if (s->n_found == POLICY_FIXES || s->tries++ >= TRIES_MAX ||
        policy_explain(s->arena, at->doc, s->q, &answer, NULL) < 0)
        return;
    if (passes(&answer))
        keep(s, at);
    else if (steps && look_at(s, at, &l))
        try_all(s, at, &l, answer.cause, steps);
    policy_engine_unref(l.engine);
}

size_t policy_find_fixes(struct os_arena *arena, const policy_doc *doc, const struct policy_question *q,
                         struct policy_fix out[POLICY_FIXES])
{
    cleanup_strv struct os_strv none = {0};
    struct search s = {.arena = arena, .q = q, .make = {arena, q}, .found = out};
    struct policy_answer answer;
    struct state start = {.doc = policy_merge(arena, doc, NULL, 0, &none, NULL)};
    if (!start.doc || policy_explain(arena, doc, q, &answer, NULL) < 0 ||
        answer.verdict != POLICY_VERDICT_DENIED)
        return 0;
    s.start = start.doc;
    search(&s, &start, STEPS);
    return s.n_found;
}

policy_doc *policy_changed_rules(struct os_arena *arena, const policy_doc *before, const policy_doc *after)
{
    policy_doc *out = policy_message_new(arena, SANDBOX(sandbox_policy));
    out->version = after->version;
    out->network_policies = os_arena_alloc(arena, after->n_network_policies * sizeof(*out->network_policies));
    for (size_t i = 0; i < after->n_network_policies; i++) {
        policy_rule_entry *now = after->network_policies[i];
        const policy_rule_entry *then = merge_find_rule(before, policy_text(now->key));
        if (!then || then->value != now->value)
            out->network_policies[out->n_network_policies++] = now;
    }
    return out;
}
