/* What the connection timer does, fired by hand: nobody waits for seconds. Looks inside src/rpc. */
#include <unistd.h>

#include "core/limits.h"
#include "probe.h"
#include "rpc/client_internal.h"
#include "rpc/server_internal.h"

#define HEALTH "/openshell.v1.OpenShell/Health"

static struct rpc_conn *only_conn(struct fixture *f)
{
    for (int i = 0; i < 10000 && !f->server->conns; i++)
        uv_run(&f->loop, UV_RUN_NOWAIT);
    assert_non_null(f->server->conns);
    assert_null(f->server->conns->next);
    return f->server->conns;
}

static void fire(struct rpc_conn *conn)
{
    assert_true(uv_is_active((uv_handle_t *)&conn->timer));
    conn->ops->on_timer(conn);
}

/* Says part of what a peer says first, then nothing: cut when the time is over. */
static void slow(enum transport transport, const char *bytes)
{
    struct fixture f;
    fixture_start(&f, transport);
    int fd = fixture_dial(&f);
    assert_int_equal(write(fd, bytes, strlen(bytes)), strlen(bytes));
    struct rpc_conn *conn = only_conn(&f);
    run_turns(&f, 5);
    assert_in_range(uv_timer_get_due_in(&conn->timer), 1, OS_H2_OPEN_TIMEOUT_MS);
    fire(conn);
    assert_null(f.server->conns);
    char *got = fixture_exchange(&f, fd, NULL, NULL, 0, NULL);
    free(got);
    close(fd);
    fixture_stop(&f);
}

static void test_slow_openers(void **state)
{
    slow(PLAIN, "");
    slow(PLAIN, "PRI * HTT");
    slow(PLAIN, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    slow(PLAIN, "GET / HTTP/1.1\r\nHost:");
    slow(TLS, "");
    slow(TLS, "\x16\x03\x01");
}

static void open_probe(struct probe *p, struct fixture *f)
{
    fixture_start(f, PLAIN);
    probe_open(p, f);
    probe_request(p, HEALTH, NULL, "\0\0\0\0\0", 5);
    probe_run(p, 1);
}

static void test_ping_answered(void **state)
{
    struct fixture f;
    struct probe p;
    open_probe(&p, &f);
    struct rpc_conn *conn = only_conn(&f);
    assert_int_equal(conn->phase, RPC_LIVE);
    for (int i = 0; i < 3; i++) {
        fire(conn);
        assert_int_equal(conn->phase, RPC_PINGED);
        for (int k = 0; k < 2; k++) { /* the answer to the ping may leave after the first */
            probe_request(&p, HEALTH, NULL, "\0\0\0\0\0", 5);
            probe_run(&p, p.closed + 1);
        }
        assert_int_equal(conn->phase, RPC_LIVE);
        assert_in_range(uv_timer_get_due_in(&conn->timer), 1, OS_H2_PING_INTERVAL_MS);
    }
    probe_close(&p);
    fixture_stop(&f);
}

static void test_ping_not_answered(void **state)
{
    struct fixture f;
    struct probe p;
    open_probe(&p, &f);
    struct rpc_conn *conn = only_conn(&f);
    fire(conn);
    assert_in_range(uv_timer_get_due_in(&conn->timer), 1, OS_H2_PING_TIMEOUT_MS);
    fire(conn);
    assert_int_equal(conn->phase, RPC_DOUBTED); /* one more look at the socket */
    assert_non_null(f.server->conns);
    fire(conn);
    assert_null(f.server->conns);
    probe_close(&p);
    fixture_stop(&f);
}

static void test_client_ping_not_answered(void **state)
{
    struct fixture f;
    fixture_start(&f, PLAIN);
    f.hold = true;
    struct rpc_client *c = fixture_client(&f);
    struct seen s = {0};
    rpc_client_call(c, RPC_OpenShell_ForwardTcp, &seen_ops, &s, 0);
    while (!f.held || c->conn->phase != RPC_LIVE)
        uv_run(&f.loop, UV_RUN_ONCE);
    struct rpc_conn *conn = c->conn;
    assert_in_range(uv_timer_get_due_in(&conn->timer), 1, OS_H2_CLIENT_PING_INTERVAL_MS);
    fire(conn);
    fire(conn);
    fire(conn);
    run_until(&f, &s.done, 1);
    assert_int_equal(s.code, OS_UNAVAILABLE);
    assert_non_null(strstr(s.message, "keepalive"));
    run_until(&f, &f.server_done, 1);
    rpc_client_free(c);
    seen_clear(&s);
    fixture_stop(&f);
}

/* Sums over all calls of a connection: held at their limit by hand, then asked for a little more. */
static void test_connection_sums(void **state)
{
    struct fixture f;
    struct probe p;
    open_probe(&p, &f);
    struct rpc_conn *conn = only_conn(&f);
    assert_int_equal(conn->partial, 0);
    assert_int_equal(conn->header_bytes, 0); /* all given back */
    conn->partial = OS_LIMIT_CONNECTION_PARTIAL - 5;
    probe_request(&p, HEALTH, NULL, "\0\0\0\0\x40........................................", 45);
    probe_run(&p, 2);
    assert_non_null(strstr(p.headers.data, "unfinished messages"));
    assert_int_equal(conn->partial, OS_LIMIT_CONNECTION_PARTIAL - 5);
    conn->partial = 0;
    static const char *const big[] = {"x-big: "
                                      "......................................................................"
                                      "..............................",
                                      NULL};
    conn->header_bytes = OS_LIMIT_CONNECTION_HEADERS - 300; /* all but the last */
    probe_request(&p, HEALTH, big, "\0\0\0\0\0", 5);
    probe_run(&p, 3);
    assert_non_null(strstr(p.headers.data, "too many requests wait"));
    assert_int_equal(conn->header_bytes, OS_LIMIT_CONNECTION_HEADERS - 300);
    conn->header_bytes = 0;
    probe_close(&p);
    fixture_stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slow_openers),      cmocka_unit_test(test_ping_answered),
        cmocka_unit_test(test_ping_not_answered), cmocka_unit_test(test_client_ping_not_answered),
        cmocka_unit_test(test_connection_sums),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
