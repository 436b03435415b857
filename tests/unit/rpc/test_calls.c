/* Calls over real sockets: every kind, every transport. */
#include "fixture.h"

#include "core/limits.h"

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

static void stream_over(enum transport transport)
{
    struct fixture f;
    fixture_start(&f, transport);
    struct rpc_client *c = fixture_client(&f);
    struct seen s = {.keep = true, .in_api = true};
    struct rpc_call *call = rpc_client_call(c, RPC_OpenShell_ForwardTcp, &seen_ops, &s, 0);
    send_data(call, 3, 'a');
    send_data(call, 0, 0);
    s.in_api = false;
    run_until(&f, &s.messages, 2);
    assert_int_equal(s.data.len, 3);
    assert_string_equal(rpc_call_header(call, "content-type"), "application/grpc");
    assert_int_equal(strlen(rpc_call_header(call, "x-request-id")), 36);
    send_data(call, 100000, 'b'); /* larger than any frame */
    rpc_call_half_close(call);
    assert_int_equal(s.done, 0);
    run_until(&f, &s.done, 1);
    assert_int_equal(s.code, OS_OK);
    assert_int_equal(s.data.len, 100003);
    assert_memory_equal(s.data.data, "aaab", 4);
    assert_int_equal(s.data.data[100002], 'b');
    assert_int_equal(f.half_closes, 1);
    run_until(&f, &f.server_done, 1);
    assert_int_equal(f.server_status, OS_OK);
    rpc_client_free(c);
    assert_int_equal(s.done, 1);
    seen_clear(&s);
    fixture_stop(&f);
}

static void test_bidi(void **state)
{
    stream_over(PLAIN);
    stream_over(TLS);
    stream_over(UNIX);
}

static void test_server_stream_and_late_status(void **state)
{
    struct fixture f;
    fixture_start(&f, PLAIN);
    struct rpc_client *c = fixture_client(&f);
    struct seen s = {.keep = true};
    char *words[] = {"one", "two", "three"};
    Openshell__V1__ExecSandboxRequest req = OPENSHELL__V1__EXEC_SANDBOX_REQUEST__INIT;
    req.command = words;
    req.n_command = 3;
    struct rpc_call *call = rpc_client_call(c, RPC_OpenShell_ExecSandbox, &seen_ops, &s, 0);
    rpc_call_send(call, &req.base);
    rpc_call_half_close(call);
    run_until(&f, &s.done, 1);
    assert_int_equal(s.messages, 3);
    assert_int_equal(s.code, OS_FAILED_PRECONDITION);
    assert_string_equal(s.message, "after the messages");
    seen_clear(&s);
    rpc_client_free(c);
    fixture_stop(&f);
}

static void test_client_stream(void **state)
{
    struct fixture f;
    fixture_start(&f, PLAIN);
    struct rpc_client *c = fixture_client(&f);
    struct seen s = {.keep = true};
    Openshell__V1__PushSandboxLogsRequest req = OPENSHELL__V1__PUSH_SANDBOX_LOGS_REQUEST__INIT;
    struct rpc_call *call = rpc_client_call(c, RPC_OpenShell_PushSandboxLogs, &seen_ops, &s, 0);
    for (int i = 0; i < 5; i++)
        rpc_call_send(call, &req.base);
    rpc_call_half_close(call);
    rpc_call_send(call, &req.base); /* after the half-close: dropped */
    run_until(&f, &s.done, 1);
    assert_int_equal(s.code, OS_OK);
    assert_int_equal(s.messages, 1);
    assert_int_equal(f.half_closes, 501);
    seen_clear(&s);
    rpc_client_free(c);
    fixture_stop(&f);
}

static int wait_call(struct rpc_client *c, enum rpc_method_id id, const ProtobufCMessage *req,
                     int64_t deadline_ms, struct os_error *err)
{
    cleanup_arena struct os_arena a = {0};
    ProtobufCMessage *m = NULL;
    return rpc_client_unary_wait(c, id, req, deadline_ms, &a, &m, err);
}

static void test_errors_and_metadata(void **state)
{
    struct fixture f;
    fixture_start(&f, PLAIN);
    struct rpc_client *c = fixture_client(&f);
    cleanup_error struct os_error err = {0};
    Openshell__V1__GetSandboxRequest get = OPENSHELL__V1__GET_SANDBOX_REQUEST__INIT;
    get.name = "b\303\244r";
    rpc_client_set_bearer(c, "tok-1");
    assert_int_equal(wait_call(c, RPC_OpenShell_GetSandbox, &get.base, 0, &err), -1);
    assert_int_equal(err.code, OS_NOT_FOUND);
    assert_string_equal(err.msg, "sandbox 'b\303\244r' not found: 100% sure\nlook \342\200\224 again");
    assert_string_equal(f.last_header, "Bearer tok-1");
    rpc_client_set_bearer(c, "tok-2");
    wait_call(c, RPC_OpenShell_GetSandbox, &get.base, 0, &err);
    assert_string_equal(f.last_header, "Bearer tok-2");
    rpc_client_set_bearer(c, "bad\r\nx-evil: 1");
    wait_call(c, RPC_OpenShell_GetSandbox, &get.base, 0, &err);
    assert_null(f.last_header);

    Openshell__V1__ListSandboxesRequest list = OPENSHELL__V1__LIST_SANDBOXES_REQUEST__INIT;
    wait_call(c, RPC_OpenShell_ListSandboxes, &list.base, 0, &err);
    assert_int_equal(err.code, OS_UNIMPLEMENTED);
    assert_non_null(strstr(err.msg, "/openshell.v1.OpenShell/ListSandboxes"));

    f.refuse = true;
    wait_call(c, RPC_OpenShell_GetSandbox, &get.base, 0, &err);
    assert_int_equal(err.code, OS_UNAUTHENTICATED);
    assert_string_equal(err.msg, "who are you?");
    rpc_client_free(c);
    fixture_stop(&f);
}

static void test_invalid_text_is_refused(void **state)
{
    struct fixture f;
    fixture_start(&f, PLAIN);
    struct rpc_client *c = fixture_client(&f);
    cleanup_error struct os_error err = {0};
    Openshell__V1__GetSandboxRequest get = OPENSHELL__V1__GET_SANDBOX_REQUEST__INIT;
    get.name = "\377";
    wait_call(c, RPC_OpenShell_GetSandbox, &get.base, 0, &err);
    assert_int_equal(err.code, OS_INTERNAL);
    assert_non_null(strstr(err.msg, "failed to decode Protobuf message"));
    rpc_client_free(c);
    fixture_stop(&f);
}

static void test_deadlines(void **state)
{
    struct fixture f;
    fixture_start(&f, PLAIN);
    struct rpc_client *c = fixture_client(&f);
    cleanup_error struct os_error err = {0};
    Openshell__V1__GetSandboxRequest get = OPENSHELL__V1__GET_SANDBOX_REQUEST__INIT;
    get.name = "x";
    f.gated = true; /* the handler blocks */
    wait_call(c, RPC_OpenShell_GetSandbox, &get.base, 30, &err);
    assert_int_equal(err.code, OS_DEADLINE_EXCEEDED);
    uv_sem_post(&f.gate);
    /* A stream that nobody answers; the server keeps its own clock. */
    f.hold = true;
    struct seen s = {0};
    rpc_client_call(c, RPC_OpenShell_ForwardTcp, &seen_ops, &s, 30);
    run_until(&f, &s.done, 1);
    assert_int_equal(s.code, OS_DEADLINE_EXCEEDED);
    run_until(&f, &f.server_done, 1);
    assert_true(f.server_status == OS_DEADLINE_EXCEEDED || f.server_status == OS_CANCELLED);
    seen_clear(&s);
    rpc_client_free(c);
    fixture_stop(&f);
}

static void test_cancel(void **state)
{
    struct fixture f;
    fixture_start(&f, PLAIN);
    struct rpc_client *c = fixture_client(&f);
    struct seen s = {0};
    /* by the client, before anything was sent and while open */
    struct rpc_call *call = rpc_client_call(c, RPC_OpenShell_ForwardTcp, &seen_ops, &s, 0);
    s.in_api = true;
    rpc_call_cancel(call);
    rpc_call_cancel(call);
    s.in_api = false;
    run_until(&f, &s.done, 1);
    assert_int_equal(s.code, OS_CANCELLED);
    f.hold = true;
    call = rpc_client_call(c, RPC_OpenShell_ForwardTcp, &seen_ops, &s, 0);
    while (!f.held)
        uv_run(&f.loop, UV_RUN_ONCE);
    rpc_call_cancel(call);
    run_until(&f, &s.done, 2);
    run_until(&f, &f.server_done, 1);
    assert_int_equal(f.server_status, OS_CANCELLED);
    rpc_call_send_packed(f.held, "x", 1); /* harmless */
    rpc_call_finish(f.held, OS_OK, NULL);
    rpc_call_unref(f.held);
    f.held = NULL;
    /* by the server */
    call = rpc_client_call(c, RPC_OpenShell_ForwardTcp, &seen_ops, &s, 0);
    while (!f.held)
        uv_run(&f.loop, UV_RUN_ONCE);
    rpc_call_cancel(f.held);
    run_until(&f, &s.done, 3);
    assert_int_equal(s.code, OS_CANCELLED);
    run_until(&f, &f.server_done, 2);
    /* by freeing the client: told before it returns */
    rpc_call_unref(f.held);
    f.held = NULL;
    rpc_client_call(c, RPC_OpenShell_ForwardTcp, &seen_ops, &s, 0);
    while (!f.held)
        uv_run(&f.loop, UV_RUN_ONCE);
    rpc_client_free(c);
    assert_int_equal(s.done, 4);
    assert_int_equal(s.code, OS_CANCELLED);
    run_until(&f, &f.server_done, 3);
    seen_clear(&s);
    fixture_stop(&f);
}

static void test_finish_while_client_sends(void **state)
{
    struct fixture f;
    fixture_start(&f, PLAIN);
    f.hold = true;
    struct rpc_client *c = fixture_client(&f);
    struct seen s = {0};
    struct rpc_call *call = rpc_client_call(c, RPC_OpenShell_ForwardTcp, &seen_ops, &s, 0);
    for (int i = 0; i < 100; i++)
        send_data(call, 10000, 'x');
    while (!f.held)
        uv_run(&f.loop, UV_RUN_ONCE);
    rpc_call_finish(f.held, OS_ABORTED, "enough");
    run_until(&f, &s.done, 1);
    assert_int_equal(s.code, OS_ABORTED);
    assert_string_equal(s.message, "enough");
    run_until(&f, &f.server_done, 1);
    assert_int_equal(f.server_status, OS_OK);
    seen_clear(&s);
    rpc_client_free(c);
    fixture_stop(&f);
}

/* A reader that does not read: the writer is told to wait, and neither side holds more than the windows. */
static void test_backpressure(void **state)
{
    struct fixture f;
    fixture_start(&f, PLAIN);
    f.hold = true;
    struct rpc_client *c = fixture_client(&f);
    struct seen s = {.keep = true};
    struct rpc_call *call = rpc_client_call(c, RPC_OpenShell_ForwardTcp, &seen_ops, &s, 0);
    rpc_call_pause(call);
    while (!f.held)
        uv_run(&f.loop, UV_RUN_ONCE);
    size_t sent = 0;
    for (int round = 0; round < 300; round++) {
        for (; rpc_call_queued(f.held) < OS_RELAY_WINDOW; sent += 16384)
            send_data(f.held, 16384, 'z');
        run_turns(&f, 3);
    }
    assert_true(sent >= OS_H2_STREAM_WINDOW);
    assert_true(sent <= OS_H2_STREAM_WINDOW + 2 * OS_RELAY_WINDOW);
    assert_int_equal(s.messages, 0);
    rpc_call_finish(f.held, OS_OK, NULL);
    run_turns(&f, 20);
    assert_int_equal(s.done, 0);
    s.in_api = true;
    rpc_call_resume(call);
    s.in_api = false;
    run_until(&f, &s.done, 1);
    assert_int_equal(s.code, OS_OK);
    assert_int_equal(s.data.len, sent);
    seen_clear(&s);
    rpc_client_free(c);
    fixture_stop(&f);
}

static void test_writable(void **state)
{
    struct fixture f;
    fixture_start(&f, PLAIN);
    f.hold = true; /* the server does not read */
    struct rpc_client *c = fixture_client(&f);
    struct seen s = {0};
    struct rpc_call *call = rpc_client_call(c, RPC_OpenShell_ForwardTcp, &seen_ops, &s, 0);
    for (int i = 0; i < 40; i++)
        send_data(call, 16384, 'x');
    run_turns(&f, 200);
    assert_int_equal(s.writable, 0);
    assert_true(rpc_call_queued(call) > OS_RELAY_WINDOW);
    rpc_call_resume(f.held);
    run_until(&f, &s.writable, 1);
    assert_true(rpc_call_queued(call) < OS_RELAY_WINDOW / 2);
    rpc_client_free(c);
    seen_clear(&s);
    fixture_stop(&f);
}

static void test_many_streams(void **state)
{
    enum { N = 1200 }; /* more than the server allows at once: the rest waits its turn */
    struct fixture f;
    fixture_start(&f, TLS);
    struct rpc_client *c = fixture_client(&f);
    struct seen s = {0};
    static struct rpc_call *calls[N];
    for (int i = 0; i < N; i++) {
        calls[i] = rpc_client_call(c, RPC_OpenShell_ForwardTcp, &seen_ops, &s, 0);
        send_data(calls[i], 100, 'x');
    }
    run_until(&f, &s.messages, 1000);
    for (int i = 0; i < N; i++)
        rpc_call_half_close(calls[i]);
    run_until(&f, &s.done, N);
    assert_int_equal(s.messages, N);
    run_until(&f, &f.server_done, N);
    seen_clear(&s);
    rpc_client_free(c);
    fixture_stop(&f);
}

static void test_worker_queue_is_bounded(void **state)
{
    struct fixture f;
    fixture_start(&f, PLAIN);
    f.gated = true;
    struct rpc_client *c = fixture_client(&f);
    struct seen s = {0};
    Openshell__V1__GetSandboxRequest get = OPENSHELL__V1__GET_SANDBOX_REQUEST__INIT;
    get.name = "x";
    for (int i = 0; i < 20; i++) {
        struct rpc_call *call = rpc_client_call(c, RPC_OpenShell_GetSandbox, &seen_ops, &s, 0);
        rpc_call_send(call, &get.base);
        rpc_call_half_close(call);
    }
    run_until(&f, &s.done, 14); /* 2 workers and 4 places in the queue */
    assert_int_equal(s.code, OS_RESOURCE_EXHAUSTED);
    for (int i = 0; i < 20; i++)
        uv_sem_post(&f.gate);
    run_until(&f, &s.done, 20);
    assert_int_equal(s.code, OS_NOT_FOUND);
    seen_clear(&s);
    rpc_client_free(c);
    fixture_stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unary_plain),
        cmocka_unit_test(test_unary_tls),
        cmocka_unit_test(test_unary_mtls),
        cmocka_unit_test(test_unary_unix),
        cmocka_unit_test(test_bidi),
        cmocka_unit_test(test_server_stream_and_late_status),
        cmocka_unit_test(test_client_stream),
        cmocka_unit_test(test_errors_and_metadata),
        cmocka_unit_test(test_invalid_text_is_refused),
        cmocka_unit_test(test_deadlines),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_finish_while_client_sends),
        cmocka_unit_test(test_backpressure),
        cmocka_unit_test(test_writable),
        cmocka_unit_test(test_many_streams),
        cmocka_unit_test(test_worker_queue_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
