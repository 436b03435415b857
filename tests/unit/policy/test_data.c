/* The data document of the evaluation contract (spec/policy.md 7.3). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "core/cleanup.h"
#include "policy/data.h"
#include "policy/model.h"

static policy_doc *parse(struct os_arena *arena, const char *text)
{
    cleanup_error struct os_error err = {0};
    policy_doc *doc = policy_yaml_parse(arena, text, strlen(text), &err);
    if (!doc)
        fail_msg("%s", os_error_text(&err));
    return doc;
}

/* Compares member `key` of the document with JSON text; key NULL: all of it. */
static void expect(const policy_doc *doc, const struct policy_compile_options *opt, const char *key,
                   const char *want)
{
    json_t *data = policy_data(doc, opt);
    json_t *wanted = json_loads(want, JSON_DECODE_ANY, NULL);
    assert_non_null(wanted);
    const json_t *got = key ? json_object_get(data, key) : data;
    if (!json_equal(got, wanted)) {
        cleanup_free char *text = json_dumps(got, JSON_ENCODE_ANY | JSON_SORT_KEYS);
        fail_msg("got %s, want %s", text, want);
    }
    json_decref(wanted);
    json_decref(data);
}

static void expect_endpoint(const char *yaml, const char *want)
{
    cleanup_arena struct os_arena arena = {0};
    policy_doc *doc = parse(
        &arena, os_arena_printf(&arena, "version: 1\nnetwork_policies: {k: {endpoints: [{%s}]}}\n", yaml));
    expect(
        doc, &(struct policy_compile_options){.binary_identity = true}, "network_policies",
        os_arena_printf(&arena, "{\"k\": {\"name\": \"k\", \"binaries\": [], \"endpoints\": [%s]}}", want));
}

static void absent_sections_have_their_defaults(void **state)
{
    cleanup_arena struct os_arena arena = {0};
    expect(parse(&arena, "version: 1\n"), &(struct policy_compile_options){0}, NULL,
           "{\"filesystem_policy\": {\"include_workdir\": true, \"read_only\": [], \"read_write\": []},"
           " \"landlock\": {\"compatibility\": \"best_effort\"},"
           " \"process\": {\"run_as_user\": \"sandbox\", \"run_as_group\": \"sandbox\"},"
           " \"runtime\": {\"require_binary_identity\": false},"
           " \"network_policies\": {}, \"network_middlewares\": {}}");
}

static void present_sections_are_taken_over(void **state)
{
    cleanup_arena struct os_arena arena = {0};
    policy_doc *doc = parse(&arena, "version: 1\n"
                                    "filesystem_policy: {read_only: [/usr]}\n"
                                    "landlock: {compatibility: hard_requirement}\n"
                                    "process: {run_as_user: \"1000\"}\n");
    const struct policy_compile_options opt = {.binary_identity = true};
    expect(doc, &opt, "filesystem_policy",
           "{\"include_workdir\": false, \"read_only\": [\"/usr\"], \"read_write\": []}");
    expect(doc, &opt, "landlock", "{\"compatibility\": \"hard_requirement\"}");
    expect(doc, &opt, "process", "{\"run_as_user\": \"1000\", \"run_as_group\": \"\"}");
    expect(doc, &opt, "runtime", "{\"require_binary_identity\": true}");
}

static void endpoints_are_spelled_out(void **state)
{
    expect_endpoint("host: API.x.com., port: 443", "{\"host\": \"api.x.com\", \"ports\": [443]}");
    expect_endpoint("host: '[fd00::1]', ports: [80, 443], protocol: TCP",
                    "{\"host\": \"fd00::1\", \"ports\": [80, 443], \"protocol\": \"tcp\"}");
    expect_endpoint(
        "host: '', port: 1, allowed_ips: [10.0.0.0/8], tls: skip, enforcement: enforce, path: /a, "
        "allow_encoded_slash: true, credential_binding: {provider: p}",
        "{\"host\": \"\", \"ports\": [1], \"allowed_ips\": [\"10.0.0.0/8\"], \"tls\": \"skip\", "
        "\"enforcement\": \"enforce\", \"path\": \"/a\", \"allow_encoded_slash\": true, "
        "\"credential_binding\": {\"provider\": \"p\"}}");
}

#define ALLOW(method, path, type, rest)                                                                      \
    "{\"allow\": {\"method\": \"" method "\", \"path\": \"" path                                             \
    "\", \"command\": \"\", \"operation_type\": \"" type "\", \"operation_name\": \"\"" rest "}}"

static void presets_become_rules(void **state)
{
#define HEAD(protocol, access)                                                                               \
    "{\"host\": \"h\", \"ports\": [1], \"protocol\": \"" protocol "\", \"access\": \"" access                \
    "\", \"rules\": ["
    expect_endpoint("host: h, port: 1, protocol: rest, access: read-only",
                    HEAD("rest", "read-only") ALLOW("GET", "**", "", "") "," ALLOW(
                        "HEAD", "**", "", "") "," ALLOW("OPTIONS", "**", "", "") "]}");
    expect_endpoint("host: h, port: 1, protocol: websocket, access: read-write",
                    HEAD("websocket", "read-write")
                        ALLOW("GET", "**", "", "") "," ALLOW("WEBSOCKET_TEXT", "**", "", "") "]}");
    expect_endpoint("host: h, port: 1, protocol: graphql, access: read-write",
                    HEAD("graphql", "read-write")
                        ALLOW("", "", "query", "") "," ALLOW("", "", "mutation", "") "]}");
    expect_endpoint("host: h, port: 1, protocol: rest, access: full",
                    HEAD("rest", "full") ALLOW("*", "**", "", "") "]}");
    expect_endpoint("host: h, port: 1, protocol: mcp, mcp: {allow_all_known_mcp_methods: true}",
                    "{\"host\": \"h\", \"ports\": [1], \"protocol\": \"mcp\", "
                    "\"mcp_allow_all_known_mcp_methods\": true, \"rules\": [" ALLOW("*", "", "", "") "]}");
}

static void rules_are_spelled_out(void **state)
{
    expect_endpoint(
        "host: h, port: 1, protocol: rest, rules: [{allow: {method: GET, path: /a, query: {q: b, r: "
        "{any: [c, d]}}}}], deny_rules: [{method: POST, path: /b}]",
        "{\"host\": \"h\", \"ports\": [1], \"protocol\": \"rest\", \"rules\": [" ALLOW(
            "GET", "/a", "",
            ", \"query\": {\"q\": {\"glob\": \"b\"}, \"r\": {\"any\": [\"c\", \"d\"]}}") "], "
                                                                                         "\"deny_rules\": "
                                                                                         "[{\"method\": "
                                                                                         "\"POST\", "
                                                                                         "\"path\": "
                                                                                         "\"/b\"}]}");
    expect_endpoint(
        "host: h, port: 1, protocol: mcp, mcp: {max_body_bytes: 9, strict_tool_names: false}, rules: "
        "[{allow: {tool: search}}, {allow: {method: ping}}], deny_rules: [{tool: rm}]",
        "{\"host\": \"h\", \"ports\": [1], \"protocol\": \"mcp\", \"json_rpc_max_body_bytes\": 9, "
        "\"mcp_strict_tool_names\": false, \"rules\": [" ALLOW(
            "tools/call", "", "",
            ", \"params\": {\"name\": {\"glob\": \"search\"}}") "," ALLOW("ping", "", "",
                                                                          "") "], \"deny_rules\": "
                                                                              "[{\"method\": \"tools/call\", "
                                                                              "\"params\": "
                                                                              "{\"name\": {\"glob\": "
                                                                              "\"rm\"}}}]}");
    expect_endpoint(
        "host: h, port: 1, protocol: graphql, access: full, persisted_queries: allow_registered, "
        "graphql_max_body_bytes: 7, graphql_persisted_queries: {abc: {operation_type: query, fields: "
        "[viewer]}}",
        "{\"host\": \"h\", \"ports\": [1], \"protocol\": \"graphql\", \"access\": \"full\", "
        "\"persisted_queries\": \"allow_registered\", \"graphql_max_body_bytes\": 7, "
        "\"graphql_persisted_queries\": {\"abc\": {\"operation_type\": \"query\", \"fields\": "
        "[\"viewer\"]}}, \"rules\": [" ALLOW("", "", "*", "") "]}");
}

static char *resolve(void *ctx, const char *path)
{
    return strcmp(path, "/usr/bin/python3") == 0 ? strdup("/usr/bin/python3.11")
           : strcmp(path, "/bin/star") == 0      ? strdup("/opt/*")
                                                 : NULL;
}

static void binaries_carry_provenance_and_link_targets(void **state)
{
    cleanup_arena struct os_arena arena = {0};
    policy_doc *doc = parse(&arena, "version: 1\nnetwork_policies: {k: {name: n, binaries: [{path: "
                                    "/usr/bin/python3}, {path: '/usr/**'}, {path: /bin/star}]}}\n");
    policy_rule *rule = doc->network_policies[0]->value;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
    rule->binaries[0]->harness = true;
#pragma GCC diagnostic pop
    expect(doc, &(struct policy_compile_options){.binary_identity = true, .resolve = resolve},
           "network_policies",
           "{\"k\": {\"name\": \"n\", \"endpoints\": [], \"binaries\": ["
           "{\"path\": \"/usr/bin/python3\", \"advisor_proposed\": true},"
           "{\"path\": \"/usr/bin/python3.11\", \"advisor_proposed\": true},"
           "{\"path\": \"/usr/**\"}, {\"path\": \"/bin/star\"}]}}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(absent_sections_have_their_defaults),
        cmocka_unit_test(present_sections_are_taken_over),
        cmocka_unit_test(endpoints_are_spelled_out),
        cmocka_unit_test(presets_become_rules),
        cmocka_unit_test(rules_are_spelled_out),
        cmocka_unit_test(binaries_carry_provenance_and_link_targets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
