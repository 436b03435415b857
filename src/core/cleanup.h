/* Scope-bound clean-up, crun style: a single exit path without goto ladders. */
#ifndef OS_CORE_CLEANUP_H
#define OS_CORE_CLEANUP_H

#include <stdlib.h>
#include <unistd.h>

static inline void os_cleanup_freep(void *p)
{
    free(*(void **)p);
}

static inline void os_cleanup_closep(const int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

#define cleanup_free __attribute__((cleanup(os_cleanup_freep)))
#define cleanup_close __attribute__((cleanup(os_cleanup_closep)))

/* Hands a value over to the caller: returns it and leaves the "nothing" value behind. */
#define os_steal(p)                                                                                          \
    ({                                                                                                       \
        __typeof__(p) _stolen = (p);                                                                         \
        (p) = NULL;                                                                                          \
        _stolen;                                                                                             \
    })
#define os_steal_fd(fd)                                                                                      \
    ({                                                                                                       \
        int _stolen = (fd);                                                                                  \
        (fd) = -1;                                                                                           \
        _stolen;                                                                                             \
    })

#define OS_ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#endif
