/* Overlapping endpoints: which pairs must agree, on what, and what the refusal says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/cleanup.h"
#include "policy/policy.h"

static policy_doc *two(struct os_arena *arena, const char *a, const char *b)
{
    cleanup_error struct os_error err = {0};
    const char *text = os_arena_printf(arena,
                                       "version: 1\nnetwork_policies: {b: {endpoints: [{port: 443, %s}]}, "
                                       "a: {endpoints: [{port: 443, %s}]}}",
                                       b, a);
    policy_doc *doc = policy_yaml_parse(arena, text, strlen(text), &err);
    if (!doc)
        fail_msg("%s\n%s", text, os_error_text(&err));
    return doc;
}

static void conflicts(void **state)
{
    static const struct {
        const char *a, *b, *fields; /* NULL = may stand side by side */
    } rows[] = {
        {"host: x.com", "host: x.com", NULL},
        {"host: x.com, tls: skip", "host: X.com", "tls=\"skip\" vs \"auto\""},
        {"host: x.com, tls: skip", "host: y.com", NULL},
        {"host: x.com, tls: terminate", "host: x.com", NULL},
        {"host: '*.x.com', tls: skip", "host: api.x.com, protocol: rest, access: full",
         "tls=\"skip\" vs \"auto\"; protocol=\"\" vs \"rest\""},
        {"host: '*.x.com', tls: skip", "host: a.api.x.com, protocol: rest, access: full", NULL},
        {"host: '**.x.com', tls: skip", "host: a.api.x.com", "tls=\"skip\" vs \"auto\""},
        {"host: 'a*.x.com', tls: skip", "host: '*b.x.com'", "tls=\"skip\" vs \"auto\""},
        {"host: 'a*.x.com', tls: skip", "host: 'b*.x.com'", NULL},
        {"host: '*.a.x.com', tls: skip", "host: '**.x.com'", "tls=\"skip\" vs \"auto\""},
        {"host: '*.a.x.com', tls: skip", "host: '*.x.com'", NULL},
        {"host: '*.s3.*.aws.com', tls: skip", "host: 'b.*.eu.aws.com'", "tls=\"skip\" vs \"auto\""},
        {"host: '', allowed_ips: [10.0.0.1]", "host: x.com", "allowed_ips=[\"10.0.0.1\"] vs []"},
        {"host: x.com, allowed_ips: [10.0.0.2, 10.0.0.1]",
         "host: x.com, allowed_ips: [10.0.0.1, ' 10.0.0.2', 10.0.0.1]", NULL},
        {"host: x.com, protocol: rest, access: full", "host: x.com, protocol: tcp",
         "transparent_tcp_eligible=false vs true"},
        {"host: x.com, protocol: rest, access: full, enforcement: enforce",
         "host: x.com, protocol: rest, access: full", "enforcement=\"enforce\" vs \"audit\""},
        {"host: x.com, protocol: rest, access: full",
         "host: x.com, protocol: REST, access: read-only, "
         "enforcement: audit",
         NULL},
        {"host: x.com, protocol: rest, access: full", "host: x.com", NULL},
        {"host: x.com, protocol: rest, access: full", "host: x.com, protocol: graphql, access: full",
         "protocol=\"rest\" vs \"graphql\""},
        {"host: x.com, protocol: rest, access: full",
         "host: x.com, protocol: graphql, path: /graphql, access: full", NULL},
        {"host: x.com, protocol: rest, path: '/a/**', access: full",
         "host: x.com, protocol: graphql, path: '/b/**', access: full", NULL},
        {"host: x.com, protocol: rest, path: '/a/**', access: full",
         "host: x.com, protocol: graphql, path: '/*/a', access: full", "protocol=\"rest\" vs \"graphql\""},
        {"host: x.com, protocol: rest, path: '/a/**', access: full",
         "host: x.com, protocol: graphql, path: '/abc', access: full", NULL},
        {"host: x.com, protocol: rest, path: '/?x', access: full",
         "host: x.com, protocol: rest, allow_encoded_slash: true, path: '/a[', access: full", NULL},
        {"host: x.com, protocol: rest, path: '**', access: full, allow_encoded_slash: true",
         "host: x.com, protocol: rest, access: full, request_body_credential_rewrite: true",
         "allow_encoded_slash=true vs false; request_body_credential_rewrite=false vs true"},
        {"host: x.com, protocol: rest, access: full, credential_signing: sigv4, signing_service: s3",
         "host: x.com, protocol: rest, access: full, credential_binding: {provider: p}",
         "credential_signing=\"sigv4\" vs \"\"; signing_service=\"s3\" vs \"\"; "
         "credential_binding.provider=\"\" "
         "vs \"p\""},
        {"host: x.com, protocol: graphql, access: full, graphql_max_body_bytes: 65536",
         "host: x.com, protocol: graphql, access: full", NULL},
        {"host: x.com, protocol: graphql, access: full, graphql_max_body_bytes: 1",
         "host: x.com, protocol: graphql, access: full", "1 vs 65536"},
        {"host: x.com, protocol: mcp, mcp: {strict_tool_names: true}", "host: x.com, protocol: mcp", NULL},
        {"host: x.com, protocol: mcp, mcp: {strict_tool_names: false, max_body_bytes: 7}",
         "host: x.com, protocol: mcp",
         "json_rpc_max_body_bytes=7 vs 65536; mcp.strict_tool_names=false vs true"},
        {"host: x.com, protocol: websocket, rules: [{allow: {operation_type: query}}]",
         "host: x.com, protocol: websocket, access: full", "websocket_graphql_policy=true vs false"},
    };
    for (size_t i = 0; i < OS_ARRAY_LEN(rows); i++) {
        cleanup_arena struct os_arena arena = {0};
        cleanup_strv struct os_strv lines = {0};
        policy_ambiguities(two(&arena, rows[i].a, rows[i].b), &lines);
        if ((lines.n > 0) != (rows[i].fields != NULL))
            fail_msg("%s | %s: %s", rows[i].a, rows[i].b, lines.n ? lines.v[0] : "no conflict");
        if (rows[i].fields && !os_str_ends(lines.v[0], rows[i].fields))
            fail_msg("%s\nwant ... %s", lines.v[0], rows[i].fields);
        cleanup_strv struct os_strv swapped = {0};
        policy_ambiguities(two(&arena, rows[i].b, rows[i].a), &swapped);
        assert_int_equal(swapped.n, lines.n);
    }
}

static void the_line_names_both_sides(void **state)
{
    cleanup_arena struct os_arena arena = {0};
    cleanup_error struct os_error err = {0};
    policy_doc *doc = two(&arena, "host: '*.x.com', ports: [443, 8443, 80], tls: skip",
                          "host: a.x.com, ports: [80, 443], path: /v1, protocol: rest, access: full");
    assert_int_equal(policy_check_ambiguity(doc, &err), -1);
    assert_int_equal(err.code, OS_FAILED_PRECONDITION);
    assert_string_equal(err.msg, "network endpoint ambiguity validation failed:\n"
                                 "network policies 'a' endpoint[0] (*.x.com:443,8443,80) and 'b' endpoint[0] "
                                 "(a.x.com:80,443/v1) overlap on port(s) 443,80 with conflicting metadata: "
                                 "tls=\"skip\" vs \"auto\"");
    doc = two(&arena, "host: '', allowed_ips: [10.0.0.1], ports: [81]", "host: x.com, ports: [80]");
    assert_int_equal(policy_check_ambiguity(doc, &err), 0);
}

static void many_conflicts_are_cut_short(void **state)
{
    cleanup_arena struct os_arena arena = {0};
    cleanup_buf struct os_buf text = {0};
    cleanup_strv struct os_strv lines = {0};
    os_buf_adds(&text, "version: 1\nnetwork_policies: {a: {endpoints: [");
    for (int i = 0; i < 100; i++)
        os_buf_addf(&text, "{host: x.com, port: 443, tls: %s},", i % 2 ? "skip" : "auto");
    os_buf_adds(&text, "]}}");
    policy_ambiguities(policy_yaml_parse(&arena, text.data, text.len, NULL), &lines);
    assert_int_equal(lines.n, 32);
}

/* --- many endpoints --- */

static const char *pick(const char *const *list, size_t n, unsigned *seed)
{
    *seed = *seed * 1103515245u + 12345u;
    return list[(*seed >> 16) % n];
}

/* "{host: ..., path: ..., ...}" */
static char *random_endpoint(struct os_arena *arena, unsigned *seed)
{
    static const char *const hosts[] = {
        "x.com",      "X.com",    "'*.x.com'",  "'**.x.com'", "a.x.com",        "b.x.com",   "'a*.x.com'",
        "'*b.x.com'", "''",       "'*'",        "y.org",      "'*.y.org'",      "ab.x.com",  "'a?*.x.com'",
        "'?.x.com'",  "'*x.com'", "'***x.com'", "'a*'",       "'*.[ab].x.com'", "a.b.x.com", "'*.b.x.com'"};
    static const char *const ports[] = {"port: 443",       "ports: [443, 80, 443]", "port: 80",
                                        "ports: [81, 80]", "ports: [80, 443, 81]",  "ports: [1, 2, 443]"};
    static const char *const paths[] = {"''", "/a", "/a/**", "/**", "'/*/a'", "/b/**", "'/?'", "'/[ab]'"};
    static const char *const more[] = {"",
                                       ", tls: skip",
                                       ", tls: auto",
                                       ", allowed_ips: [10.0.0.1]",
                                       ", protocol: rest, access: full",
                                       ", protocol: REST, access: full, enforcement: enforce",
                                       ", protocol: tcp",
                                       ", protocol: graphql, access: full",
                                       ", protocol: graphql, access: full, graphql_max_body_bytes: 7",
                                       ", protocol: mcp",
                                       ", protocol: rest, access: full, allow_encoded_slash: true"};
    const char *host = pick(hosts, OS_ARRAY_LEN(hosts), seed);
    const char *port = pick(ports, OS_ARRAY_LEN(ports), seed);
    const char *path = pick(paths, OS_ARRAY_LEN(paths), seed);
    return os_arena_printf(arena, "{host: %s, %s, path: %s%s}", host, port, path,
                           pick(more, OS_ARRAY_LEN(more), seed));
}

/* The conflicts of rules "00", "01", ... with one endpoint each; in NULL = all of them. */
static void find(struct os_arena *arena, char *const *endpoints, size_t n, const bool *in,
                 struct os_strv *lines)
{
    cleanup_buf struct os_buf text = {0};
    cleanup_error struct os_error err = {0};
    os_buf_adds(&text, "version: 1\nnetwork_policies:\n");
    for (size_t i = 0; i < n; i++)
        if (!in || in[i])
            os_buf_addf(&text, "  '%02zu': {endpoints: [%s]}\n", i, endpoints[i]);
    policy_doc *doc = policy_yaml_parse(arena, text.data, text.len, &err);
    if (!doc)
        fail_msg("%s\n%s", os_buf_str(&text), os_error_text(&err));
    policy_ambiguities(doc, lines);
}

/* What is found at once is what is found pair by pair, in the same order, up to the bound. */
static void all_at_once_is_pair_by_pair(void **state)
{
    size_t found = 0;
    for (unsigned round = 0; round < 300; round++) {
        cleanup_arena struct os_arena arena = {0};
        cleanup_strv struct os_strv once = {0}, pairs = {0};
        char *endpoints[16];
        unsigned seed = round;
        size_t n = 2 + round % 15;
        for (size_t i = 0; i < n; i++)
            endpoints[i] = random_endpoint(&arena, &seed);
        find(&arena, endpoints, n, NULL, &once);
        for (size_t i = 0; i < n; i++)
            for (size_t k = i + 1; k < n && pairs.n < 32; k++) {
                bool in[16] = {false};
                in[i] = in[k] = true;
                find(&arena, endpoints, n, in, &pairs);
            }
        assert_int_equal(once.n, pairs.n);
        for (size_t i = 0; i < once.n; i++)
            assert_string_equal(once.v[i], pairs.v[i]);
        found += once.n;
    }
    assert_true(found > 300);
}

static void check_many(const char *fmt, unsigned n, const char *complaint)
{
    cleanup_arena struct os_arena arena = {0};
    cleanup_buf struct os_buf text = {0};
    cleanup_error struct os_error err = {0};
    os_buf_adds(&text, "version: 1\nnetwork_policies: {a: {endpoints: [\n");
    for (unsigned i = 0; i < n; i++) {
        os_buf_addf(&text, "{port: 443, allowed_ips: [10.0.%u.%u], host: ", i / 250, i % 250);
        for (const char *p = fmt; *p; p++) {
            if (*p == '#')
                os_buf_addf(&text, "%05u", i);
            else
                os_buf_addc(&text, *p);
        }
        os_buf_adds(&text, "},\n");
    }
    os_buf_adds(&text, "]}}");
    policy_doc *doc = policy_yaml_parse(&arena, text.data, text.len, &err);
    assert_non_null(doc);
    int rc = policy_check_ambiguity(doc, &err);
    if (!complaint && rc)
        fail_msg("%s", os_error_text(&err));
    if (complaint) {
        assert_int_equal(rc, -1);
        assert_non_null(strstr(os_error_text(&err), complaint));
    }
}

/* Quadratic work is bounded; what a policy of the largest size can need is not. */
static void work_is_bounded(void **state)
{
    check_many("h#.x.com", 4000, NULL);
    check_many("'*.h#.com'", 4000, NULL);
    check_many("'*.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa#.*'", 2000,
               "network policies have 2000 endpoints, with too many or too long host and path patterns to "
               "compare them "
               "all with one another; use fewer hosts and paths with '*', or shorter ones");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conflicts),
        cmocka_unit_test(the_line_names_both_sides),
        cmocka_unit_test(many_conflicts_are_cut_short),
        cmocka_unit_test(all_at_once_is_pair_by_pair),
        cmocka_unit_test(work_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
