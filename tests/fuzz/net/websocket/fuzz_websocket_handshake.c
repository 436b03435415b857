/* A request head and the answer behind it: an agreement is on what was asked for, and the safe offer is its
 * own safe offer. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/websocket/handshake.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The offer again, as the only field of a head. */
static void check_offer(const char *offer)
{
    static struct http1_head h;
    char text[256];
    int n = snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nSec-WebSocket-Extensions: %s\r\n\r\n", offer);
    if (http1_parse_request(text, (size_t)n, &h, NULL) < 0 || websocket_safe_offer(&h) != offer)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct http1_head request, response;
    const char *p = (const char *)data;
    size_t seen = 0, n = http1_head_end(p, size, &seen);
    if (!n || http1_parse_request(p, n, &request, NULL) < 0)
        return 0;
    bool ok = websocket_check_request(&request, NULL) == 0;
    if (ok && !websocket_is_attempt(&request))
        abort();
    const char *offer = websocket_safe_offer(&request);
    if (offer)
        check_offer(offer);
    seen = 0;
    size_t m = http1_head_end(p + n, size - n, &seen);
    if (!ok || !m || http1_parse_response(p + n, m, &response, NULL) < 0)
        return 0;
    struct websocket_agreement a;
    if (websocket_check_response(&request, offer, &response, &a, NULL) < 0)
        return 0;
    if ((a.deflate && !offer) || response.status != 101)
        abort();
    if (a.subprotocol.p && !memmem(p, n, a.subprotocol.p, a.subprotocol.n))
        abort();
    return 0;
}
