/* Hex and base64. */
#include "core/encode.h"

#include <stdint.h>

char *os_hex(const void *data, size_t n, char *out)
{
    static const char digits[] = "0123456789abcdef";
    const unsigned char *p = data;
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[p[i] >> 4];
        out[2 * i + 1] = digits[p[i] & 15];
    }
    out[2 * n] = '\0';
    return out;
}

static void encode(struct os_buf *out, const unsigned char *p, size_t n, const char *tail, bool pad)
{
    static const char common[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    for (size_t i = 0; i < n; i += 3) {
        size_t left = n - i;
        uint32_t v = (uint32_t)p[i] << 16 | (left > 1 ? (uint32_t)p[i + 1] << 8 : 0) |
                     (left > 2 ? (uint32_t)p[i + 2] : 0);
        for (size_t k = 0; k < 4; k++) {
            unsigned six = v >> (18 - 6 * k) & 63;
            if (k > left)
                pad ? os_buf_addc(out, '=') : (void)0;
            else
                os_buf_addc(out, six < 62 ? common[six] : tail[six - 62]);
        }
    }
}

void os_base64_encode(struct os_buf *out, const void *data, size_t n)
{
    encode(out, data, n, "+/", true);
}

void os_base64url_encode(struct os_buf *out, const void *data, size_t n)
{
    encode(out, data, n, "-_", false);
}

static int sextet(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '-' ? 62 : c == '_' ? 63 : -1;
}

/* Bits that are not a whole byte yet. */
struct rest {
    uint32_t v;
    unsigned bits;
};

static void push(struct os_buf *out, struct rest *r, int six)
{
    r->v = r->v << 6 | (uint32_t)six;
    r->bits += 6;
    if (r->bits >= 8) {
        r->bits -= 8;
        os_buf_addc(out, (char)(r->v >> r->bits & 0xff));
    }
}

void os_base64_decode_lenient(struct os_buf *out, const char *text, size_t n)
{
    struct rest r = {0};
    for (size_t i = 0; i < n && text[i] != '='; i++) {
        int s = text[i] == '+' ? 62 : text[i] == '/' ? 63 : sextet(text[i]);
        if (s < 0)
            continue;
        push(out, &r, s);
    }
}

bool os_base64url_decode(struct os_buf *out, const char *text, size_t n)
{
    while (n && text[n - 1] == '=')
        n--;
    if (n % 4 == 1)
        return false;
    struct rest r = {0};
    for (size_t i = 0; i < n; i++) {
        int s = sextet(text[i]);
        if (s < 0)
            return false;
        push(out, &r, s);
    }
    return !out->failed && (r.v & ((1u << r.bits) - 1)) == 0;
}
