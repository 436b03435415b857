/* What passes in pieces is what passes whole: no marker gets through, and nothing else is lost or changed. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "supervisor/egress/credentials/marker.h"

#define CHECK(x)                                                                                             \
    do {                                                                                                     \
        if (!(x))                                                                                            \
            abort();                                                                                         \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > 4096)
        return 0;
    const char *text = (const char *)data + 1;
    size_t n = size - 1, piece = 1 + data[0] % 97, at = 0;
    char *out = malloc(n + 1), ready[MARKER_WIDTH + 128];
    struct marker_scan s = {.n_held = 0};
    for (size_t i = 0; i < n; i += piece) {
        size_t go = marker_scan_feed(&s, text + i, n - i < piece ? n - i : piece, ready);
        CHECK(s.n_held < MARKER_WIDTH);
        memcpy(out + at, ready, go);
        at += go;
    }
    size_t go = marker_scan_end(&s, ready);
    memcpy(out + at, ready, go);
    at += go;
    CHECK(s.found == marker_in(text, n));
    CHECK(s.found || at == n);
    CHECK(at <= n && memcmp(out, text, at) == 0);
    CHECK(!marker_in(out, at));
    marker_in_header(text, n);
    free(out);
    return 0;
}
