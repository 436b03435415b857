/* The same bytes whole and in pieces must give the same messages and the same end; texts of metadata and
 * HTTP/1.1 heads are parsed from them as well. */
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "rpc/frame.h"

#define LIMIT 4096

struct result {
    size_t messages, bytes;
    unsigned sum;
    enum rpc_frame_result end;
};

/* Takes every complete message off the front of data; returns the bytes taken. */
static size_t take(const uint8_t *data, size_t n, struct result *r)
{
    size_t off = 0;
    for (;;) {
        const uint8_t *msg;
        size_t len;
        r->end = rpc_frame_peek(data + off, n - off, LIMIT, &msg, &len);
        if (r->end != RPC_FRAME_MESSAGE)
            return off;
        if (len > LIMIT || msg != data + off + RPC_FRAME_PREFIX || len > n - off - RPC_FRAME_PREFIX)
            abort();
        uint8_t prefix[RPC_FRAME_PREFIX];
        rpc_frame_prefix(prefix, len);
        if (memcmp(prefix, data + off, sizeof(prefix)) != 0)
            abort();
        for (size_t i = 0; i < len; i++)
            r->sum = r->sum * 31 + msg[i];
        r->messages++;
        r->bytes += len;
        off += RPC_FRAME_PREFIX + len;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n < 1)
        return 0;
    size_t step = data[0] % 37 + 1;
    data++;
    n--;
    struct result whole = {0}, pieces = {0};
    take(data, n, &whole);
    struct os_buf held = {0};
    bool dead = false;
    for (size_t at = 0; at < n && !dead; at += step) {
        os_buf_add(&held, data + at, n - at < step ? n - at : step);
        os_buf_consume(&held, take((const uint8_t *)held.data, held.len, &pieces));
        dead = pieces.end != RPC_FRAME_MORE;
        if (!dead && held.len > LIMIT + RPC_FRAME_PREFIX)
            abort();
    }
    os_buf_free(&held);
    if (whole.messages != pieces.messages || whole.bytes != pieces.bytes || whole.sum != pieces.sum ||
        whole.end != pieces.end)
        abort();
    return 0;
}
