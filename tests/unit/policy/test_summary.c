/* The policy in plain text: one line for everything that may be done, whatever stands in the policy. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/cleanup.h"
#include "policy/summary.h"

static void expect(const char *yaml, const char *network, const char *files)
{
    cleanup_arena struct os_arena arena = {0};
    cleanup_error struct os_error err = {0};
    cleanup_buf struct os_buf got = {0}, paths = {0};
    const char *text = os_arena_printf(&arena, "version: 1\n%s", yaml);
    policy_doc *doc = policy_yaml_parse(&arena, text, strlen(text), &err);
    if (!doc)
        fail_msg("%s\n%s", text, os_error_text(&err));
    policy_summary_network(doc, &got);
    policy_summary_files(doc, "/work", &paths);
    if (network)
        assert_string_equal(os_buf_str(&got), network);
    if (files)
        assert_string_equal(os_buf_str(&paths), files);
}

#define K(endpoint)                                                                                          \
    "network_policies: {k: {binaries: [{path: /a}], endpoints: [{host: x.test, port: 443, " endpoint "}]}}"
#define HEAD "\nrule k\n  for /a and what they start\n"

static void nothing(void **state)
{
    expect("", "\nNothing: no host may be reached.\n", "\nread only\n\nread and change\n  /work\n");
    expect("network_policies: {k: {endpoints: [{host: x.test, port: 1}]}}",
           "\nrule k\n  for no program\n  x.test:1, any traffic\n", NULL);
}

static void files(void **state)
{
    expect("filesystem_policy: {read_only: [/usr, /etc], read_write: [/tmp]}", NULL,
           "\nread only\n  /usr\n  /etc\n\nread and change\n  /tmp\n");
    expect("filesystem_policy: {include_workdir: true}", NULL, "\nread only\n\nread and change\n  /work\n");
}

static void endpoints(void **state)
{
    expect("network_policies: {b: {binaries: [{path: '/**'}, {path: /b}], endpoints: [{host: '', ports: [1, "
           "2], allowed_ips: "
           "[10.0.0.0/8, 10.1.2.3]}, {host: x.test, port: 3, protocol: tcp}]}, a: {}}",
           "\nrule a\n  for no program\n\nrule b\n  for /**, /b and what they start\n  any host:1,2 at "
           "10.0.0.0/8,10.1.2.3, any "
           "traffic\n  x.test:3, any traffic\n",
           NULL);
    expect(K("protocol: rest, access: read-only, path: /v1/**"),
           HEAD "  x.test:443 path /v1/**, rest, only logged: requests that no line allows pass, too\n    "
                "allow GET **\n    allow HEAD "
                "**\n    allow OPTIONS **\n",
           NULL);
    expect(K("protocol: rest, enforcement: enforce, rules: [{allow: {method: GET, path: /a, query: {q: 'x*', "
             "r: {any: [1x, 2y]}}}}], "
             "deny_rules: [{method: '*', path: /b}, {path: /c}]"),
           HEAD
           "  x.test:443, rest\n    allow GET /a query q=x* query r=1x|2y\n    deny * /b\n    deny * /c\n",
           NULL);
    expect(K("protocol: graphql, enforcement: enforce, access: read-write"),
           HEAD "  x.test:443, graphql\n    allow operation query\n    allow operation mutation\n", NULL);
    expect(K("protocol: graphql, enforcement: enforce, rules: [{allow: {operation_type: query, "
             "operation_name: A, fields: [a, b]}}]"),
           HEAD "  x.test:443, graphql\n    allow operation query named A fields a,b\n", NULL);
    expect(K("protocol: mcp, enforcement: enforce, mcp: {allow_all_known_mcp_methods: true}, rules: [{allow: "
             "{tool: search}}]"),
           HEAD "  x.test:443, mcp\n    allow call *, of tools those below\n    allow call tools/call with "
                "name=search\n",
           NULL);
    expect(K("protocol: json-rpc, enforcement: enforce, rules: [{allow: {method: a.b}}]"),
           HEAD "  x.test:443, json-rpc\n    allow call a.b\n", NULL);
}

static void names_stay_in_their_line(void **state)
{
    expect("network_policies: {\"k\\nrule z\": {binaries: [{path: \"/a\\x07\"}], endpoints: [{host: x.test, "
           "port: 1}]}}",
           "\nrule k?rule z\n  for /a? and what they start\n  x.test:1, any traffic\n", NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(nothing), cmocka_unit_test(files),
                                       cmocka_unit_test(endpoints),
                                       cmocka_unit_test(names_stay_in_their_line)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
