/* GraphQL strings: escapes are checked, their values are not needed. */
#include "net/graphql/literal.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The hex digits from p; returns behind them, NULL when there are fewer than min. Stops at max. */
static const char *hex(const char *p, const char *end, int min, int max, uint32_t *value)
{
    int n = 0;
    *value = 0;
    for (; n < max && p < end && hex_value(*p) >= 0; n++)
        *value = *value << 4 | (uint32_t)hex_value(*p++);
    return n < min ? NULL : p;
}

/* Behind "\u": XXXX, a pair of surrogates, or {X...}. */
static const char *unicode_escape(const char *p, const char *end)
{
    uint32_t v, low;
    if (p < end && *p == '{') {
        while (end - p > 1 && p[1] == '0')
            p++;
        bool zeros = *p == '0';
        p = hex(p + 1, end, zeros ? 0 : 1, 6, &v);
        if (!p || p == end || *p != '}' || v > 0x10ffff || (v >= 0xd800 && v <= 0xdfff))
            return NULL;
        return p + 1;
    }
    p = hex(p, end, 4, 4, &v);
    if (!p || (v >= 0xdc00 && v <= 0xdfff))
        return NULL;
    if (v < 0xd800 || v > 0xdbff)
        return p;
    if (end - p < 2 || p[0] != '\\' || p[1] != 'u')
        return NULL;
    p = hex(p + 2, end, 4, 4, &low);
    return p && low >= 0xdc00 && low <= 0xdfff ? p : NULL;
}

/* Behind the backslash. */
static const char *escape(const char *p, const char *end)
{
    if (p == end || !*p)
        return NULL;
    if (*p == 'u')
        return unicode_escape(p + 1, end);
    return strchr("\"\\/bfnrt", *p) ? p + 1 : NULL;
}

const char *graphql_string_end(const char *p, const char *end, const char **why)
{
    for (p++; p < end && *p != '"';) {
        if ((unsigned char)*p < 0x20 && *p != '\t') {
            *why = "line end or control character in a string";
            return NULL;
        }
        if (*p++ != '\\')
            continue;
        p = escape(p, end);
        if (!p) {
            *why = "malformed escape in a string";
            return NULL;
        }
    }
    if (p == end) {
        *why = "string without end";
        return NULL;
    }
    return p + 1;
}

const char *graphql_block_string_end(const char *p, const char *end, const char **why)
{
    for (p += 3; end - p >= 3;) {
        if (!memcmp(p, "\"\"\"", 3))
            return p + 3;
        if (end - p >= 4 && !memcmp(p, "\\\"\"\"", 4)) {
            p += 4;
            continue;
        }
        if ((unsigned char)*p < 0x20 && *p != '\t' && *p != '\r' && *p != '\n') {
            *why = "control character in a string";
            return NULL;
        }
        p++;
    }
    *why = "string without end";
    return NULL;
}
