/* Client messages of graphql-transport-ws and subscriptions-transport-ws (spec/proxy.md 14.4). */
#include <string.h>

#include "core/cleanup.h"
#include "net/graphql/envelope.h"
#include "net/json/strict.h"

static bool is_one_of(const char *s, const char *const *words, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!strcmp(s, words[i]))
            return true;
    return false;
}

/* The message and its type. Returns the error or NULL. */
static const char *read_message(struct os_arena *arena, const char *text, size_t n, json_t **v,
                                const char **type)
{
    static const char *const names[] = {"type", "id", "payload"};
    cleanup_error struct os_error err = {0};
    *v = strict_json_parse(text, n, &err);
    if (!*v)
        return os_arena_printf(arena, "GraphQL WebSocket message is not valid JSON: %s", os_error_text(&err));
    if (!json_is_object(*v))
        return "GraphQL WebSocket message must be an object";
    const char *of, *key = strict_json_lookalike(*v, names, OS_ARRAY_LEN(names), &of);
    if (key)
        return os_arena_printf(arena, "GraphQL WebSocket member \"%s\" differs from \"%s\" only in case",
                               strict_json_excerpt(arena, key), of);
    *type = strict_json_text(json_object_get(*v, "type"));
    return *type ? NULL : "GraphQL WebSocket message has no \"type\"";
}

static const char *read_operation(struct os_arena *arena, json_t *v, const char *type, json_t **payload)
{
    *payload = json_object_get(v, "payload");
    if (!strict_json_text(json_object_get(v, "id")))
        return os_arena_printf(arena, "GraphQL WebSocket message \"%s\" needs a non-empty string \"id\"",
                               type);
    if (!json_is_object(*payload))
        return os_arena_printf(arena, "GraphQL WebSocket message \"%s\" needs an object \"payload\"", type);
    return NULL;
}

enum graphql_message graphql_parse_message(struct os_arena *arena, const char *text, size_t n,
                                           struct graphql_request *out)
{
    static const char *const control[] = {
        "connection_init", "connection_terminate", "ping", "pong", "complete", "stop"};
    static const char *const operations[] = {"subscribe", "start"};
    json_auto_t *v = NULL;
    json_t *payload = NULL;
    const char *type = NULL, *error = read_message(arena, text, n, &v, &type);
    *out = (struct graphql_request){0};
    if (!error && is_one_of(type, control, OS_ARRAY_LEN(control)))
        return GRAPHQL_MESSAGE_CONTROL;
    if (!error && !is_one_of(type, operations, OS_ARRAY_LEN(operations)))
        error = os_arena_printf(arena, "GraphQL WebSocket message type \"%s\" is not supported",
                                strict_json_excerpt(arena, type));
    if (!error)
        error = read_operation(arena, v, type, &payload);
    if (error) {
        graphql_request_fail(out, error);
        return GRAPHQL_MESSAGE_REJECTED;
    }
    struct graphql_envelope e;
    struct graphql_operation op;
    error = graphql_envelope_read(payload, arena, &e);
    if (!error)
        error = graphql_envelope_classify(&e, arena, &op);
    if (error)
        graphql_request_fail(out, error);
    else
        graphql_request_one(out, arena, &op);
    return GRAPHQL_MESSAGE_OPERATION;
}
