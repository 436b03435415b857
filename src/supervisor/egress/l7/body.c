/* Reads the body of a request whole, for those that are judged by what they say (spec/proxy.md 6.6). Its
 * framing ends here: what goes upstream is framed by its length. */
#include <poll.h>
#include <string.h>

#include "core/clock.h"
#include "supervisor/egress/internal.h"

/* Bytes of framing that a chunked body of limit bytes may have around it. */
static size_t wire_limit(size_t limit)
{
    return 2 * limit + OS_HTTP1_CHUNK_LINE;
}

int body_too_long(const char *what, size_t limit, struct os_error *err)
{
    return os_error_set(err, OS_OUT_OF_RANGE, "%s request body exceeds %zu byte inspection limit", what,
                        limit);
}

int body_hold(struct egress *e, size_t n, struct os_error *err)
{
    size_t held = atomic_fetch_add(&e->bodies, n);
    if (held + n <= OS_L7_BODIES_MAX)
        return 0;
    atomic_fetch_sub(&e->bodies, n);
    return os_error_set(err, OS_RESOURCE_EXHAUSTED,
                        "bodies that wait to be judged exceed %d bytes in all connections; try again later",
                        OS_L7_BODIES_MAX);
}

void body_let_go(struct egress *e, size_t n)
{
    atomic_fetch_sub(&e->bodies, n);
}

/* The client waits for our word before it sends the body. */
static int invite(struct egress_request *r, struct os_error *err)
{
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    struct egress_stream *client = &r->conn->client;
    if (r->head->minor == 0 || stream_buffered(client) || !http1_has_token(r->head, "expect", "100-continue"))
        return 0;
    if (stream_send(client, go_on, sizeof(go_on) - 1, OS_PROXY_HANDSHAKE_MS) == 0)
        return 0;
    return os_error_set(err, OS_UNAVAILABLE, "client closed the connection before its request body");
}

static int fill(struct egress_stream *s, int64_t end_ms, struct os_error *err)
{
    for (;;) {
        int64_t left = end_ms ? end_ms - os_clock_mono_ms() : OS_PROXY_BODY_IDLE_MS;
        if (left <= 0)
            return os_error_set(err, OS_DEADLINE_EXCEEDED, "request body is not complete in time");
        ssize_t n = stream_fill(s);
        if (n > 0)
            return 0;
        if (n != STREAM_AGAIN)
            return os_error_set(err, OS_UNAVAILABLE, "client closed the connection inside the request body");
        if (!stream_wait(s, s->read_wants, (int)left) && !end_ms)
            return os_error_set(err, OS_DEADLINE_EXCEEDED, "no progress for %d s",
                                OS_PROXY_BODY_IDLE_MS / 1000);
    }
}

int body_collect(struct egress_request *r, const char *what, size_t limit, struct os_error *err)
{
    const struct http1_head *h = r->head;
    struct egress_stream *client = &r->conn->client;
    struct http1_body framing;
    size_t wire = 0;
    r->body_read = true;
    r->body.max = limit;
    if (h->framing == HTTP1_LENGTH && h->length > limit)
        return body_too_long(what, limit, err);
    http1_body_start(&framing, h->framing, h->length);
    if (!framing.done && invite(r, err) < 0)
        return -1;
    while (!framing.done) {
        size_t before = r->body.len;
        if (!stream_buffered(client) && fill(client, r->body_end_ms, err) < 0)
            return -1;
        int64_t n = http1_body_decode(&framing, stream_bytes(client), stream_buffered(client), &r->body, err);
        if (n < 0)
            return -1;
        stream_consume(client, (size_t)n);
        wire += (size_t)n;
        if (body_hold(r->conn->egress, r->body.len - before, err) < 0)
            return -1;
        r->body_held += r->body.len - before;
        if (r->body.failed)
            return body_too_long(what, limit, err);
        if (wire > wire_limit(limit))
            return os_error_set(err, OS_OUT_OF_RANGE,
                                "%s chunked request body exceeds inspection framing limit", what);
    }
    r->body_trailers = framing.trailers;
    return 0;
}
