/* Messages through zlib: raw deflate, each with a window of its own, the end marker of RFC 7692 7.2.1 taken
 * off and put back. */
#include "net/websocket/deflate.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define CHUNK 8192 /* bytes of output at a time; on the stack */

static const uint8_t end_marker[] = {0x00, 0x00, 0xff, 0xff};

struct websocket_inflater {
    z_stream z;
    bool ended; /* behind a block that says it is the last; another stream may follow (RFC 7692 7.2.3.4) */
};

struct websocket_inflater *websocket_inflater_new(void)
{
    struct websocket_inflater *i = calloc(1, sizeof(*i));
    if (i && inflateInit2(&i->z, -MAX_WBITS) != Z_OK) {
        free(i);
        return NULL;
    }
    return i;
}

void websocket_inflater_free(struct websocket_inflater *i)
{
    if (!i)
        return;
    inflateEnd(&i->z);
    free(i);
}

/* One call of inflate(). */
static enum websocket_error inflate_some(struct websocket_inflater *i, struct os_buf *out)
{
    uint8_t chunk[CHUNK];
    uInt before = i->z.avail_in;
    if (i->ended && inflateReset(&i->z) != Z_OK)
        return WEBSOCKET_ERROR_DEFLATE;
    i->z.next_out = chunk;
    i->z.avail_out = sizeof(chunk);
    int rc = inflate(&i->z, Z_SYNC_FLUSH);
    i->ended = rc == Z_STREAM_END;
    if (rc == Z_MEM_ERROR)
        return WEBSOCKET_ERROR_MEMORY;
    if (rc != Z_OK && rc != Z_STREAM_END && rc != Z_BUF_ERROR)
        return WEBSOCKET_ERROR_DEFLATE;
    size_t made = sizeof(chunk) - i->z.avail_out;
    if (!made && before == i->z.avail_in && before)
        return WEBSOCKET_ERROR_DEFLATE;
    if (made > out->max - out->len)
        return WEBSOCKET_ERROR_TEXT_SIZE;
    os_buf_add(out, chunk, made);
    return out->failed ? WEBSOCKET_ERROR_MEMORY : WEBSOCKET_OK;
}

enum websocket_error websocket_inflate(struct websocket_inflater *i, const uint8_t *p, size_t n,
                                       struct os_buf *out)
{
    _Static_assert(OS_WEBSOCKET_TEXT <= UINT_MAX, "zlib counts in unsigned int");
    i->z.next_in = (Bytef *)p;
    i->z.avail_in = (uInt)n;
    i->z.avail_out = 1;
    while (i->z.avail_in || (!i->z.avail_out && !i->ended)) {
        enum websocket_error e = inflate_some(i, out);
        if (e)
            return e;
    }
    return WEBSOCKET_OK;
}

enum websocket_error websocket_inflate_end(struct websocket_inflater *i, struct os_buf *out)
{
    enum websocket_error e = websocket_inflate(i, end_marker, sizeof(end_marker), out);
    /* 128: zlib stands between two blocks. */
    return e ? e : i->ended || (i->z.data_type & 128) ? WEBSOCKET_OK : WEBSOCKET_ERROR_DEFLATE;
}

static enum websocket_error deflate_all(z_stream *z, struct os_buf *out)
{
    uint8_t chunk[CHUNK];
    do {
        z->next_out = chunk;
        z->avail_out = sizeof(chunk);
        if (deflate(z, Z_SYNC_FLUSH) == Z_STREAM_ERROR)
            return WEBSOCKET_ERROR_MEMORY;
        os_buf_add(out, chunk, sizeof(chunk) - z->avail_out);
    } while (!z->avail_out);
    return WEBSOCKET_OK;
}

enum websocket_error websocket_deflate(const char *text, size_t n, struct os_buf *out)
{
    z_stream z = {.next_in = (Bytef *)text, .avail_in = (uInt)n};
    if (n > UINT_MAX ||
        deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        return WEBSOCKET_ERROR_MEMORY;
    enum websocket_error e = deflate_all(&z, out);
    deflateEnd(&z);
    if (!e && !out->failed)
        out->len -= sizeof(end_marker);
    return e;
}
