/* Unit tests of the gateway's flags and environment (spec/gateway.md 1.1). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/cleanup.h"
#include "gateway/options.h"

static int parse(struct gateway_options *o, const char *const *args, struct os_error *err)
{
    char *argv[16] = {(char *)"openshell-gateway"};
    int argc = 1;
    for (; args[argc - 1]; argc++)
        argv[argc] = (char *)args[argc - 1];
    return gateway_options_parse(o, argc, argv, err);
}
#define ARGS(...) ((const char *const[]){__VA_ARGS__, NULL})

static int clean_environment(void **state)
{
    static const char *const names[] = {"OPENSHELL_BIND_ADDRESS", "OPENSHELL_SERVER_PORT",
                                        "OPENSHELL_DISABLE_TLS",  "OPENSHELL_DB_URL",
                                        "OPENSHELL_LOG_LEVEL",    "OPENSHELL_DRIVERS"};
    for (size_t i = 0; i < OS_ARRAY_LEN(names); i++)
        unsetenv(names[i]);
    setenv("XDG_STATE_HOME", "/nonexistent/state", 1);
    setenv("XDG_CONFIG_HOME", "/nonexistent/config", 1);
    return 0;
}

static void defaults(void **state)
{
    struct gateway_options o;
    struct os_error err = {0};
    assert_int_equal(parse(&o, (const char *const[]){NULL}, &err), 0);
    assert_int_equal(o.command, GATEWAY_SERVE);
    assert_string_equal(o.bind_address, "127.0.0.1");
    assert_int_equal(o.port, 17670);
    assert_string_equal(o.db_url, "sqlite:/nonexistent/state/openshell/gateway/openshell.db");
    assert_int_equal(gateway_options_check(&o, &err), 0);
    gateway_options_free(&o);
}

static void flags_win_over_the_environment(void **state)
{
    struct gateway_options o;
    struct os_error err = {0};
    setenv("OPENSHELL_SERVER_PORT", "1", 1);
    setenv("OPENSHELL_BIND_ADDRESS", "::1", 1);
    assert_int_equal(parse(&o, ARGS("--port=2", "--server-san", "a, b"), &err), 0);
    assert_int_equal(o.port, 2);
    assert_string_equal(o.bind_address, "::1");
    assert_int_equal(o.server_sans.n, 2);
    assert_string_equal(o.server_sans.v[1], "b");
    gateway_options_free(&o);
}

static void bad_values_are_named(void **state)
{
    static const struct {
        const char *args[4];
        const char *text;
    } cases[] = {
        {{"--port", "70000"}, "invalid value '70000' for '--port': expected a port, 0 to 65535"},
        {{"--port", "-1"}, "invalid value '-1' for '--port': expected a port, 0 to 65535"},
        {{"--bind-address", "localhost"},
         "invalid value 'localhost' for '--bind-address': expected an IP address"},
        {{"--log-level", "loud"},
         "invalid value 'loud' for '--log-level': expected error, warn, info, debug or trace"},
        {{"--enable-mtls-auth", "yes"},
         "invalid value 'yes' for '--enable-mtls-auth': expected true or false"},
        {{"--prot", "1"}, "unexpected argument '--prot'; see openshell-gateway --help"},
        {{"serve"}, "unexpected argument 'serve'; see openshell-gateway --help"},
        {{"--port"}, "a value is required for '--port'; see openshell-gateway --help"},
        {{"--port", ""}, "an empty value was given for '--port'; see openshell-gateway --help"},
        {{"--dry-run"}, "unexpected argument '--dry-run'; see openshell-gateway --help"},
        {{"--drivers", "docker"},
         "compute driver 'docker' is not built into this gateway; use --drivers local"},
        {{"generate-certs", "--port", "1"}, "unexpected argument '--port'; see openshell-gateway --help"},
    };
    for (size_t i = 0; i < OS_ARRAY_LEN(cases); i++) {
        struct gateway_options o;
        struct os_error err = {0};
        assert_int_equal(parse(&o, cases[i].args, &err), -1);
        assert_string_equal(os_error_text(&err), cases[i].text);
        os_error_clear(&err);
        gateway_options_free(&o);
    }
}

static void contradictions_are_refused(void **state)
{
    struct gateway_options o;
    struct os_error err = {0};
    assert_int_equal(parse(&o, ARGS("--disable-tls", "--tls-client-ca", "x"), &err), 0);
    assert_int_equal(gateway_options_check(&o, &err), -1);
    assert_string_equal(
        os_error_text(&err),
        "--disable-tls and --tls-client-ca are mutually exclusive. Client certificate verification "
        "requires that TLS be enabled.");
    os_error_clear(&err);
    gateway_options_free(&o);
    assert_int_equal(parse(&o, ARGS("--port", "99", "--health-port", "99"), &err), 0);
    assert_int_equal(gateway_options_check(&o, &err), -1);
    assert_string_equal(os_error_text(&err), "--port and --health-port must be different (both set to 99)");
    os_error_clear(&err);
    gateway_options_free(&o);
}

static void generate_certs_has_its_own_flags(void **state)
{
    struct gateway_options o;
    struct os_error err = {0};
    assert_int_equal(parse(&o, ARGS("generate-certs", "--output-dir", "/d", "--server-san", "x"), &err), 0);
    assert_int_equal(o.command, GATEWAY_GENERATE_CERTS);
    assert_string_equal(o.output_dir, "/d");
    gateway_options_free(&o);
    assert_int_equal(parse(&o, ARGS("generate-certs"), &err), -1);
    os_error_clear(&err);
    gateway_options_free(&o);
}

static void flags_and_environment_win_over_the_file(void **state)
{
    struct gateway_options o;
    struct os_error err = {0};
    char path[] = "/tmp/openshell-options.XXXXXX";
    static const char text[] = "[openshell.gateway]\nbind_address = '127.0.0.9:11'\nlog_level = 'debug'\n"
                               "compute_drivers = ['local']\nserver_sans = ['file']\ndisable_tls = true\n"
                               "health_bind_address = '127.0.0.8:12'\n"
                               "policy_validation_failure_mode = 'retain_last_valid'\n"
                               "[openshell.gateway.mtls_auth]\n";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    assert_int_equal(parse(&o, ARGS("--config", path), &err), 0);
    assert_int_equal(gateway_options_read_file(&o, &err), 0);
    assert_string_equal(o.bind_address, "127.0.0.9");
    assert_int_equal(o.port, 11);
    assert_string_equal(o.health_address, "127.0.0.8");
    assert_int_equal(o.health_port, 12);
    assert_int_equal(o.log_level, OS_LOG_DEBUG);
    assert_string_equal(o.server_sans.v[0], "file");
    assert_true(o.disable_tls);
    assert_true(o.mtls_auth_given);
    assert_false(o.mtls_auth);
    assert_string_equal(o.policy_failure_mode, "retain_last_valid");
    gateway_options_free(&o);
    setenv("OPENSHELL_SERVER_PORT", "21", 1);
    setenv("OPENSHELL_DISABLE_TLS", "false", 1);
    assert_int_equal(parse(&o,
                           ARGS("--config", path, "--health-port", "22", "--server-san", "flag",
                                "--log-level", "warn", "--enable-mtls-auth", "true"),
                           &err),
                     0);
    assert_int_equal(gateway_options_read_file(&o, &err), 0);
    assert_string_equal(o.bind_address, "127.0.0.9");
    assert_int_equal(o.port, 21);
    assert_null(o.health_address);
    assert_int_equal(o.health_port, 22);
    assert_int_equal(o.log_level, OS_LOG_WARN);
    assert_int_equal(o.server_sans.n, 1);
    assert_false(o.disable_tls);
    assert_true(o.mtls_auth);
    gateway_options_free(&o);
    unlink(path);
    assert_int_equal(parse(&o, ARGS("--config", path), &err), 0);
    assert_int_equal(gateway_options_read_file(&o, &err), -1);
    assert_non_null(
        strstr(os_error_text(&err), "failed to read gateway config file '/tmp/openshell-options."));
    os_error_clear(&err);
    gateway_options_free(&o);
}

#define TEST(fn) cmocka_unit_test_setup(fn, clean_environment)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(defaults),
        TEST(flags_win_over_the_environment),
        TEST(bad_values_are_named),
        TEST(contradictions_are_refused),
        TEST(generate_certs_has_its_own_flags),
        TEST(flags_and_environment_win_over_the_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
