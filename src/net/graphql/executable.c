/* The executable half of the grammar (October 2021, 2.3 to 2.12): operations and fragments. Of the selections
 * only those at the root of an operation or fragment are kept. */
#include <string.h>

#include "core/str.h"
#include "net/graphql/parser.h"

static bool selection_set(struct graphql_parser *ps, bool root);

static bool type_condition(struct graphql_parser *ps)
{
    return graphql_parser_name(ps, NULL);
}

/* Behind "...": a spread or an inline fragment. */
static bool fragment_selection(struct graphql_parser *ps, bool root)
{
    if (graphql_parser_skip_word(ps, "on")) {
        if (!type_condition(ps))
            return false;
    } else if (ps->lx.token == GRAPHQL_NAME) {
        if (root)
            graphql_document_add_selection(ps->document, (struct graphql_text){ps->lx.at, ps->lx.n}, true);
        graphql_lexer_next(&ps->lx);
        return graphql_parse_directives(ps, false);
    }
    return graphql_parse_directives(ps, false) && selection_set(ps, root);
}

static bool field(struct graphql_parser *ps, bool root)
{
    struct graphql_text name;
    if (!graphql_parser_name(ps, &name))
        return false;
    if (graphql_parser_skip(ps, GRAPHQL_COLON) && !graphql_parser_name(ps, &name))
        return false;
    if (root)
        graphql_document_add_selection(ps->document, name, false);
    if (!graphql_parse_arguments(ps, false) || !graphql_parse_directives(ps, false))
        return false;
    return ps->lx.token != GRAPHQL_BRACE_OPEN || selection_set(ps, false);
}

static bool selection(struct graphql_parser *ps, void *arg)
{
    bool root = *(const bool *)arg;
    return graphql_parser_skip(ps, GRAPHQL_SPREAD) ? fragment_selection(ps, root) : field(ps, root);
}

static bool selection_set(struct graphql_parser *ps, bool root)
{
    bool ok = graphql_parser_enter(ps) &&
              graphql_parser_some(ps, GRAPHQL_BRACE_OPEN, selection, &root, GRAPHQL_BRACE_CLOSE);
    graphql_parser_leave(ps);
    return ok;
}

static bool variable(struct graphql_parser *ps, void *arg)
{
    if (!graphql_parser_expect(ps, GRAPHQL_DOLLAR) || !graphql_parser_name(ps, NULL) ||
        !graphql_parser_expect(ps, GRAPHQL_COLON) || !graphql_parse_type(ps))
        return false;
    if (graphql_parser_skip(ps, GRAPHQL_EQUALS) && !graphql_parse_value(ps, true))
        return false;
    return graphql_parse_directives(ps, true);
}

static bool operation(struct graphql_parser *ps, const char *type)
{
    struct graphql_text name = {NULL, 0};
    graphql_lexer_next(&ps->lx);
    if (ps->lx.token == GRAPHQL_NAME && !graphql_parser_name(ps, &name))
        return false;
    graphql_document_add_definition(ps->document, type, name);
    if (ps->lx.token == GRAPHQL_PAREN_OPEN &&
        !graphql_parser_some(ps, GRAPHQL_PAREN_OPEN, variable, NULL, GRAPHQL_PAREN_CLOSE))
        return false;
    if (!graphql_parse_directives(ps, false))
        return false;
    if (ps->lx.token == GRAPHQL_BRACE_OPEN || ps->lx.token == GRAPHQL_BAD)
        return selection_set(ps, true);
    os_error_set(ps->err, OS_FAILED_PRECONDITION, "GraphQL operation has no selection set");
    return false;
}

static bool fragment(struct graphql_parser *ps)
{
    struct graphql_text name;
    graphql_lexer_next(&ps->lx);
    if (graphql_lexer_is(&ps->lx, "on"))
        return graphql_parser_fail(ps, "the name of a fragment");
    if (!graphql_parser_name(ps, &name))
        return false;
    graphql_document_add_definition(ps->document, NULL, name);
    if (!graphql_parser_skip_word(ps, "on"))
        return graphql_parser_fail(ps, "\"on\"");
    return type_condition(ps) && graphql_parse_directives(ps, false) && selection_set(ps, true);
}

static bool definition(struct graphql_parser *ps)
{
    static const char *const types[] = {"query", "mutation", "subscription"};
    if (ps->lx.token == GRAPHQL_BRACE_OPEN) {
        graphql_document_add_definition(ps->document, types[0], (struct graphql_text){NULL, 0});
        return selection_set(ps, true);
    }
    bool described = graphql_parser_skip(ps, GRAPHQL_STRING);
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        if (graphql_lexer_is(&ps->lx, types[i]))
            return operation(ps, types[i]);
    if (graphql_lexer_is(&ps->lx, "fragment"))
        return fragment(ps);
    if (!graphql_is_schema(ps) || (described && graphql_lexer_is(&ps->lx, "extend")))
        return graphql_parser_fail(ps, "a definition");
    return graphql_parse_schema(ps);
}

int graphql_document_parse(struct graphql_document *d, const char *text, size_t n, struct os_error *err)
{
    *d = (struct graphql_document){0};
    if (!os_utf8_valid(text, n))
        return os_error_set(err, OS_INVALID_ARGUMENT, "the document is not UTF-8");
    struct graphql_parser ps = {.document = d, .err = err};
    graphql_lexer_start(&ps.lx, text, n);
    while (ps.lx.token != GRAPHQL_END)
        if (!definition(&ps))
            return -1;
    return 0;
}
