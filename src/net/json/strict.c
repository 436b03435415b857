/* Strict JSON: what jansson does not bound or refuse is checked before and after it. */
#include "net/json/strict.h"

#include <string.h>

#include "core/limits.h"

/* jansson recurses once per level, and proxy threads have small stacks: so the depth is known first. A quote
 * or bracket is seen here exactly as jansson sees it, up to the byte where jansson gives up. */
static int check_size(const char *text, size_t n, struct os_error *err)
{
    size_t depth = 0, values = 1;
    bool quoted = false;
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        if (quoted) {
            if (c == '\\')
                i++;
            else if (c == '"')
                quoted = false;
            continue;
        }
        if (c == '"')
            quoted = true;
        if ((c == ']' || c == '}') && depth)
            depth--;
        if (c != '[' && c != '{' && c != ',')
            continue;
        if (++values > OS_JSON_VALUES)
            return os_error_set(err, OS_FAILED_PRECONDITION, "more than %d values", OS_JSON_VALUES);
        if (c != ',' && ++depth > OS_JSON_DEPTH)
            return os_error_set(err, OS_FAILED_PRECONDITION, "nested deeper than %d levels", OS_JSON_DEPTH);
    }
    return 0;
}

static const char *reason(enum json_error_code code)
{
    switch (code) {
    case json_error_invalid_utf8:
        return "invalid UTF-8";
    case json_error_premature_end_of_input:
        return "the text ends too early";
    case json_error_end_of_input_expected:
        return "more behind the end of the value";
    case json_error_null_character:
    case json_error_null_byte_in_key:
        return "NUL character";
    case json_error_duplicate_key:
        return "a member name is repeated";
    case json_error_numeric_overflow:
        return "number out of range";
    default:
        return "syntax error";
    }
}

json_t *strict_json_parse(const char *text, size_t n, struct os_error *err)
{
    const size_t flags = JSON_REJECT_DUPLICATES | JSON_DECODE_ANY;
    if (check_size(text, n, err) < 0)
        return NULL;
    json_error_t why;
    json_t *v = json_loadb(text, n, flags, &why);
    if (!v && json_error_code(&why) == json_error_numeric_overflow)
        v = json_loadb(text, n, flags | JSON_DECODE_INT_AS_REAL, &why);
    if (v)
        return v;
    enum json_error_code code = json_error_code(&why);
    os_error_set(err, code == json_error_duplicate_key ? OS_FAILED_PRECONDITION : OS_INVALID_ARGUMENT,
                 "line %d, column %d: %s", why.line, why.column, reason(code));
    return NULL;
}

/* Next character folded, for names in ASCII: two characters outside fold into it, U+017F and U+212A. */
static int folded(const char **p)
{
    if (!strncmp(*p, "\xc5\xbf", 2)) {
        *p += 2;
        return 's';
    }
    if (!strncmp(*p, "\xe2\x84\xaa", 3)) {
        *p += 3;
        return 'k';
    }
    unsigned char c = (unsigned char)*(*p)++;
    return c >= 'A' && c <= 'Z' ? c + 32 : c;
}

bool strict_json_same_but_case(const char *a, const char *b)
{
    const char *p = a, *q = b;
    while (*p && *q)
        if (folded(&p) != folded(&q))
            return false;
    return !*p && !*q && strcmp(a, b) != 0;
}

const char *strict_json_lookalike(json_t *object, const char *const *names, size_t n, const char **of)
{
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
    {
        for (size_t i = 0; i < n; i++) {
            if (strict_json_same_but_case(key, names[i])) {
                *of = names[i];
                return key;
            }
        }
    }
    return NULL;
}

bool strict_json_is_integer(const json_t *v)
{
    if (!json_is_real(v))
        return json_is_integer(v);
    double d = json_real_value(v);
    return d >= -0x1p63 && d < 0x1p63 && (double)(json_int_t)d == d;
}

const char *strict_json_text(const json_t *v)
{
    const char *s = json_string_value(v);
    return s && *s ? s : NULL;
}

const char *strict_json_excerpt(struct os_arena *arena, const char *s)
{
    size_t n = strnlen(s, OS_JSON_EXCERPT + 1);
    bool cut = n > OS_JSON_EXCERPT;
    if (cut)
        for (n = OS_JSON_EXCERPT; n && ((unsigned char)s[n] & 0xc0) == 0x80; n--)
            ;
    char *out = os_arena_printf(arena, "%.*s%s", (int)n, s, cut ? "..." : "");
    for (char *p = out; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = '?';
    return out;
}
