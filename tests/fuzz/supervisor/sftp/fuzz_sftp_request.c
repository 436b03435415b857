/* One SFTP packet: decoded without reading past it, and what is decoded keeps its promises. */
#include <stdlib.h>
#include <string.h>

#include "supervisor/sftp/request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct os_arena cleanup_arena a = {0};
    struct sftp_request r;
    if (!sftp_request_parse(data, size, &a, &r))
        return 0;
    if (strlen(r.path) > size || strlen(r.other) > size || strlen(r.extension) > size)
        abort();
    if (r.type == SFTP_WRITE && (r.length > size || (r.length && r.data + r.length > data + size)))
        abort();
    return 0;
}
