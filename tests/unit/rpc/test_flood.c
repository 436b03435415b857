/* Clients that send, frame by frame, what wears a server out. Each must end its own connection only, or be
 * answered; and the next client is served. */
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/limits.h"
#include "probe.h"
#include "rpc/server_internal.h"

#define HEALTH "/openshell.v1.OpenShell/Health"
#define FORWARD "/openshell.v1.OpenShell/ForwardTcp"

/* --- raw frames --- */

struct raw {
    struct fixture f;
    int fd;
    bool gone;
    struct os_buf in; /* frames that came */
};

static void raw_pump(struct raw *r)
{
    char buf[16384];
    uv_run(&r->f.loop, UV_RUN_NOWAIT);
    for (;;) {
        ssize_t n = recv(r->fd, buf, sizeof(buf), MSG_DONTWAIT);
        if (n > 0) {
            os_buf_add(&r->in, buf, (size_t)n);
        } else {
            r->gone |= n == 0 || errno != EAGAIN;
            return;
        }
    }
}

/* As above, and lets the kernel carry what is on its way. */
static void raw_wait(struct raw *r, int turns)
{
    for (struct pollfd p = {.fd = r->fd, .events = POLLIN}; turns-- && !r->gone; raw_pump(r))
        poll(&p, 1, 1);
}

static void raw_write(struct raw *r, const void *data, size_t n)
{
    for (const char *p = data; n && !r->gone;) {
        ssize_t k = send(r->fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (k > 0) {
            p += k;
            n -= (size_t)k;
        } else if (errno == EAGAIN) {
            raw_pump(r);
        } else {
            raw_pump(r); /* its last words */
            r->gone = true;
        }
    }
}

static void raw_frame(struct raw *r, int type, int flags, uint32_t stream, const void *payload, size_t n)
{
    uint8_t bytes[9 + 16384] = {(uint8_t)(n >> 16),      (uint8_t)(n >> 8),      (uint8_t)n,
                                (uint8_t)type,           (uint8_t)flags,         (uint8_t)(stream >> 24),
                                (uint8_t)(stream >> 16), (uint8_t)(stream >> 8), (uint8_t)stream};
    assert_true(n <= sizeof(bytes) - 9);
    if (n)
        memcpy(bytes + 9, payload, n);
    raw_write(r, bytes, 9 + n);
}

static void raw_open_without_ack(struct raw *r)
{
    *r = (struct raw){0};
    fixture_start(&r->f, PLAIN);
    r->fd = fixture_dial(&r->f);
    setsockopt(r->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    raw_write(r, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24);
    raw_frame(r, NGHTTP2_SETTINGS, 0, 0, NULL, 0);
    while (!r->in.len)
        raw_pump(r);
}

static void raw_open(struct raw *r)
{
    raw_open_without_ack(r);
    raw_frame(r, NGHTTP2_SETTINGS, NGHTTP2_FLAG_ACK, 0, NULL, 0);
}

/* POST to a path as a gRPC client, in fields that need no table; more may follow. */
static size_t request_block(uint8_t out[256], const char *path)
{
    size_t n = 0;
    static const uint8_t type[] = "\x0f\x10\x10"
                                  "application/grpc";
    out[n++] = 0x83; /* :method POST */
    out[n++] = 0x86; /* :scheme http */
    out[n++] = 0x04; /* :path */
    out[n++] = (uint8_t)strlen(path);
    memcpy(out + n, path, strlen(path));
    n += strlen(path);
    out[n++] = 0x01; /* :authority */
    out[n++] = 1;
    out[n++] = 't';
    memcpy(out + n, type, sizeof(type) - 1);
    return n + sizeof(type) - 1;
}

static void raw_request(struct raw *r, uint32_t stream, const char *path)
{
    uint8_t block[256];
    size_t n = request_block(block, path);
    raw_frame(r, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, stream, block, n);
}

/* Number of frames of a type that came; *last is the last one's payload. */
static unsigned raw_count(const struct raw *r, int type, const uint8_t **last)
{
    unsigned count = 0;
    const uint8_t *p = (const uint8_t *)r->in.data, *end = p + r->in.len;
    while (end - p >= 9) {
        size_t n = (size_t)p[0] << 16 | (size_t)p[1] << 8 | p[2];
        if ((size_t)(end - p) < 9 + n)
            break;
        if (p[3] == type) {
            count++;
            if (last)
                *last = p + 9;
        }
        p += 9 + n;
    }
    return count;
}

static uint32_t word(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void assert_thrown_out(struct raw *r, uint32_t code)
{
    const uint8_t *goaway = NULL;
    raw_wait(r, 10000);
    assert_true(r->gone);
    assert_int_equal(raw_count(r, NGHTTP2_GOAWAY, &goaway), 1);
    assert_int_equal(word(goaway + 4), code);
    shutdown(r->fd, SHUT_RDWR);
    while (r->f.server->conns)
        uv_run(&r->f.loop, UV_RUN_ONCE);
}

static void raw_close(struct raw *r)
{
    struct probe p;
    close(r->fd);
    probe_open(&p, &r->f);
    probe_request(&p, HEALTH, NULL, "\0\0\0\0\0", 5);
    probe_run(&p, 1);
    assert_non_null(strstr(p.headers.data, "grpc-status: 0"));
    probe_close(&p);
    os_buf_free(&r->in);
    fixture_stop(&r->f);
}

static struct rpc_call *only_call(struct raw *r)
{
    while (!r->f.server->conns || !r->f.server->conns->calls)
        raw_pump(r);
    return r->f.server->conns->calls;
}

/* Lets the connection's timer see the call as that old. */
static void grow_old(struct raw *r, struct rpc_call *call, int64_t ms)
{
    struct rpc_conn *conn = r->f.server->conns;
    call->step_ms -= ms;
    conn->heard = true; /* whoever is silent is dropped anyway */
    conn->ops->on_timer(conn);
}

/* --- floods --- */

static void flood(int type, int flags, uint32_t stream, size_t payload, int n)
{
    static const uint8_t zeros[16];
    struct raw r;
    raw_open(&r);
    if (stream)
        raw_request(&r, stream, FORWARD);
    for (int i = 0; i < n && !r.gone; i++) {
        raw_frame(&r, type, flags, stream, zeros, payload);
        if (i % 1000 == 0)
            raw_pump(&r);
    }
    assert_thrown_out(&r, NGHTTP2_ENHANCE_YOUR_CALM);
    raw_close(&r);
}

static void test_frames_without_content(void **state)
{
    flood(NGHTTP2_PING, 0, 0, 8, 200000);
    flood(NGHTTP2_SETTINGS, 0, 0, 0, 200000);
    flood(NGHTTP2_DATA, 0, 1, 0, 200000);
    flood(NGHTTP2_DATA, NGHTTP2_FLAG_PADDED, 1, 1, 200000);
    flood(NGHTTP2_PRIORITY, 0, 1, 5, 200000);
}

/* The server resets the streams itself, since the client breaks them: no cheaper than resetting them. */
static void test_made_resets(void **state)
{
    struct raw r;
    raw_open(&r);
    for (uint32_t stream = 1; stream < 40000 && !r.gone; stream += 2) {
        raw_request(&r, stream, FORWARD);
        raw_frame(&r, NGHTTP2_WINDOW_UPDATE, 0, stream, "\x7f\xff\xff\xff", 4);
        if (stream % 100 == 1)
            raw_pump(&r);
    }
    assert_thrown_out(&r, NGHTTP2_ENHANCE_YOUR_CALM);
    raw_close(&r);
}

/* More streams than are allowed are refused while the client may not know better; not for ever, and not to
 * one that does. */
static void test_too_many_streams(void **state)
{
    struct raw r;
    raw_open_without_ack(&r);
    for (uint32_t i = 0; i < OS_LIMIT_STREAMS_PER_CONNECTION + 500; i++)
        raw_request(&r, 2 * i + 1, FORWARD);
    raw_wait(&r, 100);
    const uint8_t *reset = NULL;
    assert_int_equal(r.f.server->conns->ncalls, OS_LIMIT_STREAMS_PER_CONNECTION);
    assert_int_equal(raw_count(&r, NGHTTP2_RST_STREAM, &reset), 500);
    assert_int_equal(word(reset), NGHTTP2_REFUSED_STREAM);
    for (uint32_t i = 0; i < 20000 && !r.gone; i++)
        raw_request(&r, 2 * (i + OS_LIMIT_STREAMS_PER_CONNECTION + 500) + 1, FORWARD);
    assert_thrown_out(&r, NGHTTP2_ENHANCE_YOUR_CALM);
    raw_close(&r);

    raw_open(&r);
    for (uint32_t i = 0; i < OS_LIMIT_STREAMS_PER_CONNECTION + 1; i++)
        raw_request(&r, 2 * i + 1, FORWARD);
    assert_thrown_out(&r, NGHTTP2_PROTOCOL_ERROR);
    raw_close(&r);
}

/* Answers pile up for a client that does not read. Its socket is held shut by hand. */
static void test_answers_nobody_reads(void **state)
{
    struct raw r;
    raw_open_without_ack(&r);
    struct rpc_conn *conn = r.f.server->conns;
    conn->writing = true;
    for (uint32_t i = 0; i < 60000 && r.f.server->conns; i++) {
        conn->resets.used = conn->chatter.used = 0; /* the other bounds do not help here */
        raw_request(&r, 2 * i + 1, FORWARD);
        if (i % 200 == 0)
            raw_pump(&r);
    }
    for (int i = 0; i < 10000 && r.f.server->conns; i++)
        raw_wait(&r, 1);
    assert_null(r.f.server->conns);
    raw_close(&r);
}

static void test_continuation_flood(void **state)
{
    for (size_t size = 0; size <= 100; size += 100) {
        uint8_t block[256], more[100];
        struct raw r;
        raw_open(&r);
        size_t n = request_block(block, HEALTH);
        for (size_t i = 0; i < size; i += 4) /* a field without indexing: name and value of one byte */
            memcpy(more + i, (const uint8_t[]){0x00, 1, 'a', 0}, 4);
        raw_frame(&r, NGHTTP2_HEADERS, 0, 1, block, n);
        for (int i = 0; i < 100000 && !r.gone; i++) {
            raw_frame(&r, NGHTTP2_CONTINUATION, 0, 1, more, size);
            if (i % 1000 == 0)
                raw_pump(&r);
        }
        raw_wait(&r, 10000);
        assert_true(r.gone);
        assert_int_equal(r.f.authenticated, 0);
        raw_close(&r);
    }
}

/* A byte on the wire is four kilobytes of header, sixteen thousand times. */
static void test_header_bomb(void **state)
{
    enum { VALUE = 4000, REFERENCES = 16000 };
    uint8_t block[256], *bomb = malloc(VALUE + REFERENCES + 16);
    struct raw r;
    raw_open(&r);
    size_t n = request_block(block, FORWARD), at = 0;
    memcpy(bomb, (const uint8_t[]){0x40, 1, 'b', 0x7f, 0xa1, 0x1e}, 6); /* 127 + 33 + 30 * 128 = 4000 */
    at = 6;
    memset(bomb + at, 'x', VALUE);
    at += VALUE;
    raw_frame(&r, NGHTTP2_HEADERS, 0, 1, block, n);
    raw_frame(&r, NGHTTP2_CONTINUATION, 0, 1, bomb, at);
    memset(bomb, 0xbe, REFERENCES); /* the newest entry of the table */
    raw_frame(&r, NGHTTP2_CONTINUATION, NGHTTP2_FLAG_END_HEADERS, 1, bomb, REFERENCES);
    while (!raw_count(&r, NGHTTP2_HEADERS, NULL) && !r.gone) {
        raw_pump(&r);
        if (r.f.server->conns && r.f.server->conns->calls)
            assert_in_range(r.f.server->conns->calls->headers.cap, 0, 2 * OS_LIMIT_HEADER_LIST);
    }
    assert_false(r.gone);
    assert_int_equal(r.f.authenticated, 0);
    free(bomb);
    raw_close(&r);
}

/* Messages in frames of one byte: slow, but no more than that. */
static void test_tiny_data(void **state)
{
    struct raw r;
    raw_open(&r);
    raw_request(&r, 1, FORWARD);
    for (int i = 0; i < 200000 && !r.gone; i++)
        raw_frame(&r, NGHTTP2_DATA, 0, 1, "\0", 1); /* empty messages, echoed */
    raw_wait(&r, 200);
    assert_false(r.gone);
    assert_in_range(only_call(&r)->rx.cap, 0, 2 * OS_H2_STREAM_WINDOW);
    raw_close(&r);
}

/* --- stalls --- */

static void test_request_that_does_not_come(void **state)
{
    struct raw r;
    raw_open(&r);
    raw_request(&r, 1, HEALTH);
    struct rpc_call *call = only_call(&r);
    while (!call->started)
        raw_pump(&r);
    grow_old(&r, call, OS_H2_REQUEST_MS / 2);
    assert_false(call->finished);
    grow_old(&r, call, OS_H2_REQUEST_MS);
    assert_true(call->finished);
    assert_int_equal(call->status.code, OS_DEADLINE_EXCEEDED);
    while (r.f.server->conns->calls)
        raw_pump(&r);
    raw_close(&r);
}

/* A stream of the client's may be silent as long as it likes. */
static void test_quiet_stream_stays(void **state)
{
    struct raw r;
    raw_open(&r);
    raw_request(&r, 1, FORWARD);
    struct rpc_call *call = only_call(&r);
    while (!call->started)
        raw_pump(&r);
    grow_old(&r, call, 100 * (int64_t)OS_H2_REQUEST_MS);
    raw_wait(&r, 10);
    assert_ptr_equal(only_call(&r), call);
    assert_false(call->finished);
    raw_close(&r);
}

static void test_headers_that_do_not_end(void **state)
{
    uint8_t block[256];
    struct raw r;
    raw_open(&r);
    size_t n = request_block(block, HEALTH);
    raw_frame(&r, NGHTTP2_HEADERS, 0, 1, block, n);
    grow_old(&r, only_call(&r), OS_H2_REQUEST_MS + 1);
    raw_wait(&r, 1000);
    assert_true(r.gone);
    raw_close(&r);
}

/* The client's window is shut: the answer waits, but not for ever. */
static void test_answer_that_is_not_taken(void **state)
{
    struct raw r;
    raw_open(&r);
    raw_frame(&r, NGHTTP2_SETTINGS, 0, 0, "\0\4\0\0\0\0", 6); /* INITIAL_WINDOW_SIZE 0 */
    raw_request(&r, 1, HEALTH);
    raw_frame(&r, NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, 1, "\0\0\0\0\0", 5);
    struct rpc_call *call = only_call(&r);
    while (!call->finished)
        raw_pump(&r);
    grow_old(&r, call, OS_H2_ANSWER_MS / 2);
    raw_wait(&r, 10);
    assert_int_equal(raw_count(&r, NGHTTP2_RST_STREAM, NULL), 0);
    grow_old(&r, call, OS_H2_ANSWER_MS);
    const uint8_t *reset = NULL;
    while (!raw_count(&r, NGHTTP2_RST_STREAM, &reset))
        raw_pump(&r);
    assert_int_equal(word(reset), NGHTTP2_CANCEL);
    assert_null(r.f.server->conns->calls);
    raw_close(&r);
}

/* Large answers that wait are counted over all calls of the connection; here one says it holds them all. */
static void test_answers_of_a_connection(void **state)
{
    struct raw r;
    raw_open(&r);
    raw_frame(&r, NGHTTP2_SETTINGS, 0, 0, "\0\4\0\0\0\0", 6);
    raw_request(&r, 1, FORWARD);
    struct rpc_call *call = only_call(&r);
    while (!call->started)
        raw_pump(&r);
    size_t n = OS_LIMIT_CONNECTION_ANSWERS - 40000;
    char *bytes = calloc(1, n);
    rpc_call_send_packed(call, bytes, n);
    free(bytes);
    r.f.large = 100000;
    raw_request(&r, 3, HEALTH);
    raw_frame(&r, NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, 3, "\0\0\0\0\0", 5);
    while (r.f.server->conns->ncalls < 2)
        raw_pump(&r);
    struct rpc_call *second = r.f.server->conns->calls;
    rpc_call_ref(second);
    while (!second->finished)
        raw_pump(&r);
    assert_int_equal(second->status.code, OS_RESOURCE_EXHAUSTED);
    rpc_call_unref(second);
    r.f.large = 0;
    raw_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frames_without_content),
        cmocka_unit_test(test_made_resets),
        cmocka_unit_test(test_too_many_streams),
        cmocka_unit_test(test_answers_nobody_reads),
        cmocka_unit_test(test_continuation_flood),
        cmocka_unit_test(test_header_bomb),
        cmocka_unit_test(test_tiny_data),
        cmocka_unit_test(test_request_that_does_not_come),
        cmocka_unit_test(test_quiet_stream_stays),
        cmocka_unit_test(test_headers_that_do_not_end),
        cmocka_unit_test(test_answer_that_is_not_taken),
        cmocka_unit_test(test_answers_of_a_connection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
