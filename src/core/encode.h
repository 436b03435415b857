/* Hex and base64 (RFC 4648). */
#ifndef OS_CORE_ENCODE_H
#define OS_CORE_ENCODE_H

#include <stdbool.h>
#include <stddef.h>

#include "core/buf.h"

/* Lower-case hex text of n bytes into out (2n + 1 bytes). Returns out. */
char *os_hex(const void *data, size_t n, char *out);
/* Value of a hex digit in either case, -1 for any other byte. */
static inline int os_hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

void os_base64_encode(struct os_buf *out, const void *data, size_t n);
/* URL-safe alphabet without padding (JWT). */
void os_base64url_encode(struct os_buf *out, const void *data, size_t n);
/* Strict decoding of either alphabet; padding optional for url. False on any other byte. */
bool os_base64url_decode(struct os_buf *out, const char *text, size_t n);
/* As the most forgiving reader would: both alphabets, other bytes skipped, everything up to the end or '='.
 */
void os_base64_decode_lenient(struct os_buf *out, const char *text, size_t n);

#endif
