/* What the server answers to requests that are odd, too large, hostile, or not gRPC at all. */
#include <sys/socket.h>
#include <unistd.h>

#include "core/limits.h"
#include "probe.h"

#define HEALTH "/openshell.v1.OpenShell/Health"
#define FORWARD "/openshell.v1.OpenShell/ForwardTcp"

/* --- one gRPC request, one expected ending --- */

struct odd {
    const char *path;
    const char *const *extra;
    const char *body;
    size_t n;
    const char *expect[3];
};

static const char *const none[] = {NULL};
static const char *const gzip[] = {"grpc-encoding: gzip", NULL};
static const char *const identity[] = {"grpc-encoding: identity", NULL};
static const char *const proto[] = {"content-type: application/grpc+proto", "x-request-id: abc-7", NULL};
static const char *const web[] = {"content-type: application/grpc-web", NULL};
static const char *const json[] = {"content-type: application/json", NULL};
static const char *const get_json[] = {"content-type: text/html", ":method: GET", NULL};
static const char *const get_grpc[] = {":method: GET", NULL};
static const char *const timeout[] = {"grpc-timeout: 5x", NULL};
static const char *const no_time[] = {"grpc-timeout: 1n", NULL};

static const struct odd odds[] = {
    {HEALTH, none, "\0\0\0\0\0", 5, {"grpc-status: 0", "content-type: application/grpc\n", "x-request-id: "}},
    {HEALTH, proto, "\0\0\0\0\0", 5, {"grpc-status: 0", "x-request-id: abc-7"}},
    {HEALTH, identity, "\0\0\0\0\0", 5, {"grpc-status: 0"}},
    {"/openshell.v1.OpenShell/Nope",
     none,
     "\0\0\0\0\0",
     5,
     {"grpc-status: 12", "/openshell.v1.OpenShell/Nope"}},
    {"/x", none, NULL, 0, {"grpc-status: 12", "unknown method /x"}},
    {HEALTH,
     gzip,
     "\0\0\0\0\0",
     5,
     {"grpc-status: 12", "Content is compressed with `gzip` which isn't supported"}},
    {HEALTH, none, "\1\0\0\0\0", 5, {"grpc-status: 12", "compressed"}},
    {HEALTH, none, "\2\0\0\0\0", 5, {"grpc-status: 13", "flag"}},
    {HEALTH, none, NULL, 0, {"grpc-status: 13", "Missing request message."}},
    {HEALTH, none, "\0\0\0\0\3x", 6, {"grpc-status: 13", "Unexpected EOF"}},
    {HEALTH, none, "\0\0\0\0\0\0\0\0\0\0", 10, {"grpc-status: 13", "exactly one message"}},
    {HEALTH, none, "\0\0\0\0\1\xff", 6, {"grpc-status: 13", "failed to decode Protobuf message"}},
    {HEALTH,
     none,
     "\0\0\x10\0\1x",
     6,
     {"grpc-status: 11",
      "Error, decoded message length too large: found 1048577 bytes, the limit is: 1048576 bytes"}},
    {HEALTH, timeout, "\0\0\0\0\0", 5, {"grpc-status: 3", "grpc-timeout '5x' is malformed"}},
    {FORWARD, no_time, NULL, 0, {"grpc-status: 4"}},
    {HEALTH, get_grpc, NULL, 0, {":status: 405"}},
    {HEALTH, web, "\0\0\0\0\0", 5, {":status: 415"}},
    {"/healthz?x=1", json, "{}", 2, {":status: 200", "content-type: text/plain", "x-request-id: "}},
    {"/other", get_json, NULL, 0, {":status: 404"}},
};

static void test_odd_requests(void **state)
{
    struct fixture f;
    fixture_start(&f, PLAIN);
    for (size_t i = 0; i < OS_ARRAY_LEN(odds); i++) {
        struct probe p;
        probe_open(&p, &f);
        probe_request(&p, odds[i].path, odds[i].extra, odds[i].body, odds[i].n);
        f.hold = strcmp(odds[i].path, FORWARD) == 0;
        probe_run(&p, 1);
        for (size_t k = 0; k < 3 && odds[i].expect[k]; k++) {
            if (!strstr(p.headers.data, odds[i].expect[k]))
                fail_msg("request %zu: no '%s' in:\n%s", i, odds[i].expect[k], p.headers.data);
        }
        assert_int_equal(p.closed, 1);
        assert_int_equal(p.reset_code, NGHTTP2_NO_ERROR);
        if (strstr(p.headers.data, ":status: 200\ncontent-type: text/plain"))
            assert_string_equal(p.body.data, "POST /healthz at test\n");
        probe_close(&p);
        if (f.held)
            rpc_call_unref(f.held);
        f.held = NULL;
    }
    fixture_stop(&f);
}

static void test_request_body_larger_than_its_refusal(void **state)
{
    struct fixture f;
    fixture_start(&f, PLAIN);
    struct probe p;
    size_t n = 600000;
    char *body = calloc(1, n);
    body[1] = 1; /* 16 MiB announced */
    probe_open(&p, &f);
    probe_request(&p, HEALTH, NULL, body, n);
    probe_run(&p, 1);
    assert_non_null(strstr(p.headers.data, "grpc-status: 11"));
    /* the connection goes on */
    probe_request(&p, HEALTH, NULL, "\0\0\0\0\0", 5);
    probe_run(&p, 2);
    assert_non_null(strstr(p.headers.data, "grpc-status: 0"));
    free(body);
    probe_close(&p);
    fixture_stop(&f);
}

static void test_large_headers(void **state)
{
    struct fixture f;
    fixture_start(&f, PLAIN);
    struct probe p;
    enum { EACH = 10000, N = 7 };
    char *lines[N + 1] = {0};
    for (int i = 0; i < N; i++) {
        lines[i] = malloc(EACH + 8);
        snprintf(lines[i], 8, "x-%d: ", i);
        memset(lines[i] + 5, 'a', EACH);
        lines[i][5 + EACH] = '\0';
    }
    probe_open(&p, &f);
    probe_request(&p, HEALTH, (const char *const *)lines, "\0\0\0\0\0", 5);
    probe_run(&p, 1);
    assert_non_null(strstr(p.headers.data, "grpc-status: 8"));
    assert_non_null(strstr(p.headers.data, "65536"));
    assert_int_equal(f.authenticated, 0);
    for (int i = 0; i < N; i++)
        free(lines[i]);
    probe_close(&p);
    fixture_stop(&f);
}

/* Kept if supplied, but not whatever its length: it comes back in every answer. */
static void test_long_request_id(void **state)
{
    struct fixture f;
    fixture_start(&f, PLAIN);
    for (int n = 100; n <= 60000; n += 59900) {
        struct probe p;
        char *line = malloc((size_t)n + 16);
        strcpy(line, "x-request-id: ");
        memset(line + 14, 'i', (size_t)n);
        line[14 + n] = '\0';
        const char *const extra[] = {line, NULL};
        probe_open(&p, &f);
        probe_request(&p, HEALTH, extra, "\0\0\0\0\0", 5);
        probe_run(&p, 1);
        assert_non_null(strstr(p.headers.data, "grpc-status: 0"));
        assert_int_equal(strstr(p.headers.data, line) != NULL, n == 100);
        assert_non_null(strstr(p.headers.data, "x-request-id: "));
        free(line);
        probe_close(&p);
    }
    fixture_stop(&f);
}

static void test_rapid_reset(void **state)
{
    struct fixture f;
    fixture_start(&f, PLAIN);
    struct probe p;
    probe_open(&p, &f);
    for (int i = 0; i < 3000 && !p.goaway && !p.gone; i++) {
        int32_t id = probe_request(&p, FORWARD, NULL, NULL, 0);
        probe_run(&p, p.closed); /* no wait */
        const uint8_t *data;
        ssize_t n;
        while ((n = nghttp2_session_mem_send(p.h2, &data)) > 0)
            send(p.fd, data, (size_t)n, MSG_NOSIGNAL);
        nghttp2_submit_rst_stream(p.h2, NGHTTP2_FLAG_NONE, id, NGHTTP2_CANCEL);
        if (i % 100 == 99)
            probe_run(&p, p.closed + 1);
    }
    probe_run(&p, UINT32_MAX);
    assert_true(p.goaway);
    assert_int_equal(p.goaway_code, NGHTTP2_ENHANCE_YOUR_CALM);
    assert_true(p.gone);
    probe_close(&p);
    fixture_stop(&f);
}

static void test_garbage_after_preface(void **state)
{
    struct fixture f;
    fixture_start(&f, PLAIN);
    int fd = fixture_dial(&f);
    static const char bytes[] =
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n................................................";
    char *got = fixture_exchange(&f, fd, NULL, bytes, sizeof(bytes) - 1, NULL);
    free(got);
    close(fd);
    /* the next connection is served */
    struct probe p;
    probe_open(&p, &f);
    probe_request(&p, HEALTH, NULL, "\0\0\0\0\0", 5);
    probe_run(&p, 1);
    assert_non_null(strstr(p.headers.data, "grpc-status: 0"));
    probe_close(&p);
    fixture_stop(&f);
}

/* --- HTTP/1.1 --- */

static char *http1(struct fixture *f, const char *request, const char *alpn)
{
    int fd = fixture_dial(f);
    SSL_CTX *ctx = alpn ? fixture_client_tls(alpn) : NULL;
    SSL *ssl = NULL;
    if (ctx) {
        ssl = SSL_new(ctx);
        SSL_set_fd(ssl, fd);
        SSL_set_connect_state(ssl);
    }
    char *got = fixture_exchange(f, fd, ssl, request, strlen(request), NULL);
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    close(fd);
    return got;
}

static void expect(struct fixture *f, const char *request, const char *alpn, const char *start,
                   const char *end)
{
    char *got = http1(f, request, alpn);
    if (!os_str_starts(got, start) || !os_str_ends(got, end))
        fail_msg("%s -> %s", request, got);
    free(got);
}

static void test_http1(void **state)
{
    struct fixture f;
    fixture_start(&f, PLAIN);
    expect(&f, "GET /healthz?a=b HTTP/1.1\r\nHost: h\r\n\r\n", NULL,
           "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n",
           "\r\nconnection: close\r\n\r\nGET /healthz at h\n");
    expect(&f, "HEAD /healthz HTTP/1.1\r\nHost: h\r\nx-request-id: q1\r\n\r\n", NULL, "HTTP/1.1 200 OK\r\n",
           "\r\nx-request-id: q1\r\nconnection: close\r\n\r\n");
    expect(&f, "POST /nope HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello", NULL, "HTTP/1.1 404 Not Found\r\n",
           "POST /nope at -\n");
    expect(&f, "GET / HTTP/1.1\r\n\r\n", NULL, "HTTP/1.1 400 Bad Request\r\n", "\r\n\r\n");
    expect(&f, "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", NULL, "HTTP/1.1 400 ", "\r\n\r\n");
    expect(&f, "POST " HEALTH " HTTP/1.1\r\nHost: h\r\nContent-Type: application/grpc\r\n\r\n", NULL,
           "HTTP/1.1 415 ", "\r\n\r\n");
    fixture_stop(&f);
}

static void test_http1_over_tls(void **state)
{
    struct fixture f;
    fixture_start(&f, TLS);
    expect(&f, "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n", "http/1.1", "HTTP/1.1 200 OK\r\n",
           "GET /healthz at h\n");
    /* plaintext on a TLS port: closed without a word */
    char *got = http1(&f, "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n", NULL);
    assert_string_equal(got, "");
    free(got);
    fixture_stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_odd_requests),  cmocka_unit_test(test_request_body_larger_than_its_refusal),
        cmocka_unit_test(test_large_headers), cmocka_unit_test(test_long_request_id),
        cmocka_unit_test(test_rapid_reset),   cmocka_unit_test(test_garbage_after_preface),
        cmocka_unit_test(test_http1),         cmocka_unit_test(test_http1_over_tls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
