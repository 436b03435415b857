/* Refusals of policies that take a document of their own: too long, too many, too deep, and what no rule set
 * sees. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/cleanup.h"
#include "core/limits.h"
#include "policy/merge.h"
#include "policy/model.h"
#include "policy/target.h"
#include "policy/validate.h"

static struct os_arena arena;

/* The text of what n copies of s make. */
static const char *times(const char *s, size_t n)
{
    cleanup_buf struct os_buf out = {0};
    for (size_t i = 0; i < n; i++)
        os_buf_adds(&out, s);
    return os_arena_strdup(&arena, os_buf_str(&out));
}

static void has(const char *text, const char *part)
{
    if (!text || !strstr(text, part))
        fail_msg("'%s' is not in '%.600s'", part, text ? text : "(nothing)");
}

static void no_yaml(const char *yaml, const char *want)
{
    struct os_error err cleanup_error = {0};
    assert_null(policy_yaml_parse(&arena, yaml, strlen(yaml), &err));
    has(os_error_text(&err), "failed to parse sandbox policy YAML: ");
    has(os_error_text(&err), want);
}

static void what_is_no_document(void **state)
{
    const char *many = os_arena_printf(&arena, "version: 1\nnetwork_policies: {k: {binaries: [%s]}}",
                                       times("{path: /a},", OS_LIMIT_POLICY_NODES / 2));
    no_yaml(times(" ", OS_LIMIT_POLICY_YAML + 1), "the document is too large (1048577 > 1048576 bytes)");
    no_yaml(many, "the document has too many elements");
    no_yaml(os_arena_printf(&arena, "version: %s", times("[", OS_LIMIT_POLICY_DEPTH + 1)),
            "the document is nested too deep");
    no_yaml("version: 4294967296", "integer `4294967296` is out of range 0..4294967295");
    no_yaml("version: 1\nnetwork_policies: {k: {endpoints: [{host: a, ports: 443}]}}",
            "expected a list of port numbers");
}

static const char *parameters(const char *list)
{
    return os_arena_printf(&arena,
                           "version: 1\nnetwork_policies: {k: {endpoints: [{host: a.b.c, port: 1, protocol: "
                           "mcp, rules: [{allow: "
                           "{method: tools/call, params: {%s}}}]}]}}",
                           list);
}

static void too_many_parameters(void **state)
{
    cleanup_buf struct os_buf list = {0};
    for (int i = 0; i <= OS_LIMIT_MAP_ENTRIES; i++)
        os_buf_addf(&list, "p%d: x, ", i);
    no_yaml(parameters(os_buf_str(&list)),
            os_arena_printf(&arena, "more than %d parameters", OS_LIMIT_MAP_ENTRIES));
    no_yaml(parameters(os_arena_printf(&arena, "%s: x", times("n", OS_LIMIT_MAP_KEY + 1))),
            os_arena_printf(&arena, "the parameter name is longer than %d bytes", OS_LIMIT_MAP_KEY));
}

static policy_doc *parse(const char *yaml)
{
    struct os_error err cleanup_error = {0};
    const char *text = os_arena_printf(&arena, "version: 1\n%s", yaml);
    policy_doc *doc = policy_yaml_parse(&arena, text, strlen(text), &err);
    if (!doc)
        fail_msg("%s\n%s", text, os_error_text(&err));
    return doc;
}

static void refused(void (*validate)(const policy_doc *, struct os_strv *), const char *yaml,
                    const char *want)
{
    cleanup_strv struct os_strv bad = {0};
    validate(parse(yaml), &bad);
    cleanup_free char *got = os_strv_join(&bad, "; ");
    has(got, want);
}

#define TCP(host)                                                                                            \
    os_arena_printf(&arena, "network_policies: {k: {endpoints: [{host: '%s', port: 1, protocol: tcp}]}}",    \
                    host)

static void names_that_cannot_be(void **state)
{
    refused(policy_validate, TCP(os_arena_printf(&arena, "%stest", times("abcdefgh.", 30))),
            "the name is longer than 253 characters");
    refused(policy_validate, TCP(os_arena_printf(&arena, "%s.test", times("a", 64))),
            "a label is longer than 63 characters");
    refused(policy_validate, TCP("a-.test"), "a label starts or ends with '-'");
    refused(
        policy_validate,
        "network_policies: {k: {endpoints: [{host: a.test, port: 1, credential_binding: {provider: ' p'}}]}}",
        "credential_binding.provider ' p' of endpoint 'a.test' must not have spaces around it");
    refused(policy_validate_runtime,
            "network_policies: {k: {endpoints: [{host: a.test, port: 1, protocol: tcp, signing_region: x}]}}",
            "protocol tcp does not support L7-only fields: credential_signing, signing_service, "
            "signing_region, credential_binding; "
            "remove those fields");
}

static void middlewares(void **state)
{
    cleanup_buf struct os_buf many = {0};
    for (int i = 0; i <= OS_LIMIT_MIDDLEWARES; i++)
        os_buf_addf(&many, "m%d: {middleware: x, order: %d, endpoints: {include: ['**']}}, ", i, i);
    refused(policy_validate, os_arena_printf(&arena, "network_middlewares: {%s}", os_buf_str(&many)),
            "too many middleware configs (11 > 10)");
    refused(policy_validate,
            os_arena_printf(&arena, "network_middlewares: {m: {middleware: x, endpoints: {include: [%s]}}}",
                            times("a.b, ", OS_LIMIT_MIDDLEWARE_PATTERNS + 1)),
            "middleware config 'm' has too many selector patterns (33 > 32)");
    refused(policy_validate, "network_middlewares: {m: {middleware: x, endpoints: {include: ['a[']}}}",
            "invalid host pattern: it has an unclosed '['");
}

static void what_is_admitted(void **state)
{
    struct os_error err cleanup_error = {0};
    assert_int_equal(policy_check_reserved(parse("network_policies: {_provider_x: {}}"), &err), -1);
    assert_int_equal(err.code, OS_INVALID_ARGUMENT);
    has(os_error_text(&err),
        "network_policies key '_provider_x' uses reserved '_provider_' prefix for provider composition; use "
        "'openshell policy get <sandbox> --base' for a round-trippable base policy, or use 'openshell policy "
        "get <sandbox> --full' to inspect the effective policy including provider entries");
    os_error_clear(&err);
    assert_int_equal(policy_check_built(parse("process: {run_as_user: '1000'}"), &err), -1);
    assert_int_equal(err.code, OS_FAILED_PRECONDITION);
    has(os_error_text(&err),
        "process policy asks for user '1000' and group ''; sandboxes of this gateway run as sandbox:sandbox, "
        "leave both out");
    cleanup_free char *ip = policy_allowed_ip_error("127.0.0.0/8");
    has(ip, "allowed_ips entry 127.0.0.0/8 falls within always-blocked range "
            "(loopback/link-local/unspecified); remove this entry "
            "\xe2\x80\x94 SSRF hardening prevents traffic to these destinations regardless of policy");
}

static policy_merge_op *remove_binary(const char *rule, const char *path)
{
    policy_merge_op *op = os_arena_alloc(&arena, sizeof(*op));
    openshell__v1__policy_merge_operation__init(op);
    op->operation_case = OPENSHELL__V1__POLICY_MERGE_OPERATION__OPERATION_REMOVE_BINARY;
    op->remove_binary = os_arena_alloc(&arena, sizeof(*op->remove_binary));
    openshell__v1__remove_network_binary__init(op->remove_binary);
    op->remove_binary->rule_name = (char *)rule;
    op->remove_binary->binary_path = (char *)path;
    return op;
}

static void merges(void **state)
{
    struct os_error err cleanup_error = {0};
    cleanup_strv struct os_strv warnings = {0};
    policy_merge_op *one = remove_binary("k", "/usr/bin/curl");
    policy_merge_op **ops = os_arena_alloc(&arena, (OS_LIMIT_MERGE_OPERATIONS + 1) * sizeof(*ops));
    for (size_t i = 0; i <= OS_LIMIT_MERGE_OPERATIONS; i++)
        ops[i] = one;
    assert_int_equal(policy_merge_check(ops, OS_LIMIT_MERGE_OPERATIONS + 1, &err), -1);
    has(os_error_text(&err),
        os_arena_printf(&arena, "too many merge_operations (%d > %d); replace the whole policy instead",
                        OS_LIMIT_MERGE_OPERATIONS + 1, OS_LIMIT_MERGE_OPERATIONS));
    assert_string_equal(policy_merge_summary(&arena, one), "remove-binary /usr/bin/curl from k");
    policy_doc *big =
        parse("network_policies: {k: {binaries: [{path: /a}], endpoints: [{host: a.test, port: 1}]}}");
    big->network_policies[0]->value->endpoints[0]->host = (char *)times("a", OS_LIMIT_GRPC_MESSAGE);
    os_error_clear(&err);
    assert_null(policy_merge(&arena, big, &one, 1, &warnings, &err));
    has(os_error_text(&err), "policy serialized size exceeds maximum (");
}

static void queries(void **state)
{
    static const struct {
        const char *query, *want;
    } rows[] = {
        {"a=%4", "query contains an invalid percent-encoded sequence"},
        {"a=%zz", "query contains an invalid percent-encoded sequence"},
        {"a=%00", "query contains a null byte"},
        {"%ff=1", "query is not valid UTF-8 after percent-decoding"},
    };
    for (size_t i = 0; i < OS_ARRAY_LEN(rows); i++) {
        struct os_error err cleanup_error = {0};
        const struct policy_query_pair *pairs;
        size_t n;
        assert_int_equal(policy_query_parse(&arena, rows[i].query, &pairs, &n, &err), -1);
        assert_string_equal(os_error_text(&err), rows[i].want);
    }
}

static int free_arena(void **state)
{
    os_arena_free(&arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_no_document),
        cmocka_unit_test(too_many_parameters),
        cmocka_unit_test(names_that_cannot_be),
        cmocka_unit_test(middlewares),
        cmocka_unit_test(what_is_admitted),
        cmocka_unit_test(merges),
        cmocka_unit_test(queries),
    };
    return cmocka_run_group_tests(tests, NULL, free_arena);
}
