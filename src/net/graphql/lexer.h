/* Tokens of a GraphQL document (October 2021, section 2.1; with \u{...} of its successor). Internal to
 * net/graphql. */
#ifndef NET_GRAPHQL_LEXER_H
#define NET_GRAPHQL_LEXER_H

#include <stdbool.h>
#include <stddef.h>

enum graphql_token {
    GRAPHQL_END,
    GRAPHQL_BAD, /* lexer->bad says why; nothing follows it */
    GRAPHQL_NAME,
    GRAPHQL_NUMBER,
    GRAPHQL_STRING, /* block strings too */
    GRAPHQL_SPREAD, /* ... */
    GRAPHQL_BANG = '!',
    GRAPHQL_DOLLAR = '$',
    GRAPHQL_AMP = '&',
    GRAPHQL_PAREN_OPEN = '(',
    GRAPHQL_PAREN_CLOSE = ')',
    GRAPHQL_COLON = ':',
    GRAPHQL_EQUALS = '=',
    GRAPHQL_AT = '@',
    GRAPHQL_BRACKET_OPEN = '[',
    GRAPHQL_BRACKET_CLOSE = ']',
    GRAPHQL_BRACE_OPEN = '{',
    GRAPHQL_PIPE = '|',
    GRAPHQL_BRACE_CLOSE = '}',
};

struct graphql_lexer {
    const char *start, *p, *end;
    size_t tokens;
    enum graphql_token token; /* the current one, its bytes below */
    const char *at;
    size_t n;
    const char *bad;
};

/* text is valid UTF-8 and outlives the lexer; the first token is current afterwards. */
void graphql_lexer_start(struct graphql_lexer *lx, const char *text, size_t n);
/* The next token, which is current then. */
enum graphql_token graphql_lexer_next(struct graphql_lexer *lx);
/* Current token is exactly this name. */
bool graphql_lexer_is(const struct graphql_lexer *lx, const char *name);
/* Line and column of the current token, from 1. */
void graphql_lexer_place(const struct graphql_lexer *lx, size_t *line, size_t *column);

#endif
