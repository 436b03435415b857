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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conflicts),
        cmocka_unit_test(the_line_names_both_sides),
        cmocka_unit_test(many_conflicts_are_cut_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
