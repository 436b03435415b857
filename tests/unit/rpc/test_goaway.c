/* Goodbyes (RFC 9113 6.8): what a server says and still answers, and what our client does with its calls. */
#include "core/limits.h"
#include "probe.h"
#include "rpc/client_internal.h"
#include "rpc/h2.h"
#include "rpc/server_internal.h"

#define HEALTH "/openshell.v1.OpenShell/Health"
#define FORWARD "/openshell.v1.OpenShell/ForwardTcp"
#define NO_LIMIT INT32_MAX

static void on_shut(void *arg)
{
    ((struct fixture *)arg)->shut = true;
}

static void settle(struct fixture *f)
{
    while (!f->shut)
        uv_run(&f->loop, UV_RUN_ONCE);
    rpc_server_free(f->server);
    f->server = NULL;
}

/* --- the server --- */

static void held_call(struct fixture *f, struct probe *p)
{
    fixture_start(f, PLAIN);
    f->hold = true;
    probe_open(p, f);
    probe_request(p, FORWARD, NULL, NULL, 0);
    while (!f->held)
        probe_step(p);
}

/* A notice first; what the client opens before it can have read it is answered; then the last stream. */
static void test_notice_then_last(void **state)
{
    struct fixture f;
    struct probe p;
    held_call(&f, &p);
    rpc_server_shutdown(f.server, 60000, on_shut, &f);
    run_turns(&f, 5);
    probe_request(&p, HEALTH, NULL, "\0\0\0\0\0", 5);
    probe_run(&p, 1);
    assert_non_null(strstr(p.headers.data, "grpc-status: 0"));
    while (p.goaways < 2)
        probe_step(&p);
    assert_int_equal(p.goaway_last[0], NO_LIMIT);
    assert_int_equal(p.goaway_last[1], 3);
    assert_int_equal(p.goaway_code, NGHTTP2_NO_ERROR);
    assert_false(f.shut);
    rpc_call_finish(f.held, OS_OK, NULL);
    probe_run(&p, 2);
    assert_int_equal(p.reset_code, NGHTTP2_NO_ERROR);
    settle(&f);
    probe_run(&p, UINT32_MAX);
    assert_true(p.gone);
    probe_close(&p);
    fixture_stop(&f);
}

/* Streams after the last one are not begun: nothing is told to a handler, and no answer comes. */
static void test_late_stream_is_not_begun(void **state)
{
    struct fixture f;
    struct probe p;
    held_call(&f, &p);
    unsigned before = f.authenticated;
    rpc_h2_goaway_final(f.server->conns);
    run_turns(&f, 5);
    probe_request(&p, HEALTH, NULL, "\0\0\0\0\0", 5); /* the probe has not read the goodbye */
    probe_step(&p);
    run_turns(&f, 5);
    assert_int_equal(f.authenticated, before);
    while (!p.goaways)
        probe_step(&p);
    assert_int_equal(p.goaway_last[0], 1);
    assert_int_equal(p.reset_code, NGHTTP2_REFUSED_STREAM); /* so the probe's own library takes it */
    rpc_call_finish(f.held, OS_OK, NULL);
    probe_run(&p, 2);
    probe_close(&p);
    fixture_stop(&f);
}

/* A peer that answers no ping is not waited for beyond the grace. */
static void test_grace_ends_streams(void **state)
{
    struct fixture f;
    struct probe p;
    held_call(&f, &p);
    rpc_server_shutdown(f.server, 1, on_shut, &f);
    settle(&f);
    probe_run(&p, 1);
    assert_non_null(strstr(p.headers.data, "grpc-status: 14"));
    assert_non_null(strstr(p.headers.data, "the server is shutting down"));
    assert_int_equal(p.goaway_last[0], NO_LIMIT);
    assert_int_equal(p.goaway_last[1], 1);
    probe_close(&p);
    fixture_stop(&f);
}

/* --- the client --- */

struct pair {
    struct fixture f;
    struct rpc_client *c;
    struct seen s;
    struct rpc_call *call;
};

static void pair_open(struct pair *p)
{
    *p = (struct pair){0};
    fixture_start(&p->f, PLAIN);
    p->c = fixture_client(&p->f);
}

static void pair_close(struct pair *p)
{
    rpc_client_free(p->c);
    seen_clear(&p->s);
    fixture_stop(&p->f);
}

static unsigned connections(const struct pair *p)
{
    unsigned n = 0;
    for (struct rpc_conn *c = p->c->conns; c; c = c->next)
        n++;
    return n;
}

static void say_goodbye(struct pair *p, int32_t last)
{
    struct rpc_conn *conn = p->f.server->conns;
    nghttp2_submit_goaway(conn->h2, NGHTTP2_FLAG_NONE, last, NGHTTP2_NO_ERROR, NULL, 0);
    rpc_turn_dirty(conn->turn, conn);
}

static void until_live(struct pair *p)
{
    while (!p->c->conn || p->c->conn->phase != RPC_LIVE || !p->f.server->conns)
        uv_run(&p->f.loop, UV_RUN_ONCE);
}

/* A call the server never saw, with its messages still here, is made again on a new connection. */
static void test_unseen_call_moves(void **state)
{
    struct pair p;
    pair_open(&p);
    struct rpc_conn *old = rpc_client_connect(p.c);
    p.c->conn = old;
    until_live(&p);
    say_goodbye(&p, 0);
    run_turns(&p.f, 1);
    p.s.keep = true;
    p.call = rpc_client_call(p.c, RPC_OpenShell_ForwardTcp, &seen_ops, &p.s, 0);
    send_data(p.call, 5, 'm');
    run_until(&p.f, &p.s.messages, 1);
    assert_string_equal(os_buf_str(&p.s.data), "mmmmm");
    assert_true(p.call->conn != old);
    rpc_call_half_close(p.call);
    run_until(&p.f, &p.s.done, 1);
    assert_int_equal(p.s.code, OS_OK);
    assert_int_equal(p.f.authenticated, 1);
    pair_close(&p);
}

/* The stream is opened, and above the last one of the goodbye. */
static void refused_by_goodbye(struct pair *p, bool with_message)
{
    pair_open(p);
    p->f.hold = true;
    p->call = rpc_client_call(p->c, RPC_OpenShell_ForwardTcp, &seen_ops, &p->s, 0);
    if (with_message)
        send_data(p->call, 5, 'r');
    while (!p->f.held)
        uv_run(&p->f.loop, UV_RUN_ONCE);
    rpc_call_unref(p->f.held);
    p->f.held = NULL;
    p->f.hold = false; /* the next one is echoed */
    say_goodbye(p, 0);
}

static void test_refused_call_moves_once(void **state)
{
    struct pair p;
    refused_by_goodbye(&p, false);
    while (!p.call->moved || !p.call->opened)
        uv_run(&p.f.loop, UV_RUN_ONCE);
    assert_int_equal(p.s.done, 0);
    p.s.keep = true;
    send_data(p.call, 3, 'x');
    run_until(&p.f, &p.s.messages, 1);
    assert_string_equal(os_buf_str(&p.s.data), "xxx");
    say_goodbye(&p, 0); /* and this one is refused, too */
    run_until(&p.f, &p.s.done, 1);
    assert_int_equal(p.s.code, OS_UNAVAILABLE);
    pair_close(&p);
}

/* The message is out: made again it would be lost or doubled. The caller hears that it may try. */
static void test_refused_call_with_message_is_unavailable(void **state)
{
    struct pair p;
    refused_by_goodbye(&p, true);
    run_until(&p.f, &p.s.done, 1);
    assert_int_equal(p.s.code, OS_UNAVAILABLE);
    assert_int_equal(p.s.messages, 0);
    pair_close(&p);
}

static void health_done(void *ctx, const struct os_error *status, const ProtobufCMessage *response)
{
    struct seen *s = ctx;
    s->code = status->code;
    s->done++;
}

/* The connection is full: the call that waits for a stream does not wait for the end of the others. */
static void test_waiting_call_moves(void **state)
{
    struct pair p;
    pair_open(&p);
    p.f.hold = true;
    struct seen running = {0};
    struct rpc_call *first = rpc_client_call(p.c, RPC_OpenShell_ForwardTcp, &seen_ops, &running, 0);
    while (!p.f.held)
        uv_run(&p.f.loop, UV_RUN_ONCE);
    struct rpc_conn *old = p.c->conn, *conn = p.f.server->conns;
    nghttp2_settings_entry one = {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 1};
    nghttp2_submit_settings(conn->h2, NGHTTP2_FLAG_NONE, &one, 1);
    rpc_turn_dirty(conn->turn, conn);
    run_turns(&p.f, 10);
    const Openshell__V1__HealthRequest request = OPENSHELL__V1__HEALTH_REQUEST__INIT;
    rpc_client_unary(p.c, RPC_OpenShell_Health, &request.base, 0, health_done, &p.s);
    run_turns(&p.f, 10);
    assert_int_equal(p.s.done, 0);
    rpc_h2_goaway(conn);
    run_until(&p.f, &p.s.done, 1);
    assert_int_equal(p.s.code, OS_OK);
    assert_int_equal(connections(&p), 2);
    assert_ptr_equal(first->conn, old);
    assert_int_equal(running.done, 0);
    rpc_call_finish(p.f.held, OS_OK, NULL);
    run_until(&p.f, &running.done, 1);
    assert_int_equal(running.code, OS_OK);
    while (connections(&p) != 1) /* the old one goes with its last call */
        uv_run(&p.f.loop, UV_RUN_ONCE);
    seen_clear(&running);
    pair_close(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_notice_then_last),
        cmocka_unit_test(test_late_stream_is_not_begun),
        cmocka_unit_test(test_grace_ends_streams),
        cmocka_unit_test(test_unseen_call_moves),
        cmocka_unit_test(test_refused_call_moves_once),
        cmocka_unit_test(test_refused_call_with_message_is_unavailable),
        cmocka_unit_test(test_waiting_call_moves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
