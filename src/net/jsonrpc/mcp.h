/* What MCP adds to JSON-RPC: ids, and params of the methods it knows (spec/proxy.md 6.7). Internal to
 * net/jsonrpc. */
#ifndef NET_JSONRPC_MCP_H
#define NET_JSONRPC_MCP_H

#include <jansson.h>
#include <stdbool.h>

#include "core/arena.h"
#include "net/jsonrpc/jsonrpc.h"

/* Checks a message that has a method, and fills call->tool. Returns the error, NULL when it is fine. */
const char *mcp_check_call(json_t *message, bool strict_tool_names, struct os_arena *arena,
                           struct jsonrpc_call *call);

#endif
