/* What every reader of tar headers needs (POSIX pax, "ustar interchange format", and GNU's numbers). */
#ifndef OS_CORE_TAR_HEADER_H
#define OS_CORE_TAR_HEADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OS_TAR_BLOCK 512 /* bytes of a header, and what everything is padded to */

/* A number field of n bytes: octal text between blanks, or big-endian binary behind a byte 0x80. False when
 * it is malformed, negative or beyond 64 bits. */
bool os_tar_number(const void *field, size_t n, uint64_t *out);
/* The header's checksum is that of its bytes. */
bool os_tar_checksum_good(const void *block);

#endif
