/* Bounded byte buffer: everything that comes from outside is collected in one of these, and every text that
 * is built goes through one. Writes past the maximum or out of memory set `failed` and change nothing, so a
 * sequence of appends needs one check at the end. */
#ifndef OS_CORE_BUF_H
#define OS_CORE_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct os_buf {
    char *data; /* always NUL-terminated after the first append; NULL before */
    size_t len;
    size_t cap;
    size_t max; /* bytes; 0 = OS_BUF_DEFAULT_MAX */
    bool failed;
};

/* 64 MiB: a backstop for buffers whose real bound is checked elsewhere. */
#define OS_BUF_DEFAULT_MAX ((size_t)64 << 20)

#define cleanup_buf __attribute__((cleanup(os_buf_free)))

void os_buf_free(struct os_buf *b);
/* Bytes it may hold: max, or the default. */
size_t os_buf_max(const struct os_buf *b);
/* Makes room for n more bytes; false (and failed) when that would pass max. */
bool os_buf_reserve(struct os_buf *b, size_t n);
void os_buf_add(struct os_buf *b, const void *data, size_t n);
void os_buf_adds(struct os_buf *b, const char *s);
void os_buf_addc(struct os_buf *b, char c);
void os_buf_addf(struct os_buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void os_buf_vaddf(struct os_buf *b, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
/* Drops the first n bytes (n <= len). */
void os_buf_consume(struct os_buf *b, size_t n);
void os_buf_clear(struct os_buf *b);
/* Text so far, "" when empty; valid until the next change. */
const char *os_buf_str(const struct os_buf *b);
/* Takes the text out (caller frees); NULL when failed. The buffer is empty afterwards. */
char *os_buf_take(struct os_buf *b);

#endif
