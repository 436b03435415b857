/* What one GraphQL request says beside its document, whatever carried it: a POST body, GET parameters, a
 * WebSocket message. Internal to net/graphql. */
#ifndef NET_GRAPHQL_ENVELOPE_H
#define NET_GRAPHQL_ENVELOPE_H

#include <jansson.h>
#include <stdbool.h>

#include "core/arena.h"
#include "net/graphql/graphql.h"

/* Texts are NULL when absent or empty. */
struct graphql_envelope {
    const char *query, *operation_name, *hash;
    const char *id;
    const char *id_key, *other_id_key; /* the members that name a persisted query by id */
};

enum { GRAPHQL_N_KEYS = 6, GRAPHQL_FIRST_ID_KEY = 3 };
/* query, operationName, extensions, and the keys of an id in the order in which they count. */
extern const char *const graphql_keys[GRAPHQL_N_KEYS];

/* extensions.persistedQuery.sha256Hash. Returns the error, NULL when it is there or properly absent. */
const char *graphql_envelope_hash(json_t *extensions, struct os_arena *arena, const char **hash);
/* Reads the members of a JSON object; the texts are the object's. Returns the error or NULL. */
const char *graphql_envelope_read(json_t *object, struct os_arena *arena, struct graphql_envelope *e);
/* Says what the envelope asks for. Returns the error or NULL. Copies what it keeps into the arena. */
const char *graphql_envelope_classify(const struct graphql_envelope *e, struct os_arena *arena,
                                      struct graphql_operation *out);

/* Fills *out with this error; with this one operation. */
void graphql_request_fail(struct graphql_request *out, const char *error);
void graphql_request_one(struct graphql_request *out, struct os_arena *arena,
                         const struct graphql_operation *op);

#endif
