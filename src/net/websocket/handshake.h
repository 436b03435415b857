/* The WebSocket opening handshake as a proxy sees it (RFC 6455 4, RFC 7692 7.1, spec/proxy.md 14.1 and 14.2):
 * views into parsed heads, no I/O. Any thread. */
#ifndef NET_WEBSOCKET_HANDSHAKE_H
#define NET_WEBSOCKET_HANDSHAKE_H

#include <stdbool.h>

#include "core/error.h"
#include "net/http1/http1.h"

/* The request wants a WebSocket, properly or not: Upgrade names it, or one of its fields is there. */
bool websocket_is_attempt(const struct http1_head *request);
/* A request that may be sent on as an upgrade: GET of HTTP/1.1 without a body, Upgrade: websocket and nothing
 * else, Connection: Upgrade, one key of 16 bytes, one version 13, subprotocols that are tokens. -1 with
 * OS_INVALID_ARGUMENT and a text that says what is wrong (never the value). */
int websocket_check_request(const struct http1_head *request, struct os_error *err);

/* What Sec-WebSocket-Extensions of the request becomes when messages are to be read: the first offer of
 * permessage-deflate that keeps no context, alone, in canonical spelling. NULL = the field is left out.
 * Static. */
const char *websocket_safe_offer(const struct http1_head *request);

enum { WEBSOCKET_ACCEPT_TEXT = 29 };
/* Sec-WebSocket-Accept for a key, NUL-terminated. */
void websocket_accept_for(struct http1_text key, char out[WEBSOCKET_ACCEPT_TEXT]);

struct websocket_agreement {
    struct http1_text subprotocol; /* .p is NULL when there is none */
    bool deflate;
};

/* The 101 answer to a checked request that was sent on with this safe offer (NULL = none): status, Upgrade,
 * Connection, one right Sec-WebSocket-Accept, at most one subprotocol, which was offered, extensions equal to
 * the safe offer or absent, no body. -1 with OS_INVALID_ARGUMENT otherwise: the answer must not reach the
 * client. */
int websocket_check_response(const struct http1_head *request, const char *safe_offer,
                             const struct http1_head *response, struct websocket_agreement *out,
                             struct os_error *err);

#endif
