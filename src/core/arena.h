/* Bump allocator: one per request or RPC, freed at once. Not thread safe. Allocation failure aborts: arenas
 * hold bounded control-plane data only. */
#ifndef OS_CORE_ARENA_H
#define OS_CORE_ARENA_H

#include <stddef.h>

struct os_arena_block;

struct os_arena {
    struct os_arena_block *head;
};

#define cleanup_arena __attribute__((cleanup(os_arena_free)))

/* Zeroed memory, aligned for any type. */
void *os_arena_alloc(struct os_arena *a, size_t n);
char *os_arena_strdup(struct os_arena *a, const char *s);
char *os_arena_strndup(struct os_arena *a, const char *s, size_t n);
void *os_arena_memdup(struct os_arena *a, const void *p, size_t n);
char *os_arena_printf(struct os_arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void os_arena_free(struct os_arena *a);

#endif
