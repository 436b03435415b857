/* The first request of a proxy connection: read its head, refuse what is malformed, and go on as CONNECT or
 * as a request in absolute form (spec/proxy.md 2). */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "core/clock.h"
#include "core/str.h"
#include "supervisor/egress/internal.h"

/* Reads exactly the head and nothing behind it, so that a tunnel can be handed over as a socket. Length, 0
 * for an end, -1 with *err (OS_OUT_OF_RANGE: too long). */
static ssize_t read_exact_head(struct egress_conn *c, char *buf, size_t max, struct os_error *err)
{
    size_t n = 0, seen = 0;
    int64_t end = os_clock_mono_ms() + OS_PROXY_FIRST_BYTE_MS;
    while (n < max) {
        int64_t left = end - os_clock_mono_ms();
        if (left <= 0 || !stream_wait(&c->client, POLLIN, (int)left))
            return os_error_set(err, OS_DEADLINE_EXCEEDED, "no complete request head within %d s",
                                OS_PROXY_FIRST_BYTE_MS / 1000);
        ssize_t got = recv(c->client.fd, buf + n, max - n, MSG_PEEK);
        if (got <= 0 && (got == 0 || (errno != EAGAIN && errno != EINTR)))
            return 0;
        if (got < 0)
            continue;
        size_t head = http1_head_end(buf, n + (size_t)got, &seen);
        size_t take = head ? head - n : (size_t)got;
        if (recv(c->client.fd, buf + n, take, 0) != (ssize_t)take)
            return 0;
        n += take;
        if (head)
            return (ssize_t)head;
    }
    return os_error_set(err, OS_OUT_OF_RANGE, "request head is longer than %zu bytes", max);
}

void proxy_serve(struct egress_conn *c)
{
    struct os_error err cleanup_error = {0};
    char *buf = os_arena_alloc(&c->arena, OS_PROXY_FIRST_HEADER);
    ssize_t n = read_exact_head(c, buf, OS_PROXY_FIRST_HEADER, &err);
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
