/* Every RPC handler that is built in; main registers them from tbl/handlers.h. Unary handlers run on worker
 * threads, stream handlers on the loop thread; ctx is the gateway. */
#ifndef GATEWAY_RPC_HANDLERS_H
#define GATEWAY_RPC_HANDLERS_H

#include "gateway/gateway.h"

#define UNARY(id, fn) rpc_unary_fn fn;
#define STREAM(id, fn) rpc_stream_fn fn;
#include "gateway/rpc/tbl/handlers.h"

/* The workspace a request means: "" is "default". OS_NOT_FOUND "workspace '<n>' not found". */
int handler_workspace(struct gateway *gw, const char *requested, const char **workspace,
                      struct os_error *err);

#endif
