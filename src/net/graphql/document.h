/* A parsed document: its operations and fragments with what they select at their root. Internal to
 * net/graphql. */
#ifndef NET_GRAPHQL_DOCUMENT_H
#define NET_GRAPHQL_DOCUMENT_H

#include <stdbool.h>
#include <stddef.h>

#include "core/arena.h"
#include "core/error.h"
#include "net/graphql/graphql.h"

/* Bytes of the document; .p is NULL for "no name". */
struct graphql_text {
    const char *p;
    size_t n;
};

/* Inline fragments are flattened: their selections count as their parent's. */
struct graphql_selection {
    struct graphql_text name; /* of the field, or of the fragment spread */
    bool spread;
};

struct graphql_definition {
    const char *type; /* of an operation; NULL = a fragment */
    struct graphql_text name;
    size_t first, n; /* its root selections in document->selections */
};

/* Grows with the tokens of the text only: at most 64 bytes for each. */
struct graphql_document {
    struct graphql_definition *definitions;
    size_t n_definitions, cap_definitions;
    struct graphql_selection *selections;
    size_t n_selections, cap_selections;
};

#define cleanup_graphql_document __attribute__((cleanup(graphql_document_free)))

/* Reads the whole text, which the document points into. -1 with OS_INVALID_ARGUMENT: where it is no GraphQL.
 */
int graphql_document_parse(struct graphql_document *d, const char *text, size_t n, struct os_error *err);
void graphql_document_free(struct graphql_document *d);

void graphql_document_add_definition(struct graphql_document *d, const char *type, struct graphql_text name);
/* To the last definition. */
void graphql_document_add_selection(struct graphql_document *d, struct graphql_text name, bool spread);

/* Fills type, name and fields of the operation that is named (NULL: of the only one). Returns the published
 * error, NULL when it is found. */
const char *graphql_document_select(const struct graphql_document *d, const char *name,
                                    struct os_arena *arena, struct graphql_operation *out);

#endif
