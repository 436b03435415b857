/* Recursive descent over a document, shared by the executable and the type-system half. Every function reads
 * from the current token on and leaves the first token behind what it read; false = failed, and err says it.
 * Internal to net/graphql. */
#ifndef NET_GRAPHQL_PARSER_H
#define NET_GRAPHQL_PARSER_H

#include "net/graphql/document.h"
#include "net/graphql/lexer.h"

struct graphql_parser {
    struct graphql_lexer lx;
    struct graphql_document *document;
    unsigned depth; /* at most OS_GRAPHQL_DEPTH; bounds the recursion */
    struct os_error *err;
};

/* Fails: where, what was expected, what stands there. Always false. */
bool graphql_parser_fail(struct graphql_parser *ps, const char *expected);
/* Steps over the token when it is current. */
bool graphql_parser_skip(struct graphql_parser *ps, enum graphql_token token);
bool graphql_parser_skip_word(struct graphql_parser *ps, const char *word);
/* The same, and fails when it is not. */
bool graphql_parser_expect(struct graphql_parser *ps, enum graphql_token token);
/* name may be NULL. */
bool graphql_parser_name(struct graphql_parser *ps, struct graphql_text *name);
bool graphql_parser_enter(struct graphql_parser *ps);
void graphql_parser_leave(struct graphql_parser *ps);

/* One or more items between two tokens. */
typedef bool graphql_parser_item(struct graphql_parser *ps, void *arg);
bool graphql_parser_some(struct graphql_parser *ps, enum graphql_token open, graphql_parser_item *item,
                         void *arg, enum graphql_token close);

/* Values, types, directives; constant = without variables. */
bool graphql_parse_value(struct graphql_parser *ps, bool constant);
bool graphql_parse_type(struct graphql_parser *ps);
bool graphql_parse_arguments(struct graphql_parser *ps, bool constant);
bool graphql_parse_directives(struct graphql_parser *ps, bool constant);

/* A type-system definition or extension, whose keyword is current. */
bool graphql_parse_schema(struct graphql_parser *ps);
/* The current token begins one. */
bool graphql_is_schema(const struct graphql_parser *ps);

#endif
