/* Text messages on their way out. */
#include <string.h>

#include "net/websocket/deflate.h"

static void add_masked(struct os_buf *out, const char *p, size_t n, const uint8_t *mask)
{
    size_t at = out->len;
    os_buf_add(out, p, n);
    if (mask && !out->failed && n)
        websocket_mask(out->data + at, n, mask, 0);
}

void websocket_message_original(const struct websocket_message *m, struct os_buf *out)
{
    os_buf_add(out, m->frame.raw, m->frame.raw_n);
    add_masked(out, m->text, m->n, m->frame.masked ? m->frame.mask : NULL);
}

enum websocket_error websocket_message_write(struct os_buf *out, const char *text, size_t n, bool compressed,
                                             const uint8_t *mask)
{
    cleanup_buf struct os_buf payload = {0};
    if (compressed) {
        enum websocket_error e = websocket_deflate(text, n, &payload);
        if (e || payload.failed)
            return WEBSOCKET_ERROR_MEMORY;
        text = payload.data;
        n = payload.len;
    }
    uint8_t header[WEBSOCKET_HEADER_MAX];
    os_buf_add(out, header, websocket_frame_write(header, true, compressed, WEBSOCKET_TEXT, n, mask));
    add_masked(out, text, n, mask);
    return WEBSOCKET_OK;
}
