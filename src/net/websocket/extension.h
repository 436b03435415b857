/* Sec-WebSocket-Extensions (RFC 6455 9.1) as far as permessage-deflate goes. Internal to net/websocket. */
#ifndef NET_WEBSOCKET_EXTENSION_H
#define NET_WEBSOCKET_EXTENSION_H

#include "net/http1/http1.h"

/* Parameters of a permessage-deflate that keeps no context. */
enum websocket_deflate_offer {
    WEBSOCKET_DEFLATE_NONE,   /* no such extension in the list */
    WEBSOCKET_DEFLATE_CLIENT, /* client_no_context_takeover */
    WEBSOCKET_DEFLATE_BOTH,   /* server_no_context_takeover too */
};

/* The first in all fields of that head, and how many extensions they list. False when one is malformed. */
bool websocket_extensions_read(const struct http1_head *h, enum websocket_deflate_offer *first, size_t *n);

#endif
