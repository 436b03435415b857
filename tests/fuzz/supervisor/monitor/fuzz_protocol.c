/* Bytes of a taken-over worker against the monitor's decoder; what decodes must encode to the same bytes. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "supervisor/monitor/protocol.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    struct os_arena arena = {0};
    struct os_buf again = {0};
    struct protocol_request r;
    if (protocol_decode(data[0], data + 1, size - 1, &arena, &r) == 0) {
        protocol_encode(&r, &again);
        if (again.failed || again.len != size - 1 ||
            (again.len && memcmp(again.data, data + 1, again.len) != 0))
            abort();
    }
    os_buf_free(&again);
    os_arena_free(&arena);
    return 0;
}
