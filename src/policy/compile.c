/* Policy message -> compiled policy: checks it, resolves binaries, compiles patterns, expands presets, and
 * files every endpoint under what a decision looks up. */
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "policy/engine_priv.h"
#include "policy/validate.h"

struct compiler {
    struct policy_engine *e;
    struct os_arena *arena; /* the engine's */
    const struct policy_compile_options *opt;
};

/* --- endpoints --- */

static void compile_allowed_ips(struct compiler *c, const policy_endpoint_doc *from,
                                struct policy_endpoint *pub)
{
    struct policy_cidr *list = os_arena_alloc(c->arena, from->n_allowed_ips * sizeof(*list));
    for (size_t i = 0; i < from->n_allowed_ips; i++) {
        if (!policy_cidr_parse(policy_text(from->allowed_ips[i]), &list[i]) || policy_cidr_blocked(&list[i]))
            pub->allowed_ips_invalid = true;
    }
    pub->allowed_ips = list;
    pub->n_allowed_ips = from->n_allowed_ips;
}

unsigned policy_path_weight(const char *path)
{
    unsigned n = 0;
    for (; *path; path++)
        n += *path != '*';
    return n;
}

static void compile_endpoint(struct compiler *c, const policy_endpoint_doc *from, uint32_t rule,
                             uint32_t place, struct engine_endpoint *ep)
{
    const char *path = policy_text(from->path);
    ep->rule = rule;
    ep->place = place;
    ep->pub = (struct policy_endpoint){
        .policy_key = c->e->rules[rule].key,
        .host = policy_normal_host(c->arena, policy_text(from->host)),
        .path = os_arena_strdup(c->arena, path),
        .tls = os_str_eq(from->tls, "skip") ? POLICY_TLS_SKIP : POLICY_TLS_AUTO,
        .enforce = os_str_eq(from->enforcement, "enforce"),
        .allow_encoded_slash = from->allow_encoded_slash,
        .path_weight = policy_path_weight(path),
    };
    policy_protocol_parse(from->protocol, &ep->pub.protocol);
    compile_allowed_ips(c, from, &ep->pub);
    bool wild = strchr(ep->pub.host, '*') != NULL;
    ep->kind = wild ? HOST_GLOB : *ep->pub.host ? HOST_EXACT : HOST_ANY;
    if (wild)
        glob_compile_arena(c->arena, ep->pub.host, '.', &ep->host_glob);
    ep->declared = ep->kind == HOST_EXACT && !from->advisor_proposed;
    ep->extended = (ep->pub.protocol != POLICY_L4 && ep->pub.protocol != POLICY_TCP) || from->n_allowed_ips ||
                   *policy_text(from->tls);
    ep->every_path = !*path || !strcmp(path, "**");
    if (!ep->every_path)
        compile_pattern(c->arena, path, '/', &ep->path);
    compile_l7(c->arena, from, ep);
}

/* --- binaries --- */

uint64_t engine_hash_path(const char *path)
{
    return engine_hash_text(path, strlen(path));
}

static void add_binary(struct compiler *c, struct engine_binary *b, const char *path, bool advisor)
{
    *b = (struct engine_binary){.path = os_arena_strdup(c->arena, path), .advisor = advisor};
    b->is_glob = strchr(path, '*') != NULL;
    b->hash = engine_hash_path(path);
    if (b->is_glob)
        glob_compile_arena(c->arena, b->path, '/', &b->glob);
}

static void compile_binaries(struct compiler *c, const policy_rule *from, struct engine_rule *rule)
{
    struct engine_binary *list = os_arena_alloc(c->arena, 2 * from->n_binaries * sizeof(*list));
    size_t n = 0;
    for (size_t i = 0; i < from->n_binaries; i++) {
        const char *path = policy_text(from->binaries[i]->path);
        bool advisor = policy_binary_advisor(from->binaries[i]);
        add_binary(c, &list[n++], path, advisor);
        if (!c->opt->resolve || list[n - 1].is_glob)
            continue;
        cleanup_free char *target = c->opt->resolve(c->opt->resolve_ctx, path);
        if (target && strcmp(target, path) != 0) {
            add_binary(c, &list[n], target, advisor);
            list[n++].is_glob = false; /* a file name is never a pattern */
        }
    }
    rule->binaries = list;
    rule->n_binaries = n;
}

/* --- index --- */

/* Literal labels behind the last wildcard character, NULL when there are none. */
static const char *literal_tail(const char *host)
{
    const char *tail = host;
    for (const char *p = host; *p; p++) {
        if (strchr("*?[]{},\\", *p))
            tail = p + 1;
    }
    const char *dot = strchr(tail, '.');
    return dot && dot[1] ? dot + 1 : NULL;
}

static void index_key(const struct engine_endpoint *ep, enum index_kind *kind, const char **text)
{
    const char *tail = ep->kind == HOST_GLOB ? literal_tail(ep->pub.host) : NULL;
    *kind = ep->kind == HOST_EXACT ? INDEX_EXACT : tail ? INDEX_SUFFIX : INDEX_PORT;
    *text = *kind == INDEX_EXACT ? ep->pub.host : tail ? tail : "";
}

static struct index_slot *find_slot(struct policy_engine *e, enum index_kind kind, uint16_t port,
                                    const char *text)
{
    uint64_t hash = engine_hash_key(engine_hash_text(text, strlen(text)), port, kind);
    for (uint64_t i = hash & e->index_mask;; i = (i + 1) & e->index_mask) {
        struct index_slot *s = &e->index[i];
        if (!s->text) {
            *s = (struct index_slot){.hash = hash, .text = text, .port = port, .kind = (uint8_t)kind};
            return s;
        }
        if (s->hash == hash && s->port == port && s->kind == kind && !strcmp(s->text, text))
            return s;
    }
}

static bool port_repeats(const uint32_t *ports, size_t i)
{
    for (size_t k = 0; k < i; k++) {
        if (ports[k] == ports[i])
            return true;
    }
    return false;
}

/* Two passes over (endpoint, port) pairs: count per slot, then file the numbers; order stays ascending. */
static void build_index(struct policy_engine *e, const policy_endpoint_doc *const *docs)
{
    size_t pairs = 0;
    size_t n;
    for (size_t i = 0; i < e->n_endpoints; i++) {
        policy_endpoint_ports(docs[i], &n);
        pairs += n;
    }
    size_t slots = 8;
    while (slots < 2 * pairs)
        slots *= 2;
    e->index = os_arena_alloc(&e->arena, slots * sizeof(*e->index));
    e->index_mask = slots - 1;
    e->ids = os_arena_alloc(&e->arena, pairs * sizeof(*e->ids));
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < e->n_endpoints; i++) {
            enum index_kind kind;
            const char *text;
            index_key(&e->endpoints[i], &kind, &text);
            const uint32_t *ports = policy_endpoint_ports(docs[i], &n);
            for (size_t k = 0; k < n; k++) {
                if (port_repeats(ports, k))
                    continue;
                struct index_slot *s = find_slot(e, kind, (uint16_t)ports[k], text);
                if (pass == 1)
                    e->ids[s->start + s->n] = (uint32_t)i;
                s->n++;
            }
        }
        uint32_t start = 0;
        for (size_t i = 0; pass == 0 && i < slots; i++) {
            e->index[i].start = start;
            start += e->index[i].n;
            e->index[i].n = 0;
        }
    }
}

/* --- engine --- */

static struct policy_engine *new_engine(uint64_t generation, uint32_t version)
{
    struct policy_engine *e = os_calloc(1, sizeof(*e));
    atomic_init(&e->refs, 1);
    e->generation = generation;
    e->version = version;
    return e;
}

static void compile_rules(struct compiler *c, const policy_doc *doc)
{
    struct policy_engine *e = c->e;
    cleanup_arena struct os_arena scratch = {0};
    struct policy_map_entry **sorted =
        policy_map_sorted(&scratch, doc->network_policies, doc->n_network_policies);
    static const policy_rule none;
    e->n_rules = doc->n_network_policies;
    e->rules = os_arena_alloc(c->arena, e->n_rules * sizeof(*e->rules));
    for (size_t i = 0; i < e->n_rules; i++) {
        const policy_rule *rule = sorted[i]->value ? (const void *)sorted[i]->value : &none;
        e->rules[i].key = os_arena_strdup(c->arena, policy_text(sorted[i]->key));
        compile_binaries(c, rule, &e->rules[i]);
        e->n_endpoints += rule->n_endpoints;
    }
    e->endpoints = os_arena_alloc(c->arena, e->n_endpoints * sizeof(*e->endpoints));
    const policy_endpoint_doc **docs = os_arena_alloc(&scratch, e->n_endpoints * sizeof(*docs));
    size_t at = 0;
    for (size_t i = 0; i < e->n_rules; i++) {
        const policy_rule *rule = sorted[i]->value ? (const void *)sorted[i]->value : &none;
        for (size_t k = 0; k < rule->n_endpoints; k++, at++) {
            docs[at] = rule->endpoints[k];
            compile_endpoint(c, docs[at], (uint32_t)i, (uint32_t)k, &e->endpoints[at]);
        }
    }
    build_index(e, docs);
}

static int refuse(const char *stage, const struct os_strv *bad, struct os_error *err)
{
    if (!bad->n)
        return 0;
    cleanup_free char *lines = os_strv_join(bad, "\n");
    return os_error_set(err, OS_INVALID_ARGUMENT, "%s:\n%s", stage, lines);
}

static int check(const policy_doc *doc, struct os_error *err)
{
    if (policy_check_ambiguity(doc, err)) {
        if (err)
            err->code = OS_INVALID_ARGUMENT;
        return -1;
    }
    cleanup_strv struct os_strv base = {0};
    policy_validate(doc, &base);
    if (refuse("policy validation failed", &base, err))
        return -1;
    cleanup_strv struct os_strv l7 = {0};
    policy_validate_runtime(doc, &l7);
    return refuse("L7 policy validation failed", &l7, err);
}

struct policy_engine *policy_compile(const policy_doc *doc, const struct policy_compile_options *opt,
                                     struct os_error *err)
{
    if (check(doc, err))
        return NULL;
    struct policy_engine *e = new_engine(opt->generation, opt->version);
    e->binary_identity = opt->binary_identity;
    struct compiler c = {.e = e, .arena = &e->arena, .opt = opt};
    compile_rules(&c, doc);
    compile_middlewares(e, doc);
    return e;
}

struct policy_engine *policy_quarantine(const char *reason, uint64_t generation)
{
    struct policy_engine *e = new_engine(generation, 0);
    e->quarantine = os_arena_strdup(&e->arena, reason);
    return e;
}

struct policy_engine *policy_engine_ref(struct policy_engine *e)
{
    atomic_fetch_add_explicit(&e->refs, 1, memory_order_relaxed);
    return e;
}

void policy_engine_unref(struct policy_engine *e)
{
    if (!e || atomic_fetch_sub_explicit(&e->refs, 1, memory_order_acq_rel) != 1)
        return;
    if (e->free_attached)
        e->free_attached(e->attached);
    struct os_arena arena = e->arena;
    free(e);
    os_arena_free(&arena);
}

uint64_t policy_engine_generation(const struct policy_engine *e)
{
    return e->generation;
}

uint32_t policy_engine_version(const struct policy_engine *e)
{
    return e->version;
}
