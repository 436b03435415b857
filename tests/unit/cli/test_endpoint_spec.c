/* The flags of `policy update`: every form, every refusal, the operations they make, and the way back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/endpoint_spec.h"
#include "core/cleanup.h"

#define OP(name) OPENSHELL__V1__POLICY_MERGE_OPERATION__OPERATION_##name

static struct os_arena arena;

static int forget(void **state)
{
    os_arena_free(&arena);
    return 0;
}

static void good_endpoints(void **state)
{
    static const struct {
        const char *text, *host;
        uint32_t port;
        const char *access, *protocol, *enforcement;
    } rows[] = {
        {"a.com:443", "a.com", 443, "", "", ""},
        {"*.a.com:1", "*.a.com", 1, "", "", ""},
        {"a.com:65535:full", "a.com", 65535, "full", "", ""},
        {"a.com:443:read-only:rest", "a.com", 443, "read-only", "rest", ""},
        {"a.com:443:read-write:websocket:enforce", "a.com", 443, "read-write", "websocket", "enforce"},
        {"a.com:443::rest:audit", "a.com", 443, "", "rest", "audit"},
        {"db:5432::tcp", "db", 5432, "", "tcp", ""},
        {"db:5432:full:sql", "db", 5432, "full", "sql", ""},
        {"a.com:443::", "a.com", 443, "", "", ""},
        {"a.com:443:::", "a.com", 443, "", "", ""},
        {"a.com:443::::allow-uninspected-credentials", "a.com", 443, "", "", ""},
    };
    for (size_t i = 0; i < OS_ARRAY_LEN(rows); i++) {
        cleanup_error struct os_error err = {0};
        policy_endpoint_doc *ep = endpoint_spec_parse(&arena, rows[i].text, &err);
        if (!ep)
            fail_msg("%s: %s", rows[i].text, os_error_text(&err));
        assert_string_equal(ep->host, rows[i].host);
        assert_int_equal(ep->port, rows[i].port);
        assert_int_equal(ep->n_ports, 1);
        assert_int_equal(ep->ports[0], rows[i].port);
        assert_string_equal(ep->access, rows[i].access);
        assert_string_equal(ep->protocol, rows[i].protocol);
        assert_string_equal(ep->enforcement, rows[i].enforcement);
    }
}

static void options(void **state)
{
    policy_endpoint_doc *ep = endpoint_spec_parse(
        &arena,
        "a.com:443:full:rest:enforce:websocket-credential-rewrite, request-body-credential-rewrite,"
        "allow-uninspected-credentials,allowed-ip=10.0.0.0/8,allowed-ip=192.168.1.1",
        NULL);
    assert_non_null(ep);
    assert_true(ep->websocket_credential_rewrite && ep->request_body_credential_rewrite &&
                ep->allow_uninspected_credentials);
    assert_int_equal(ep->n_allowed_ips, 2);
    assert_string_equal(ep->allowed_ips[1], "192.168.1.1");
}

#define ADD "--add-endpoint "
static void bad_endpoints(void **state)
{
    static const struct {
        const char *text, *error;
    } rows[] = {
        {"a.com", ADD "expects host:port[:access[:protocol[:enforcement[:options]]]], got 'a.com'"},
        {"", ADD "expects host:port[:access[:protocol[:enforcement[:options]]]], got ''"},
        {"a:1:full:rest:audit:x:y",
         ADD "expects host:port[:access[:protocol[:enforcement[:options]]]], got 'a:1:full:rest:audit:x:y'"},
        {":443", ADD "has an empty host segment in ':443'"},
        {"a.com:", ADD "has an empty port segment in 'a.com:'"},
        {"a com:1", ADD "host must not contain whitespace in 'a com:1'"},
        {"a/b:1", ADD "host must not contain '/' in 'a/b:1'"},
        {"a:http", ADD "port segment must be a base-10 integer, got 'http' in 'a:http'"},
        {"a:-1", ADD "port segment must be a base-10 integer, got '-1' in 'a:-1'"},
        {"a:0", ADD "port must be in the range 1-65535, got '0' in 'a:0'"},
        {"a:65536", ADD "port must be in the range 1-65535, got '65536' in 'a:65536'"},
        {"a:99999999999999999999999", ADD
         "port must be in the range 1-65535, got '99999999999999999999999' in 'a:99999999999999999999999'"},
        {"a:1:", ADD "has an empty access segment in 'a:1:'"},
        {"a:1::::", ADD "has an empty options segment in 'a:1::::'"},
        {"a:1:all",
         ADD "access segment must be one of read-only, read-write, or full; got 'all' in 'a:1:all'"},
        {"a:1:full:graphql", ADD "protocol segment must be 'tcp', 'rest', 'websocket', or 'sql'; got "
                                 "'graphql' in 'a:1:full:graphql'"},
        {"a:1:full:tcp", ADD "protocol 'tcp' does not support access or enforcement in 'a:1:full:tcp'"},
        {"a:1::tcp:audit", ADD "protocol 'tcp' does not support access or enforcement in 'a:1::tcp:audit'"},
        {"a:1:full::enforce", ADD "cannot set enforcement without protocol in 'a:1:full::enforce'"},
        {"a:1:full:rest:maybe",
         ADD "enforcement segment must be 'enforce' or 'audit'; got 'maybe' in 'a:1:full:rest:maybe'"},
        {"a:1::::x",
         ADD "option must be one of allow-uninspected-credentials, websocket-credential-rewrite, "
             "request-body-credential-rewrite, or allowed-ip=<CIDR-or-IP>; got 'x' in 'a:1::::x'"},
        {"a:1::::allowed-ip=", ADD "option 'allowed-ip' has no address in 'a:1::::allowed-ip='"},
        {"a:1::tcp::websocket-credential-rewrite",
         ADD "option 'websocket-credential-rewrite' needs protocol 'rest' or 'websocket' in "
             "'a:1::tcp::websocket-credential-rewrite'"},
        {"a:1:full:websocket::request-body-credential-rewrite",
         ADD "option 'request-body-credential-rewrite' needs protocol 'rest' in "
             "'a:1:full:websocket::request-body-credential-rewrite'"},
    };
    for (size_t i = 0; i < OS_ARRAY_LEN(rows); i++) {
        cleanup_error struct os_error err = {0};
        assert_null(endpoint_spec_parse(&arena, rows[i].text, &err));
        assert_string_equal(os_error_text(&err), rows[i].error);
        assert_int_equal(err.code, OS_INVALID_ARGUMENT);
    }
}

static void places_and_requests(void **state)
{
    const char *host;
    uint32_t port;
    struct request_spec r;
    cleanup_error struct os_error err = {0};
    assert_int_equal(endpoint_spec_parse_place(&arena, "a.com:443", &host, &port, &err), 0);
    assert_string_equal(host, "a.com");
    assert_int_equal(port, 443);
    assert_int_equal(endpoint_spec_parse_place(&arena, "a.com:443:full", &host, &port, &err), -1);
    assert_string_equal(os_error_text(&err), "--remove-endpoint expects host:port, got 'a.com:443:full'");
    assert_int_equal(endpoint_spec_parse_place(&arena, "a.com:x", &host, &port, &err), -1);
    assert_string_equal(os_error_text(&err),
                        "--remove-endpoint port segment must be a base-10 integer, got 'x' in 'a.com:x'");
    static const struct {
        const char *text, *method, *path, *error;
    } rows[] = {
        {"a.com:443:get:/v1/**", "GET", "/v1/**", NULL},
        {"a.com:443:*:**", "*", "**", NULL},
        {"a.com:443:POST:**/x", "POST", "**/x", NULL},
        {"a.com:443:GET", "", "", "--add-deny expects host:port:METHOD:path_glob, got 'a.com:443:GET'"},
        {"a.com:443:GET:/a:b", "", "",
         "--add-deny expects host:port:METHOD:path_glob, got 'a.com:443:GET:/a:b'"},
        {"a.com:443::/a", "", "", "--add-deny has an empty METHOD segment in 'a.com:443::/a'"},
        {"a.com:443:GET:", "", "", "--add-deny has an empty path segment in 'a.com:443:GET:'"},
        {"a.com:443:G T:/a", "", "", "--add-deny METHOD must not contain whitespace in 'a.com:443:G T:/a'"},
        {"a.com:443:GET:a", "", "",
         "--add-deny path must start with '/' or be '**', got 'a' in 'a.com:443:GET:a'"},
        {"a.com:0:GET:/a", "", "",
         "--add-deny port must be in the range 1-65535, got '0' in 'a.com:0:GET:/a'"},
    };
    for (size_t i = 0; i < OS_ARRAY_LEN(rows); i++) {
        int rc = request_spec_parse(&arena, "--add-deny", rows[i].text, &r, &err);
        assert_int_equal(rc, rows[i].error ? -1 : 0);
        assert_string_equal(rc ? os_error_text(&err) : r.method,
                            rows[i].error ? rows[i].error : rows[i].method);
        assert_string_equal(rc ? "" : r.path, rows[i].path);
    }
}

#define LIST(...)                                                                                            \
    (const char *const[])                                                                                    \
    {                                                                                                        \
        __VA_ARGS__                                                                                          \
    }

static void flags_that_do_not_go_together(void **state)
{
    static const char *const one[] = {"a.com:1", "b.com:2"}, *const blank[] = {" "}, *const path[] = {"/b"};
    const struct {
        struct update_flags flags;
        const char *error;
    } rows[] = {
        {{0}, "policy update requires at least one operation flag"},
        {{.binary = path, .n_binary = 1}, "--binary can only be used with --add-endpoint"},
        {{.rule_name = "x", .remove_rule = path, .n_remove_rule = 1},
         "--rule-name can only be used with --add-endpoint"},
        {{.rule_name = "x", .add_endpoint = one, .n_add_endpoint = 2},
         "--rule-name is only supported when exactly one --add-endpoint is provided"},
        {{.add_endpoint = one, .n_add_endpoint = 1, .binary = blank, .n_binary = 1},
         "--binary values must not be empty"},
        {{.remove_rule = blank, .n_remove_rule = 1}, "--remove-rule values must not be empty"},
        {{.rule_name = " ", .add_endpoint = one, .n_add_endpoint = 1}, "--rule-name must not be empty"},
    };
    for (size_t i = 0; i < OS_ARRAY_LEN(rows); i++) {
        cleanup_error struct os_error err = {0};
        struct update_operations ops;
        assert_int_equal(update_flags_parse(&arena, &rows[i].flags, &ops, &err), -1);
        assert_string_equal(os_error_text(&err), rows[i].error);
    }
}

static void operations_in_order(void **state)
{
    const struct update_flags f = {
        .add_deny = LIST("z.com:1:get:/d"),
        .n_add_deny = 1,
        .add_allow = LIST("b.com:2:get:/2", "b.com:1:get:/1", "b.com:2:put:/0", "a.com:9:get:/"),
        .n_add_allow = 4,
        .remove_rule = LIST(" old "),
        .n_remove_rule = 1,
        .remove_endpoint = LIST("c.com:1"),
        .n_remove_endpoint = 1,
        .add_endpoint = LIST("api.github.com:443", "*.x.com:8443"),
        .n_add_endpoint = 2,
        .binary = LIST(" /b", "/c", "/b"),
        .n_binary = 3,
    };
    static const int want[] = {OP(ADD_RULE),        OP(ADD_RULE),        OP(REMOVE_ENDPOINT),
                               OP(REMOVE_RULE),     OP(ADD_ALLOW_RULES), OP(ADD_ALLOW_RULES),
                               OP(ADD_ALLOW_RULES), OP(ADD_DENY_RULES)};
    struct update_operations ops;
    assert_int_equal(update_flags_parse(&arena, &f, &ops, NULL), 0);
    assert_int_equal(ops.n, OS_ARRAY_LEN(want));
    for (size_t i = 0; i < ops.n; i++)
        assert_int_equal(ops.v[i]->operation_case, want[i]);
    assert_string_equal(ops.v[0]->add_rule->rule_name, "allow_api_github_com_443");
    assert_string_equal(ops.v[1]->add_rule->rule_name, "allow__x_com_8443");
    assert_int_equal(ops.v[1]->add_rule->rule->n_binaries, 2);
    assert_string_equal(ops.v[1]->add_rule->rule->binaries[0]->path, "/b");
    assert_string_equal(ops.v[3]->remove_rule->rule_name, "old");
    assert_string_equal(ops.v[4]->add_allow_rules->host, "a.com");
    assert_int_equal(ops.v[5]->add_allow_rules->port, 1);
    assert_int_equal(ops.v[6]->add_allow_rules->n_rules, 2);
    assert_string_equal(ops.v[6]->add_allow_rules->rules[1]->allow->method, "PUT");
    assert_string_equal(ops.v[7]->add_deny_rules->deny_rules[0]->method, "GET");
    assert_int_equal(policy_merge_check(ops.v, ops.n, NULL), 0);
}

static void back_to_flags(void **state)
{
    const struct update_flags f = {
        .add_allow = LIST("a.com:443:PUT:/x y"),
        .n_add_allow = 1,
        .add_endpoint = LIST("*.a.com:443:full:rest:enforce:allowed-ip=10.0.0.1"),
        .n_add_endpoint = 1,
        .binary = LIST("/b", "/it's"),
        .n_binary = 2,
        .rule_name = "mine",
        .remove_rule = LIST("old"),
        .n_remove_rule = 1,
    };
    struct update_operations ops;
    cleanup_buf struct os_buf out = {0};
    assert_int_equal(update_flags_parse(&arena, &f, &ops, NULL), 0);
    assert_true(update_flags_format(ops.v, ops.n, &out));
    assert_string_equal(
        os_buf_str(&out),
        " --add-endpoint '*.a.com:443:full:rest:enforce:allowed-ip=10.0.0.1' --rule-name mine "
        "--binary /b --binary '/it'\\''s' --remove-rule old --add-allow 'a.com:443:PUT:/x y'");
    os_buf_clear(&out);
    policy_endpoint_doc *ep = ops.v[0]->add_rule->rule->endpoints[0];
    ep->path = (char *)"/v1";
    assert_false(update_flags_format(ops.v, ops.n, &out));
    ep->path = (char *)"";
    ep->allowed_ips[0] = (char *)"fd00::1";
    assert_false(update_flags_format(ops.v, ops.n, &out));
    assert_int_equal(out.len, 0);
    assert_false(update_flags_format(NULL, 0, &out));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(good_endpoints, forget),
        cmocka_unit_test_teardown(options, forget),
        cmocka_unit_test_teardown(bad_endpoints, forget),
        cmocka_unit_test_teardown(places_and_requests, forget),
        cmocka_unit_test_teardown(flags_that_do_not_go_together, forget),
        cmocka_unit_test_teardown(operations_in_order, forget),
        cmocka_unit_test_teardown(back_to_flags, forget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
