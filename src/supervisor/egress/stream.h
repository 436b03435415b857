/* One side of a connection: a non-blocking socket, plain or under TLS, with a read buffer in front. */
#ifndef SUPERVISOR_EGRESS_STREAM_H
#define SUPERVISOR_EGRESS_STREAM_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "core/error.h"

enum { STREAM_AGAIN = -1, STREAM_FAIL = -2 };

struct egress_stream {
    int fd;     /* -1 = closed */
    SSL *ssl;   /* NULL = plain */
    SSL *outer; /* ssl runs inside of it, to the operator's https:// proxy; NULL = on the socket */
    char *buf;
    size_t from, to;               /* bytes read and not consumed: buf[from..to) */
    short read_wants, write_wants; /* poll events that the last STREAM_AGAIN waits for */
    bool ended;                    /* our direction was closed */
};

/* Takes the socket and makes it non-blocking. */
void stream_open(struct egress_stream *s, int fd);
/* Frees everything but leaves closing the socket to the caller. */
void stream_free(struct egress_stream *s);
static inline size_t stream_buffered(const struct egress_stream *s)
{
    return s->to - s->from;
}
static inline const char *stream_bytes(const struct egress_stream *s)
{
    return s->buf + s->from;
}
void stream_consume(struct egress_stream *s, size_t n);

/* Copies what can be read without taking it: bytes, 0 at the end, STREAM_AGAIN, STREAM_FAIL. stream_take then
 * takes up to that many of them. Only before the first stream_fill. */
ssize_t stream_peek(struct egress_stream *s, void *p, size_t n);
ssize_t stream_take(struct egress_stream *s, void *p, size_t n);
/* One read into the buffer: bytes read, 0 at the end, STREAM_AGAIN, STREAM_FAIL (also when the buffer is
 * full, and for TLS that ended without saying so). */
ssize_t stream_fill(struct egress_stream *s);
/* One write: bytes written (at least 1), STREAM_AGAIN or STREAM_FAIL. */
ssize_t stream_write(struct egress_stream *s, const void *p, size_t n);
/* Writes everything; -1 when it fails or does not finish in time. */
int stream_send(struct egress_stream *s, const void *p, size_t n, int timeout_ms);
/* TLS has bytes that a poll on the socket does not show. */
bool stream_decrypted(const struct egress_stream *s);
/* Completes the handshake of s->ssl: 0, or 1 when it is held behind a ClientHello and goes on with the next
 * call; -1 with *err, and s->ssl stays for the reason. */
int stream_handshake(struct egress_stream *s, int timeout_ms, struct os_error *err);
/* Ends our direction. */
void stream_end(struct egress_stream *s);
/* Ends our direction and waits a moment for the peer to read it: an answer is not lost to a reset. */
void stream_finish(struct egress_stream *s);
/* The connection will be reset when it is closed. */
void stream_reset(struct egress_stream *s);
enum copy_step { COPY_IDLE, COPY_MOVED, COPY_ENDED /* nothing more comes */, COPY_BROKEN };
/* Moves what can be moved now from one stream to another, through the buffer of the first. */
enum copy_step stream_copy(struct egress_stream *from, struct egress_stream *to);
/* Waits for events on the socket; true when there are some. timeout_ms -1 = no limit. */
bool stream_wait(const struct egress_stream *s, short events, int timeout_ms);

#endif
