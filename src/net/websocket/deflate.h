/* permessage-deflate for messages that stand alone (RFC 7692 7.2). Internal to net/websocket. */
#ifndef NET_WEBSOCKET_DEFLATE_H
#define NET_WEBSOCKET_DEFLATE_H

#include "net/websocket/websocket.h"

struct websocket_inflater;

/* NULL = no memory. */
struct websocket_inflater *websocket_inflater_new(void);
void websocket_inflater_free(struct websocket_inflater *z);
/* Inflates the next bytes of the payload into out; WEBSOCKET_ERROR_TEXT_SIZE as soon as out passes its max.
 */
enum websocket_error websocket_inflate(struct websocket_inflater *z, const uint8_t *p, size_t n,
                                       struct os_buf *out);
/* The payload is complete: what it holds must be complete too. */
enum websocket_error websocket_inflate_end(struct websocket_inflater *z, struct os_buf *out);
/* Appends the payload of a message. */
enum websocket_error websocket_deflate(const char *text, size_t n, struct os_buf *out);

#endif
