/* JSON-RPC and MCP bodies: what MCP understands is also JSON-RPC with the same methods, and what strict tool
 * names let pass also passes without. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "net/jsonrpc/jsonrpc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct jsonrpc_request *r)
{
    if (!r->error != (r->n > 0 || r->has_response) || r->receive_stream ||
        (r->error && (r->n || r->has_response)))
        abort();
}

/* a was accepted under harder rules than b. */
static void follows(const struct jsonrpc_request *a, const struct jsonrpc_request *b)
{
    if (a->error)
        return;
    if (b->error || a->n != b->n || a->has_response != b->has_response)
        abort();
    for (size_t i = 0; i < a->n; i++)
        if (strcmp(a->calls[i].method, b->calls[i].method) != 0)
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct os_arena arena = {0};
    struct jsonrpc_request generic, strict, loose;
    const char *p = (const char *)data;
    jsonrpc_parse(&arena, JSONRPC_GENERIC, true, p, size, &generic);
    jsonrpc_parse(&arena, JSONRPC_MCP, true, p, size, &strict);
    jsonrpc_parse(&arena, JSONRPC_MCP, false, p, size, &loose);
    check(&generic);
    check(&strict);
    check(&loose);
    follows(&strict, &loose);
    follows(&loose, &generic);
    for (size_t i = 0; i < strict.n; i++)
        if (!strcmp(strict.calls[i].method, "tools/call") != (strict.calls[i].tool != NULL))
            abort();
    os_arena_free(&arena);
    return 0;
}
