/* JSON-RPC 2.0 and MCP requests as a policy sees them: the calls of one HTTP body (spec/policy.md 5.8,
 * spec/proxy.md 6.7). Bytes in, a value out; no I/O. Any thread.
 *
 * The bytes are sent on as they came, so what servers read differently is refused: repeated members anywhere,
 * members that differ from "method" and the like (of an MCP tool call also "name") only in case, and params
 * that are no object where MCP says what is in them. A tool call without an id is checked like one that has
 * it.
 *
 * For n bytes of body the result takes at most 64 * n + 16 KiB of the arena; while the call runs it also has
 * the JSON tree (net/json/strict.h). Time is linear in n, recursion ends at 128. */
#ifndef NET_JSONRPC_JSONRPC_H
#define NET_JSONRPC_JSONRPC_H

#include <stdbool.h>
#include <stddef.h>

#include "core/arena.h"

struct jsonrpc_call {
    const char *method;
    const char *tool; /* MCP tools/call with a string name; else NULL */
};

struct jsonrpc_request {
    const struct jsonrpc_call *calls; /* a batch has several */
    size_t n;
    bool has_response;   /* the body also or only holds response frames */
    bool receive_stream; /* GET that opens an SSE stream; no body, no calls. Set by the caller, who has the
                            head */
    const char *error;   /* published text, without "JSON-RPC request rejected: "; NULL = understood */
};

enum jsonrpc_dialect { JSONRPC_GENERIC, JSONRPC_MCP };

/* Everything in *out lives in the arena. strict_tool_names counts for MCP only. */
void jsonrpc_parse(struct os_arena *arena, enum jsonrpc_dialect dialect, bool strict_tool_names,
                   const char *body, size_t n, struct jsonrpc_request *out);

#endif
