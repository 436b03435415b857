/* Random identifiers. */
#ifndef OS_CORE_ID_H
#define OS_CORE_ID_H

#include <stddef.h>

#define OS_UUID_LEN 37 /* 36 characters and NUL */

/* Kernel randomness; aborts if the kernel refuses (it does not once booted). */
void os_random(void *out, size_t n);
/* RFC 9562 version 4 UUID, lower-case text. Returns out. */
const char *os_uuid(char out[OS_UUID_LEN]);

#endif
