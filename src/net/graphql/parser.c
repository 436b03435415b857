/* What both halves of the grammar share: tokens, names, values, types, directives. */
#include "net/graphql/parser.h"

#include <string.h>

#include "core/limits.h"

static const char *found(const struct graphql_lexer *lx)
{
    switch (lx->token) {
    case GRAPHQL_END:
        return "the end of the document";
    case GRAPHQL_NUMBER:
        return "a number";
    case GRAPHQL_STRING:
        return "a string";
    default:
        return NULL;
    }
}

bool graphql_parser_fail(struct graphql_parser *ps, const char *expected)
{
    const struct graphql_lexer *lx = &ps->lx;
    size_t line, column;
    graphql_lexer_place(lx, &line, &column);
    if (lx->token == GRAPHQL_BAD)
        os_error_set(ps->err, OS_INVALID_ARGUMENT, "line %zu, column %zu: %s", line, column, lx->bad);
    else if (found(lx))
        os_error_set(ps->err, OS_INVALID_ARGUMENT, "line %zu, column %zu: expected %s, found %s", line,
                     column, expected, found(lx));
    else
        os_error_set(ps->err, OS_INVALID_ARGUMENT, "line %zu, column %zu: expected %s, found \"%.*s%s\"",
                     line, column, expected, lx->n > 64 ? 64 : (int)lx->n, lx->at, lx->n > 64 ? "..." : "");
    return false;
}

bool graphql_parser_skip(struct graphql_parser *ps, enum graphql_token token)
{
    if (ps->lx.token != token)
        return false;
    graphql_lexer_next(&ps->lx);
    return true;
}

bool graphql_parser_skip_word(struct graphql_parser *ps, const char *word)
{
    return graphql_lexer_is(&ps->lx, word) && graphql_parser_skip(ps, GRAPHQL_NAME);
}

bool graphql_parser_expect(struct graphql_parser *ps, enum graphql_token token)
{
    if (graphql_parser_skip(ps, token))
        return true;
    char quoted[] = {'"', (char)token, '"', '\0'};
    return graphql_parser_fail(ps, quoted);
}

bool graphql_parser_name(struct graphql_parser *ps, struct graphql_text *name)
{
    if (name)
        *name = (struct graphql_text){ps->lx.at, ps->lx.n};
    return graphql_parser_skip(ps, GRAPHQL_NAME) || graphql_parser_fail(ps, "a name");
}

bool graphql_parser_enter(struct graphql_parser *ps)
{
    if (++ps->depth <= OS_GRAPHQL_DEPTH)
        return true;
    size_t line, column;
    graphql_lexer_place(&ps->lx, &line, &column);
    os_error_set(ps->err, OS_INVALID_ARGUMENT, "line %zu, column %zu: recursion limit of %d exceeded", line,
                 column, OS_GRAPHQL_DEPTH);
    return false;
}

void graphql_parser_leave(struct graphql_parser *ps)
{
    ps->depth--;
}

bool graphql_parser_some(struct graphql_parser *ps, enum graphql_token open, graphql_parser_item *item,
                         void *arg, enum graphql_token close)
{
    if (!graphql_parser_expect(ps, open))
        return false;
    do {
        if (!item(ps, arg))
            return false;
    } while (!graphql_parser_skip(ps, close));
    return true;
}

static bool object_field(struct graphql_parser *ps, bool constant)
{
    return graphql_parser_name(ps, NULL) && graphql_parser_expect(ps, GRAPHQL_COLON) &&
           graphql_parse_value(ps, constant);
}

/* A list or an object; both may be empty. */
static bool container(struct graphql_parser *ps, bool constant, bool object)
{
    if (!graphql_parser_enter(ps))
        return false;
    graphql_lexer_next(&ps->lx);
    while (!graphql_parser_skip(ps, object ? GRAPHQL_BRACE_CLOSE : GRAPHQL_BRACKET_CLOSE))
        if (object ? !object_field(ps, constant) : !graphql_parse_value(ps, constant))
            return false;
    graphql_parser_leave(ps);
    return true;
}

bool graphql_parse_value(struct graphql_parser *ps, bool constant)
{
    switch (ps->lx.token) {
    case GRAPHQL_NUMBER:
    case GRAPHQL_STRING:
    case GRAPHQL_NAME: /* true, false, null, enum values */
        graphql_lexer_next(&ps->lx);
        return true;
    case GRAPHQL_BRACKET_OPEN:
        return container(ps, constant, false);
    case GRAPHQL_BRACE_OPEN:
        return container(ps, constant, true);
    case GRAPHQL_DOLLAR:
        if (constant)
            return graphql_parser_fail(ps, "a constant value");
        graphql_lexer_next(&ps->lx);
        return graphql_parser_name(ps, NULL);
    default:
        return graphql_parser_fail(ps, "a value");
    }
}

bool graphql_parse_type(struct graphql_parser *ps)
{
    bool ok;
    if (ps->lx.token == GRAPHQL_BRACKET_OPEN) {
        ok = graphql_parser_enter(ps) && graphql_parser_expect(ps, GRAPHQL_BRACKET_OPEN) &&
             graphql_parse_type(ps) && graphql_parser_expect(ps, GRAPHQL_BRACKET_CLOSE);
        graphql_parser_leave(ps);
    } else {
        ok = graphql_parser_name(ps, NULL);
    }
    if (ok)
        graphql_parser_skip(ps, GRAPHQL_BANG);
    return ok;
}

static bool argument(struct graphql_parser *ps, void *arg)
{
    return object_field(ps, *(const bool *)arg);
}

bool graphql_parse_arguments(struct graphql_parser *ps, bool constant)
{
    if (ps->lx.token != GRAPHQL_PAREN_OPEN)
        return true;
    return graphql_parser_some(ps, GRAPHQL_PAREN_OPEN, argument, &constant, GRAPHQL_PAREN_CLOSE);
}

bool graphql_parse_directives(struct graphql_parser *ps, bool constant)
{
    while (graphql_parser_skip(ps, GRAPHQL_AT))
        if (!graphql_parser_name(ps, NULL) || !graphql_parse_arguments(ps, constant))
            return false;
    return true;
}
