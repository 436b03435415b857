/* The life of a connection: refused, not trusted, lost, drained, opened again. */
#include <unistd.h>

#include "fixture.h"

struct lost {
    unsigned n;
    struct rpc_client *client;
    char *why;
};

static void on_disconnect(void *ctx, const struct os_error *why)
{
    struct lost *l = ctx;
    l->n++;
    free(l->why);
    l->why = os_strdup(os_error_text(why));
}

static const Openshell__V1__HealthRequest health = OPENSHELL__V1__HEALTH_REQUEST__INIT;

static int health_over(struct rpc_client *c, struct os_error *err)
{
    cleanup_arena struct os_arena a = {0};
    ProtobufCMessage *m = NULL;
    os_error_clear(err);
    return rpc_client_unary_wait(c, RPC_OpenShell_Health, &health.base, 10000, &a, &m, err);
}

static void test_endpoints(void **state)
{
    static const char *const bad[] = {
        "",           "localhost:1",    "ftp://x:1",       "http://",     "http://:1",
        "http://x:0", "http://x:65536", "http://x:1/path", "http://[::1", "http://u@x:1",
        "unix://rel", "http://x:1 "};
    uv_loop_t loop;
    uv_loop_init(&loop);
    for (size_t i = 0; i < OS_ARRAY_LEN(bad); i++) {
        cleanup_error struct os_error err = {0};
        struct rpc_client_options opt = {.loop = &loop, .endpoint = bad[i]};
        assert_null(rpc_client_new(&opt, &err));
        assert_int_equal(err.code, OS_INVALID_ARGUMENT);
        assert_non_null(strstr(err.msg, bad[i]));
    }
    static const char *const good[] = {"http://x:1", "http://[::1]:80/", "https://name",
                                       "unix:///run/x.sock"};
    for (size_t i = 0; i < OS_ARRAY_LEN(good); i++) {
        struct rpc_client_options opt = {.loop = &loop, .endpoint = good[i], .insecure = true};
        struct rpc_client *c = rpc_client_new(&opt, NULL);
        assert_non_null(c);
        rpc_client_free(c);
    }
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
}

static void test_refused(void **state)
{
    struct fixture f;
    fixture_start(&f, UNIX);
    struct lost lost = {0};
    cleanup_error struct os_error err = {0};
    /* a UNIX socket that is not there, and a TCP port that was just given up */
    cleanup_free char *nowhere = os_asprintf("%s-not", f.endpoint);
    struct rpc_client_options opt = {.endpoint = nowhere, .on_disconnect = on_disconnect, .ctx = &lost};
    struct rpc_client *c = fixture_client_with(&f, &opt);
    assert_int_equal(health_over(c, &err), -1);
    assert_int_equal(err.code, OS_UNAVAILABLE);
    assert_non_null(strstr(err.msg, nowhere));
    assert_int_equal(lost.n, 1);
    assert_int_equal(health_over(c, &err), -1); /* tries again */
    assert_int_equal(lost.n, 2);
    rpc_client_free(c);
    assert_int_equal(lost.n, 2);

    int port = rpc_server_listen(f.server, "127.0.0.1", 0, NULL);
    assert_true(port > 0);
    cleanup_free char *tcp = os_asprintf("http://localhost:%d", port); /* resolved; ::1 may come first */
    opt = (struct rpc_client_options){.endpoint = tcp};
    c = fixture_client_with(&f, &opt);
    assert_int_equal(health_over(c, &err), 0);
    rpc_client_free(c);
    free(lost.why);
    fixture_stop(&f);
}

static void not_trusted(struct fixture *f, struct rpc_client_options opt, const char *why)
{
    cleanup_error struct os_error err = {0};
    struct rpc_client *c = fixture_client_with(f, &opt);
    assert_int_equal(health_over(c, &err), -1);
    assert_int_equal(err.code, OS_UNAVAILABLE);
    if (!strstr(err.msg, why))
        fail_msg("no '%s' in: %s", why, err.msg);
    rpc_client_free(c);
}

static void test_trust(void **state)
{
    struct fixture f;
    fixture_start(&f, TLS);
    not_trusted(&f, (struct rpc_client_options){.ca_pem = fixture_other_ca()}, "certificate not accepted");
    not_trusted(&f, (struct rpc_client_options){.server_name = "other.test"}, "certificate not accepted");
    cleanup_error struct os_error err = {0};
    struct rpc_client_options named = {.server_name = "gateway.test"};
    struct rpc_client *c = fixture_client_with(&f, &named);
    assert_int_equal(health_over(c, &err), 0);
    rpc_client_free(c);
    struct rpc_client_options insecure = {.ca_pem = fixture_other_ca(), .insecure = true};
    c = fixture_client_with(&f, &insecure);
    assert_int_equal(health_over(c, &err), 0);
    rpc_client_free(c);
    fixture_stop(&f);

    fixture_start(&f, MTLS); /* a client without a certificate */
    struct rpc_client_options bare = {0};
    c = fixture_client_with(&f, &bare);
    assert_int_equal(health_over(c, &err), -1);
    assert_int_equal(err.code, OS_UNAVAILABLE);
    assert_int_equal(f.authenticated, 0);
    rpc_client_free(c);
    fixture_stop(&f);
}

static void stop_server(struct fixture *f)
{
    rpc_server_free(f->server);
    f->server = NULL;
}

static void test_lost_connection(void **state)
{
    struct fixture f;
    fixture_start(&f, PLAIN);
    f.hold = true;
    struct lost lost = {0};
    struct rpc_client_options opt = {.on_disconnect = on_disconnect, .ctx = &lost};
    struct rpc_client *c = fixture_client_with(&f, &opt);
    struct seen s = {0};
    rpc_client_call(c, RPC_OpenShell_ForwardTcp, &seen_ops, &s, 0);
    while (!f.held)
        uv_run(&f.loop, UV_RUN_ONCE);
    send_data(f.held, 10, 'l');
    run_turns(&f, 1);
    stop_server(&f);
    assert_int_equal(f.server_done, 1);
    run_until(&f, &s.done, 1);
    assert_int_equal(s.code, OS_UNAVAILABLE);
    assert_int_equal(s.messages, 1); /* what had arrived was told */
    run_until(&f, &lost.n, 1);
    cleanup_error struct os_error err = {0};
    assert_int_equal(health_over(c, &err), -1);
    assert_int_equal(err.code, OS_UNAVAILABLE);
    assert_non_null(strstr(err.msg, "connection refused"));
    assert_int_equal(lost.n, 2);
    rpc_client_free(c);
    free(lost.why);
    seen_clear(&s);
    fixture_stop(&f);
}

static void on_shut(void *arg)
{
    ((struct fixture *)arg)->shut = true;
}

/* GOAWAY: the running call ends in its own time, new ones are not taken, then everything is closed. */
static void test_graceful_shutdown(void **state)
{
    struct fixture f;
    fixture_start(&f, TLS);
    f.hold = true;
    struct lost lost = {0};
    struct rpc_client_options opt = {.on_disconnect = on_disconnect, .ctx = &lost};
    struct rpc_client *c = fixture_client_with(&f, &opt);
    struct seen s = {.keep = true};
    struct rpc_call *call = rpc_client_call(c, RPC_OpenShell_ForwardTcp, &seen_ops, &s, 0);
    while (!f.held)
        uv_run(&f.loop, UV_RUN_ONCE);
    rpc_server_shutdown(f.server, 10000, on_shut, &f);
    run_turns(&f, 20);
    assert_int_equal(s.done, 0);
    assert_false(f.shut);
    cleanup_error struct os_error err = {0};
    assert_int_equal(health_over(c, &err), -1);
    assert_int_equal(err.code, OS_UNAVAILABLE);
    send_data(f.held, 5, 'q');
    rpc_call_half_close(call);
    run_until(&f, &s.messages, 1);
    rpc_call_finish(f.held, OS_OK, NULL);
    run_until(&f, &s.done, 1);
    assert_int_equal(s.code, OS_OK);
    while (!f.shut)
        uv_run(&f.loop, UV_RUN_ONCE);
    stop_server(&f);
    rpc_client_free(c);
    free(lost.why);
    seen_clear(&s);
    fixture_stop(&f);
}

static void test_shutdown_without_grace(void **state)
{
    struct fixture f;
    fixture_start(&f, PLAIN);
    f.hold = true;
    struct rpc_client *c = fixture_client(&f);
    struct seen s = {0};
    rpc_client_call(c, RPC_OpenShell_ForwardTcp, &seen_ops, &s, 0);
    while (!f.held)
        uv_run(&f.loop, UV_RUN_ONCE);
    rpc_server_shutdown(f.server, 0, on_shut, &f);
    run_until(&f, &s.done, 1);
    assert_int_equal(s.code, OS_UNAVAILABLE);
    assert_string_equal(s.message, "the server is shutting down");
    while (!f.shut)
        uv_run(&f.loop, UV_RUN_ONCE);
    assert_int_equal(f.server_done, 1);
    stop_server(&f);
    rpc_client_free(c);
    seen_clear(&s);
    fixture_stop(&f);
}

/* --- freeing from inside a callback --- */

struct last {
    struct rpc_client *client;
    struct fixture *f;
    unsigned n;
};

static void free_in_done(void *ctx, const struct os_error *status, const ProtobufCMessage *response)
{
    struct last *l = ctx;
    l->n++;
    rpc_client_free(l->client);
}

static void free_in_disconnect(void *ctx, const struct os_error *why)
{
    struct last *l = ctx;
    l->n++;
    rpc_client_free(l->client);
}

static void free_in_shutdown(void *arg)
{
    struct last *l = arg;
    l->n++;
    stop_server(l->f);
}

static void test_free_inside_callbacks(void **state)
{
    struct fixture f;
    fixture_start(&f, TLS);
    struct last l = {.client = fixture_client(&f), .f = &f};
    rpc_client_unary(l.client, RPC_OpenShell_Health, &health.base, 0, free_in_done, &l);
    run_until(&f, &l.n, 1);

    struct rpc_client_options opt = {.on_disconnect = free_in_disconnect, .ctx = &l};
    l.client = fixture_client_with(&f, &opt);
    struct seen s = {0};
    rpc_client_call(l.client, RPC_OpenShell_ForwardTcp, &seen_ops, &s, 0);
    f.hold = true;
    while (!f.held)
        uv_run(&f.loop, UV_RUN_ONCE);
    rpc_server_shutdown(f.server, 0, free_in_shutdown, &l);
    run_until(&f, &l.n, 3);
    assert_int_equal(s.done, 1);
    seen_clear(&s);
    fixture_stop(&f);
}

static void test_listen_errors(void **state)
{
    struct fixture f;
    fixture_start(&f, UNIX);
    cleanup_error struct os_error err = {0};
    assert_int_equal(rpc_server_listen(f.server, "localhost", 1, &err), -1);
    assert_int_equal(err.code, OS_INVALID_ARGUMENT);
    int port = rpc_server_listen(f.server, "::1", 0, &err);
    if (port > 0) {
        cleanup_free char *v6 = os_asprintf("http://[::1]:%d", port);
        struct rpc_client_options opt = {.endpoint = v6};
        struct rpc_client *c = fixture_client_with(&f, &opt);
        assert_int_equal(health_over(c, &err), 0);
        rpc_client_free(c);
        assert_int_equal(rpc_server_listen(f.server, "::1", port, &err), -1);
        assert_int_equal(err.code, OS_ALREADY_EXISTS);
    }
    /* the socket is in use; a stale one is replaced; a file is not */
    assert_int_equal(rpc_server_listen_unix(f.server, f.endpoint + 7, &err), -1);
    assert_non_null(strstr(err.msg, "another process listens"));
    cleanup_free char *file = os_asprintf("%s.file", f.endpoint + 7);
    FILE *out = fopen(file, "w");
    assert_non_null(out);
    fclose(out);
    assert_int_equal(rpc_server_listen_unix(f.server, file, &err), -1);
    assert_non_null(strstr(err.msg, "not a socket"));
    unlink(file);
    fixture_stop(&f);
}

/* --- work and posts --- */

struct order {
    struct fixture *f;
    unsigned worked, done, posts;
    uv_thread_t loop_thread;
};

static void do_work(void *arg)
{
    struct order *o = arg;
    uv_thread_t self = uv_thread_self();
    assert_false(uv_thread_equal(&self, &o->loop_thread));
    o->worked++;
}

static void post_one(void *arg)
{
    struct order *o = arg;
    assert_int_equal(o->done, 0); /* posted before the work was given back */
    o->posts++;
}

static void work_and_post(void *arg)
{
    struct order *o = arg;
    do_work(o);
    rpc_server_post(o->f->server, post_one, o);
}

static void work_done(void *arg)
{
    struct order *o = arg;
    uv_thread_t self = uv_thread_self();
    assert_true(uv_thread_equal(&self, &o->loop_thread));
    assert_int_equal(o->worked, 1);
    o->done++;
}

static void test_work_and_post(void **state)
{
    struct fixture f;
    fixture_start(&f, PLAIN);
    struct order o = {.f = &f, .loop_thread = uv_thread_self()};
    rpc_server_work(f.server, work_and_post, work_done, &o);
    run_until(&f, &o.done, 1);
    assert_int_equal(o.posts, 1);
    fixture_stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_endpoints),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_trust),
        cmocka_unit_test(test_lost_connection),
        cmocka_unit_test(test_graceful_shutdown),
        cmocka_unit_test(test_shutdown_without_grace),
        cmocka_unit_test(test_free_inside_callbacks),
        cmocka_unit_test(test_listen_errors),
        cmocka_unit_test(test_work_and_post),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
