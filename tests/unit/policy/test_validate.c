/* Rule sets of the gateway and of the supervisor: every published refusal, to the letter. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/cleanup.h"
#include "policy/engine.h"
#include "policy/policy.h"

struct row {
    const char *yaml, *want; /* all violations joined with "; " */
};

static void check(const struct row *rows, size_t n, void (*validate)(const policy_doc *, struct os_strv *))
{
    for (size_t i = 0; i < n; i++) {
        cleanup_arena struct os_arena arena = {0};
        cleanup_error struct os_error err = {0};
        const char *text = os_arena_printf(&arena, "version: 1\n%s", rows[i].yaml);
        policy_doc *doc = policy_yaml_parse(&arena, text, strlen(text), &err);
        if (!doc)
            fail_msg("%s\n%s", text, os_error_text(&err));
        cleanup_strv struct os_strv bad = {0};
        validate(doc, &bad);
        cleanup_free char *got = os_strv_join(&bad, "; ");
        if (strcmp(got ? got : "", rows[i].want) != 0)
            fail_msg("%s\n got: %s\nwant: %s", rows[i].yaml, got, rows[i].want);
    }
}

static void static_sections(void **state)
{
#define FS(text) "filesystem_policy: {" text "}"
#define ACCOUNT " must be 'sandbox' or a numeric UID/GID in range [1, 4294967294], got "
    static const struct row rows[] = {
        {FS("read_only: [/usr], read_write: [/tmp]"), ""},
        {FS("read_only: [/]"), ""},
        {FS("read_only: [usr]"), "path must be absolute (start with '/'): usr"},
        {FS("read_only: [/a/../b]"), "path contains '..' traversal component: /a/../b"},
        {FS("read_only: [/a/..b]"), ""},
        {FS("read_only: [..]"),
         "path must be absolute (start with '/'): ..; path contains '..' traversal component: .."},
        {FS("read_only: [/], read_write: [/a, /b/c]"), ""},
        {FS("read_only: [/ab, /a.b], read_write: [/a]"), ""},
        {FS("read_only: [/a/b], read_write: [/a/]"), "read-only path '/a/b' would be writable, for it lies "
                                                     "in read-write path '/a/'; list instead what may be "
                                                     "written there"},
        {FS("read_only: [/a], read_write: [/a]"), "read-only path '/a' would be writable, for it lies in "
                                                  "read-write path '/a'; list instead what may be written "
                                                  "there"},
        {FS("read_write: [/]"), "read-write path is overly broad: /"},
        {FS("read_write: [///]"), "read-write path is overly broad: ///"},
        {"process: {run_as_user: sandbox, run_as_group: \"4294967294\"}", ""},
        {"process: {run_as_user: root}", "run_as_user" ACCOUNT "'root'"},
        {"process: {run_as_user: \"0\"}", "run_as_user" ACCOUNT "'0'"},
        {"process: {run_as_group: \"4294967295\"}", "run_as_group" ACCOUNT "'4294967295'"},
        {"process: {run_as_group: \"-1\"}", "run_as_group" ACCOUNT "'-1'"},
        {"landlock: {compatibility: hard_requirement}", ""},
        {"landlock: {compatibility: Hard}", "landlock has unrecognized compatibility value 'Hard' (expected "
                                            "best_effort or hard_requirement)"},
    };
    check(rows, OS_ARRAY_LEN(rows), policy_validate);
}

static void path_limits(void **state)
{
    cleanup_arena struct os_arena arena = {0};
    cleanup_strv struct os_strv bad = {0};
    policy_doc *doc = policy_default(&arena);
    char *list[257];
    for (size_t i = 0; i < OS_ARRAY_LEN(list); i++)
        list[i] = os_arena_strdup(&arena, "/a");
    doc->filesystem->read_only = list;
    doc->filesystem->n_read_only = 254;
    policy_validate(doc, &bad);
    assert_int_equal(bad.n, 0);
    doc->filesystem->n_read_only = 255;
    list[0] = os_arena_printf(&arena, "/%04096d", 0);
    policy_validate(doc, &bad);
    assert_int_equal(bad.n, 2);
    assert_string_equal(bad.v[0], "too many filesystem paths (257 > 256)");
    char want[200];
    snprintf(want, sizeof(want), "path exceeds maximum length (4097 > 4096): /%076d...", 0);
    assert_string_equal(bad.v[1], want);
}

#define EP(text) "network_policies: {k: {endpoints: [{" text "}]}}"
#define AT "network policy 'k': "
#define L7 AT "endpoint 0 has invalid L7 configuration: "

static void endpoints(void **state)
{
    static const struct row rows[] = {
        {EP("host: a.x.com, port: 443"), ""},
        {"network_policies: {k: {name: N, endpoints: [{host: a}]}}",
         "network policy 'N': endpoint 'a' must declare at least one port"},
        {EP("host: '', port: 443"),
         AT "endpoint host must not be empty unless allowed_ips constrains a non-TCP proxy endpoint"},
        {EP("host: '', port: 443, allowed_ips: [10.0.0.1]"), ""},
        {EP("host: '', port: 443, protocol: tcp, allowed_ips: [10.0.0.1]"),
         AT "protocol tcp requires a DNS hostname; hostless allowed_ips endpoints are supported only by the "
            "forward proxy"},
        {EP("host: 10.0.0.1, port: 443, protocol: tcp"), AT
         "protocol tcp endpoint '10.0.0.1' must use a DNS hostname, not an IP literal; direct IP connections "
         "bypass policy DNS and are blocked"},
        {EP("host: '::1', port: 443, protocol: TCP"),
         AT "protocol tcp endpoint '::1' must use a DNS hostname, not an IP literal; direct IP connections "
            "bypass policy DNS and are blocked"},
        {EP("host: ' a', port: 443, protocol: tcp"),
         AT "protocol tcp endpoint has invalid DNS host selector ' a': leading or trailing whitespace is not "
            "allowed"},
        {EP("host: a.com., port: 443, protocol: tcp"),
         AT "protocol tcp endpoint has invalid DNS host selector 'a.com.': omit the trailing DNS root dot"},
        {EP("host: ., port: 443, protocol: tcp"), AT
         "protocol tcp endpoint has invalid DNS host selector '.': DNS root is not a destination hostname"},
        {EP("host: a..com, port: 443, protocol: tcp"), AT
         "protocol tcp endpoint has invalid DNS host selector 'a..com': host pattern must not contain empty "
         "DNS labels"},
        {EP("host: a$b.com, port: 443, protocol: tcp"), AT
         "protocol tcp endpoint has invalid DNS host selector 'a$b.com': selector cannot represent a valid "
         "DNS name: a label contains a character other than letters, digits and '-'"},
        {EP("host: '*.db.lan', port: 443, protocol: tcp"), ""},
        {EP("host: 'https://a.com', port: 443"), AT "endpoint 'https://a.com' is not a host name; write it "
                                                    "without scheme, path and spaces"},
        {EP("host: a, ports: [0, 1]"), AT "endpoint 'a' has invalid port 0; expected 1..=65535"},
        {EP("host: '*.com', port: 1"),
         AT "TLD wildcard '*.com' is not allowed; use subdomain wildcards like '*.example.com' instead"},
        {EP("host: '**.com', port: 1"),
         AT "TLD wildcard '**.com' is not allowed; use subdomain wildcards like '*.example.com' instead"},
#define SHAPE(h)                                                                                             \
    AT "invalid host wildcard '" h "'; middle DNS label wildcards must be the entire label '*' and "         \
       "recursive '**' is only allowed as the "                                                              \
       "entire first label"
        {EP("host: '*', port: 1"), SHAPE("*")},
        {EP("host: '**', port: 1"), SHAPE("**")},
        {EP("host: 'a**.x.com', port: 1"), SHAPE("a**.x.com")},
        {EP("host: 'a.**.com', port: 1"), SHAPE("a.**.com")},
        {EP("host: 'a.b*.com', port: 1"), SHAPE("a.b*.com")},
        {EP("host: '*.a.com', port: 1"), ""},
        {EP("host: '**.a.com', port: 1"), ""},
        {EP("host: 'x-*.a.com', port: 1"), ""},
        {EP("host: '*.s3.*.amazonaws.com', port: 1"), ""},
        {EP("host: '*.[a.com', port: 1"), AT "endpoint '*.[a.com': glob pattern has an unclosed '['"},
        {EP("host: a, port: 1, credential_signing: v4, signing_service: s"),
         AT "endpoint 'a' has unrecognized credential_signing value 'v4' (expected sigv4, sigv4:body, or "
            "sigv4:no_body)"},
        {EP("host: a, port: 1, credential_signing: sigv4, request_body_credential_rewrite: true"),
         AT "endpoint 'a' has credential_signing set but signing_service is empty; " AT
            "endpoint 'a' has both credential_signing and request_body_credential_rewrite set; these options "
            "are mutually exclusive"},
        {EP("host: a, port: 1, tls: of"),
         AT "endpoint 'a' has unrecognized tls value 'of' (expected skip, or "
            "nothing for automatic)"},
        {EP("host: a, port: 1, tls: terminate"), ""},
        {EP("host: a, port: 1, enforcement: Enforce"),
         AT "endpoint 'a' has unrecognized enforcement value 'Enforce' (expected enforce or audit)"},
        {EP("host: a, port: 1, allowed_ips: [10.0.0.0/33]"),
         AT "endpoint 'a': invalid CIDR/IP in allowed_ips: 10.0.0.0/33"},
        {EP("host: a, port: 1, credential_binding: {provider: ''}"),
         "credential_binding.provider is required for endpoint 'a'"},
        {"network_policies: {k: {binaries: [{path: '/usr/[*'}]}}",
         AT "binary '/usr/[*': glob pattern has an unclosed '['"},
        {"network_policies: {k: {binaries: [{path: '/usr/[x'}]}}", ""},
        {"network_policies: {k: {binaries: [{path: ''}]}}", AT "binary path must not be empty"},
    };
    check(rows, OS_ARRAY_LEN(rows), policy_validate);
}

#define L7EP(text) EP("host: a.x.com, port: 443, " text)

static void l7_reasons(void **state)
{
    static const struct row rows[] = {
        {L7EP("protocol: REST, access: full"), ""},
        {L7EP("protocol: http"), L7 "unknown protocol 'http' (expected tcp, rest, websocket, graphql, sql, "
                                    "json-rpc, or mcp)"},
        {L7EP("protocol: tcp, access: full"),
         L7 "protocol tcp does not support access, rules, or deny_rules; remove those L7 fields"},
        {L7EP("protocol: rest, access: full, rules: [{allow: {method: GET, path: /a}}]"),
         L7 "rules and access are mutually exclusive"},
        {L7EP("protocol: mcp, access: full, mcp: {allow_all_known_mcp_methods: true}"),
         L7 "protocol mcp does not support access presets; use rules/deny_rules or set "
            "mcp.allow_all_known_mcp_methods: true for an allow-all MCP policy"},
        {L7EP("protocol: json-rpc, access: full"),
         L7 "protocol json-rpc does not support access presets; use explicit rules with allow.method such as "
            "\"*\"; " L7 "protocol json-rpc requires explicit rules with allow.method"},
        {L7EP("protocol: rest"), L7 "protocol requires rules or access to define allowed traffic"},
        {L7EP("protocol: graphql"), L7 "protocol requires rules or access to define allowed traffic"},
        {L7EP("protocol: mcp"),
         L7 "protocol mcp requires rules when mcp.allow_all_known_mcp_methods is false"},
#define ALL_EMPTY                                                                                            \
    L7 "rules would deny all traffic (no allow clause found). Use `access: full` or add allow clauses to "   \
       "rules."
        {L7EP("protocol: rest, rules: [{allow: {}}, {allow: {query: {a: b}}}]"), ALL_EMPTY},
        {L7EP("protocol: rest, rules: [{allow: {}}, {allow: {path: /a}}]"), ""},
        {L7EP("protocol: graphql, rules: [{allow: {fields: [a]}}]"),
         L7 "rules[0].allow.operation_type must be query, mutation, or subscription"},
        {L7EP("access: full"), ""},
        {L7EP("access: read-only"),
         L7 "access other than full requires protocol (L7 inspection must be enabled)"},
        {L7EP("rules: [{allow: {method: GET, path: /a}}]"),
         L7 "rules require protocol (L7 inspection must be enabled)"},
        {L7EP("access: full, deny_rules: [{method: GET, path: /a}]"),
         L7 "deny_rules require protocol (L7 inspection must be enabled)"},
        {L7EP("protocol: rest, deny_rules: [{method: GET, path: /a}]"),
         L7 "protocol requires rules or access to define allowed traffic; " L7
            "deny_rules require rules or access to define the base allow set"},
        {L7EP("protocol: tcp, enforcement: enforce, path: /a, mcp: {strict_tool_names: true}"),
         L7 "protocol tcp does not support L7-only fields: enforcement, path, mcp; remove those fields; " L7
            "mcp options are only valid for protocol mcp"},
        {L7EP("protocol: rest, access: full, path: a"), L7 "path must start with '/' or be '**'"},
        {L7EP("protocol: rest, access: full, path: '**'"), ""},
        {L7EP("protocol: graphql, access: full, persisted_queries: allow"),
         L7 "persisted_queries must be 'deny' or 'allow_registered', got 'allow'"},
        {L7EP("protocol: sql, access: full, enforcement: enforce"),
         L7 "SQL enforcement requires full SQL parsing; use enforcement: audit"},
        {L7EP("protocol: graphql, rules: [{allow: {operation_type: '*'}}]"), ""},
        {L7EP("protocol: graphql, access: full, deny_rules: [{operation_type: all}], "
              "graphql_persisted_queries: {h: {operation_type: '*'}}"),
         L7 "deny_rules[0].operation_type must be query, mutation, or subscription; " L7
            "graphql_persisted_queries[h].operation_type must be query, mutation, or subscription"},
        {L7EP("protocol: rest, access: allow"),
         L7 "unsupported access preset 'allow' (expected read-only, read-write, or full)"},
        {L7EP("protocol: rest, access: full, deny_rules: [{method: GET, path: '/{a', query: {k: {any: "
              "['[']}}}]"),
         L7 "deny_rules[0]: glob pattern '/{a' has an unclosed '{'; " L7
            "deny_rules[0]: glob pattern '[' has an unclosed '['"},
    };
    check(rows, OS_ARRAY_LEN(rows), policy_validate);
}

#define LOC "k.endpoints[0]"
#define MCP_ALL "mcp: {allow_all_known_mcp_methods: true}"

static void runtime_rules(void **state)
{
    static const struct row rows[] = {
        {L7EP("protocol: rest, access: full"), ""},
        {EP("protocol: mcp, " MCP_ALL),
         LOC ": protocol mcp requires host; protocol alone is not a wildcard "
             "endpoint; " LOC ": protocol mcp requires port or ports; protocol alone is not a "
             "wildcard endpoint"},
        {EP("host: 'x-*.com', port: 1"),
         LOC ": TLD wildcard 'x-*.com' is not allowed; use subdomain wildcards "
             "like '*.example.com' instead"},
        {L7EP("protocol: json-rpc, rules: [{allow: {method: '*'}}, {allow: {method: a.b}}]"), ""},
        {L7EP("protocol: json-rpc, rules: [{allow: {path: /a}}]"),
         LOC ".rules[0].allow.method: required for json-rpc L7 rules; " LOC
             ".rules[0].allow: json-rpc L7 rules must use method, not path/query"},
        {L7EP("protocol: json-rpc, rules: [{allow: {method: a, tool: t}}]"),
         LOC ".rules[0].allow.tool: MCP tool matching is only valid for protocol mcp"},
        {L7EP("protocol: json-rpc, rules: [{allow: {method: a, params: {x: t}}}]"),
         LOC ".rules[0].allow: JSON-RPC rules do not support params matchers yet"},
        {L7EP("protocol: mcp, rules: [{allow: {method: tools/call, tool: t}}]"), ""},
        {L7EP("protocol: mcp, rules: [{allow: {tool: t}}]"),
         LOC ".rules[0].allow.method: required when mcp.allow_all_known_mcp_methods is false"},
        {L7EP("protocol: mcp, " MCP_ALL ", rules: [{allow: {tool: t}}]"), ""},
        {L7EP("protocol: mcp, rules: [{allow: {method: 'prompts/*'}}]"),
         LOC ".rules[0].allow.method: MCP method globs are only valid for the tools/ method family; omit "
             "method to use the endpoint method profile"},
        {L7EP("protocol: mcp, rules: [{allow: {method: 'tools/*'}}]"), ""},
        {L7EP("protocol: mcp, rules: [{allow: {method: tools/list, tool: t}}]"),
         LOC ".rules[0].allow.method: must be tools/call when an MCP rule uses tool or params.name, got "
             "'tools/list'"},
        {L7EP("protocol: mcp, rules: [{allow: {method: tools/call, tool: t, params: {arg: x}}}]"),
         LOC ".rules[0].allow.params.arg: MCP tool argument matching is not supported yet"},
        {L7EP("protocol: mcp, mcp: {strict_tool_names: false}, rules: [{allow: {method: tools/call, tool: "
              "'t*'}}]"),
         LOC
         ".rules[0].allow.tool: wildcard tool-name matchers require mcp.strict_tool_names to remain enabled"},
        {L7EP("protocol: mcp, rules: [{allow: {method: tools/list, path: /a}}]"),
         LOC ".rules[0].allow: mcp L7 rules must use method/tool, not path/query"},
        {L7EP("protocol: mcp, rules: [{allow: {method: tools/call, tool: t}}, {allow: {method: 'tools/*'}}]"),
         LOC
         ".rules[1].allow: method matcher allows every tool call and conflicts with MCP tool allow rules; "
         "add tool or params.name to narrow tools/call, or remove the tool allow rules"},
        {L7EP("protocol: mcp, rules: [{allow: {method: tools/call, tool: t}}], deny_rules: [{method: '*'}]"),
         LOC ".deny_rules[0]: method matcher denies every tool call and conflicts with MCP tool allow rules; "
             "add tool or params.name to deny specific tools, or remove the tool allow rules"},
        {L7EP("protocol: rest, rules: [{allow: {method: GET, path: /a, tool: t, params: {x: y}}}]"),
         LOC ".rules[0].allow.tool: MCP tool matching is only valid for protocol mcp; " LOC
             ".rules[0].allow.params: params matching is only valid for protocol mcp"},
        {L7EP("protocol: graphql, rules: [{allow: {operation_name: N}}, {allow: {operation_type: q}}]"),
         LOC ".rules[0].allow.operation_type: required for GraphQL L7 rules; " LOC
             ".rules[1].allow.operation_type: expected query, mutation, subscription, or *, got 'q'"},
        {L7EP("protocol: graphql, rules: [{allow: {operation_type: query, fields: ['']}}]"),
         LOC ".rules[0].allow.fields: field glob must not be empty"},
        {L7EP("protocol: websocket, rules: [{allow: {operation_type: query}}]"), ""},
        {L7EP("protocol: websocket, rules: [{allow: {method: GET, path: /a, operation_type: query}}]"),
         LOC ".rules[0].allow: WebSocket GraphQL allow rules must not combine method/path/query with "
             "operation_type/operation_name/fields"},
        {L7EP("protocol: websocket, persisted_queries: allow_registered, rules: [{allow: {method: "
              "WEBSOCKET_TEXT, path: /a}}]"),
         LOC ".rules[0].allow: WebSocket endpoints with GraphQL operation policy must use "
             "operation_type/operation_name/fields rules for client messages instead of WEBSOCKET_TEXT"},
    };
    check(rows, OS_ARRAY_LEN(rows), policy_validate_runtime);
}

static void middleware(void **state)
{
#define MW(text) "network_middlewares: {" text "}"
#define OK_SEL "middleware: openshell/regex, endpoints: {include: ['**']}"
    static const struct row rows[] = {
        {MW("a: {" OK_SEL "}, b: {order: 1, " OK_SEL "}"), ""},
        {MW("a: {" OK_SEL "}, b: {" OK_SEL "}"), "middleware configs 'a' and 'b' use duplicate order 0"},
        {MW("a: {}"), "middleware config 'a' is invalid: middleware must not be empty; "
                      "middleware config 'a' is "
                      "invalid: endpoint selector is required"},
        {"network_policies: {p: {endpoints: [{host: skip.test, port: 1, tls: skip}], binaries: [{path: "
         "/a}]}}\n" MW("a: {" OK_SEL "}"),
         "middleware config 'a' selects network policy 'p' tls: skip endpoint 'skip.test'"},
        {"network_policies: {p: {endpoints: [{host: '*.skip.test', port: 1, tls: skip}], binaries: [{path: "
         "/a}]}}\n" MW("a: {middleware: m, endpoints: {include: ['a.*.test']}}"),
         "middleware config 'a' selects network policy 'p' tls: skip endpoint '*.skip.test'"},
        {"network_policies: {p: {endpoints: [{host: skip.test, port: 1, tls: skip}], binaries: [{path: "
         "/a}]}}\n" MW("a: {on_error: fail_open, " OK_SEL
                       "}, b: {middleware: m, order: 1, endpoints: {include: ['**'], exclude: "
                       "['skip.*']}}"),
         ""},
        {MW("a: {middleware: m, on_error: x, endpoints: {}}"),
         "middleware config 'a' is invalid: invalid on_error 'x'; middleware config 'a' is "
         "invalid: endpoint "
         "selector must include at least one host pattern"},
        {MW("a: {middleware: m, endpoints: {include: ['a b'], exclude: ['{a}', 'a..b', "
            "'a**.com', '']}}"),
#define SEL(p) "middleware config 'a' is invalid: endpoint selector pattern '" p "' is invalid: "
         SEL("a b") "host pattern must not contain whitespace; " SEL(
             "{a}") "host pattern must not contain brace alternates; list each host pattern "
                    "separately; " SEL("a..b") "host pattern must not contain empty DNS "
                                               "labels; " SEL("a**.com") "invalid host pattern: "
                                                                         "'**' must be an entire "
                                                                         "DNS label; " SEL("") "h"
                                                                                               "o"
                                                                                               "s"
                                                                                               "t"
                                                                                               " "
                                                                                               "p"
                                                                                               "a"
                                                                                               "t"
                                                                                               "t"
                                                                                               "e"
                                                                                               "r"
                                                                                               "n"
                                                                                               " "
                                                                                               "m"
                                                                                               "u"
                                                                                               "s"
                                                                                               "t"
                                                                                               " "
                                                                                               "n"
                                                                                               "o"
                                                                                               "t"
                                                                                               " "
                                                                                               "b"
                                                                                               "e"
                                                                                               " "
                                                                                               "e"
                                                                                               "m"
                                                                                               "p"
                                                                                               "t"
                                                                                               "y"},
    };
    check(rows, OS_ARRAY_LEN(rows), policy_validate);
}

static void allowed_ips_never_reach_blocked_ranges(void **state)
{
    static const struct {
        const char *entry;
        bool ok;
    } rows[] = {
        {"10.0.0.0/8", true},
        {"10.1.2.3", true},
        {"fd00::/8", true},
        {"2001:db8::1", true},
        {"127.0.0.1", false},
        {"127.0.0.0/8", false},
        {"126.0.0.0/7", false},
        {"0.0.0.0/0", false},
        {"0.0.0.0", false},
        {"169.254.169.254", false},
        {"169.254.0.0/20", false},
        {"::1", false},
        {"::", false},
        {"::/0", false},
        {"fe80::1", false},
        {"fe00::/8", false},
        {"::ffff:127.0.0.1", false},
        {"::ffff:169.254.1.0/120", false},
        {"::ffff:0:0/96", false},
        {"::ffff:10.0.0.1", true},
        {"10.0.0.0/", false},
        {"10.0.0", false},
        {"10.0.0.1/033", false},
        {"", false},
        {"x", false},
        {"10.0.0.1 ", false},
        {"::1/129", false},
    };
    for (size_t i = 0; i < OS_ARRAY_LEN(rows); i++) {
        cleanup_arena struct os_arena arena = {0};
        cleanup_strv struct os_strv bad = {0};
        const char *text = os_arena_printf(
            &arena, "version: 1\n" EP("host: a, port: 1, allowed_ips: [\"%s\"]"), rows[i].entry);
        policy_doc *doc = policy_yaml_parse(&arena, text, strlen(text), NULL);
        assert_non_null(doc);
        policy_validate(doc, &bad);
        if ((bad.n == 0) != rows[i].ok)
            fail_msg("%s: %s", rows[i].entry, bad.n ? bad.v[0] : "accepted");
    }
}

static void repeated_map_keys_are_refused(void **state)
{
    cleanup_arena struct os_arena arena = {0};
    cleanup_error struct os_error err = {0};
    const char text[] = "version: 1\nnetwork_policies: {a: {}, b: {}}";
    policy_doc *doc = policy_yaml_parse(&arena, text, strlen(text), NULL);
    assert_int_equal(policy_check(doc, &err), 0);
    doc->network_policies[1]->key = doc->network_policies[0]->key;
    assert_int_equal(policy_check(doc, &err), -1);
    assert_string_equal(err.msg,
                        "policy contains unsafe content: network_policies key 'a' appears more than once");
    assert_int_equal(err.code, OS_INVALID_ARGUMENT);
}

/* Messages as a foreign client may encode them: sub-messages absent. */
static void absent_parts_are_harmless(void **state)
{
    cleanup_arena struct os_arena arena = {0};
    cleanup_error struct os_error err = {0};
    cleanup_buf struct os_buf out = {0};
    const char text[] =
        "version: 1\nnetwork_policies: {a: {endpoints: [{host: h, port: 1, protocol: rest, rules: "
        "[{allow: {method: GET, path: /, query: {q: x}}}, {allow: {}}]}]}, b: {}}\n"
        "network_middlewares: {m: {}}";
    policy_doc *doc = policy_yaml_parse(&arena, text, strlen(text), NULL);
    policy_endpoint_doc *ep = doc->network_policies[0]->value->endpoints[0];
    ep->rules[0]->allow->query[0]->value = NULL;
    ep->rules[1]->allow = NULL;
    doc->network_policies[1]->value = NULL;
    doc->network_middlewares[0]->value = NULL;
    char hash[65];
    assert_int_equal(strlen(policy_hash(doc, hash)), 64);
    policy_yaml_print(doc, &out);
    assert_false(out.failed);
    assert_int_equal(policy_check(doc, &err), -1);
    doc->n_network_middlewares = 0;
    struct policy_compile_options opt = {0};
    struct policy_engine *e = policy_compile(doc, &opt, &err);
    assert_non_null(e);
    policy_engine_unref(e);
}

static void quickstart_policy_is_valid(void **state)
{
    cleanup_arena struct os_arena arena = {0};
    cleanup_error struct os_error err = {0};
    char text[8192];
    FILE *f = fopen(QUICKSTART, "r");
    assert_non_null(f);
    size_t n = fread(text, 1, sizeof(text), f);
    fclose(f);
    policy_doc *doc = policy_yaml_parse(&arena, text, n, &err);
    if (!doc)
        fail_msg("%s", os_error_text(&err));
    cleanup_strv struct os_strv bad = {0};
    policy_validate(doc, &bad);
    policy_validate_runtime(doc, &bad);
    assert_int_equal(bad.n, 0);
    assert_int_equal(policy_check_static(policy_default(&arena), doc, &err), 0);
    struct policy_compile_options opt = {.binary_identity = true};
    struct policy_engine *e = policy_compile(doc, &opt, &err);
    assert_non_null(e);
    struct policy_l4 l4;
    struct policy_l7 l7;
    policy_decide_l4(e, "api.demo.test", 443, &(struct policy_process){.exe = "/usr/bin/curl"}, &l4);
    assert_true(l4.allow);
    policy_decide_http(e, &l4, &(struct policy_http){.method = "GET", .path = "/"}, &l7);
    assert_true(l7.allow);
    policy_decide_http(e, &l4, &(struct policy_http){.method = "POST", .path = "/"}, &l7);
    assert_false(l7.allow);
    assert_false(l7.audit);
    policy_decide_l4(e, "api.demo.test", 443, &(struct policy_process){.exe = "/usr/bin/wget"}, &l4);
    assert_false(l4.allow);
    policy_engine_unref(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(static_sections),
        cmocka_unit_test(path_limits),
        cmocka_unit_test(endpoints),
        cmocka_unit_test(l7_reasons),
        cmocka_unit_test(runtime_rules),
        cmocka_unit_test(middleware),
        cmocka_unit_test(allowed_ips_never_reach_blocked_ranges),
        cmocka_unit_test(repeated_map_keys_are_refused),
        cmocka_unit_test(absent_parts_are_harmless),
        cmocka_unit_test(quickstart_policy_is_valid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
