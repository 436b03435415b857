/* Request heads inside a connection: reading the next one, and writing what goes upstream. */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "core/clock.h"
#include "supervisor/egress/internal.h"

/* Waits for the first byte of a request. The upstream ending or speaking unasked ends the wait. */
static bool wait_request(struct egress_stream *s, struct egress_stream *other, int timeout_ms)
{
    for (;;) {
        struct pollfd p[] = {{.fd = s->fd, .events = s->read_wants},
                             {.fd = other ? other->fd : -1, .events = POLLIN}};
        int n = poll(p, 2, timeout_ms);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        if (p[0].revents)
            return true;
        /* TLS sends session tickets at any time; anything else is not for us. */
        if (stream_fill(other) != STREAM_AGAIN)
            return false;
    }
}

ssize_t head_read(struct egress_stream *s, struct egress_stream *other, size_t max, int first_ms,
                  struct os_error *err)
{
    size_t seen = 0;
    int64_t end = 0;
    for (;;) {
        size_t have = stream_buffered(s), n = have ? http1_head_end(stream_bytes(s), have, &seen) : 0;
        if (n > max || (!n && have >= max))
            return os_error_set(err, OS_OUT_OF_RANGE, "request head is longer than %zu bytes", max);
        if (n)
            return (ssize_t)n;
        if (have && !end)
            end = os_clock_mono_ms() + OS_PROXY_FIRST_BYTE_MS;
        ssize_t got = stream_decrypted(s) || have ? stream_fill(s) : STREAM_AGAIN;
        if (got == STREAM_AGAIN && !have) {
            if (!wait_request(s, other, first_ms))
                return 0;
            got = stream_fill(s);
        } else if (got == STREAM_AGAIN) {
            int64_t left = end - os_clock_mono_ms();
            if (left <= 0 || !stream_wait(s, s->read_wants, (int)left))
                return os_error_set(err, OS_DEADLINE_EXCEEDED, "no complete request head within %d s",
                                    OS_PROXY_FIRST_BYTE_MS / 1000);
        }
        if (got == 0 || got == STREAM_FAIL)
            return have ? os_error_set(err, OS_UNAVAILABLE, "connection closed inside a request head") : 0;
    }
}

/* Fields that concern the proxy alone. */
static bool is_proxy_field(const struct http1_field *f)
{
    return http1_text_is_nocase(f->name, "host") || http1_text_is_nocase(f->name, "proxy-connection") ||
           http1_text_is_nocase(f->name, "proxy-authorization") ||
           http1_text_is_nocase(f->name, "proxy-authenticate");
}

/* Fields that a body frames itself with, and the question that was answered when it was read. */
static bool is_framing_field(const struct http1_field *f)
{
    return http1_text_is_nocase(f->name, "content-length") ||
           http1_text_is_nocase(f->name, "transfer-encoding") || http1_text_is_nocase(f->name, "trailer") ||
           http1_text_is_nocase(f->name, "expect");
}

bool request_field_passes(const struct egress_request *r, const struct http1_field *f, bool forward)
{
    return !http1_is_hop_field(r->head, f) && !(forward && is_proxy_field(f)) &&
           !(r->body_read && is_framing_field(f)) &&
           !(r->reads_messages && http1_text_is_nocase(f->name, "sec-websocket-extensions"));
}

void request_write_head(struct egress_request *r, bool forward, const char *host_field)
{
    const struct http1_head *h = r->head;
    struct os_buf *out = &r->out;
    bool absolute = forward && r->conn->asks_proxy;
    os_buf_addf(out, "%s %s%s%s", r->method, absolute ? "http://" : "", absolute ? host_field : "",
                r->target.path);
    if (r->target.query)
        os_buf_addf(out, "?%s", r->target.query);
    os_buf_addf(out, " HTTP/1.%d\r\n", h->minor);
    for (size_t i = 0; i < h->n_fields; i++) {
        const struct http1_field *f = &h->fields[i];
        if (!request_field_passes(r, f, forward))
            continue;
        os_buf_add(out, f->name.p, f->name.n);
        os_buf_adds(out, ": ");
        os_buf_add(out, f->value.p, f->value.n);
        os_buf_adds(out, "\r\n");
    }
    if (forward && !http1_find(h, "via", NULL))
        os_buf_adds(out, "Via: 1.1 openshell-sandbox\r\n");
    if (forward)
        os_buf_addf(out, "Host: %s\r\n", host_field);
    if (r->kind == POLICY_HTTP_UPGRADE)
        upgrade_write_fields(r, out);
    if (r->body_read)
        os_buf_addf(out, "Content-Length: %zu\r\n", r->body.len);
    os_buf_adds(out, "\r\n");
}
