/* JSON-RPC 2.0 messages and batches (spec/proxy.md 6.7). */
#include "net/jsonrpc/jsonrpc.h"

#include <string.h>

#include "core/cleanup.h"
#include "net/json/strict.h"
#include "net/jsonrpc/mcp.h"

struct reader {
    struct os_arena *arena;
    enum jsonrpc_dialect dialect;
    bool strict_tool_names;
    struct jsonrpc_call *calls;
    size_t n;
    bool has_response;
};

/* A member that a decoder which ignores case would take for one that decides. */
static const char *check_names(json_t *message, struct os_arena *arena)
{
    static const char *const names[] = {"jsonrpc", "method", "params", "id", "result", "error"};
    const char *of, *key = strict_json_lookalike(message, names, OS_ARRAY_LEN(names), &of);
    if (!key)
        return NULL;
    return os_arena_printf(arena, "JSON-RPC member '%s' differs from '%s' only in case",
                           strict_json_excerpt(arena, key), of);
}

static const char *check_version(json_t *message, struct os_arena *arena)
{
    const json_t *version = json_object_get(message, "jsonrpc");
    if (!json_is_string(version))
        return "missing or non-string 'jsonrpc' field";
    const char *v = json_string_value(version);
    if (strcmp(v, "2.0") != 0)
        return os_arena_printf(arena, "unsupported JSON-RPC version '%s'", strict_json_excerpt(arena, v));
    return NULL;
}

static const char *check_response(json_t *message)
{
    const json_t *id = json_object_get(message, "id"), *error = json_object_get(message, "error");
    if (error && json_object_get(message, "result"))
        return "JSON-RPC response includes both result and error";
    if (!id)
        return "JSON-RPC response missing id";
    if (!json_is_string(id) && !json_is_number(id) && !json_is_null(id))
        return "JSON-RPC response id must be string, number, or null";
    if (error && !json_is_object(error))
        return "JSON-RPC response error must be an object";
    return NULL;
}

static const char *read_call(struct reader *r, json_t *message)
{
    const char *method = json_string_value(json_object_get(message, "method"));
    if (!method)
        return "missing or non-string 'method' field";
    struct jsonrpc_call call = {.method = os_arena_strdup(r->arena, method)};
    const char *error = NULL;
    if (r->dialect == JSONRPC_MCP)
        error = mcp_check_call(message, r->strict_tool_names, r->arena, &call);
    if (!error)
        r->calls[r->n++] = call;
    return error;
}

/* Returns the error, NULL when it is understood. */
static const char *read_message(struct reader *r, json_t *message)
{
    const char *error = check_names(message, r->arena);
    if (!error)
        error = check_version(message, r->arena);
    if (error)
        return error;
    bool response = json_object_get(message, "result") || json_object_get(message, "error");
    if (response && json_object_get(message, "method"))
        return "JSON-RPC message includes both method and result/error";
    if (!response)
        return read_call(r, message);
    r->has_response = true;
    return check_response(message);
}

static const char *read_batch(struct reader *r, json_t *batch)
{
    if (!json_array_size(batch))
        return "empty batch";
    for (size_t i = 0; i < json_array_size(batch); i++) {
        const char *error = read_message(r, json_array_get(batch, i));
        if (error)
            return os_arena_printf(r->arena, "batch item invalid: %s", error);
    }
    return NULL;
}

void jsonrpc_parse(struct os_arena *arena, enum jsonrpc_dialect dialect, bool strict_tool_names,
                   const char *body, size_t n, struct jsonrpc_request *out)
{
    *out = (struct jsonrpc_request){0};
    cleanup_error struct os_error err = {0};
    json_auto_t *v = strict_json_parse(body, n, &err);
    if (!v) {
        /* The first text is the published one; JSON that is merely ambiguous or too big has a better one. */
        out->error = err.code == OS_INVALID_ARGUMENT
                         ? "invalid JSON"
                         : os_arena_printf(arena, "JSON-RPC body is not acceptable: %s", os_error_text(&err));
        return;
    }
    size_t items = json_is_array(v) ? json_array_size(v) : 1;
    struct reader r = {arena, dialect, strict_tool_names, NULL, 0, false};
    r.calls = os_arena_alloc(arena, (items + 1) * sizeof(*r.calls));
    const char *error = json_is_array(v) ? read_batch(&r, v) : read_message(&r, v);
    if (error)
        *out = (struct jsonrpc_request){.error = error};
    else
        *out = (struct jsonrpc_request){.calls = r.calls, .n = r.n, .has_response = r.has_response};
}
