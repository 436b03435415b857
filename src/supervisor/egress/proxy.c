/* The first request of a proxy connection: read its head, refuse what is malformed, and go on as CONNECT or
 * as a request in absolute form (spec/proxy.md 2). */
#include "core/clock.h"
#include "core/str.h"
#include "supervisor/egress/internal.h"

ssize_t head_read_exact(struct egress_stream *s, char *buf, size_t max, int64_t end, struct os_error *err)
{
    size_t n = 0, seen = 0;
    while (n < max) {
        ssize_t got = stream_peek(s, buf + n, max - n);
        if (got == STREAM_AGAIN) {
            int64_t left = end - os_clock_mono_ms();
            if (left <= 0 || !stream_wait(s, s->read_wants, (int)left))
                return os_error_set(err, OS_DEADLINE_EXCEEDED, "no complete head in time");
            continue;
        }
        if (got <= 0)
            return 0;
        size_t head = http1_head_end(buf, n + (size_t)got, &seen);
        size_t take = head ? head - n : (size_t)got;
        if (stream_take(s, buf + n, take) != (ssize_t)take)
            return 0;
        n += take;
        if (head)
            return (ssize_t)head;
        if (os_clock_mono_ms() >= end)
            return os_error_set(err, OS_DEADLINE_EXCEEDED, "no complete head in time");
    }
    return os_error_set(err, OS_OUT_OF_RANGE, "head is longer than %zu bytes", max);
}

void proxy_serve(struct egress_conn *c)
{
    struct os_error err cleanup_error = {0};
    char *buf = os_arena_alloc(&c->arena, OS_PROXY_FIRST_HEADER);
    int64_t end = os_clock_mono_ms() + OS_PROXY_FIRST_BYTE_MS;
    ssize_t n = head_read_exact(&c->client, buf, OS_PROXY_FIRST_HEADER, end, &err);
    if (n == 0)
        return;
    if (n < 0 && err.code == OS_OUT_OF_RANGE) {
        event_failure(c, "Proxy connection error", &err);
        deny_bare(&c->client, "431 Request Header Fields Too Large");
        return;
    }
    if (n < 0) {
        event_failure(c, "Proxy connection error", &err);
        return;
    }
    if (http1_parse_request(buf, (size_t)n, &c->head, &err) < 0) {
        event_failure(c, "Proxy connection error", &err);
        deny_bare(&c->client, "400 Bad Request");
        return;
    }
    if (http1_text_is(c->head.method, "CONNECT"))
        tunnel_serve(c);
    else
        forward_serve(c);
}
