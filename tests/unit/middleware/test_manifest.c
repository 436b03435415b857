/* Registrations and manifests of middleware services, and configurations of the built-in stage. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/cleanup.h"
#include "core/limits.h"
#include "middleware/manifest.h"

typedef Openshell__Middleware__V1__MiddlewareManifest manifest;
typedef Openshell__Middleware__V1__MiddlewareBinding binding;

static void timeouts(void **state)
{
    static const struct {
        const char *text;
        int ms;
    } rows[] = {{"", 500},       {"10ms", 10},   {"9ms", -1}, {"500ms", 500},
                {"2s", 2000},    {"30s", 30000}, {"31s", -1}, {"30000ms", 30000},
                {"30001ms", -1}, {"0s", -1},     {"ms", -1},  {"s", -1},
                {"5", -1},       {"5m", -1},     {"-1s", -1}, {"1.5s", -1},
                {"+5s", -1},     {" 5s", -1},    {"5 s", -1}, {"99999999999999999999s", -1}};
    for (size_t i = 0; i < OS_ARRAY_LEN(rows); i++)
        if (middleware_timeout_parse(rows[i].text) != rows[i].ms)
            fail_msg("'%s' is %d", rows[i].text, middleware_timeout_parse(rows[i].text));
}

static void names(void **state)
{
    char longest[OS_MIDDLEWARE_NAME + 2];
    memset(longest, 'a', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    assert_false(middleware_name_ok(longest));
    longest[sizeof(longest) - 2] = '\0';
    assert_true(middleware_name_ok(longest));
    assert_true(middleware_name_ok("acme/guard-1.2_x"));
    assert_true(middleware_name_ok("openshell"));
    static const char *const bad[] = {"", "openshell/", "openshell/regex", "a b", "a:b", "\xc3\xa4", "a\n"};
    for (size_t i = 0; i < OS_ARRAY_LEN(bad); i++)
        assert_false(middleware_name_ok(bad[i]));
}

static middleware_registration good(void)
{
    middleware_registration r = OPENSHELL__SANDBOX__V1__SUPERVISOR_MIDDLEWARE_SERVICE__INIT;
    r.name = (char *)"acme";
    r.grpc_endpoint = (char *)"https://h:1";
    r.max_payload_bytes = 1000;
    r.timeout = (char *)"2s";
    r.audience = (char *)"urn:x";
    return r;
}

static void refused(const middleware_registration *r, bool authenticated, const char *why)
{
    cleanup_error struct os_error err = {0};
    assert_int_equal(middleware_registration_check(r, authenticated, &err), -1);
    if (!strstr(os_error_text(&err), why))
        fail_msg("%s", os_error_text(&err));
}

static void registrations(void **state)
{
    cleanup_error struct os_error err = {0};
    middleware_registration r = good();
    assert_int_equal(middleware_registration_check(&r, true, &err), 0);
    r.grpc_endpoint = (char *)"http://h:1";
    assert_int_equal(middleware_registration_check(&r, false, &err), 0);
    refused(&r, true, "must use https://; set allow_insecure_transport = true");
    r.grpc_endpoint = (char *)"unix:///x";
    refused(&r, false, "http:// or https://");
    r = good();
    r.max_payload_bytes = 4194305;
    refused(&r, true, "between 1 and 4194304, not 4194305");
    r.max_payload_bytes = 0;
    refused(&r, true, "not 0");
    r = good();
    r.timeout = (char *)"1h";
    refused(&r, true, "not '1h'");
    r = good();
    r.name = (char *)"";
    refused(&r, true, "1 to 128");
    r = good();
    r.grpc_endpoint = (char *)"http://h";
    r.tls_ca_cert_pem = (ProtobufCBinaryData){1, (uint8_t *)"x"};
    refused(&r, false, "needs an https:// endpoint");
}

static binding bind(int operation, int phase, uint64_t max, const char *timeout)
{
    binding b = OPENSHELL__MIDDLEWARE__V1__MIDDLEWARE_BINDING__INIT;
    b.operation = (Openshell__Middleware__V1__SupervisorMiddlewareOperation)operation;
    b.phase = (Openshell__Middleware__V1__SupervisorMiddlewarePhase)phase;
    b.max_payload_bytes = max;
    b.timeout = (char *)(uintptr_t)timeout;
    return b;
}

static int check(binding *list, size_t n, bool authenticated, const char *audience,
                 struct middleware_bindings *out)
{
    cleanup_error struct os_error err = {0};
    binding *v[4];
    manifest m = OPENSHELL__MIDDLEWARE__V1__MIDDLEWARE_MANIFEST__INIT;
    const middleware_registration r = good();
    for (size_t i = 0; i < n; i++)
        v[i] = &list[i];
    m.bindings = v;
    m.n_bindings = n;
    m.expected_audience = (char *)(uintptr_t)audience;
    return middleware_manifest_check(&m, &r, authenticated, out, &err);
}

static void manifests(void **state)
{
    struct middleware_bindings b;
    binding two[] = {bind(1, 1, 4194304, "100ms"), bind(2, 1, 1000, "")};
    assert_int_equal(check(two, 2, true, "", &b), 0);
    assert_int_equal(b.http.max_payload, 1000);
    assert_int_equal(b.http.timeout_ms, 100);
    assert_int_equal(b.websocket.timeout_ms, 500);
    two[0].timeout = (char *)"5s";
    assert_int_equal(check(two, 1, true, "urn:x", &b), 0);
    assert_int_equal(b.http.timeout_ms, 2000);
    assert_int_equal(b.websocket.max_payload, 0);
    assert_int_equal(check(two, 1, true, "urn:y", &b), -1);
    assert_int_equal(check(two, 1, false, "urn:y", &b), 0);
    assert_int_equal(check(two, 0, false, "", &b), -1);
    binding bad[] = {bind(1, 2, 1000, ""), bind(1, 0, 1000, ""),   bind(0, 1, 1000, ""),
                     bind(3, 1, 1000, ""), bind(1, 1, 0, ""),      bind(1, 1, 4194305, ""),
                     bind(1, 1, 999, ""),  bind(1, 1, 1000, "1ms")};
    for (size_t i = 0; i < OS_ARRAY_LEN(bad); i++)
        assert_int_equal(check(&bad[i], 1, false, "", &b), -1);
    binding twice[] = {bind(1, 1, 1000, ""), bind(1, 1, 1000, "")};
    assert_int_equal(check(twice, 2, false, "", &b), -1);
}

static void built_in_configurations(void **state)
{
    Google__Protobuf__Struct s = GOOGLE__PROTOBUF__STRUCT__INIT;
    Google__Protobuf__Struct__FieldsEntry e = GOOGLE__PROTOBUF__STRUCT__FIELDS_ENTRY__INIT, *list[] = {&e};
    Google__Protobuf__Value v = GOOGLE__PROTOBUF__VALUE__INIT;
    assert_null(middleware_builtin_check("openshell/regex", NULL));
    assert_null(middleware_builtin_check("openshell/regex", &s));
    assert_non_null(middleware_builtin_check("openshell/other", NULL));
    s.fields = list;
    s.n_fields = 1;
    e.key = (char *)"mode";
    e.value = &v;
    assert_non_null(middleware_builtin_check("openshell/regex", &s));
    v.kind_case = GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE;
    v.string_value = (char *)"redact";
    assert_null(middleware_builtin_check("openshell/regex", &s));
    v.string_value = (char *)"detect";
    assert_non_null(middleware_builtin_check("openshell/regex", &s));
    v.string_value = (char *)"redact";
    e.key = (char *)"other";
    assert_non_null(middleware_builtin_check("openshell/regex", &s));
    e.key = (char *)"mode";
    e.value = NULL;
    assert_non_null(middleware_builtin_check("openshell/regex", &s));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timeouts),
        cmocka_unit_test(names),
        cmocka_unit_test(registrations),
        cmocka_unit_test(manifests),
        cmocka_unit_test(built_in_configurations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
