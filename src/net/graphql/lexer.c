/* GraphQL lexer: one pass, no memory. Where published lexers differ about the end of a comment, it refuses:
 * text that is a comment for one of them and code for another would hide an operation. */
#include "net/graphql/lexer.h"

#include <string.h>

#include "core/limits.h"
#include "net/graphql/literal.h"

static bool is_name_start(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* The byte k further on; NUL behind the end, which no token holds. */
static char peek(const struct graphql_lexer *lx, size_t k)
{
    return (size_t)(lx->end - lx->p) > k ? lx->p[k] : '\0';
}

static enum graphql_token bad(struct graphql_lexer *lx, const char *why)
{
    lx->bad = why;
    return lx->token = GRAPHQL_BAD;
}

static bool starts(const struct graphql_lexer *lx, const char *s)
{
    size_t n = strlen(s);
    return (size_t)(lx->end - lx->p) >= n && !memcmp(lx->p, s, n);
}

/* U+0085, U+2028, U+2029: line ends for some. */
static bool is_separator(const struct graphql_lexer *lx)
{
    if (!((unsigned char)*lx->p & 0x80))
        return false;
    return starts(lx, "\xc2\x85") || starts(lx, "\xe2\x80\xa8") || starts(lx, "\xe2\x80\xa9");
}

/* From '#' to the line end. */
static bool skip_comment(struct graphql_lexer *lx)
{
    for (; lx->p < lx->end && *lx->p != '\n'; lx->p++) {
        if (*lx->p == '\r' && peek(lx, 1) == '\n')
            return true;
        bool control = (unsigned char)*lx->p < 0x20 && *lx->p != '\t';
        if (control || is_separator(lx))
            return false;
    }
    return true;
}

static bool skip_ignored(struct graphql_lexer *lx)
{
    while (lx->p < lx->end) {
        if (strchr(" \t\r\n,", *lx->p) && *lx->p)
            lx->p++;
        else if (starts(lx, "\xef\xbb\xbf"))
            lx->p += 3;
        else if (*lx->p != '#')
            return true;
        else if (!skip_comment(lx))
            return false;
    }
    return true;
}

static bool digits(struct graphql_lexer *lx)
{
    if (!is_digit(peek(lx, 0)))
        return false;
    while (is_digit(peek(lx, 0)))
        lx->p++;
    return true;
}

static enum graphql_token number(struct graphql_lexer *lx)
{
    if (*lx->p == '-')
        lx->p++;
    bool ok = true;
    if (peek(lx, 0) == '0')
        lx->p++;
    else
        ok = digits(lx);
    if (ok && peek(lx, 0) == '.') {
        lx->p++;
        ok = digits(lx);
    }
    if (ok && (peek(lx, 0) | 0x20) == 'e') {
        lx->p++;
        if (peek(lx, 0) == '+' || peek(lx, 0) == '-')
            lx->p++;
        ok = digits(lx);
    }
    char next = peek(lx, 0);
    if (!ok || is_digit(next) || next == '.' || is_name_start(next))
        return bad(lx, "malformed number");
    return GRAPHQL_NUMBER;
}

static enum graphql_token name(struct graphql_lexer *lx)
{
    while (is_name_start(peek(lx, 0)) || is_digit(peek(lx, 0)))
        lx->p++;
    return GRAPHQL_NAME;
}

static enum graphql_token string(struct graphql_lexer *lx)
{
    bool block = starts(lx, "\"\"\"");
    const char *why = NULL;
    const char *end =
        block ? graphql_block_string_end(lx->p, lx->end, &why) : graphql_string_end(lx->p, lx->end, &why);
    if (!end)
        return bad(lx, why);
    lx->p = end;
    return GRAPHQL_STRING;
}

static enum graphql_token token(struct graphql_lexer *lx)
{
    char c = *lx->p;
    if (is_name_start(c))
        return name(lx);
    if (c == '-' || is_digit(c))
        return number(lx);
    if (c == '"')
        return string(lx);
    if (c == '.') {
        if (!starts(lx, "..."))
            return bad(lx, "unexpected \".\"");
        lx->p += 3;
        return GRAPHQL_SPREAD;
    }
    if (!c || !strchr("!$&():=@[]{|}", c))
        return bad(lx, "character that no token begins with");
    lx->p++;
    return (enum graphql_token)c;
}

enum graphql_token graphql_lexer_next(struct graphql_lexer *lx)
{
    if (lx->token == GRAPHQL_BAD)
        return lx->token;
    bool clean = skip_ignored(lx);
    lx->at = lx->p;
    lx->n = 0;
    if (!clean)
        return bad(lx, "control character or unusual line separator in a comment");
    if (lx->p == lx->end)
        return lx->token = GRAPHQL_END;
    if (++lx->tokens > OS_GRAPHQL_TOKENS)
        return bad(lx, "token limit of 20000 exceeded");
    _Static_assert(OS_GRAPHQL_TOKENS == 20000, "the text above names it");
    lx->token = token(lx);
    lx->n = (size_t)(lx->p - lx->at);
    return lx->token;
}

void graphql_lexer_start(struct graphql_lexer *lx, const char *text, size_t n)
{
    *lx = (struct graphql_lexer){.start = text, .p = text, .end = text + n, .at = text};
    graphql_lexer_next(lx);
}

bool graphql_lexer_is(const struct graphql_lexer *lx, const char *s)
{
    return lx->token == GRAPHQL_NAME && lx->n == strlen(s) && !memcmp(lx->at, s, lx->n);
}

void graphql_lexer_place(const struct graphql_lexer *lx, size_t *line, size_t *column)
{
    *line = *column = 1;
    for (const char *p = lx->start; p < lx->at; p++) {
        if (*p == '\n' || (*p == '\r' && (p + 1 == lx->end || p[1] != '\n'))) {
            ++*line;
            *column = 1;
        } else if (((unsigned char)*p & 0xc0) != 0x80) {
            ++*column;
        }
    }
}
