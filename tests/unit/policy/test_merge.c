/* Merge operations: what each does to a policy, every refusal with its text and code, every warning; and what
 * a policy covers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/cleanup.h"
#include "core/limits.h"
#include "policy/merge.h"

#define ALL "filesystem_policy: {include_workdir: true, read_write: [/tmp]}"
#define REST "host: api.x.com, port: 443, protocol: rest, enforcement: enforce"
#define CURL "binaries: [{path: /usr/bin/curl}]"

static struct os_arena arena;

static policy_doc *parse(const char *rules)
{
    cleanup_error struct os_error err = {0};
    const char *text = os_arena_printf(&arena, "version: 1\n" ALL "\nnetwork_policies: {%s}", rules);
    policy_doc *doc = policy_yaml_parse(&arena, text, strlen(text), &err);
    if (!doc)
        fail_msg("%s\n%s", text, os_error_text(&err));
    return doc;
}

static void *message(const ProtobufCMessageDescriptor *type)
{
    void *m = os_arena_alloc(&arena, type->sizeof_message);
    protobuf_c_message_init(type, m);
    return m;
}
#define NEW(name) message(&openshell__v1__##name##__descriptor)

static policy_merge_op *new_op(int which)
{
    policy_merge_op *op = NEW(policy_merge_operation);
    op->operation_case = (Openshell__V1__PolicyMergeOperation__OperationCase)which;
    return op;
}

/* rule: the inside of a rule in YAML. */
static policy_merge_op *add(const char *name, const char *rule)
{
    policy_merge_op *op = new_op(OPENSHELL__V1__POLICY_MERGE_OPERATION__OPERATION_ADD_RULE);
    op->add_rule = NEW(add_network_rule);
    op->add_rule->rule_name = (char *)name;
    op->add_rule->rule =
        parse(os_arena_printf(&arena, "r: {name: '', %s}", rule))->network_policies[0]->value;
    op->add_rule->rule->name = (char *)"";
    return op;
}

static policy_merge_op *drop_endpoint(const char *rule, const char *host, uint32_t port)
{
    policy_merge_op *op = new_op(OPENSHELL__V1__POLICY_MERGE_OPERATION__OPERATION_REMOVE_ENDPOINT);
    op->remove_endpoint = NEW(remove_network_endpoint);
    op->remove_endpoint->rule_name = (char *)rule;
    op->remove_endpoint->host = (char *)host;
    op->remove_endpoint->port = port;
    return op;
}

static policy_merge_op *drop_rule(const char *rule)
{
    policy_merge_op *op = new_op(OPENSHELL__V1__POLICY_MERGE_OPERATION__OPERATION_REMOVE_RULE);
    op->remove_rule = NEW(remove_network_rule);
    op->remove_rule->rule_name = (char *)rule;
    return op;
}

static policy_merge_op *drop_binary(const char *rule, const char *path)
{
    policy_merge_op *op = new_op(OPENSHELL__V1__POLICY_MERGE_OPERATION__OPERATION_REMOVE_BINARY);
    op->remove_binary = NEW(remove_network_binary);
    op->remove_binary->rule_name = (char *)rule;
    op->remove_binary->binary_path = (char *)path;
    return op;
}

/* list: allow or deny rules in YAML, as an endpoint has them. */
static policy_merge_op *allow(const char *host, uint32_t port, const char *list)
{
    policy_merge_op *op = new_op(OPENSHELL__V1__POLICY_MERGE_OPERATION__OPERATION_ADD_ALLOW_RULES);
    policy_doc *doc = parse(os_arena_printf(&arena, "r: {endpoints: [{rules: %s}]}", list));
    op->add_allow_rules = NEW(add_allow_rules);
    op->add_allow_rules->host = (char *)host;
    op->add_allow_rules->port = port;
    op->add_allow_rules->rules = doc->network_policies[0]->value->endpoints[0]->rules;
    op->add_allow_rules->n_rules = doc->network_policies[0]->value->endpoints[0]->n_rules;
    return op;
}

static policy_merge_op *deny(const char *host, uint32_t port, const char *list)
{
    policy_merge_op *op = new_op(OPENSHELL__V1__POLICY_MERGE_OPERATION__OPERATION_ADD_DENY_RULES);
    policy_doc *doc = parse(os_arena_printf(&arena, "r: {endpoints: [{deny_rules: %s}]}", list));
    op->add_deny_rules = NEW(add_deny_rules);
    op->add_deny_rules->host = (char *)host;
    op->add_deny_rules->port = port;
    op->add_deny_rules->deny_rules = doc->network_policies[0]->value->endpoints[0]->deny_rules;
    op->add_deny_rules->n_deny_rules = doc->network_policies[0]->value->endpoints[0]->n_deny_rules;
    return op;
}

static const char *yaml(const policy_doc *doc)
{
    cleanup_buf struct os_buf out = {0};
    policy_yaml_print(doc, &out);
    return os_arena_strdup(&arena, os_buf_str(&out));
}

#define OPS(...) ((policy_merge_op *[]){__VA_ARGS__, NULL})

/* want: rules after the merge; warnings joined with "|". The base must stay as it was. */
static void merges(const char *base, policy_merge_op **ops, const char *want, const char *warnings)
{
    cleanup_error struct os_error err = {0};
    cleanup_strv struct os_strv warned = {0};
    policy_doc *before = parse(base);
    const char *text = yaml(before);
    size_t n = 0;
    while (ops[n])
        n++;
    policy_doc *after = policy_merge(&arena, before, ops, n, &warned, &err);
    if (!after)
        fail_msg("%s\n%s", base, os_error_text(&err));
    assert_string_equal(yaml(after), yaml(parse(want)));
    cleanup_free char *all = os_strv_join(&warned, "|");
    assert_string_equal(all, warnings);
    assert_string_equal(yaml(before), text);
}

static void refused(const char *base, policy_merge_op **ops, enum os_code code, const char *text)
{
    cleanup_error struct os_error err = {0};
    cleanup_strv struct os_strv warned = {0};
    size_t n = 0;
    while (ops[n])
        n++;
    policy_doc *after = policy_merge(&arena, parse(base), ops, n, &warned, &err);
    if (after)
        fail_msg("accepted, but expected: %s\n%s", text, yaml(after));
    assert_string_equal(os_error_text(&err), text);
    assert_int_equal(err.code, code);
}

static void bad_request(policy_merge_op *op, const char *text)
{
    cleanup_error struct os_error err = {0};
    policy_merge_op *ops[] = {drop_rule("x"), op};
    assert_int_equal(policy_merge_check(ops, 2, &err), -1);
    assert_string_equal(os_error_text(&err), text);
    assert_int_equal(err.code, OS_INVALID_ARGUMENT);
}

/* --- what a request must bring --- */

static void required_fields(void **state)
{
    bad_request(NEW(policy_merge_operation), "merge_operations[1] is missing an operation");
    bad_request(add(" ", "endpoints: [{host: a.com, port: 1}]"),
                "merge_operations[1].add_rule.rule_name is required");
    bad_request(add("r", CURL), "merge_operations[1].add_rule.rule must contain at least one endpoint");
    policy_merge_op *none = add("r", CURL);
    none->add_rule->rule = NULL;
    bad_request(none, "merge_operations[1].add_rule.rule must contain at least one endpoint");
    bad_request(drop_endpoint("", "a.com", 0),
                "merge_operations[1].remove_endpoint requires host and non-zero port");
    bad_request(drop_endpoint("", " ", 1),
                "merge_operations[1].remove_endpoint requires host and non-zero port");
    bad_request(drop_rule(""), "merge_operations[1].remove_rule.rule_name is required");
    const char *text =
        "merge_operations[1].add_deny_rules requires host, non-zero port, and at least one deny rule";
    bad_request(deny("", 1, "[{method: GET}]"), text);
    bad_request(deny("a", 0, "[{method: GET}]"), text);
    bad_request(deny("a", 1, "[]"), text);
    text = "merge_operations[1].add_allow_rules requires host, non-zero port, and at least one allow rule";
    bad_request(allow("", 1, "[{allow: {method: GET}}]"), text);
    bad_request(allow("a", 0, "[{allow: {method: GET}}]"), text);
    bad_request(allow("a", 1, "[]"), text);
    policy_merge_op *bare = allow("a", 1, "[{allow: {method: GET}}]");
    bare->add_allow_rules->rules[0]->allow = NULL;
    bad_request(bare, "merge_operations[1].add_allow_rules rules must include allow payloads");
    bad_request(drop_binary("r", ""), "merge_operations[1].remove_binary requires rule_name and binary_path");
    bad_request(drop_binary("", "/x"),
                "merge_operations[1].remove_binary requires rule_name and binary_path");
    policy_merge_op *many[OS_LIMIT_MERGE_OPERATIONS + 1];
    for (size_t i = 0; i < OS_ARRAY_LEN(many); i++)
        many[i] = drop_rule("x");
    cleanup_error struct os_error err = {0};
    assert_int_equal(policy_merge_check(many, OS_LIMIT_MERGE_OPERATIONS, &err), 0);
    assert_int_equal(policy_merge_check(many, OS_ARRAY_LEN(many), &err), -1);
}

static void closed_destinations(void **state)
{
    static const char *const hosts[] = {"127.0.0.1", "169.254.169.254", "0.0.0.0",    "[::1]",
                                        "::",        "fe80::1",         " 127.8.8.8", "::ffff:127.0.0.1"};
    for (size_t i = 0; i < OS_ARRAY_LEN(hosts); i++) {
        policy_merge_op *op =
            add("r", os_arena_printf(&arena, "endpoints: [{host: '%s', port: 1}]", hosts[i]));
        const char *text =
            os_arena_printf(&arena,
                            "proposed rule endpoint host '%s' is an always-blocked address "
                            "(loopback/link-local/unspecified); "
                            "the proxy will deny traffic to this destination regardless of policy",
                            hosts[i]);
        bad_request(op, text);
        bad_request(allow(hosts[i], 1, "[{allow: {method: GET}}]"), text);
    }
    const char *text =
        "proposed rule endpoint host 'localhost' is always blocked; the proxy will deny traffic "
        "to loopback regardless of policy";
    bad_request(add("r", "endpoints: [{host: LocalHost, port: 1}]"), text);
    bad_request(add("r", "endpoints: [{host: localhost., port: 1}]"), text);
    bad_request(
        add("r", "endpoints: [{host: Metadata.google.internal., port: 1}]"),
        "proposed rule endpoint host 'Metadata.google.internal.' is a known cloud metadata hostname; the "
        "proxy will deny traffic to this destination regardless of policy");
    bad_request(add("r", "endpoints: [{host: a.com, port: 1, allowed_ips: [10.0.0.1, 169.254.0.0/17]}]"),
                "proposed rule contains always-blocked `allowed_ips` entry '169.254.0.0/17'; SSRF hardening "
                "prevents traffic to these destinations regardless of policy");
    bad_request(
        add("_provider_x", "endpoints: [{host: a.com, port: 1}]"),
        "merge operation add_rule rule_name '_provider_x' uses reserved '_provider_' prefix for provider "
        "composition");
    policy_merge_op *fine[] = {add("r", "endpoints: [{host: 10.0.0.1, port: 1}]"),
                               drop_endpoint("", "localhost", 1)};
    assert_int_equal(policy_merge_check(fine, 2, NULL), 0);
}

/* --- add_rule --- */

static void new_rules(void **state)
{
    merges("",
           OPS(add(
               " r ",
               "endpoints: [{host: ' a.com', ports: [8443, 443, 443]}], binaries: [{path: /b}, {path: /b}]")),
           "r: {endpoints: [{host: a.com, ports: [443, 8443]}], binaries: [{path: /b}]}", "");
    merges("a: {endpoints: [{host: a.com, port: 443}], " CURL "}",
           OPS(add("r", "endpoints: [{host: a.com, port: 443, path: /v1}], " CURL)),
           "a: {endpoints: [{host: a.com, port: 443}], " CURL "},"
           "r: {endpoints: [{host: a.com, port: 443, path: /v1}], " CURL "}",
           "");
    merges("a: {endpoints: [{host: a.com, port: 443}], " CURL "}",
           OPS(add("r", "endpoints: [{host: a.com, port: 80, allowed_ips: [10.0.0.1, ' 10.0.0.1']}], " CURL)),
           "a: {endpoints: [{host: a.com, port: 443}], " CURL "},"
           "r: {endpoints: [{host: a.com, port: 80, allowed_ips: [10.0.0.1]}], " CURL "}",
           "");
    refused("", OPS(add(" ", "endpoints: [{host: a.com, port: 1}]")), OS_INVALID_ARGUMENT,
            "add-rule operation requires a rule name");
    refused("", OPS(drop_rule("x"), add("r", CURL)), OS_INVALID_ARGUMENT,
            "merge operation 1 add-rule 'r' must contain at least one endpoint");
}

static void no_base_is_an_empty_policy(void **state)
{
    cleanup_strv struct os_strv warned = {0};
    policy_merge_op *op = add("r", "endpoints: [{host: a.com, port: 1}], " CURL);
    policy_doc *doc = policy_merge(&arena, NULL, &op, 1, &warned, NULL);
    assert_non_null(doc);
    assert_int_equal(doc->version, 1);
    assert_int_equal(doc->n_network_policies, 1);
    assert_int_equal(policy_check(doc, NULL), 0);
}

static void folding_by_name_and_overlap(void **state)
{
    /* The same again changes nothing. */
    merges("r: {endpoints: [{" REST ", access: read-only}], " CURL "}",
           OPS(add("r", "endpoints: [{" REST ", access: read-only}], " CURL)),
           "r: {endpoints: [{" REST ", access: read-only}], " CURL "}", "");
    /* The first rule by key, whatever the letter case of the host; a new binary that declares everything. */
    merges("b: {endpoints: [{host: API.x.com, port: 443}], " CURL
           "}, c: {endpoints: [{host: api.x.com, port: 443}], " CURL "}",
           OPS(add("new", "endpoints: [{host: api.x.com, port: 443}], binaries: [{path: /usr/bin/wget}]")),
           "b: {endpoints: [{host: API.x.com, port: 443}], binaries: [{path: /usr/bin/curl}, {path: "
           "/usr/bin/wget}]},"
           "c: {endpoints: [{host: api.x.com, port: 443}], " CURL "}",
           "");
    /* What the operation leaves out, it takes over. */
    merges("r: {endpoints: [{" REST ", access: full}], " CURL "}",
           OPS(add("n", "endpoints: [{host: api.x.com, port: 443}], binaries: [{path: /b}]")),
           "r: {endpoints: [{" REST ", access: full}], binaries: [{path: /usr/bin/curl}, {path: /b}]}", "");
    /* Ports and rules grow for the binaries that are named. */
    merges(
        "r: {endpoints: [{" REST ", rules: [{allow: {method: GET, path: /a}}]}], " CURL "}",
        OPS(add("n",
                "endpoints: [{host: api.x.com, ports: [443, 8443], rules: [{allow: {method: GET, path: /a}},"
                "{allow: {method: PUT, path: /b}}], deny_rules: [{method: PUT, path: /b/x}],"
                "allowed_ips: [10.0.0.1], allow_encoded_slash: true}], " CURL)),
        "r: {endpoints: [{host: api.x.com, ports: [443, 8443], protocol: rest, enforcement: enforce,"
        "rules: [{allow: {method: GET, path: /a}}, {allow: {method: PUT, path: /b}}],"
        "deny_rules: [{method: PUT, path: /b/x}], allowed_ips: [10.0.0.1], allow_encoded_slash: true}], " CURL
        "}",
        "");
    /* A second endpoint under a named rule. */
    merges(
        "r: {endpoints: [{host: a.com, port: 443}], " CURL "}",
        OPS(add(
            "r",
            "endpoints: [{host: b.com, port: 443, signing_service: s3, credential_signing: sigv4}], " CURL)),
        "r: {endpoints: [{host: a.com, port: 443}, {host: b.com, port: 443, signing_service: s3, "
        "credential_signing: sigv4}], " CURL "}",
        "");
    /* Signing, registries, limits and bindings of the incoming endpoint are dropped on a merge. */
    merges("r: {endpoints: [{host: a.com, port: 443}], " CURL "}",
           OPS(add("r", "endpoints: [{host: a.com, port: 443, signing_service: s3, credential_signing: sigv4,"
                        "graphql_max_body_bytes: 5, persisted_queries: deny, credential_binding: {provider: "
                        "p}}], " CURL)),
           "r: {endpoints: [{host: a.com, port: 443}], " CURL "}", "");
    /* A flag that is set is never cleared. */
    merges("r: {endpoints: [{" REST ", access: full, allow_encoded_slash: true}], " CURL "}",
           OPS(add("r", "endpoints: [{" REST ", access: full}], " CURL)),
           "r: {endpoints: [{" REST ", access: full, allow_encoded_slash: true}], " CURL "}", "");
}

static void values_that_stay(void **state)
{
    merges("r: {endpoints: [{" REST ", access: full, tls: skip}], " CURL "}",
           OPS(add("r", "endpoints: [{host: api.x.com, port: 443, protocol: websocket, enforcement: audit, "
                        "tls: terminate,"
                        "access: read-only}], " CURL)),
           "r: {endpoints: [{" REST ", access: full, tls: skip}], " CURL "}",
           "endpoint api.x.com:443 keeps existing protocol 'rest' and ignores incoming 'websocket'|"
           "endpoint api.x.com:443 keeps existing enforcement 'enforce' and ignores incoming 'audit'|"
           "endpoint api.x.com:443 keeps existing tls mode 'skip' and ignores incoming 'terminate'|"
           "endpoint api.x.com:443 keeps existing access preset 'full' and ignores incoming 'read-only'");
    merges("r: {endpoints: [{host: api.x.com, port: 443}], " CURL "}",
           OPS(add("r", "endpoints: [{" REST ", access: read-only}], " CURL)),
           "r: {endpoints: [{" REST ", access: read-only}], " CURL "}", "");
    merges("r: {endpoints: [{" REST ", rules: [{allow: {method: GET}}]}], " CURL "}",
           OPS(add("r", "endpoints: [{host: api.x.com, port: 443, access: full}], " CURL)),
           "r: {endpoints: [{" REST ", rules: [{allow: {method: GET}}]}], " CURL "}",
           "endpoint api.x.com:443 already uses explicit rules; incoming access preset 'full' was ignored");
    merges("r: {endpoints: [{host: a.com, port: 443}], binaries: []}",
           OPS(add("r", "endpoints: [{host: a.com, port: 443}], binaries: [{path: /b}, {path: /c}]")),
           "r: {endpoints: [{host: a.com, port: 443}]}",
           "rule 'r' already authorizes any binary; kept that scope instead of narrowing it to /b, /c");
    merges("r: {endpoints: [{host: a.com, port: 443}], " CURL "}",
           OPS(add("r", "endpoints: [{host: a.com, port: 443}]")),
           "r: {endpoints: [{host: a.com, port: 443}]}", "");
}

static void presets_are_spelled_out(void **state)
{
    merges(
        "r: {endpoints: [{" REST ", access: read-only}], " CURL "}",
        OPS(add(
            "r",
            "endpoints: [{host: api.x.com, port: 443, access: full, rules: [{allow: {method: PUT, path: /x}},"
            "{allow: {method: GET, path: '**'}}]}], " CURL)),
        "r: {endpoints: [{" REST
        ", rules: [{allow: {method: GET, path: '**'}}, {allow: {method: HEAD, path: '**'}},"
        "{allow: {method: OPTIONS, path: '**'}}, {allow: {method: PUT, path: /x}}]}], " CURL "}",
        "expanded access preset 'read-only' to explicit rules for endpoint api.x.com:443|"
        "endpoint api.x.com:443 already uses explicit rules; incoming access preset 'full' was ignored");
    merges(
        "r: {endpoints: [{host: w.com, port: 443, protocol: websocket, access: read-write}], " CURL "}",
        OPS(allow("W.com", 443,
                  "[{allow: {method: GET, path: '**'}}, {allow: {method: GET, path: /y, query: {a: b}}}]")),
        "r: {endpoints: [{host: w.com, port: 443, protocol: websocket, rules: [{allow: {method: GET, path: "
        "'**'}},"
        "{allow: {method: WEBSOCKET_TEXT, path: '**'}}, {allow: {method: GET, path: /y, query: {a: "
        "b}}}]}], " CURL "}",
        "expanded access preset 'read-write' to explicit rules for endpoint w.com:443");
    merges("r: {endpoints: [{host: g.com, port: 443, protocol: graphql, access: read-write}], " CURL "}",
           OPS(add("r", "endpoints: [{host: g.com, port: 443, rules: [{allow: {operation_type: "
                        "subscription}}]}], " CURL)),
           "r: {endpoints: [{host: g.com, port: 443, protocol: graphql, rules: [{allow: {operation_type: "
           "query}},"
           "{allow: {operation_type: mutation}}, {allow: {operation_type: subscription}}]}], " CURL "}",
           "expanded access preset 'read-write' to explicit rules for endpoint g.com:443");
    refused("r: {endpoints: [{" REST ", access: all}], " CURL "}",
            OPS(allow("api.x.com", 443, "[{allow: {method: GET}}]")), OS_INVALID_ARGUMENT,
            "endpoint api.x.com:443 uses unsupported access preset 'all'");
}

/* --- nothing is granted that the operation does not spell out --- */

static void inheritance(void **state)
{
    const char *two = "r: {endpoints: [{host: a.com, port: 443}, {host: b.com, ports: [443, 80]}], " CURL "}";
    refused(
        two,
        OPS(add("r", "endpoints: [{host: a.com, port: 443}], binaries: [{path: /b}, {path: /usr/bin/curl}]")),
        OS_FAILED_PRECONDITION,
        "merge operation 0 add-rule 'r' would grant binary '/b' undeclared authorization for b.com on ports "
        "[80, 443]");
    refused(
        two, OPS(add("r", "endpoints: [{host: a.com, port: 443}]")), OS_FAILED_PRECONDITION,
        "merge operation 0 add-rule 'r' would grant any binary undeclared authorization for b.com on ports "
        "[80, 443]");
    refused(
        two,
        OPS(add("r",
                "endpoints: [{host: a.com, port: 443}, {host: b.com, port: 80}], binaries: [{path: /b}]")),
        OS_FAILED_PRECONDITION,
        "merge operation 0 add-rule 'r' would grant binary '/b' undeclared authorization for b.com on ports "
        "[443]");
    refused("r: {endpoints: [{" REST ", rules: [{allow: {method: GET, path: /a}}]}], " CURL "}",
            OPS(add("r", "endpoints: [{host: api.x.com, port: 443}], binaries: [{path: /b}]")),
            OS_FAILED_PRECONDITION,
            "merge operation 0 add-rule 'r' would grant binary '/b' undeclared authorization for api.x.com "
            "on ports "
            "[443]");
    refused("r: {endpoints: [{" REST ", access: full, allow_encoded_slash: true}], " CURL "}",
            OPS(add("r", "endpoints: [{" REST ", access: full}], binaries: [{path: /b}]")),
            OS_FAILED_PRECONDITION,
            "merge operation 0 add-rule 'r' would grant binary '/b' undeclared authorization for api.x.com "
            "on ports "
            "[443]");
    refused("r: {endpoints: [{host: b.com, ports: [80, 443]}], " CURL "}",
            OPS(add("r", "endpoints: [{host: b.com, port: 443, protocol: rest, access: full}], " CURL)),
            OS_FAILED_PRECONDITION,
            "merge operation 0 add-rule 'r' would change authorization for b.com on undeclared ports [80]; "
            "declare "
            "every port of the endpoint it modifies");
    refused("r: {endpoints: [{host: a.com, port: 443}], binaries: [{path: /b}, {path: /c}, {path: /d}]}",
            OPS(add("r", "endpoints: [{host: b.com, ports: [443, 80]}], binaries: [{path: /c}]")),
            OS_FAILED_PRECONDITION,
            "merge operation 0 add-rule 'r' would grant existing binaries new or changed authorization for "
            "b.com on "
            "ports [80, 443]; also declare /b, /d");
    refused("r: {endpoints: [{host: a.com, port: 443}], binaries: [{path: /b}]}",
            OPS(add("r", "endpoints: [{host: a.com, ports: [443, 80]}], binaries: [{path: /c}]")),
            OS_FAILED_PRECONDITION,
            "merge operation 0 add-rule 'r' would grant existing binaries new or changed authorization for "
            "a.com on "
            "ports [80]; also declare /b");
    refused("r: {endpoints: [{host: a.com, port: 443}]}",
            OPS(add("r", "endpoints: [{host: b.com, port: 443}], binaries: [{path: /c}]")),
            OS_FAILED_PRECONDITION,
            "merge operation 0 add-rule 'r' would grant existing binaries new or changed authorization for "
            "b.com on "
            "ports [443]; also declare the existing any-binary scope");
    /* Found by overlap only: the incoming rule stays by itself, and says why. */
    merges(two, OPS(add("n", "endpoints: [{host: a.com, port: 443, tls: skip}], binaries: [{path: /b}]")),
           "r: {endpoints: [{host: a.com, port: 443}, {host: b.com, ports: [443, 80]}], " CURL "},"
           "n: {endpoints: [{host: a.com, port: 443, tls: skip}], binaries: [{path: /b}]}",
           "kept add-rule 'n' on its own rule instead of folding it into overlapping rule 'r': merge "
           "operation 0 "
           "add-rule 'n' would grant binary '/b' undeclared authorization for b.com on ports [80, 443]");
}

static void mcp_contracts(void **state)
{
    const char *mcp = "r: {endpoints: [{host: m.com, port: 443, protocol: mcp, mcp: {max_body_bytes: 5, "
                      "strict_tool_names: false}, rules: [{allow: {method: tools/list}}]}], " CURL "}";
    /* Without a word about inspection it takes what is there. */
    merges(
        mcp, OPS(add("r", "endpoints: [{host: m.com, port: 443, rules: [{allow: {method: ping}}]}], " CURL)),
        "r: {endpoints: [{host: m.com, port: 443, protocol: mcp, mcp: {max_body_bytes: 5, strict_tool_names: "
        "false}, rules: [{allow: {method: tools/list}}, {allow: {method: ping}}]}], " CURL "}",
        "");
    merges("r: {endpoints: [{host: m.com, port: 443}], " CURL "}",
           OPS(add("r", "endpoints: [{host: m.com, port: 443, protocol: mcp, mcp: {max_body_bytes: 5, "
                        "allow_all_known_mcp_methods: true}}], " CURL)),
           "r: {endpoints: [{host: m.com, port: 443, protocol: mcp, mcp: {max_body_bytes: 5, "
           "allow_all_known_mcp_methods: true}}], " CURL "}",
           "");
    refused(
        mcp,
        OPS(add(
            "r",
            "endpoints: [{host: m.com, port: 443, protocol: mcp, rules: [{allow: {method: ping}}]}], " CURL)),
        OS_FAILED_PRECONDITION,
        "merge operation 0 cannot combine MCP contracts at m.com:443: existing mcp(strict_tool_names=false, "
        "allow_all_known_mcp_methods=false, max_body_bytes=5), incoming mcp(strict_tool_names=true, "
        "allow_all_known_mcp_methods=false, max_body_bytes=65536)");
    refused(
        mcp, OPS(add("r", "endpoints: [{host: m.com, port: 443, protocol: rest, access: full}], " CURL)),
        OS_FAILED_PRECONDITION,
        "merge operation 0 cannot combine MCP contracts at m.com:443: existing mcp(strict_tool_names=false, "
        "allow_all_known_mcp_methods=false, max_body_bytes=5), incoming non-mcp(protocol='rest')");
    refused(
        mcp,
        OPS(add("n", "endpoints: [{host: M.com, port: 443, path: /x, protocol: rest, access: full}], " CURL)),
        OS_FAILED_PRECONDITION,
        "m.com:443 would carry more than one L7 inspection contract (mcp(strict_tool_names=false, "
        "allow_all_known_mcp_methods=false, max_body_bytes=5), non-mcp(protocol='rest')); the sandbox "
        "resolves "
        "one contract per host and port, so these cannot coexist even in different rules or under different "
        "paths");
    /* What was so before is not this batch's doing. */
    const char *both =
        "r: {endpoints: [{host: m.com, port: 443, protocol: mcp, rules: [{allow: {method: ping}}]}, "
        "{host: m.com, port: 443, path: /x, protocol: rest, access: full}], " CURL "}";
    merges(both, OPS(drop_rule("none")), both, "");
    merges(mcp, OPS(add("n", "endpoints: [{host: m.com, port: 443, path: /x}], " CURL), drop_rule("n")), mcp,
           "");
}

/* --- remove --- */

static void removals(void **state)
{
    const char *base =
        "a: {endpoints: [{host: a.com, ports: [80, 443]}, {host: b.com, port: 443}], " CURL "},"
        "b: {endpoints: [{host: A.com, port: 443}], " CURL "}";
    merges(base, OPS(drop_endpoint("", " a.com", 443)),
           "a: {endpoints: [{host: a.com, port: 80}, {host: b.com, port: 443}], " CURL "}", "");
    merges(base, OPS(drop_endpoint("b", "a.com", 443)),
           "a: {endpoints: [{host: a.com, ports: [80, 443]}, {host: b.com, port: 443}], " CURL "}", "");
    merges(base,
           OPS(drop_endpoint("", "b.com", 443), drop_endpoint("a", "a.com", 80),
               drop_endpoint("", "c.com", 443), drop_endpoint("c", "a.com", 443),
               drop_endpoint("", "a.com", 81)),
           "a: {endpoints: [{host: a.com, port: 443}], " CURL
           "}, b: {endpoints: [{host: A.com, port: 443}], " CURL "}",
           "");
    merges(base, OPS(drop_rule(" a "), drop_rule("a")),
           "b: {endpoints: [{host: A.com, port: 443}], " CURL "}", "");
    refused(base, OPS(drop_endpoint("", "a.com", 70000)), OS_INVALID_ARGUMENT,
            "invalid endpoint reference 'a.com:70000'");
    base = "a: {endpoints: [{host: a.com, port: 443}], binaries: [{path: /b}, {path: /c}]}";
    merges(base, OPS(drop_binary("a", "/b"), drop_binary("a", "/x"), drop_binary("x", "/b")),
           "a: {endpoints: [{host: a.com, port: 443}], binaries: [{path: /c}]}", "");
    merges(base, OPS(drop_binary("a", "/b"), drop_binary("a", "/c")), "", "");
    refused("a: {endpoints: [{host: a.com, port: 443}]}", OPS(drop_rule("x"), drop_binary("a", "/b")),
            OS_FAILED_PRECONDITION,
            "merge operation 1 cannot remove binary '/b' from rule 'a' because the rule authorizes any "
            "binary; replace "
            "the policy with an explicit binary list or remove the rule");
    refused("", OPS(NEW(policy_merge_operation)), OS_INVALID_ARGUMENT,
            "merge_operations[0] is missing an operation");
}

/* --- allow and deny --- */

static void rules_of_one_endpoint(void **state)
{
    merges("r: {endpoints: [{" REST ", rules: [{allow: {method: GET}}]}], " CURL "}",
           OPS(allow("API.x.com", 443, "[{allow: {method: GET}}, {allow: {method: PUT, path: /a}}]"),
               deny("api.x.com", 443, "[{method: PUT, path: /a/b}, {method: PUT, path: /a/b}]")),
           "r: {endpoints: [{" REST ", rules: [{allow: {method: GET}}, {allow: {method: PUT, path: /a}}],"
           "deny_rules: [{method: PUT, path: /a/b}]}], " CURL "}",
           "");
    merges("r: {endpoints: [{" REST ", access: full}], " CURL "}",
           OPS(deny("api.x.com", 443, "[{method: PUT, path: /a}]")),
           "r: {endpoints: [{" REST ", access: full, deny_rules: [{method: PUT, path: /a}]}], " CURL "}", "");
    policy_merge_op *get = allow("api.x.com", 443, "[{allow: {method: GET}}]");
    policy_merge_op *no = deny("api.x.com", 443, "[{method: GET, path: /a}]");
    refused("", OPS(get), OS_FAILED_PRECONDITION,
            "endpoint api.x.com:443 was not found in the current policy");
    refused("r: {endpoints: [{" REST ", access: full}], " CURL "}", OPS(drop_rule("r"), no),
            OS_FAILED_PRECONDITION, "endpoint api.x.com:443 was not found in the current policy");
    refused("_provider_p: {endpoints: [{" REST ", access: full}], " CURL "}", OPS(no), OS_FAILED_PRECONDITION,
            "endpoint api.x.com:443 was not found in the current policy");
    refused("r: {endpoints: [{host: api.x.com, port: 443}], " CURL "}", OPS(get), OS_FAILED_PRECONDITION,
            "endpoint api.x.com:443 has no L7 inspection configured (protocol is empty)");
    refused(
        "r: {endpoints: [{host: api.x.com, port: 443, protocol: graphql, access: full}], " CURL "}", OPS(no),
        OS_FAILED_PRECONDITION,
        "endpoint api.x.com:443 uses unsupported protocol 'graphql'; this operation currently supports only "
        "protocol 'rest' or 'websocket'");
    refused("r: {endpoints: [{" REST "}], " CURL "}", OPS(no), OS_FAILED_PRECONDITION,
            "endpoint api.x.com:443 has no base allow set; configure access or explicit allow rules before "
            "adding "
            "deny rules");
    refused("r: {endpoints: [{" REST ", access: full}], " CURL "}, a: {endpoints: [{" REST
            ", path: /v1, access: full}], " CURL "}",
            OPS(get), OS_FAILED_PRECONDITION,
            "endpoint api.x.com:443 resolves to a (path '/v1'), r; this operation selects its target by host "
            "and port "
            "alone, so it cannot say which binary scope and L7 surface to widen. Replace the policy with the "
            "full "
            "YAML instead");
    refused("", OPS(allow(" ", 443, "[{allow: {method: GET}}]")), OS_INVALID_ARGUMENT,
            "invalid endpoint reference ':443'");
}

static void the_first_error_ends_it(void **state)
{
    refused("", OPS(add("r", "endpoints: [{host: a.com, port: 443}], " CURL), drop_endpoint("", "a.com", 0)),
            OS_INVALID_ARGUMENT, "invalid endpoint reference 'a.com:0'");
    /* In order: the rule is there when the second operation needs it. */
    merges("",
           OPS(add("r", "endpoints: [{" REST "}], " CURL),
               allow("api.x.com", 443, "[{allow: {method: GET, path: /a}}]")),
           "r: {endpoints: [{" REST ", rules: [{allow: {method: GET, path: /a}}]}], " CURL "}", "");
}

/* --- advisor marks --- */

static void what_a_user_declares_is_no_proposal_any_more(void **state)
{
    policy_doc *doc = parse("r: {endpoints: [{host: a.com, port: 443}], " CURL "}");
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
    doc->network_policies[0]->value->binaries[0]->harness = true;
    policy_merge_op *op = add("r", "endpoints: [{host: a.com, port: 443}], " CURL);
    cleanup_strv struct os_strv warned = {0};
    policy_doc *after = policy_merge(&arena, doc, &op, 1, &warned, NULL);
    assert_false(after->network_policies[0]->value->binaries[0]->harness);
    assert_true(doc->network_policies[0]->value->binaries[0]->harness);
    op->add_rule->rule->binaries[0]->harness = true;
    after = policy_merge(&arena, doc, &op, 1, &warned, NULL);
    assert_true(after->network_policies[0]->value->binaries[0]->harness);
#pragma GCC diagnostic pop
    op->add_rule->rule->endpoints[0]->advisor_proposed = true;
    after = policy_merge(&arena, doc, &op, 1, &warned, NULL);
    assert_true(after->network_policies[0]->value->endpoints[0]->advisor_proposed);
}

/* --- coverage --- */

static void coverage(void **state)
{
    static const struct {
        const char *proposal;
        bool covered;
    } rows[] = {
        {"endpoints: [{host: API.x.com, port: 443}], " CURL, true},
        {"endpoints: [{host: api.x.com, port: 443, protocol: rest, enforcement: enforce}], " CURL, true},
        {"endpoints: [{host: api.x.com, port: 443, rules: [{allow: {method: GET, path: /a}}]}], " CURL, true},
        {"endpoints: [{host: api.x.com, port: 443, rules: [{allow: {method: PUT, path: /a}}]}], " CURL,
         false},
        {"endpoints: [{host: api.x.com, port: 443, access: full}], " CURL, false},
        {"endpoints: [{host: api.x.com, port: 443, path: /v1}], " CURL, false},
        {"endpoints: [{host: api.x.com, ports: [443, 80]}], " CURL, false},
        {"endpoints: [{host: api.x.com, port: 443, allowed_ips: [10.0.0.1]}], " CURL, false},
        {"endpoints: [{host: api.x.com, port: 443, allow_encoded_slash: true}], " CURL, false},
        {"endpoints: [{host: api.x.com, port: 443}], binaries: [{path: /b}]", false},
        {"endpoints: [{host: api.x.com, port: 443}]", false},
        {"endpoints: [{host: any.com, port: 443}], binaries: [{path: /b}]", true},
        {"endpoints: [{host: any.com, port: 443}]", true},
        {"endpoints: [{host: any.com, port: 443}, {host: no.com, port: 443}]", false},
        {CURL, false},
    };
    policy_doc *doc =
        parse("r: {endpoints: [{" REST
              ", rules: [{allow: {method: GET, path: /a}}, {allow: {method: GET, path: /b}}]}], " CURL "},"
              "any: {endpoints: [{host: any.com, port: 443}]}");
    for (size_t i = 0; i < OS_ARRAY_LEN(rows); i++) {
        policy_merge_op *op = add("x", rows[i].proposal);
        if (policy_covers(doc, op->add_rule->rule) != rows[i].covered)
            fail_msg("%s", rows[i].proposal);
    }
}

static void names_and_summaries(void **state)
{
    assert_string_equal(policy_merge_rule_name(&arena, "api.github.com", 443), "allow_api_github_com_443");
    assert_string_equal(policy_merge_rule_name(&arena, "*.ex-ample.com", 8443), "allow__ex_ample_com_8443");
    assert_string_equal(policy_merge_summary(&arena, drop_endpoint("", "a.com", 443)),
                        "remove-endpoint a.com:443");
    assert_string_equal(policy_merge_summary(&arena, add("r", "endpoints: [{host: a, port: 1}], " CURL)),
                        "add-rule r (1 endpoint(s), 1 binary path(s))");
    assert_string_equal(policy_merge_summary(&arena, allow("a.com", 1, "[{allow: {method: GET}}]")),
                        "add-allow a.com:1 (1 rule(s))");
}

static int forget(void **state)
{
    os_arena_free(&arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(required_fields, forget),
        cmocka_unit_test_teardown(closed_destinations, forget),
        cmocka_unit_test_teardown(new_rules, forget),
        cmocka_unit_test_teardown(no_base_is_an_empty_policy, forget),
        cmocka_unit_test_teardown(folding_by_name_and_overlap, forget),
        cmocka_unit_test_teardown(values_that_stay, forget),
        cmocka_unit_test_teardown(presets_are_spelled_out, forget),
        cmocka_unit_test_teardown(inheritance, forget),
        cmocka_unit_test_teardown(mcp_contracts, forget),
        cmocka_unit_test_teardown(removals, forget),
        cmocka_unit_test_teardown(rules_of_one_endpoint, forget),
        cmocka_unit_test_teardown(the_first_error_ends_it, forget),
        cmocka_unit_test_teardown(what_a_user_declares_is_no_proposal_any_more, forget),
        cmocka_unit_test_teardown(coverage, forget),
        cmocka_unit_test_teardown(names_and_summaries, forget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
