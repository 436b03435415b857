/* Envelopes: query, operationName, extensions, ids. */
#include "net/graphql/envelope.h"

#include <string.h>

#include "net/graphql/document.h"
#include "net/json/strict.h"

const char *const graphql_keys[GRAPHQL_N_KEYS] = {"query", "operationName", "extensions",
                                                  "id",    "documentId",    "queryId"};

/* A member that a decoder which ignores case would take for one that decides. */
static const char *check_names(json_t *object, const char *const *names, size_t n, struct os_arena *arena)
{
    const char *of, *key = strict_json_lookalike(object, names, n, &of);
    if (!key)
        return NULL;
    return os_arena_printf(arena, "GraphQL JSON member \"%s\" differs from \"%s\" only in case",
                           strict_json_excerpt(arena, key), of);
}

const char *graphql_envelope_hash(json_t *extensions, struct os_arena *arena, const char **hash)
{
    static const char *const outer[] = {"persistedQuery"}, *const inner[] = {"sha256Hash"};
    json_t *persisted = json_object_get(extensions, outer[0]);
    const char *error = check_names(extensions, outer, 1, arena);
    if (!error)
        error = check_names(persisted, inner, 1, arena);
    *hash = error ? NULL : strict_json_text(json_object_get(persisted, inner[0]));
    return error;
}

const char *graphql_envelope_read(json_t *object, struct os_arena *arena, struct graphql_envelope *e)
{
    *e = (struct graphql_envelope){0};
    const char *error = check_names(object, graphql_keys, GRAPHQL_N_KEYS, arena);
    if (error)
        return error;
    json_t *query = json_object_get(object, "query");
    if (query && !json_is_string(query) && !json_is_null(query))
        return "GraphQL query must be a string";
    e->query = strict_json_text(query);
    e->operation_name = strict_json_text(json_object_get(object, "operationName"));
    const json_t *first = NULL;
    for (size_t i = GRAPHQL_FIRST_ID_KEY; i < GRAPHQL_N_KEYS; i++) {
        const json_t *v = json_object_get(object, graphql_keys[i]);
        if (!first && v) {
            first = v;
            e->id = strict_json_text(v);
        }
        if (v && !json_is_null(v)) {
            e->other_id_key = e->id_key ? graphql_keys[i] : NULL;
            e->id_key = e->id_key ? e->id_key : graphql_keys[i];
        }
    }
    return graphql_envelope_hash(json_object_get(object, "extensions"), arena, &e->hash);
}

/* Without a document, which query runs depends on the identifier that the server prefers. */
static const char *check_identifiers(const struct graphql_envelope *e, struct os_arena *arena)
{
    const char *a = e->hash ? "sha256Hash" : e->id_key, *b = e->hash ? e->id_key : e->other_id_key;
    bool same = e->hash && e->id && !e->other_id_key && !strcmp(e->hash, e->id);
    if (!a || !b || same)
        return NULL;
    return os_arena_printf(
        arena, "GraphQL persisted-query identifiers \"%s\" and \"%s\" must not be combined", a, b);
}

static const char *classify_document(const struct graphql_envelope *e, struct os_arena *arena,
                                     struct graphql_operation *out)
{
    cleanup_graphql_document struct graphql_document document = {0};
    cleanup_error struct os_error err = {0};
    if (graphql_document_parse(&document, e->query, strlen(e->query), &err) == 0)
        return graphql_document_select(&document, e->operation_name, arena, out);
    if (err.code == OS_FAILED_PRECONDITION)
        return os_arena_strdup(arena, os_error_text(&err));
    return os_arena_printf(arena, "GraphQL document parse error: %s", os_error_text(&err));
}

const char *graphql_envelope_classify(const struct graphql_envelope *e, struct os_arena *arena,
                                      struct graphql_operation *out)
{
    *out = (struct graphql_operation){.persisted = e->hash || e->id};
    out->hash = e->hash ? os_arena_strdup(arena, e->hash) : NULL;
    out->id = e->id ? os_arena_strdup(arena, e->id) : NULL;
    if (e->query)
        return classify_document(e, arena, out);
    if (!out->persisted)
        return "GraphQL request has no query document or persisted query identifier";
    out->name = e->operation_name ? os_arena_strdup(arena, e->operation_name) : NULL;
    return check_identifiers(e, arena);
}

void graphql_request_fail(struct graphql_request *out, const char *error)
{
    *out = (struct graphql_request){.error = error};
}

void graphql_request_one(struct graphql_request *out, struct os_arena *arena,
                         const struct graphql_operation *op)
{
    *out = (struct graphql_request){.operations = os_arena_memdup(arena, op, sizeof(*op)), .n = 1};
}
