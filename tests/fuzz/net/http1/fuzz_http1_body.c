/* Chunked bodies: feeding all at once and byte by byte must agree on every input. */
#include <stdint.h>
#include <stdlib.h>

#include "net/http1/http1.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct http1_body whole, single;
    http1_body_start(&whole, HTTP1_CHUNKED, 0);
    http1_body_start(&single, HTTP1_CHUNKED, 0);
    int64_t n = http1_body_feed(&whole, (const char *)data, size, NULL), total = 0;
    for (size_t i = 0; i < size && !single.done && total >= 0; i++) {
        int64_t one = http1_body_feed(&single, (const char *)data + i, 1, NULL);
        total = one < 0 ? -1 : total + one;
    }
    if (n != total || whole.done != single.done || n > (int64_t)size)
        abort();
    return 0;
}
