/* Calls over real sockets: every kind, every transport. */
#include "fixture.h"

static void health_ok(void *ctx, const struct os_error *status, const ProtobufCMessage *response)
{
    unsigned *n = ctx;
    assert_int_equal(status->code, OS_OK);
    assert_string_equal(((const Openshell__V1__HealthResponse *)response)->version, "1.2.3");
    (*n)++;
}

static void unary_over(enum transport transport)
{
    struct fixture f;
    fixture_start(&f, transport);
    struct rpc_client *c = fixture_client(&f);
    Openshell__V1__HealthRequest req = OPENSHELL__V1__HEALTH_REQUEST__INIT;
    unsigned n = 0;
    rpc_client_unary(c, RPC_OpenShell_Health, &req.base, 5000, health_ok, &n);
    rpc_client_unary(c, RPC_OpenShell_Health, &req.base, 0, health_ok, &n);
    assert_int_equal(n, 0);
    run_until(&f, &n, 2);
    cleanup_arena struct os_arena a = {0};
    cleanup_error struct os_error err = {0};
    ProtobufCMessage *m = NULL;
    assert_int_equal(rpc_client_unary_wait(c, RPC_OpenShell_Health, &req.base, 5000, &a, &m, &err), 0);
    assert_string_equal(((Openshell__V1__HealthResponse *)m)->version, "1.2.3");
    assert_int_equal(f.authenticated, 3);
    if (transport == MTLS) {
        assert_string_equal(f.last_cn, "alice");
        assert_string_equal(f.last_ou, "admins");
    } else {
        assert_null(f.last_cn);
    }
    rpc_client_free(c);
    fixture_stop(&f);
    assert_int_equal(f.principals_freed, 3);
}

static void test_unary_plain(void **state)
{
    unary_over(PLAIN);
}

static void test_unary_tls(void **state)
{
    unary_over(TLS);
}

static void test_unary_mtls(void **state)
{
    unary_over(MTLS);
}

static void test_unary_unix(void **state)
{
    unary_over(UNIX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unary_plain),
        cmocka_unit_test(test_unary_tls),
        cmocka_unit_test(test_unary_mtls),
        cmocka_unit_test(test_unary_unix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
