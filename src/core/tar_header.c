/* Fields of tar headers. */
#include "core/tar_header.h"

#define SUM_AT 148
#define SUM_LEN 8

bool os_tar_number(const void *field, size_t n, uint64_t *out)
{
    const uint8_t *p = field;
    uint64_t value = 0;
    size_t i = 0;
    if (p[0] & 0x80) {
        if (p[0] != 0x80)
            return false;
        for (i = 1; i < n; i++) {
            if (value >> 56)
                return false;
            value = value << 8 | p[i];
        }
        *out = value;
        return true;
    }
    while (i < n && p[i] == ' ')
        i++;
    for (; i < n && p[i] >= '0' && p[i] <= '7'; i++) {
        if (value >> 61)
            return false;
        value = value << 3 | (uint64_t)(p[i] - '0');
    }
    for (; i < n; i++)
        if (p[i] != ' ' && p[i] != '\0')
            return false;
    *out = value;
    return true;
}

/* The field itself counts as blanks. */
bool os_tar_checksum_good(const void *block)
{
    const uint8_t *p = block;
    uint64_t wanted, sum = 0;
    for (size_t i = 0; i < OS_TAR_BLOCK; i++)
        sum += i >= SUM_AT && i < SUM_AT + SUM_LEN ? ' ' : p[i];
    return os_tar_number(p + SUM_AT, SUM_LEN, &wanted) && wanted == sum;
}
