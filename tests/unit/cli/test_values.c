/* Durations, pairs, quantities. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cli/values.h"

static struct os_error err;

static int teardown(void **state)
{
    os_error_clear(&err);
    return 0;
}

static void test_duration(void **state)
{
    int64_t ms;
    assert_int_equal(value_duration("30s", &ms, &err), 0);
    assert_int_equal(ms, 30000);
    assert_int_equal(value_duration("5m", &ms, &err), 0);
    assert_int_equal(ms, 300000);
    assert_int_equal(value_duration("1h", &ms, &err), 0);
    assert_int_equal(ms, 3600000);
    static const struct {
        const char *text, *want;
    } bad[] = {
        {"", "empty duration string"},
        {"5", "invalid duration: 5 (expected e.g. 5m, 1h, 30s)"},
        {"m", "invalid duration: m (expected e.g. 5m, 1h, 30s)"},
        {"-5m", "invalid duration: -5m (expected e.g. 5m, 1h, 30s)"},
        {"1.5h", "invalid duration: 1.5h (expected e.g. 5m, 1h, 30s)"},
        {"99999999999999999999h", "invalid duration: 99999999999999999999h (expected e.g. 5m, 1h, 30s)"},
        {"5d", "unknown duration unit: d (use s, m, or h)"},
        {"5ms ", "unknown duration unit: ms  (use s, m, or h)"}};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(value_duration(bad[i].text, &ms, &err), -1);
        assert_string_equal(os_error_text(&err), bad[i].want);
    }
    /* The largest that fits, and one more. */
    assert_int_equal(value_duration("9223372036854775s", &ms, &err), 0);
    assert_int_equal(value_duration("9223372036854776s", &ms, &err), -1);
}

static void test_env(void **state)
{
    const char *value;
    size_t n;
    assert_int_equal(value_env("A_1=x=y", &n, &value, &err), 0);
    assert_int_equal(n, 3);
    assert_string_equal(value, "x=y");
    assert_int_equal(value_env("A=", &n, &value, &err), 0);
    assert_string_equal(value, "");
    assert_int_equal(value_env("A", &n, &value, &err), -1);
    assert_string_equal(os_error_text(&err), "--env expects KEY=VALUE, got 'A'");
    assert_int_equal(value_env("1A=secret", &n, &value, &err), -1);
    assert_string_equal(os_error_text(&err), "--env key must match [A-Za-z_][A-Za-z0-9_]*; got '1A'");
    assert_int_equal(value_env("=secret", &n, &value, &err), -1);
    assert_null(strstr(os_error_text(&err), "secret"));
    assert_int_equal(value_env("OPENSHELL_X=1", &n, &value, &err), -1);
    assert_string_equal(os_error_text(&err),
                        "--env keys starting with OPENSHELL_ are reserved; got 'OPENSHELL_X'");
}

static void test_credential_keys(void **state)
{
    static const char *const yes[] = {"GITHUB_TOKEN",          "token",      "DB_PASSWORD",
                                      "AWS_SECRET_ACCESS_KEY", "My_Api_Key", "X_CREDENTIAL_Y"};
    static const char *const no[] = {"TOKENIZER", "KEY", "API", "PASSWORDLESS", "MODE", "ACCESS_LEVEL", ""};
    for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++)
        assert_true(value_env_is_credential(yes[i], strlen(yes[i])));
    for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++)
        assert_false(value_env_is_credential(no[i], strlen(no[i])));
    assert_false(value_env_is_credential("A_TOKEN", 1));
}

static void test_label(void **state)
{
    const char *value;
    size_t n;
    assert_int_equal(value_label("team=core", &n, &value, &err), 0);
    assert_int_equal(n, 4);
    assert_int_equal(value_label("team", &n, &value, &err), -1);
    assert_string_equal(os_error_text(&err), "invalid label format 'team', expected key=value");
    assert_int_equal(value_label("=v", &n, &value, &err), -1);
}

static void test_quantities(void **state)
{
    static const char *const cpu[] = {"2", "0.5", "500m", "10.25"};
    static const char *const bad_cpu[] = {"-1", "1.", ".5", "5mm", "1.5m", "a", "", "0", "0.0", "0m"};
    static const char *const memory[] = {"1", "512Mi", "4Gi", "8G", "3E"};
    static const char *const bad_memory[] = {"", "Mi", "4gi", "-1", "1.5Gi", "0", "0Gi", "4Gib"};
    for (size_t i = 0; i < sizeof(cpu) / sizeof(cpu[0]); i++)
        assert_int_equal(value_cpu(cpu[i], &err), 0);
    for (size_t i = 0; i < sizeof(bad_cpu) / sizeof(bad_cpu[0]); i++)
        assert_int_equal(value_cpu(bad_cpu[i], &err), -1);
    for (size_t i = 0; i < sizeof(memory) / sizeof(memory[0]); i++)
        assert_int_equal(value_memory(memory[i], &err), 0);
    for (size_t i = 0; i < sizeof(bad_memory) / sizeof(bad_memory[0]); i++)
        assert_int_equal(value_memory(bad_memory[i], &err), -1);
    value_cpu("0", &err);
    assert_string_equal(os_error_text(&err), "--cpu must be greater than zero");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_duration), cmocka_unit_test(test_env),
                                       cmocka_unit_test(test_label), cmocka_unit_test(test_credential_keys),
                                       cmocka_unit_test(test_quantities)};
    return cmocka_run_group_tests(tests, NULL, teardown);
}
