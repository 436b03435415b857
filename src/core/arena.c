/* Bump allocator. */
#include "core/arena.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/str.h"

struct os_arena_block {
    struct os_arena_block *next;
    size_t used, cap;
    _Alignas(16) char data[];
};

#define BLOCK_MIN 4000

void *os_arena_alloc(struct os_arena *a, size_t n)
{
    n = (n + 15) & ~(size_t)15;
    struct os_arena_block *b = a->head;
    if (!b || b->cap - b->used < n) {
        size_t cap = n > BLOCK_MIN ? n : BLOCK_MIN;
        b = os_calloc(1, sizeof(*b) + cap);
        b->cap = cap;
        b->next = a->head;
        a->head = b;
    }
    void *p = b->data + b->used;
    b->used += n;
    return p;
}

void *os_arena_memdup(struct os_arena *a, const void *p, size_t n)
{
    void *q = os_arena_alloc(a, n ? n : 1);
    if (n)
        memcpy(q, p, n);
    return q;
}

char *os_arena_strndup(struct os_arena *a, const char *s, size_t n)
{
    char *q = os_arena_alloc(a, n + 1);
    memcpy(q, s, n);
    return q;
}

char *os_arena_strdup(struct os_arena *a, const char *s)
{
    return os_arena_strndup(a, s, strlen(s));
}

char *os_arena_printf(struct os_arena *a, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    char *s = os_arena_alloc(a, n < 0 ? 1 : (size_t)n + 1);
    if (n > 0)
        vsnprintf(s, (size_t)n + 1, fmt, again);
    va_end(again);
    va_end(ap);
    return s;
}

void os_arena_free(struct os_arena *a)
{
    while (a->head) {
        struct os_arena_block *b = a->head;
        a->head = b->next;
        free(b);
    }
}
