/* Socket or TLS, read buffer, deadlines. */
#include "supervisor/egress/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "core/clock.h"
#include "core/limits.h"
#include "core/str.h"
#include "net/tls.h"

#define BUFFER OS_PROXY_HEADER

void stream_open(struct egress_stream *s, int fd)
{
    *s = (struct egress_stream){.fd = fd, .read_wants = POLLIN, .write_wants = POLLOUT};
    int flags = fcntl(fd, F_GETFL);
    if (flags >= 0)
        fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

void stream_free(struct egress_stream *s)
{
    SSL_free(s->ssl);
    SSL_free(s->outer);
    free(s->buf);
    s->ssl = s->outer = NULL;
    s->buf = NULL;
    s->from = s->to = 0;
}

void stream_consume(struct egress_stream *s, size_t n)
{
    s->from += n;
    if (s->from == s->to)
        s->from = s->to = 0;
}

bool stream_wait(const struct egress_stream *s, short events, int timeout_ms)
{
    struct pollfd p = {.fd = s->fd, .events = events};
    int64_t end = os_clock_mono_ms() + timeout_ms;
    for (;;) {
        int n = poll(&p, 1, timeout_ms);
        if (n >= 0 || errno != EINTR)
            return n > 0;
        if (timeout_ms >= 0) {
            int64_t left = end - os_clock_mono_ms();
            timeout_ms = left > 0 ? (int)left : 0;
        }
    }
}

/* What an OpenSSL call that returned r <= 0 means; *wants gets the poll events for STREAM_AGAIN. */
static ssize_t tls_outcome(SSL *ssl, int r, short *wants)
{
    switch (SSL_get_error(ssl, r)) {
    case SSL_ERROR_WANT_READ:
        *wants = POLLIN;
        return STREAM_AGAIN;
    case SSL_ERROR_WANT_WRITE:
        *wants = POLLOUT;
        return STREAM_AGAIN;
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    default:
        return STREAM_FAIL;
    }
}

static ssize_t tls_read(struct egress_stream *s, void *p, size_t n)
{
    ERR_clear_error();
    int r = SSL_read(s->ssl, p, (int)n);
    return r > 0 ? r : tls_outcome(s->ssl, r, &s->read_wants);
}

static ssize_t plain_read(const struct egress_stream *s, void *p, size_t n, int flags)
{
    for (;;) {
        ssize_t r = recv(s->fd, p, n, flags);
        if (r >= 0)
            return r;
        if (errno == EAGAIN)
            return STREAM_AGAIN;
        if (errno != EINTR)
            return STREAM_FAIL;
    }
}

ssize_t stream_take(struct egress_stream *s, void *p, size_t n)
{
    return s->ssl ? tls_read(s, p, n) : plain_read(s, p, n, 0);
}

ssize_t stream_peek(struct egress_stream *s, void *p, size_t n)
{
    if (!s->ssl)
        return plain_read(s, p, n, MSG_PEEK);
    ERR_clear_error();
    int r = SSL_peek(s->ssl, p, (int)n);
    return r > 0 ? r : tls_outcome(s->ssl, r, &s->read_wants);
}

ssize_t stream_fill(struct egress_stream *s)
{
    if (!s->buf) {
        s->buf = malloc(BUFFER);
        if (!s->buf)
            return STREAM_FAIL;
    }
    if (s->to == BUFFER && s->from) {
        memmove(s->buf, s->buf + s->from, s->to - s->from);
        s->to -= s->from;
        s->from = 0;
    }
    if (s->to == BUFFER)
        return STREAM_FAIL;
    size_t room = BUFFER - s->to;
    ssize_t n = stream_take(s, s->buf + s->to, room);
    if (n > 0)
        s->to += (size_t)n;
    return n;
}

ssize_t stream_write(struct egress_stream *s, const void *p, size_t n)
{
    if (s->ssl) {
        ERR_clear_error();
        int r = SSL_write(s->ssl, p, (int)(n < (1 << 20) ? n : 1 << 20));
        if (r > 0)
            return r;
        ssize_t outcome = tls_outcome(s->ssl, r, &s->write_wants);
        return outcome ? outcome : STREAM_FAIL;
    }
    for (;;) {
        ssize_t r = send(s->fd, p, n, MSG_NOSIGNAL);
        if (r > 0)
            return r;
        if (r < 0 && errno == EAGAIN)
            return STREAM_AGAIN;
        if (r == 0 || errno != EINTR)
            return STREAM_FAIL;
    }
}

int stream_send(struct egress_stream *s, const void *p, size_t n, int timeout_ms)
{
    const char *at = p;
    int64_t end = os_clock_mono_ms() + timeout_ms;
    while (n) {
        ssize_t r = stream_write(s, at, n);
        if (r > 0) {
            at += r;
            n -= (size_t)r;
            continue;
        }
        int64_t left = end - os_clock_mono_ms();
        if (r == STREAM_FAIL || left <= 0 || !stream_wait(s, s->write_wants, (int)left))
            return -1;
    }
    return 0;
}

bool stream_decrypted(const struct egress_stream *s)
{
    return (s->ssl && SSL_pending(s->ssl) > 0) || (s->outer && SSL_pending(s->outer) > 0);
}

int stream_handshake(struct egress_stream *s, int timeout_ms, struct os_error *err)
{
    int64_t end = os_clock_mono_ms() + timeout_ms;
    for (;;) {
        short wants = POLLIN;
        ERR_clear_error();
        int r = SSL_do_handshake(s->ssl);
        if (r == 1)
            return 0;
        if (SSL_want_client_hello_cb(s->ssl))
            return 1;
        if (tls_outcome(s->ssl, r, &wants) != STREAM_AGAIN)
            return net_tls_error_of(s->ssl, err, "TLS handshake failed");
        int64_t left = end - os_clock_mono_ms();
        if (left <= 0 || !stream_wait(s, wants, (int)left))
            return os_error_set(err, OS_DEADLINE_EXCEEDED, "TLS handshake timed out");
    }
}

enum copy_step stream_copy(struct egress_stream *from, struct egress_stream *to)
{
    enum copy_step step = COPY_IDLE;
    if (!stream_buffered(from)) {
        ssize_t n = stream_fill(from);
        if (n == STREAM_AGAIN)
            return COPY_IDLE;
        if (n <= 0)
            return n == 0 ? COPY_ENDED : COPY_BROKEN;
        step = COPY_MOVED;
    }
    ssize_t n = stream_write(to, stream_bytes(from), stream_buffered(from));
    if (n == STREAM_AGAIN)
        return step;
    if (n < 0)
        return COPY_BROKEN;
    stream_consume(from, (size_t)n);
    return COPY_MOVED;
}

void stream_end(struct egress_stream *s)
{
    if (s->fd < 0 || s->ended)
        return;
    s->ended = true;
    if (s->ssl && SSL_is_init_finished(s->ssl)) {
        ERR_clear_error();
        SSL_shutdown(s->ssl);
        if (s->outer)
            SSL_shutdown(s->outer);
    }
    shutdown(s->fd, SHUT_WR);
}

void stream_finish(struct egress_stream *s)
{
    if (s->fd < 0 || s->ended)
        return;
    stream_end(s);
    char sink[4096];
    int64_t end = os_clock_mono_ms() + OS_PROXY_LINGER_MS;
    for (;;) {
        ssize_t n = recv(s->fd, sink, sizeof(sink), 0);
        int64_t left = end - os_clock_mono_ms();
        if (n == 0 || left <= 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
            return;
        if (n < 0 && !stream_wait(s, POLLIN, (int)left))
            return;
    }
}

void stream_reset(struct egress_stream *s)
{
    struct linger now = {.l_onoff = 1};
    if (s->fd >= 0)
        setsockopt(s->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
}
