/* Cost of a policy decision: nanoseconds per L4 and per L7 decision, and proof that none of
 * them allocates. Usage: bench_decide [RULES [DECISIONS]]. Exit 1 when a decision allocated or came out
 * wrong. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/buf.h"
#include "policy/engine.h"

#define RULES 1000 /* by default */
#define DECISIONS 1000000

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

/* One in four hosts is a wildcard; every rule has two binaries and a handful of REST rules. */
static struct policy_engine *build(unsigned long rules)
{
    cleanup_buf struct os_buf text = {0};
    cleanup_arena struct os_arena arena = {0};
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
    policy_doc *doc = policy_yaml_parse(&arena, text.data, text.len, &err);
    struct policy_compile_options opt = {.binary_identity = true};
    struct policy_engine *e = doc ? policy_compile(doc, &opt, &err) : NULL;
    if (!e) {
        fprintf(stderr, "bench_decide: %s\n", os_error_text(&err));
        exit(1);
    }
    return e;
}

struct figures {
    double l4, l7;
    unsigned long wrong;
};

static struct figures measure(const struct policy_engine *e, unsigned long rules, unsigned long n)
{
    static const char *const ancestors[] = {"/usr/bin/bash", "/usr/local/bin/agent", "/usr/bin/node"};
    struct policy_process who = {.exe = "/usr/bin/curl", .ancestors = ancestors, .n_ancestors = 3};
    struct policy_query_pair page = {"page", "2"};
    struct policy_http req[] = {
        {.method = "GET", .path = "/v1/items/42"},
        {.method = "POST", .path = "/v1/items/42/comments/7/likes"},
        {.method = "GET", .path = "/v2/search/items", .query = &page, .n_query = 1},
        {.method = "POST", .path = "/v1/items/admin/keys"},
    };
    char hosts[64][64];
    for (unsigned i = 0; i < 64; i++) {
        unsigned rule = (unsigned)(i * 15 % rules);
        snprintf(hosts[i], sizeof(hosts[i]), "%sapi%u.example.com", rule % 4 == 0 ? "eu." : "", rule);
    }
    struct figures f = {0};
    struct policy_l4 l4;
    double start = now_ns();
    for (unsigned long i = 0; i < n; i++) {
        policy_decide_l4(e, hosts[i % 64], 443, &who, &l4);
        f.wrong += !l4.allow;
    }
    f.l4 = (now_ns() - start) / (double)n;
    start = now_ns();
    for (unsigned long i = 0; i < n; i++) {
        struct policy_l7 l7;
        policy_decide_http(e, &l4, &req[i % 4], &l7);
        f.wrong += l7.allow != (i % 4 != 3);
    }
    f.l7 = (now_ns() - start) / (double)n;
    return f;
}

int main(int argc, char **argv)
{
    unsigned long rules = argc > 1 ? strtoul(argv[1], NULL, 10) : RULES;
    unsigned long n = argc > 2 ? strtoul(argv[2], NULL, 10) : DECISIONS;
    if (rules == 0 || rules > RULES || n == 0) {
        fprintf(stderr, "usage: %s [RULES [DECISIONS]], at most %d rules\n", argv[0], RULES);
        return 2;
    }
    struct policy_engine *e = build(rules);
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
