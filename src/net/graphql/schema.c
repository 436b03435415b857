/* The type-system half of the grammar (October 2021, 3). Nothing of it is kept, but it is read by its rules
 * and not skipped by guess: what would be skipped too far could hide an operation. */
#include "core/cleanup.h"
#include "net/graphql/parser.h"

static void skip_description(struct graphql_parser *ps)
{
    graphql_parser_skip(ps, GRAPHQL_STRING);
}

/* name : Type = default @directives, for arguments and input fields. */
static bool input_value(struct graphql_parser *ps, void *arg)
{
    skip_description(ps);
    if (!graphql_parser_name(ps, NULL) || !graphql_parser_expect(ps, GRAPHQL_COLON) ||
        !graphql_parse_type(ps))
        return false;
    if (graphql_parser_skip(ps, GRAPHQL_EQUALS) && !graphql_parse_value(ps, true))
        return false;
    return graphql_parse_directives(ps, true);
}

static bool argument_definitions(struct graphql_parser *ps)
{
    if (ps->lx.token != GRAPHQL_PAREN_OPEN)
        return true;
    return graphql_parser_some(ps, GRAPHQL_PAREN_OPEN, input_value, NULL, GRAPHQL_PAREN_CLOSE);
}

static bool field_definition(struct graphql_parser *ps, void *arg)
{
    skip_description(ps);
    return graphql_parser_name(ps, NULL) && argument_definitions(ps) &&
           graphql_parser_expect(ps, GRAPHQL_COLON) && graphql_parse_type(ps) &&
           graphql_parse_directives(ps, true);
}

static bool enum_value(struct graphql_parser *ps, void *arg)
{
    skip_description(ps);
    bool reserved = graphql_lexer_is(&ps->lx, "true") || graphql_lexer_is(&ps->lx, "false") ||
                    graphql_lexer_is(&ps->lx, "null");
    if (reserved)
        return graphql_parser_fail(ps, "an enum value");
    return graphql_parser_name(ps, NULL) && graphql_parse_directives(ps, true);
}

static bool root_operation(struct graphql_parser *ps, void *arg)
{
    bool known = graphql_lexer_is(&ps->lx, "query") || graphql_lexer_is(&ps->lx, "mutation") ||
                 graphql_lexer_is(&ps->lx, "subscription");
    if (!known)
        return graphql_parser_fail(ps, "a type of operation");
    return graphql_parser_name(ps, NULL) && graphql_parser_expect(ps, GRAPHQL_COLON) &&
           graphql_parser_name(ps, NULL);
}

/* Items in braces, which may be left out. */
static bool body(struct graphql_parser *ps, graphql_parser_item *item)
{
    if (ps->lx.token != GRAPHQL_BRACE_OPEN)
        return true;
    return graphql_parser_some(ps, GRAPHQL_BRACE_OPEN, item, NULL, GRAPHQL_BRACE_CLOSE);
}

/* Names between separators, one allowed in front. */
static bool names(struct graphql_parser *ps, enum graphql_token separator)
{
    graphql_parser_skip(ps, separator);
    do {
        if (!graphql_parser_name(ps, NULL))
            return false;
    } while (graphql_parser_skip(ps, separator));
    return true;
}

static bool schema(struct graphql_parser *ps)
{
    return graphql_parse_directives(ps, true) && body(ps, root_operation);
}

static bool scalar(struct graphql_parser *ps)
{
    return graphql_parser_name(ps, NULL) && graphql_parse_directives(ps, true);
}

static bool object_type(struct graphql_parser *ps)
{
    if (!graphql_parser_name(ps, NULL))
        return false;
    if (graphql_parser_skip_word(ps, "implements") && !names(ps, GRAPHQL_AMP))
        return false;
    return graphql_parse_directives(ps, true) && body(ps, field_definition);
}

static bool union_type(struct graphql_parser *ps)
{
    if (!scalar(ps))
        return false;
    return !graphql_parser_skip(ps, GRAPHQL_EQUALS) || names(ps, GRAPHQL_PIPE);
}

static bool enum_type(struct graphql_parser *ps)
{
    return scalar(ps) && body(ps, enum_value);
}

static bool input_type(struct graphql_parser *ps)
{
    return scalar(ps) && body(ps, input_value);
}

static bool location(struct graphql_parser *ps)
{
    static const char *const known[] = {
#define LOCATION(name) #name,
#include "net/graphql/tbl/locations.h"
#undef LOCATION
    };
    for (size_t i = 0; i < OS_ARRAY_LEN(known); i++)
        if (graphql_parser_skip_word(ps, known[i]))
            return true;
    return graphql_parser_fail(ps, "a place for a directive");
}

static bool directive(struct graphql_parser *ps)
{
    if (!graphql_parser_expect(ps, GRAPHQL_AT) || !graphql_parser_name(ps, NULL) || !argument_definitions(ps))
        return false;
    graphql_parser_skip_word(ps, "repeatable");
    if (!graphql_parser_skip_word(ps, "on"))
        return graphql_parser_fail(ps, "\"on\"");
    graphql_parser_skip(ps, GRAPHQL_PIPE);
    do {
        if (!location(ps))
            return false;
    } while (graphql_parser_skip(ps, GRAPHQL_PIPE));
    return true;
}

static const struct {
    const char *keyword;
    bool (*parse)(struct graphql_parser *ps);
} kinds[] = {
    {"schema", schema},    {"scalar", scalar},  {"type", object_type}, {"interface", object_type},
    {"union", union_type}, {"enum", enum_type}, {"input", input_type}, {"directive", directive},
};

bool graphql_is_schema(const struct graphql_parser *ps)
{
    for (size_t i = 0; i < OS_ARRAY_LEN(kinds); i++)
        if (graphql_lexer_is(&ps->lx, kinds[i].keyword))
            return true;
    return graphql_lexer_is(&ps->lx, "extend");
}

bool graphql_parse_schema(struct graphql_parser *ps)
{
    bool extension = graphql_parser_skip_word(ps, "extend");
    for (size_t i = 0; i < OS_ARRAY_LEN(kinds); i++) {
        if (extension && kinds[i].parse == directive)
            continue;
        if (graphql_parser_skip_word(ps, kinds[i].keyword))
            return kinds[i].parse(ps);
    }
    return graphql_parser_fail(ps, "a kind of type");
}
