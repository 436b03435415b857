/* HTTP/1 body framing: finds the end of a body while it is copied through unchanged. */
#include <string.h>

#include "core/encode.h"
#include "net/http1/chars.h"
#include "net/http1/http1.h"

enum state {
    SIZE,       /* hex digits of a chunk size */
    SIZE_SPACE, /* white space behind them */
    EXTENSION,  /* from ';' to CR */
    SIZE_LF,    /* LF of the size line */
    DATA,       /* chunk bytes */
    DATA_CR,    /* CR behind them */
    DATA_LF,    /* LF behind them */
    TRAILER,    /* a byte of the trailer section */
    TRAILER_LF, /* LF of a trailer line */
    FINAL_LF,   /* LF that ends the message */
};

void http1_body_start(struct http1_body *b, enum http1_framing framing, uint64_t length)
{
    *b = (struct http1_body){.framing = framing, .state = SIZE};
    if (framing == HTTP1_LENGTH) {
        b->left = length;
        b->done = length == 0;
    }
    b->done = b->done || framing == HTTP1_NO_BODY;
}

static int refuse(struct os_error *err, const char *what)
{
    return os_error_set(err, OS_INVALID_ARGUMENT, "%s", what);
}

static int size_byte(struct http1_body *b, unsigned char c, struct os_error *err)
{
    int v = os_hex_value((char)c);
    if (v >= 0 && b->state == SIZE) {
        if (b->left > (INT64_MAX >> 4) || b->digits == 16)
            return refuse(err, "chunk size is too large");
        b->left = b->left << 4 | (uint64_t)v;
        b->digits++;
        return 0;
    }
    if (!b->digits)
        return refuse(err, "chunk size is not a hexadecimal number");
    if (c == ' ' || c == '\t')
        b->state = SIZE_SPACE;
    else if (c == ';')
        b->state = EXTENSION;
    else if (c == '\r')
        b->state = SIZE_LF;
    else
        return refuse(err, "chunk size is not a hexadecimal number");
    return 0;
}

static int extension_byte(struct http1_body *b, unsigned char c, struct os_error *err)
{
    if (c == '\r')
        b->state = SIZE_LF;
    else if (!http1_is_value_byte(c))
        return refuse(err, "control byte in a chunk extension");
    return 0;
}

/* A trailer line is a field line: token, ':', value. `digits` counts the bytes of the name, and is UINT32_MAX
 * once the ':' was seen. */
static int trailer_byte(struct http1_body *b, unsigned char c, struct os_error *err)
{
    if (c == '\r') {
        if (b->line_start)
            b->state = FINAL_LF;
        else if (b->digits == UINT32_MAX)
            b->state = TRAILER_LF;
        else
            return refuse(err, "trailer line without ':'");
        return 0;
    }
    b->line_start = false;
    b->trailers = true;
    char byte = (char)c;
    if (b->digits == UINT32_MAX)
        return http1_is_value_byte(c) ? 0 : refuse(err, "control byte in a trailer");
    if (c == ':' && b->digits) {
        b->digits = UINT32_MAX;
        return 0;
    }
    b->digits++;
    return http1_is_token((struct http1_text){&byte, 1}) ? 0 : refuse(err, "trailer name is not a token");
}

static int expect(struct http1_body *b, unsigned char c, unsigned char want, int next, struct os_error *err)
{
    if (c != want)
        return refuse(err, "chunk is not framed by CR LF");
    b->state = next;
    return 0;
}

static int line_byte(struct http1_body *b, unsigned char c, struct os_error *err)
{
    switch ((enum state)b->state) {
    case SIZE:
    case SIZE_SPACE:
        return size_byte(b, c, err);
    case EXTENSION:
        return extension_byte(b, c, err);
    case SIZE_LF:
        b->line = 0;
        b->digits = 0;
        b->line_start = b->left == 0;
        return expect(b, c, '\n', b->left ? DATA : TRAILER, err);
    case DATA_CR:
        return expect(b, c, '\r', DATA_LF, err);
    case DATA_LF:
        b->line = 0;
        b->digits = 0;
        return expect(b, c, '\n', SIZE, err);
    case TRAILER:
        return trailer_byte(b, c, err);
    case TRAILER_LF:
        b->line_start = true;
        b->digits = 0;
        return expect(b, c, '\n', TRAILER, err);
    case FINAL_LF:
        b->done = c == '\n';
        return expect(b, c, '\n', TRAILER, err);
    case DATA:
        break;
    }
    return 0;
}

static int64_t feed_chunked(struct http1_body *b, const char *p, size_t n, struct os_buf *payload,
                            struct os_error *err)
{
    size_t at = 0;
    while (at < n && !b->done) {
        if (b->state == DATA) {
            size_t take = n - at < b->left ? n - at : (size_t)b->left;
            if (payload)
                os_buf_add(payload, p + at, take);
            at += take;
            b->left -= take;
            if (!b->left)
                b->state = DATA_CR;
            continue;
        }
        if (++b->line > OS_HTTP1_CHUNK_LINE)
            return refuse(err, "chunk line or trailer section is too long");
        if (line_byte(b, (unsigned char)p[at], err) < 0)
            return -1;
        at++;
    }
    return (int64_t)at;
}

int64_t http1_body_feed(struct http1_body *b, const char *p, size_t n, struct os_error *err)
{
    return http1_body_decode(b, p, n, NULL, err);
}

int64_t http1_body_decode(struct http1_body *b, const char *p, size_t n, struct os_buf *payload,
                          struct os_error *err)
{
    if (b->done)
        return 0;
    if (b->framing == HTTP1_CHUNKED)
        return feed_chunked(b, p, n, payload, err);
    size_t take = n < b->left ? n : (size_t)b->left;
    if (payload)
        os_buf_add(payload, p, take);
    b->left -= take;
    b->done = b->left == 0;
    return (int64_t)take;
}
