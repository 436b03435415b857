/* Frame headers, masks, close payloads (RFC 6455 5.2, 5.3, 5.5, 7.4). */
#include <string.h>

#include "core/str.h"
#include "net/websocket/websocket.h"

static const struct {
    uint16_t code;
    const char *detail;
} errors[] = {
    [WEBSOCKET_OK] = {0, ""},
#define ERROR(name, code, detail) [WEBSOCKET_ERROR_##name] = {(code), (detail)},
#include "net/websocket/tbl/errors.h"
#undef ERROR
};

uint16_t websocket_error_code(enum websocket_error e)
{
    return errors[e].code;
}

const char *websocket_error_detail(enum websocket_error e)
{
    return errors[e].detail;
}

static uint64_t big_endian(const uint8_t *p, size_t n)
{
    uint64_t v = 0;
    for (size_t i = 0; i < n; i++)
        v = v << 8 | p[i];
    return v;
}

static enum websocket_error check_first(uint8_t b)
{
    unsigned opcode = b & 0x0f;
    if (b & 0x30)
        return WEBSOCKET_ERROR_RSV;
    if (opcode > WEBSOCKET_PONG || (opcode > WEBSOCKET_BINARY && opcode < WEBSOCKET_CLOSE))
        return WEBSOCKET_ERROR_OPCODE;
    if (opcode >= WEBSOCKET_CLOSE && (b & 0x40))
        return WEBSOCKET_ERROR_RSV;
    return opcode >= WEBSOCKET_CLOSE && !(b & 0x80) ? WEBSOCKET_ERROR_CONTROL : WEBSOCKET_OK;
}

static enum websocket_error check_length(uint8_t short_length, uint64_t length)
{
    if (short_length == 126 && length < 126)
        return WEBSOCKET_ERROR_LENGTH;
    if (short_length == 127 && (length <= UINT16_MAX || length > INT64_MAX))
        return WEBSOCKET_ERROR_LENGTH;
    return WEBSOCKET_OK;
}

int websocket_frame_read(const uint8_t *p, size_t n, struct websocket_frame *f, enum websocket_error *error)
{
    *error = n ? check_first(p[0]) : WEBSOCKET_OK;
    if (*error)
        return -1;
    if (n < 2)
        return 0;
    uint8_t short_length = p[1] & 0x7f;
    size_t extended = short_length == 126 ? 2 : short_length == 127 ? 8 : 0;
    *f = (struct websocket_frame){.fin = p[0] & 0x80,
                                  .rsv1 = p[0] & 0x40,
                                  .masked = p[1] & 0x80,
                                  .opcode = (enum websocket_opcode)(p[0] & 0x0f)};
    if (f->opcode >= WEBSOCKET_CLOSE && short_length > WEBSOCKET_CONTROL_MAX) {
        *error = WEBSOCKET_ERROR_CONTROL;
        return -1;
    }
    if (n < 2 + extended)
        return 0;
    f->length = extended ? big_endian(p + 2, extended) : short_length;
    *error = check_length(short_length, f->length);
    if (*error)
        return -1;
    f->raw_n = 2 + extended + (f->masked ? 4 : 0);
    if (n < f->raw_n)
        return 0;
    if (f->masked)
        memcpy(f->mask, p + 2 + extended, 4);
    memcpy(f->raw, p, f->raw_n);
    return (int)f->raw_n;
}

size_t websocket_frame_write(uint8_t out[WEBSOCKET_HEADER_MAX], bool fin, bool rsv1,
                             enum websocket_opcode opcode, uint64_t length, const uint8_t *mask)
{
    size_t extended = length > UINT16_MAX ? 8 : length >= 126 ? 2 : 0;
    uint8_t short_length = extended == 8 ? 127 : extended == 2 ? 126 : (uint8_t)length;
    out[0] = (uint8_t)((fin ? 0x80 : 0) | (rsv1 ? 0x40 : 0) | opcode);
    out[1] = (uint8_t)((mask ? 0x80 : 0) | short_length);
    for (size_t i = 0; i < extended; i++)
        out[2 + i] = (uint8_t)(length >> (8 * (extended - 1 - i)));
    if (mask)
        memcpy(out + 2 + extended, mask, 4);
    return 2 + extended + (mask ? 4 : 0);
}

void websocket_mask(void *p, size_t n, const uint8_t mask[4], uint64_t offset)
{
    uint8_t *b = p, turned[8];
    uint64_t word, key;
    for (size_t i = 0; i < 8; i++)
        turned[i] = mask[(offset + i) & 3];
    memcpy(&key, turned, 8);
    for (; n >= 8; n -= 8, b += 8) {
        memcpy(&word, b, 8);
        word ^= key;
        memcpy(b, &word, 8);
    }
    for (size_t i = 0; i < n; i++)
        b[i] ^= turned[i];
}

size_t websocket_close_write(uint8_t out[WEBSOCKET_HEADER_MAX + WEBSOCKET_CONTROL_MAX], uint16_t code,
                             const char *reason, const uint8_t *mask)
{
    size_t n = strnlen(reason, WEBSOCKET_CONTROL_MAX - 2);
    while (n && !os_utf8_valid(reason, n))
        n--;
    size_t at = websocket_frame_write(out, true, false, WEBSOCKET_CLOSE, n + 2, mask);
    out[at] = (uint8_t)(code >> 8);
    out[at + 1] = (uint8_t)code;
    memcpy(out + at + 2, reason, n);
    if (mask)
        websocket_mask(out + at, n + 2, mask, 0);
    return at + n + 2;
}

enum websocket_error websocket_close_check(const uint8_t *payload, size_t n)
{
    if (!n)
        return WEBSOCKET_OK;
    if (n == 1)
        return WEBSOCKET_ERROR_CLOSE_PAYLOAD;
    unsigned code = (unsigned)big_endian(payload, 2);
    bool known =
        (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code <= 4999);
    if (!known)
        return WEBSOCKET_ERROR_CLOSE_PAYLOAD;
    return os_utf8_valid((const char *)payload + 2, n - 2) ? WEBSOCKET_OK : WEBSOCKET_ERROR_UTF8;
}
