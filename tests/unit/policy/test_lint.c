/* The lint: every warning, what it does not complain about, and that errors are those of gateway and
 * supervisor. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/cleanup.h"
#include "policy/lint.h"

/* Findings of a policy as "check where" lines. */
static char *lint(const char *text)
{
    cleanup_arena struct os_arena arena = {0};
    cleanup_error struct os_error err = {0};
    cleanup_buf struct os_buf out = {0};
    struct policy_findings f;
    policy_doc *doc = policy_yaml_parse(&arena, text, strlen(text), &err);
    if (!doc)
        fail_msg("%s\n%s", text, os_error_text(&err));
    policy_lint(&arena, doc, &f);
    size_t errors = 0;
    for (size_t i = 0; i < f.n; i++) {
        errors += f.v[i].severity == POLICY_LINT_ERROR;
        assert_true(strlen(f.v[i].text) > 0);
        const char *endpoint = strstr(f.v[i].where, "endpoints");
        os_buf_addf(&out, "%s%s", i ? "; " : "", f.v[i].check);
        if (*f.v[i].where)
            os_buf_addf(&out, " %s", endpoint ? endpoint : "rule");
    }
    assert_int_equal(errors, f.errors);
    return os_strdup(os_buf_str(&out));
}

#define ENFORCED_AS(protocol) "port: 443, protocol: " protocol ", enforcement: enforce"
#define ENFORCED ENFORCED_AS("rest")
#define CURL "binaries: [{path: /usr/bin/curl}]"
#define EP(inside) "r: {endpoints: [{" inside "}], " CURL "}"
#define RULES(inside) EP("host: a.com, " ENFORCED ", " inside)

static void warnings(void **state)
{
    static const struct {
        const char *rules, *want;
    } rows[] = {
        {EP("host: a.com, port: 443"), ""},
        {RULES("access: read-only"), ""},
        {RULES("rules: [{allow: {method: GET, path: '/v1/**'}}, {allow: {method: PUT, path: '/v1/**'}}],"
               "deny_rules: [{method: GET, path: /v1/x}]"),
         ""},
        {"r: {endpoints: [{host: a.com, port: 443}]}", "no-binaries rule"},
        {"r: {endpoints: [], " CURL "}", "no-endpoints rule"},
        {"r: {endpoints: [{host: a.com, port: 443}], binaries: [{path: '/**'}, {path: curl}]}",
         "any-binary rule; relative-binary rule"},
        {EP("host: a.com, port: 443, protocol: rest, access: full"), "audit-by-default endpoints[0]"},
        {EP("host: a.com, port: 443, protocol: rest, access: full, enforcement: audit"), ""},
        {EP("host: a.com, " ENFORCED ", access: full, tls: skip"), "unread-requests endpoints[0]"},
        {EP("host: a.com, port: 443, tls: skip"), ""},
        {EP("host: a.com, port: 443, tls: terminate"), "deprecated endpoints[0]"},
        {EP("host: '*.a.com', port: 443"), ""},
        {EP("host: '**.a.com', port: 443"), "broad-host endpoints[0]"},
        {EP("host: '**.b.a.com', port: 443"), ""},
        {EP("host: '*.co.uk', port: 443"), "broad-host endpoints[0]"},
        {EP("host: '*.a.co.uk', port: 443"), ""},
        {EP("host: '*.*.com', port: 443"), "broad-host endpoints[0]"},
        {EP("host: 'api-*.a.com', port: 443"), ""},
        {EP("port: 443, allowed_ips: [10.0.0.0/8, 10.1.0.0/16]"), "broad-addresses endpoints[0]"},
        {"r: {endpoints: [{host: a.com, port: 443}, {host: A.com, ports: [80, 443]}, {host: a.com, port: 80, "
         "path: /x}], " CURL "}",
         "repeated-endpoint endpoints[1]"},
        {RULES("rules: [{allow: {method: GET, path: /a}}, {allow: {path: /b}}]"),
         "unreachable-rule endpoints[0].rules[1]"},
        {RULES("rules: [{allow: {method: GET, path: '/v1/**'}}, {allow: {method: head, path: '/v1/*/x'}}]"),
         "unreachable-rule endpoints[0].rules[1]"},
        {RULES("rules: [{allow: {method: GET, path: '/v1/x'}}, {allow: {method: '*'}}]"),
         "unreachable-rule endpoints[0].rules[0]"},
        {RULES("rules: [{allow: {method: GET, path: '/x'}}, {allow: {method: GET, path: '/x'}}]"),
         "unreachable-rule endpoints[0].rules[1]"},
        {RULES("rules: [{allow: {method: GET, path: '/x', query: {a: b}}}, {allow: {method: GET, path: "
               "'/x'}}]"),
         "unreachable-rule endpoints[0].rules[0]"},
        {RULES("rules: [{allow: {method: GET, path: '/x', query: {a: b}}}, {allow: {method: GET, path: '/x', "
               "query: {a: c}}}]"),
         ""},
        {RULES("rules: [{allow: {method: GET, path: '/*'}}, {allow: {method: GET, path: '/a/b'}}]"), ""},
        {RULES("path: '/v1/**', rules: [{allow: {method: GET, path: /v1/a}}, {allow: {method: GET, path: "
               "/v2}}]"),
         "unreachable-rule endpoints[0].rules[1]"},
        {RULES("path: '/v1/**', rules: [{allow: {method: GET, path: '**'}}, {allow: {method: PUT, path: "
               "'/v2/*'}}]"),
         "unreachable-rule endpoints[0].rules[1]"},
        {RULES("rules: [{allow: {method: GET, path: '/a/b'}}, {allow: {method: GET, path: /c}}], deny_rules: "
               "[{path: '/a/**'}]"),
         "unreachable-rule endpoints[0].rules[0]"},
        {RULES("rules: [{allow: {method: GET, path: /a}}], deny_rules: [{method: GET, path: /a, query: {k: "
               "v}}]"),
         ""},
        {RULES("access: full, deny_rules: [{method: DELETE}]"),
         "deny-without-path endpoints[0].deny_rules[0]"},
        {RULES("access: read-only, deny_rules: [{method: DELETE, path: /a}]"),
         "idle-deny endpoints[0].deny_rules[0]"},
        {RULES("access: read-write, deny_rules: [{method: PATCH, path: /a}, {path: /b}]"), ""},
        {RULES("rules: [{allow: {method: GET, path: '/a/**'}}], deny_rules: [{method: GET, path: '/b/**'}]"),
         "idle-deny endpoints[0].deny_rules[0]"},
        {RULES("access: full, deny_rules: [{path: '/a/**'}, {method: GET, path: /a/b}]"),
         "unreachable-rule endpoints[0].deny_rules[1]"},
        {RULES("path: '/v1/**', access: full, deny_rules: [{path: '/b/**'}]"),
         "unreachable-rule endpoints[0].deny_rules[0]"},
        {RULES("rules: [{allow: {method: GET, path: v1/x}}, {allow: {method: GET, path: '*'}}], deny_rules: "
               "[{method: GET, path: v1/y}]"),
         "relative-path endpoints[0].rules[0]; relative-path endpoints[0].deny_rules[0]"},
        {EP("host: a.com, port: 443, protocol: websocket, enforcement: enforce, rules: [{allow: {method: "
            "GET, "
            "path: ws}}]"),
         "relative-path endpoints[0].rules[0]"},
        {EP("host: a.com, port: 443, protocol: sql, access: full, enforcement: audit"),
         "unread-requests endpoints[0]"},
        {EP("host: a.com, port: 443, protocol: graphql, access: read-only, enforcement: enforce"), ""},
        {RULES("rules: [{allow: {method: FETCH, path: /a}}]"), "unknown-method endpoints[0].rules[0]"},
        {"r: {endpoints: [{host: a.com, " ENFORCED_AS(
             "graphql") ", path: /graphql, access: read-only}, {host: A.com, " ENFORCED
                        ", access: read-write}], " CURL "}",
         "open-neighbour endpoints[0]"},
        {"r: {endpoints: [{host: a.com, " ENFORCED_AS(
             "graphql") ", path: /graphql, access: read-only}, {host: a.com, " ENFORCED
                        ", access: read-only}, {host: a.com, " ENFORCED
                        ", path: '/v1/**', access: full}, {host: a.com, port: 80, protocol: rest, "
                        "enforcement: enforce, access: full}], " CURL "}",
         ""},
    };
    for (size_t i = 0; i < OS_ARRAY_LEN(rows); i++) {
        cleanup_free char *text = os_asprintf("version: 1\nnetwork_policies: {%s}", rows[i].rules);
        cleanup_free char *got = lint(text);
        if (strcmp(got, rows[i].want) != 0)
            fail_msg("%s\n got %s\nwant %s", rows[i].rules, got, rows[i].want);
    }
}

static void errors(void **state)
{
    static const struct {
        const char *text, *want;
    } rows[] = {
        {"version: 1", ""},
        {"version: 2", "unknown-version rule"},
        {"version: 1\nnetwork_policies: {_provider_x: {endpoints: [{host: a.com, port: 443}], " CURL "}}",
         "reserved-key"},
        {"version: 1\nfilesystem_policy: {read_write: [/, a]}", "invalid; invalid"},
        {"version: 1\nnetwork_policies: {" EP(
             "host: a.com, port: 443, protocol: sql, access: full, path: /x, enforcement: enforce") "}",
         "invalid; unread-requests endpoints[0]"},
        {"version: 1\nnetwork_policies: {a: {endpoints: [{host: a.com, port: 443}], " CURL "},"
         "b: {endpoints: [{host: a.com, port: 443, tls: skip}], " CURL "}}",
         "ambiguous"},
        {"version: 1\nprocess: {run_as_user: '5'}", "not-built"},
    };
    for (size_t i = 0; i < OS_ARRAY_LEN(rows); i++) {
        cleanup_free char *got = lint(rows[i].text);
        assert_string_equal(got, rows[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(warnings), cmocka_unit_test(errors)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
