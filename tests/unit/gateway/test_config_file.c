/* Unit tests of gateway.toml: what each key becomes, and what is refused (spec/gateway.md 1.2). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/cleanup.h"
#include "gateway/config_file.h"

static int parse(struct config_file *f, struct os_arena *a, const char *text, struct os_error *err)
{
    return config_file_parse(f, a, "g.toml", text, strlen(text), err);
}

static void refuse(const char *text, const char *message)
{
    cleanup_arena struct os_arena a = {0};
    cleanup_error struct os_error err = {0};
    struct config_file f;
    if (parse(&f, &a, text, &err) == 0)
        fail_msg("accepted: %s", text);
    assert_string_equal(os_error_text(&err), message);
}
#define PLACE "failed to parse gateway config file 'g.toml': line "

static void everything_that_is_built(void **state)
{
    cleanup_arena struct os_arena a = {0};
    cleanup_error struct os_error err = {0};
    struct config_file f;
    const char *text =
        "[openshell]\nversion = 1\n"
        "[openshell.gateway]\n"
        "bind_address = \"[::1]:17671\"\nhealth_bind_address = '127.0.0.2:80'\nlog_level = 'debug'\n"
        "compute_drivers = ['local']\nserver_sans = ['a', '*.b']\nssh_session_ttl_secs = 0\n"
        "policy_validation_failure_mode = 'retain_last_valid'\ndisable_tls = false\n"
        "[openshell.gateway.tls]\ncert_path = '/c'\nkey_path = '/k'\nclient_ca_path = '/a'\n"
        "require_client_auth = true\n"
        "[openshell.gateway.auth]\nallow_unauthenticated_users = true\n"
        "[openshell.gateway.mtls_auth]\nenabled = true\n"
        "[openshell.gateway.gateway_jwt]\nsigning_key_path = 's'\npublic_key_path = 'p'\n"
        "kid_path = 'k'\ngateway_id = 'g'\nttl_secs = 3600\n"
        "[openshell.drivers.local]\nenable_bind_mounts = true\nextra_ca_file = 'x'\n"
        "extra_hosts_file = 'h'\nhttps_proxy = 'http://p:1'\nno_proxy = 'corp'\n"
        "proxy_auth_file = '/f'\nproxy_auth_allow_insecure = true\nproxy_connect_by_hostname = false\n"
        "policy_rules_file = 'r.rego'\npolicy_data_file = 'd.yaml'\nopa_path = '/opa'\n"
        "agent_uid = 1500\nworker_uid = 1501\nmask = ['/srv']\n"
        "[openshell.drivers.docker]\nanything = { at = 'all' }\n";
    assert_int_equal(parse(&f, &a, text, &err), 0);
    assert_string_equal(f.bind.ip, "::1");
    assert_int_equal(f.bind.port, 17671);
    assert_string_equal(f.health.ip, "127.0.0.2");
    assert_int_equal(f.health.port, 80);
    assert_string_equal(f.log_level, "debug");
    assert_string_equal(f.compute_drivers.v[0], "local");
    assert_int_equal(f.server_sans.n, 2);
    assert_string_equal(f.server_sans.v[1], "*.b");
    assert_null(f.server_sans.v[2]);
    assert_true(f.ssh_session_ttl_secs.given);
    assert_int_equal(f.ssh_session_ttl_secs.value, 0);
    assert_string_equal(f.failure_mode, "retain_last_valid");
    assert_int_equal(f.disable_tls, CONFIG_FALSE);
    assert_string_equal(f.tls_cert, "/c");
    assert_string_equal(f.tls_client_ca, "/a");
    assert_int_equal(f.allow_unauthenticated, CONFIG_TRUE);
    assert_string_equal(f.local_policy_rules, "r.rego");
    assert_string_equal(f.local_policy_data, "d.yaml");
    assert_string_equal(f.local_opa, "/opa");
    assert_true(f.mtls_table);
    assert_int_equal(f.mtls_auth, CONFIG_TRUE);
    assert_string_equal(f.jwt_kid, "k");
    assert_string_equal(f.jwt_gateway_id, "g");
    assert_int_equal(f.jwt_ttl_secs.value, 3600);
    assert_int_equal(f.local_bind_mounts, CONFIG_TRUE);
    assert_int_equal(f.local_agent_uid.value, 1500);
    assert_string_equal(f.local_mask.v[0], "/srv");
    assert_string_equal(f.local_https_proxy, "http://p:1");
    assert_string_equal(f.local_no_proxy, "corp");
    assert_string_equal(f.local_proxy_auth_file, "/f");
    assert_int_equal(f.local_proxy_auth_insecure, CONFIG_TRUE);
    assert_int_equal(f.local_proxy_by_hostname, CONFIG_FALSE);
}

static void nothing_is_all_defaults(void **state)
{
    cleanup_arena struct os_arena a = {0};
    cleanup_error struct os_error err = {0};
    struct config_file f;
    assert_int_equal(parse(&f, &a, " \n", &err), 0);
    assert_null(f.bind.ip);
    assert_int_equal(f.disable_tls, CONFIG_UNSET);
    assert_false(f.mtls_table);
    assert_int_equal(parse(&f, &a, "[openshell.gateway.mtls_auth]", &err), 0);
    assert_true(f.mtls_table);
    assert_int_equal(f.mtls_auth, CONFIG_UNSET);
}

static void unknown_keys_are_errors(void **state)
{
    refuse("gateway = 1", PLACE "1, column 1: unknown key 'gateway'; everything stands below [openshell]");
    refuse("[openshell]\nports = 1", PLACE "2, column 1: unknown key 'ports' in [openshell]");
    refuse("[openshell.gateway]\nbind_adress = '1'",
           PLACE "2, column 1: unknown key 'bind_adress' in [openshell.gateway]");
    refuse("[openshell.gateway.tls]\ncert_path='c'\nkey_path='k'\nca = ''",
           PLACE "4, column 1: unknown key 'ca' in [openshell.gateway.tls]");
    refuse("[openshell.drivers.local]\nimage = 'x'",
           PLACE "2, column 1: unknown key 'image' in [openshell.drivers.local]");
    refuse("openshell.drivers.x = 1", PLACE "1, column 19: unknown key 'x' in [openshell.drivers]");
}

static void parts_that_are_missing_are_named(void **state)
{
    refuse(
        "[openshell.gateway]\nmetrics_bind_address = '127.0.0.1:1'", PLACE
        "2, column 1: 'metrics_bind_address' in [openshell.gateway] is for the metrics listener, which this "
        "gateway does not have; remove it");
    refuse("[openshell.gateway.oidc]\nissuer = 'x'",
           PLACE "1, column 20: 'oidc' in [openshell.gateway] is for OIDC, which this gateway does not have; "
                 "remove it");
}

static void middlewares_are_listed(void **state)
{
    struct config_file f;
    cleanup_arena struct os_arena arena = {0};
    cleanup_error struct os_error err = {0};
    static const char text[] =
        "[[openshell.supervisor.middleware]]\nname = 'a/b'\ngrpc_endpoint = 'https://h:1'\n"
        "max_payload_bytes = 5\ntimeout = '2s'\naudience = 'x'\ntls_ca_cert_path = '/ca'\n"
        "[[openshell.supervisor.middleware]]\nname = 'c'\ngrpc_endpoint = 'http://h:1'\n"
        "max_body_bytes = 6\nallow_insecure_transport = true\n"
        "[openshell.gateway]\nlog_level = 'debug'\n";
    assert_int_equal(config_file_parse(&f, &arena, "f", text, strlen(text), &err), 0);
    assert_int_equal(f.middlewares.n, 2);
    const struct config_middleware *m = f.middlewares.v;
    assert_string_equal(m[0].name, "a/b");
    assert_string_equal(m[0].endpoint, "https://h:1");
    assert_string_equal(m[0].timeout, "2s");
    assert_string_equal(m[0].audience, "x");
    assert_string_equal(m[0].ca_path, "/ca");
    assert_int_equal(m[0].max_payload.value, 5);
    assert_int_equal(m[0].insecure, CONFIG_UNSET);
    assert_int_equal(m[1].max_payload.value, 6);
    assert_int_equal(m[1].insecure, CONFIG_TRUE);
    assert_null(m[1].audience);
    assert_string_equal(f.log_level, "debug");
    refuse("[[openshell.supervisor.middleware]]\nname = 'x'",
           PLACE "1, column 24: [openshell.supervisor.middleware] needs 'grpc_endpoint'");
    refuse("[[openshell.supervisor.middleware]]\nname = 'x'\ngrpc_endpoint = 'y'",
           PLACE "1, column 24: [openshell.supervisor.middleware] needs 'max_payload_bytes'");
    refuse("[[openshell.supervisor.middleware]]\nurl = 'x'",
           PLACE "2, column 1: unknown key 'url' in [openshell.supervisor.middleware]");
    refuse("openshell.supervisor.middleware = 1",
           PLACE "1, column 22: 'middleware' must be a list of tables, not an integer");
    refuse("openshell.supervisor.middleware = [1]",
           PLACE "1, column 36: 'middleware' must be a list of tables");
}

static void published_refusals(void **state)
{
    refuse(
        "[openshell.gateway]\ndatabase_url = 'sqlite:x'",
        "`database_url` is not allowed in the gateway config file — set the OPENSHELL_DB_URL env var or pass "
        "--db-url on the command line");
    refuse("[openshell]\nversion = 2",
           "unsupported gateway config version 2; this build only supports version 1");
    refuse(
        "[openshell.gateway]\ncredential_drivers = []",
        "invalid gateway config field `openshell.gateway.credential_drivers`: omit the field to use default "
        "encrypted gateway credential storage, or specify exactly one external credential driver");
}

static void wrong_values(void **state)
{
    refuse("[openshell.gateway]\nbind_address = 'localhost:1'",
           PLACE "2, column 1: 'bind_address' must be an IP address and a port such as 127.0.0.1:17670 or "
                 "[::1]:17670, "
                 "not 'localhost:1'");
    static const char *const addresses[] = {"127.0.0.1",     "::1:80", "127.0.0.1:65536",
                                            "[127.0.0.1]:1", ":80",    "127.0.0.1:"};
    for (size_t i = 0; i < OS_ARRAY_LEN(addresses); i++) {
        cleanup_arena struct os_arena a = {0};
        cleanup_error struct os_error err = {0};
        struct config_file f;
        const char *text =
            os_arena_printf(&a, "[openshell.gateway]\nhealth_bind_address = '%s'", addresses[i]);
        assert_int_equal(parse(&f, &a, text, &err), -1);
    }
    refuse("[openshell.gateway]\ndisable_tls = 'yes'",
           PLACE "2, column 1: 'disable_tls' must be true or false, not a string");
    refuse("[openshell.gateway]\nserver_sans = ['a', 1]",
           PLACE "2, column 21: 'server_sans' must be a list of non-empty strings");
    refuse("[openshell.gateway]\nssh_session_ttl_secs = -1",
           PLACE "2, column 1: 'ssh_session_ttl_secs' must be between 0 and 4294967295, not -1");
    refuse(
        "[openshell.gateway]\npolicy_validation_failure_mode = 'open'", PLACE
        "2, column 1: 'policy_validation_failure_mode' must be fail_closed or retain_last_valid, not 'open'");
    refuse("[openshell.gateway]\ntls = 1", PLACE "2, column 1: 'tls' must be a table, not an integer");
    refuse("[openshell.gateway.tls]\ncert_path = 'c'",
           PLACE "1, column 20: [openshell.gateway.tls] needs 'key_path'");
    refuse("openshell = 1", PLACE "1, column 1: 'openshell' must be a table, not an integer");
    refuse("[openshell.gateway]\nlog_level = ''", PLACE "2, column 1: 'log_level' must not be empty");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_that_is_built),
        cmocka_unit_test(nothing_is_all_defaults),
        cmocka_unit_test(unknown_keys_are_errors),
        cmocka_unit_test(parts_that_are_missing_are_named),
        cmocka_unit_test(middlewares_are_listed),
        cmocka_unit_test(published_refusals),
        cmocka_unit_test(wrong_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
