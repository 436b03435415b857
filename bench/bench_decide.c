/* Cost of a policy decision: nanoseconds per L4 and per L7 decision, and proof that none of
 * them allocates. Usage: bench_decide [RULES [DECISIONS]]. Exit 1 when a decision allocated or came out
 * wrong. bench_decide --json RULES prints {data, connections, requests}: the same policy and questions in the
 * form of docs/architecture/policy-contract.md, for a policy agent to answer. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <jansson.h>

#include "core/buf.h"
#include "core/cleanup.h"
#include "policy/data.h"
#include "policy/engine.h"

#define RULES 1000 /* by default */
#define DECISIONS 1000000
#define HOSTS 64

/* The linker routes every allocation of the program through these (--wrap). */
void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);

static unsigned long allocations;

void *__wrap_malloc(size_t n)
{
    allocations++;
    return __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
    allocations++;
    return __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
    allocations++;
    return __real_realloc(p, n);
}

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void fail(const struct os_error *err)
{
    fprintf(stderr, "bench_decide: %s\n", os_error_text(err));
    exit(1);
}

static const struct policy_compile_options options = {.binary_identity = true};

/* One in four hosts is a wildcard; every rule has two binaries and a handful of REST rules. */
static policy_doc *document(struct os_arena *arena, unsigned long rules)
{
    cleanup_buf struct os_buf text = {0};
    cleanup_error struct os_error err = {0};
    os_buf_adds(&text, "version: 1\nnetwork_policies:\n");
    for (int i = 0; i < (int)rules; i++)
        os_buf_addf(
            &text,
            "  rule_%04d:\n"
            "    endpoints:\n"
            "    - {host: '%sapi%d.example.com', port: 443, protocol: rest, enforcement: enforce,\n"
            "       rules: [{allow: {method: GET, path: '/v1/items/*'}}, {allow: {method: POST, path: "
            "'/v1/items/*/comments/**'}}, {allow: {method: GET, path: '/v2/**', query: {page: '*'}}}],\n"
            "       deny_rules: [{method: '*', path: '/**/admin/**'}]}\n"
            "    binaries: [{path: /usr/bin/curl}, {path: '/opt/tool%d/**'}]\n",
            i, i % 4 == 0 ? "*." : "", i, i);
    policy_doc *doc = policy_yaml_parse(arena, text.data, text.len, &err);
    if (!doc)
        fail(&err);
    return doc;
}

static struct policy_engine *compile(const policy_doc *doc)
{
    cleanup_error struct os_error err = {0};
    struct policy_engine *e = policy_compile(doc, &options, &err);
    if (!e)
        fail(&err);
    return e;
}

/* --- the questions --- */

static const char *const ancestors[] = {"/usr/bin/bash", "/usr/local/bin/agent", "/usr/bin/node"};
static const struct policy_process who = {.exe = "/usr/bin/curl", .ancestors = ancestors, .n_ancestors = 3};
static const struct policy_query_pair page = {"page", "2"};
static const struct policy_http requests[] = {
    {.method = "GET", .path = "/v1/items/42"},
    {.method = "POST", .path = "/v1/items/42/comments/7/likes"},
    {.method = "GET", .path = "/v2/search/items", .query = &page, .n_query = 1},
    {.method = "POST", .path = "/v1/items/admin/keys"}, /* the one that is refused */
};

static void name_hosts(char hosts[HOSTS][64], unsigned long rules)
{
    for (unsigned i = 0; i < HOSTS; i++) {
        unsigned rule = (unsigned)(i * 15 % rules);
        snprintf(hosts[i], 64, "%sapi%u.example.com", rule % 4 == 0 ? "eu." : "", rule);
    }
}

struct figures {
    double l4, l7;
    unsigned long wrong;
};

static struct figures measure(const struct policy_engine *e, unsigned long rules, unsigned long n)
{
    char hosts[HOSTS][64];
    name_hosts(hosts, rules);
    struct figures f = {0};
    struct policy_l4 l4;
    double start = now_ns();
    for (unsigned long i = 0; i < n; i++) {
        policy_decide_l4(e, hosts[i % HOSTS], 443, &who, &l4);
        f.wrong += !l4.allow;
    }
    f.l4 = (now_ns() - start) / (double)n;
    start = now_ns();
    for (unsigned long i = 0; i < n; i++) {
        struct policy_l7 l7;
        policy_decide_http(e, &l4, &requests[i % 4], &l7);
        f.wrong += l7.allow != (i % 4 != 3);
    }
    f.l7 = (now_ns() - start) / (double)n;
    return f;
}

/* --- the same for a policy agent --- */

static json_t *connection(const char *host)
{
    return json_pack("{s{ss si} s{ss s[sss] s[]}}", "network", "host", host, "port", 443, "exec", "path",
                     who.exe, "ancestors", ancestors[0], ancestors[1], ancestors[2], "cmdline_paths");
}

/* The requests go to the host that the last of the connections went to. */
static json_t *request(const char *host, const struct policy_http *r)
{
    json_t *query = json_object(), *ask = connection(host);
    for (size_t i = 0; i < r->n_query; i++)
        json_object_set_new(query, r->query[i].key, json_pack("[s]", r->query[i].value));
    json_object_set_new(ask, "request",
                        json_pack("{ss ss so sn sn}", "method", r->method, "path", r->path, "query_params",
                                  query, "graphql", "jsonrpc"));
    return ask;
}

static void print_json(const policy_doc *doc, unsigned long rules)
{
    char hosts[HOSTS][64];
    json_t *connections = json_array(), *asks = json_array();
    name_hosts(hosts, rules);
    for (int i = 0; i < HOSTS; i++)
        json_array_append_new(connections, connection(hosts[i]));
    for (size_t i = 0; i < OS_ARRAY_LEN(requests); i++)
        json_array_append_new(asks, request(hosts[HOSTS - 1], &requests[i]));
    json_t *out = json_pack("{so so so}", "data", policy_data(doc, &options), "connections", connections,
                            "requests", asks);
    json_dumpf(out, stdout, JSON_COMPACT);
    puts("");
    json_decref(out);
}

int main(int argc, char **argv)
{
    int json = argc == 3 && strcmp(argv[1], "--json") == 0;
    cleanup_arena struct os_arena arena = {0};
    unsigned long rules = argc > 1 ? strtoul(argv[1 + json], NULL, 10) : RULES;
    unsigned long n = argc > 2 && !json ? strtoul(argv[2], NULL, 10) : DECISIONS;
    if (rules == 0 || rules > RULES || n == 0) {
        fprintf(stderr, "usage: %s [RULES [DECISIONS]] | --json RULES, at most %d rules\n", argv[0], RULES);
        return 2;
    }
    const policy_doc *doc = document(&arena, rules);
    if (json) {
        print_json(doc, rules);
        return 0;
    }
    struct policy_engine *e = compile(doc);
    unsigned long before = allocations;
    struct figures f = measure(e, rules, n);
    unsigned long during = allocations - before;
    policy_engine_unref(e);
    printf("policy decision, %lu rules: L4 %.0f ns, L7 %.0f ns, %lu allocations in %lu decisions\n", rules,
           f.l4, f.l7, during, 2 * n);
    if (f.wrong)
        fprintf(stderr, "bench_decide: %lu decisions came out wrong\n", f.wrong);
    return during || f.wrong;
}
