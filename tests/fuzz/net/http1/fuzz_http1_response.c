/* Response heads: no crash, and accepted heads have a status and one framing. */
#include <stdint.h>
#include <stdlib.h>

#include "net/http1/http1.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *p = (const char *)data;
    size_t seen = 0, n = http1_head_end(p, size, &seen);
    static struct http1_head h;
    if (!n || http1_parse_response(p, n, &h, NULL) < 0)
        return 0;
    if (h.status < 100 || h.status > 999)
        abort();
    if (http1_find(&h, "content-length", NULL) && http1_find(&h, "transfer-encoding", NULL))
        abort();
    return 0;
}
