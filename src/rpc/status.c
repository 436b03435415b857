/* Text forms of gRPC metadata. */
#include "rpc/status.h"

#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <string.h>

#include "core/encode.h"
#include "core/limits.h"
#include "core/str.h"

#define TIMEOUT_MAX_MS (10LL * 365 * 24 * 3600 * 1000)

/* Bytes of the UTF-8 character that starts at s. */
static size_t char_len(const char *s)
{
    size_t n = 1;
    while (((unsigned char)s[n] & 0xC0) == 0x80)
        n++;
    return n;
}

void rpc_message_encode(struct os_buf *out, const char *text)
{
    size_t start = out->len;
    for (const char *p = text; *p;) {
        size_t n = char_len(p);
        if (out->len - start + 3 * n > OS_LIMIT_STATUS_MESSAGE)
            return;
        for (const char *end = p + n; p < end; p++) {
            unsigned char c = (unsigned char)*p;
            if (c >= 0x20 && c <= 0x7e && c != '%')
                os_buf_addc(out, (char)c);
            else
                os_buf_addf(out, "%%%02X", c);
        }
    }
}

void rpc_message_decode(struct os_buf *out, const char *value, size_t n)
{
    size_t start = out->len;
    for (size_t i = 0; i < n; i++) {
        int hi = -1, lo = -1;
        if (value[i] == '%' && n - i > 2) {
            hi = os_hex_value(value[i + 1]);
            lo = os_hex_value(value[i + 2]);
        }
        char c = value[i];
        if (hi >= 0 && lo >= 0) {
            c = (char)(hi * 16 + lo);
            i += 2;
        }
        if (((unsigned char)c < 0x20 && c != '\n' && c != '\t') || c == 0x7f)
            c = '?';
        os_buf_addc(out, c);
    }
    if (!out->failed && out->len > start)
        os_utf8_force(out->data + start, out->len - start);
}

enum os_code rpc_status_parse(const char *value, size_t n)
{
    uint64_t code;
    if (!os_str_u64n(value, n, OS_UNAUTHENTICATED, &code))
        return OS_UNKNOWN;
    return (enum os_code)code;
}

bool rpc_timeout_parse(const char *value, int64_t *ms)
{
    size_t n = strlen(value);
    uint64_t v;
    if (n < 2 || n > 9 || !os_str_u64n(value, n - 1, 99999999, &v))
        return false;
    switch (value[n - 1]) {
    case 'H':
        v *= 3600000;
        break;
    case 'M':
        v *= 60000;
        break;
    case 'S':
        v *= 1000;
        break;
    case 'm':
        break;
    case 'u':
        v = (v + 999) / 1000;
        break;
    case 'n':
        v = (v + 999999) / 1000000;
        break;
    default:
        return false;
    }
    *ms = v > TIMEOUT_MAX_MS ? TIMEOUT_MAX_MS : (int64_t)v;
    return true;
}

const char *rpc_timeout_text(int64_t ms, char out[RPC_TIMEOUT_TEXT])
{
    if (ms < 0)
        ms = 0;
    if (ms <= 99999999)
        snprintf(out, RPC_TIMEOUT_TEXT, "%dm", (int)ms);
    else
        snprintf(out, RPC_TIMEOUT_TEXT, "%dS", (int)(ms / 1000 > 99999999 ? 99999999 : ms / 1000));
    return out;
}

enum os_code rpc_code_of_http(int status)
{
    switch (status) {
    case 400:
    case 431:
        return OS_INTERNAL;
    case 401:
        return OS_UNAUTHENTICATED;
    case 403:
        return OS_PERMISSION_DENIED;
    case 404:
        return OS_UNIMPLEMENTED;
    case 429:
    case 502:
    case 503:
    case 504:
        return OS_UNAVAILABLE;
    default:
        return OS_UNKNOWN;
    }
}

enum os_code rpc_code_of_h2(uint32_t error_code)
{
    switch (error_code) {
    case NGHTTP2_REFUSED_STREAM:
        return OS_UNAVAILABLE;
    case NGHTTP2_CANCEL:
        return OS_CANCELLED;
    case NGHTTP2_ENHANCE_YOUR_CALM:
        return OS_RESOURCE_EXHAUSTED;
    case NGHTTP2_INADEQUATE_SECURITY:
        return OS_PERMISSION_DENIED;
    default:
        return OS_INTERNAL;
    }
}
