/* Bounded byte buffer. */
#include "core/buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void os_buf_free(struct os_buf *b)
{
    free(b->data);
    *b = (struct os_buf){.max = b->max};
}

size_t os_buf_max(const struct os_buf *b)
{
    return b->max ? b->max : OS_BUF_DEFAULT_MAX;
}

bool os_buf_reserve(struct os_buf *b, size_t n)
{
    size_t max = os_buf_max(b);
    if (b->failed || n > max || b->len > max - n) {
        b->failed = true;
        return false;
    }
    size_t need = b->len + n + 1;
    if (need <= b->cap)
        return true;
    size_t cap = b->cap ? b->cap : 64;
    while (cap < need)
        cap *= 2;
    char *data = realloc(b->data, cap);
    if (!data) {
        b->failed = true;
        return false;
    }
    b->data = data;
    b->cap = cap;
    return true;
}

void os_buf_add(struct os_buf *b, const void *data, size_t n)
{
    if (!os_buf_reserve(b, n))
        return;
    if (n)
        memcpy(b->data + b->len, data, n);
    b->len += n;
    b->data[b->len] = '\0';
}

void os_buf_adds(struct os_buf *b, const char *s)
{
    os_buf_add(b, s, strlen(s));
}

void os_buf_addc(struct os_buf *b, char c)
{
    os_buf_add(b, &c, 1);
}

void os_buf_vaddf(struct os_buf *b, const char *fmt, va_list ap)
{
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    if (n < 0)
        b->failed = true;
    else if (os_buf_reserve(b, (size_t)n)) {
        vsnprintf(b->data + b->len, (size_t)n + 1, fmt, again);
        b->len += (size_t)n;
    }
    va_end(again);
}

void os_buf_addf(struct os_buf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    os_buf_vaddf(b, fmt, ap);
    va_end(ap);
}

void os_buf_consume(struct os_buf *b, size_t n)
{
    if (n >= b->len) {
        os_buf_clear(b);
        return;
    }
    memmove(b->data, b->data + n, b->len - n + 1);
    b->len -= n;
}

void os_buf_clear(struct os_buf *b)
{
    b->len = 0;
    b->failed = false;
    if (b->data)
        b->data[0] = '\0';
}

const char *os_buf_str(const struct os_buf *b)
{
    return b->data ? b->data : "";
}

char *os_buf_take(struct os_buf *b)
{
    if (b->failed || !os_buf_reserve(b, 0))
        return NULL;
    b->data[b->len] = '\0';
    char *s = b->data;
    *b = (struct os_buf){.max = b->max};
    return s;
}
