/* GraphQL requests as a policy sees them: which operations, of which type, on which root fields
 * (spec/policy.md 5.7, spec/proxy.md 6.6; GraphQL October 2021, executable documents). Bytes in, a value out;
 * no I/O. Any thread.
 *
 * The bytes are sent on as they came, so what servers read differently is refused: repeated JSON members,
 * members and parameters that differ from "query" and the like only in case, operations or fragments defined
 * twice, two identifiers of a persisted query without a document, unusual line ends in comments.
 *
 * For n bytes of input the result takes at most 64 * n + 16 KiB of the arena; while a call runs it also has
 * the JSON tree (net/json/strict.h) and 64 bytes per token. Time is O(n log n), recursion ends at 128. */
#ifndef NET_GRAPHQL_GRAPHQL_H
#define NET_GRAPHQL_GRAPHQL_H

#include <stdbool.h>
#include <stddef.h>

#include "core/arena.h"

struct graphql_operation {
    const char *type; /* "query", "mutation", "subscription"; NULL = unknown: persisted, without a document */
    const char *name; /* NULL = anonymous */
    const char *const *fields; /* root field names, sorted, each once; aliases resolved, fragments expanded */
    size_t n_fields;
    bool persisted;        /* names a persisted query, with or without a document */
    const char *hash, *id; /* of the persisted query; NULL = not given */
};

/* What one HTTP request or one WebSocket message asks for. With an error there are no operations. */
struct graphql_request {
    const struct graphql_operation *operations;
    size_t n;
    const char *error; /* published text, without "GraphQL request rejected: "; NULL = understood */
};

/* One query parameter, decoded. A name or value with a NUL cannot be told here: the caller refuses %00. */
struct graphql_param {
    const char *key, *value;
};

/* POST body: a JSON envelope or a batch of them. Everything in *out lives in the arena. */
void graphql_parse_body(struct os_arena *arena, const char *body, size_t n, struct graphql_request *out);
/* GET parameters. */
void graphql_parse_params(struct os_arena *arena, const struct graphql_param *params, size_t n,
                          struct graphql_request *out);
/* The error for any other method. */
void graphql_refuse_method(struct os_arena *arena, const char *method, struct graphql_request *out);

enum graphql_message {
    GRAPHQL_MESSAGE_CONTROL,   /* connection_init, ping, complete, ... : passes */
    GRAPHQL_MESSAGE_OPERATION, /* subscribe or start: *out says what, or out->error what is wrong with it */
    GRAPHQL_MESSAGE_REJECTED,  /* not a message of the protocol: out->error says why */
};
/* One client text message of graphql-transport-ws or subscriptions-transport-ws (spec/proxy.md 14.4). */
enum graphql_message graphql_parse_message(struct os_arena *arena, const char *text, size_t n,
                                           struct graphql_request *out);

#endif
