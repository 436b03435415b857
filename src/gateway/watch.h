/* WatchSandbox streams (spec/gateway.md 4.7). A watch holds no queue: it remembers what it has sent and pulls
 * the rest when the client has room. */
#ifndef GATEWAY_WATCH_H
#define GATEWAY_WATCH_H

#include "gateway/gateway.h"

struct watches;

struct watches *watches_new(struct gateway *gw);
void watches_free(struct watches *w);
/* The row of this sandbox changed or vanished. Any thread. */
void watches_status(struct watches *w, const char *sandbox_id);
/* New log lines or events. Any thread. */
void watches_poke(struct watches *w, const char *sandbox_id);

/* rpc_stream_fn of WatchSandbox; ctx is the gateway. */
void watch_rpc(void *ctx, struct rpc_call *call);

#endif
