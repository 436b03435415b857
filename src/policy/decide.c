/* L4 decisions: which rules match this destination and this process (spec/policy.md 4). No lock, no
 * allocation. */
#include <string.h>

#include "core/limits.h"
#include "core/str.h"
#include "policy/engine_priv.h"

#define HOST_MAX 256 /* a DNS name has at most 253 bytes */

enum binary_match { BINARY_NONE = 0, BINARY_MATCH = 1, BINARY_DECLARED = 2 };

struct query {
    const struct policy_engine *e;
    const struct policy_process *who;
    char host[HOST_MAX]; /* lower case */
    size_t host_len;
    uint16_t port;
    uint64_t who_hash[1 + OS_ANCESTORS_MAX]; /* of the executable and its ancestors */
    size_t n_who;                            /* 0 until first needed */
    uint32_t last_rule;
    unsigned last_match; /* of last_rule */
    uint32_t ids[POLICY_MATCH_MAX];
    size_t n;
    bool declared;
    bool overflow;
};

static bool query_init(struct query *q, const struct policy_engine *e, const char *host, uint16_t port,
                       const struct policy_process *who)
{
    size_t n = strlen(host);
    if (n >= HOST_MAX)
        return false;
    for (size_t i = 0; i <= n; i++)
        q->host[i] = host[i] >= 'A' && host[i] <= 'Z' ? (char)(host[i] + 32) : host[i];
    q->e = e;
    q->who = who;
    q->host_len = n;
    q->port = port;
    q->n_who = 0;
    q->last_rule = UINT32_MAX;
    q->n = 0;
    q->declared = false;
    q->overflow = false;
    return true;
}

/* --- binaries --- */

static const char *process_path(const struct policy_process *who, size_t i)
{
    const char *path = i == 0 ? who->exe : who->ancestors[i - 1];
    return path ? path : "";
}

static void hash_process(struct query *q)
{
    size_t n = q->who->n_ancestors < OS_ANCESTORS_MAX ? q->who->n_ancestors : OS_ANCESTORS_MAX;
    for (size_t i = 0; i <= n; i++)
        q->who_hash[i] = engine_hash_path(process_path(q->who, i));
    q->n_who = n + 1;
}

static bool binary_matches(const struct query *q, const struct engine_binary *b)
{
    for (size_t i = 0; i < q->n_who; i++) {
        const char *path = process_path(q->who, i);
        if (!*path)
            continue;
        if (b->is_glob ? b->glob.n && glob_run(&b->glob, path)
                       : b->hash == q->who_hash[i] && !strcmp(b->path, path))
            return true;
    }
    return false;
}

static unsigned rule_matches(struct query *q, uint32_t rule)
{
    if (!q->e->binary_identity)
        return BINARY_MATCH | BINARY_DECLARED;
    if (q->last_rule == rule)
        return q->last_match;
    if (!q->n_who)
        hash_process(q);
    unsigned match = BINARY_NONE;
    const struct engine_rule *r = &q->e->rules[rule];
    for (size_t i = 0; i < r->n_binaries && !(match & BINARY_DECLARED); i++) {
        const struct engine_binary *b = &r->binaries[i];
        if ((!b->advisor || !match) && binary_matches(q, b))
            match |= b->advisor ? BINARY_MATCH : BINARY_MATCH | BINARY_DECLARED;
    }
    q->last_rule = rule;
    q->last_match = match;
    return match;
}

/* --- endpoints --- */

static bool host_matches(const struct query *q, const struct engine_endpoint *ep)
{
    switch (ep->kind) {
    case HOST_EXACT:
        return true; /* the index compared it */
    case HOST_GLOB:
        return ep->host_glob.n && glob_run(&ep->host_glob, q->host);
    case HOST_ANY:
        return ep->pub.n_allowed_ips > 0;
    }
    return false;
}

typedef void visit_fn(struct query *q, uint32_t id);

static void look_up(struct query *q, enum index_kind kind, uint64_t text_hash, const char *text,
                    visit_fn *visit)
{
    const struct policy_engine *e = q->e;
    uint64_t hash = engine_hash_key(text_hash, q->port, kind);
    for (uint64_t i = hash & e->index_mask; e->index[i].text; i = (i + 1) & e->index_mask) {
        const struct index_slot *s = &e->index[i];
        if (s->hash != hash || s->port != q->port || s->kind != kind || strcmp(s->text, text) != 0)
            continue;
        for (uint32_t k = 0; k < s->n; k++) {
            uint32_t id = e->ids[s->start + k];
            if (host_matches(q, &e->endpoints[id]))
                visit(q, id);
        }
        return;
    }
}

/* Visits every endpoint that matches host and port. */
static void visit_matches(struct query *q, visit_fn *visit)
{
    if (!q->e->index)
        return;
    uint64_t h = ENGINE_HASH_SEED;
    for (size_t i = q->host_len; i > 0; i--) {
        if (q->host[i - 1] == '.')
            look_up(q, INDEX_SUFFIX, h, q->host + i, visit);
        h = engine_hash_byte(h, q->host[i - 1]);
    }
    look_up(q, INDEX_EXACT, h, q->host, visit);
    look_up(q, INDEX_PORT, ENGINE_HASH_SEED, "", visit);
}

/* Keeps the numbers ascending: that is rules by key, endpoints in list order. */
static void insert(struct query *q, uint32_t id)
{
    if (q->n == POLICY_MATCH_MAX) {
        q->overflow = true;
        return;
    }
    size_t at = q->n++;
    for (; at > 0 && q->ids[at - 1] > id; at--)
        q->ids[at] = q->ids[at - 1];
    q->ids[at] = id;
}

static void take_if_binary_matches(struct query *q, uint32_t id)
{
    const struct engine_endpoint *ep = &q->e->endpoints[id];
    unsigned match = rule_matches(q, ep->rule);
    if (!match)
        return;
    if (ep->declared && (match & BINARY_DECLARED))
        q->declared = true;
    insert(q, id);
}

static void take(struct policy_l4 *out, const struct engine_endpoint *ep)
{
    out->opaque = (out->opaque || !out->n_matched) && ep->pub.protocol == POLICY_TCP;
    out->matched[out->n_matched++] = ep;
    if (ep->extended)
        out->configs[out->n_configs++] = &ep->pub;
}

void policy_decide_l4(const struct policy_engine *e, const char *host, uint16_t port,
                      const struct policy_process *who, struct policy_l4 *out)
{
    out->allow = false;
    out->policy = NULL;
    out->declared_host = out->opaque = false;
    out->n_configs = 0;
    out->n_matched = 0;
    struct query q;
    if (e->quarantine || !query_init(&q, e, host, port, who))
        return;
    visit_matches(&q, take_if_binary_matches);
    if (q.n == 0 || q.overflow)
        return;
    out->allow = true;
    out->policy = e->endpoints[q.ids[0]].pub.policy_key;
    out->declared_host = q.declared;
    for (size_t i = 0; i < q.n; i++)
        take(out, &e->endpoints[q.ids[i]]);
}

bool policy_candidates_l4(const struct policy_engine *e, const char *host, uint16_t port,
                          struct policy_l4 *out)
{
    struct query q;
    *out = (struct policy_l4){0};
    if (e->quarantine || !query_init(&q, e, host, port, NULL))
        return false;
    visit_matches(&q, insert);
    for (size_t i = 0; i < q.n && !q.overflow; i++)
        take(out, &e->endpoints[q.ids[i]]);
    return !q.overflow;
}

void policy_l4_choose(const struct policy_engine *e, struct policy_l4 *out,
                      bool (*chosen)(void *ctx, const char *key, size_t i), void *ctx)
{
    struct policy_l4 all = *out;
    *out = (struct policy_l4){.allow = true, .policy = "-"};
    for (size_t i = 0; i < all.n_matched; i++) {
        const struct engine_endpoint *ep = all.matched[i];
        if (!chosen(ctx, e->rules[ep->rule].key, ep->place))
            continue;
        if (!out->n_matched)
            out->policy = ep->pub.policy_key;
        take(out, ep);
    }
}

bool policy_names_host(const struct policy_engine *e, const char *host)
{
    for (size_t i = 0; !e->quarantine && i < e->n_endpoints; i++) {
        const struct engine_endpoint *ep = &e->endpoints[i];
        if (ep->kind == HOST_EXACT
                ? !strcmp(ep->pub.host, host)
                : ep->kind == HOST_GLOB && ep->host_glob.n && glob_run(&ep->host_glob, host))
            return true;
    }
    return false;
}

bool policy_l4_inspects(const struct policy_l4 *l4)
{
    for (size_t i = 0; i < l4->n_configs; i++) {
        if (l4->configs[i]->protocol != POLICY_L4 && l4->configs[i]->protocol != POLICY_TCP)
            return true;
    }
    return false;
}

/* tcp and sql are relayed as they come, whatever the endpoint calls them. */
static bool is_raw(const struct policy_endpoint *ep)
{
    return ep->protocol == POLICY_L4 || ep->protocol == POLICY_TCP || ep->protocol == POLICY_SQL ||
           ep->tls == POLICY_TLS_SKIP;
}

bool policy_l4_exposes_credentials(const struct policy_l4 *l4)
{
    bool raw = false, permitted = true;
    for (size_t i = 0; i < l4->n_matched; i++) {
        const struct engine_endpoint *ep = l4->matched[i];
        if (!ep->pub.provider_credentialed)
            continue;
        raw = raw || is_raw(&ep->pub);
        permitted = permitted && ep->pub.allow_uninspected_credentials;
    }
    return raw && !permitted;
}

/* --- reasons --- */

static void put_list(struct os_buf *out, const char *const *list, size_t n, const char *sep)
{
    for (size_t i = 0; i < n; i++)
        os_buf_addf(out, "%s%s", i ? sep : "", list[i]);
}

static void put_binary_reason(struct os_buf *out, const char *key, const struct policy_process *who)
{
    os_buf_addf(out, "binary '%s' not allowed in policy '%s' (ancestors: [", who->exe ? who->exe : "", key);
    put_list(out, who->ancestors, who->n_ancestors, " -> ");
    os_buf_adds(out, "], cmdline: [");
    put_list(out, who->cmdline, who->n_cmdline, ", ");
    os_buf_adds(
        out, "]). SYMLINK HINT: the path compared is the one the kernel resolved for the running executable "
             "(/proc/<pid>/exe), not the link it was started by. If the policy names a link (for example "
             "/usr/bin/python3 while the executable is /usr/bin/python3.11), put the resolved path into the "
             "policy (run 'readlink -f /usr/bin/python3' inside the sandbox), or look in the sandbox log for "
             "'Cannot access container filesystem', which tells why links could not be resolved.");
}

void policy_l4_reason(const struct policy_engine *e, const char *host, uint16_t port,
                      const struct policy_process *who, struct os_buf *out)
{
    struct query q;
    if (e->quarantine) {
        os_buf_adds(out, e->quarantine);
        return;
    }
    if (e->n_rules == 0) {
        os_buf_adds(out, "network connections not allowed by policy");
        return;
    }
    size_t before = out->len;
    bool usable = query_init(&q, e, host, port, who);
    if (usable)
        visit_matches(&q, insert);
    for (size_t i = 0; usable && i < q.n; i++) {
        uint32_t rule = e->endpoints[q.ids[i]].rule;
        if (i > 0 && e->endpoints[q.ids[i - 1]].rule == rule)
            continue;
        os_buf_adds(out, out->len > before ? "; " : "");
        put_binary_reason(out, e->rules[rule].key, who);
    }
    if (out->len == before)
        os_buf_addf(out, "endpoint %s:%u is not allowed by any policy", host, port);
}
