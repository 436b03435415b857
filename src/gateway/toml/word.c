/* TOML values that are words: numbers, booleans, dates and times. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/str.h"
#include "gateway/toml/reader.h"

static bool digit(char c)
{
    return c >= '0' && c <= '9';
}

/* --- dates and times (RFC 3339, seconds required) --- */

static bool number_of(const char **p, size_t digits, unsigned low, unsigned high, unsigned *out)
{
    unsigned v = 0;
    for (size_t i = 0; i < digits; i++) {
        if (!digit((*p)[i]))
            return false;
        v = v * 10 + (unsigned)((*p)[i] - '0');
    }
    *p += digits;
    *out = v;
    return v >= low && v <= high;
}

static bool date_of(const char **p)
{
    static const unsigned char days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    unsigned year, month, day;
    if (!number_of(p, 4, 0, 9999, &year) || *(*p)++ != '-' || !number_of(p, 2, 1, 12, &month) ||
        *(*p)++ != '-' || !number_of(p, 2, 1, days[month - 1], &day))
        return false;
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return month != 2 || day < 29 || leap;
}

static bool time_of(const char **p)
{
    unsigned v;
    if (!number_of(p, 2, 0, 23, &v) || *(*p)++ != ':' || !number_of(p, 2, 0, 59, &v) || *(*p)++ != ':' ||
        !number_of(p, 2, 0, 60, &v))
        return false;
    if (**p != '.')
        return true;
    const char *start = ++*p;
    while (digit(**p))
        ++*p;
    return *p > start;
}

static bool offset_of(const char **p)
{
    unsigned v;
    if (**p == 'Z' || **p == 'z') {
        ++*p;
        return true;
    }
    if (**p != '+' && **p != '-')
        return false;
    ++*p;
    return number_of(p, 2, 0, 23, &v) && *(*p)++ == ':' && number_of(p, 2, 0, 59, &v);
}

static bool datetime(const char *text)
{
    const char *p = text;
    if (time_of(&p) && !*p)
        return true;
    p = text;
    if (strlen(text) < 10 || !date_of(&p))
        return false;
    if (!*p)
        return true;
    if (*p != 'T' && *p != 't' && *p != ' ')
        return false;
    p++;
    return time_of(&p) && (!*p || (offset_of(&p) && !*p));
}

/* --- numbers --- */

/* Copies without underscores; false unless each stands between two digits of the base. */
static bool strip(const char *text, bool (*of_base)(char), struct os_buf *out)
{
    for (size_t i = 0; text[i]; i++) {
        if (text[i] != '_')
            os_buf_addc(out, text[i]);
        else if (i == 0 || !of_base(text[i - 1]) || !of_base(text[i + 1]))
            return false;
    }
    return true;
}

static bool hex(char c)
{
    return digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool octal(char c)
{
    return c >= '0' && c <= '7';
}

static bool binary(char c)
{
    return c == '0' || c == '1';
}

static bool integer_of_base(const char *text, int64_t *out)
{
    bool (*of_base)(char) = text[1] == 'x' ? hex : text[1] == 'o' ? octal : binary;
    int base = text[1] == 'x' ? 16 : text[1] == 'o' ? 8 : 2;
    cleanup_buf struct os_buf digits = {0};
    if (!text[2] || !strip(text + 2, of_base, &digits))
        return false;
    for (size_t i = 0; i < digits.len; i++)
        if (!of_base(digits.data[i]))
            return false;
    errno = 0;
    unsigned long long v = strtoull(os_buf_str(&digits), NULL, base);
    *out = (int64_t)v;
    return errno == 0 && v <= INT64_MAX;
}

static const char *integer_part(const char *p)
{
    const char *start = p;
    while (digit(*p))
        p++;
    return p > start && (*start != '0' || p == start + 1) ? p : NULL; /* no leading zero */
}

static const char *digits_part(const char *p)
{
    const char *start = p;
    while (digit(*p))
        p++;
    return p > start ? p : NULL;
}

/* 1 an integer, 2 a float, 0 neither. */
static int shape(const char *text)
{
    const char *p = integer_part(text + (*text == '+' || *text == '-'));
    bool is_float = false;
    if (p && *p == '.') {
        is_float = true;
        p = digits_part(p + 1);
    }
    if (p && (*p == 'e' || *p == 'E')) {
        is_float = true;
        p++;
        p = digits_part(p + (*p == '+' || *p == '-'));
    }
    return !p || *p ? 0 : is_float ? 2 : 1;
}

static bool decimal(const char *text, struct toml_value *v)
{
    cleanup_buf struct os_buf clean = {0};
    if (!strip(text, digit, &clean))
        return false;
    int what = shape(os_buf_str(&clean));
    errno = 0;
    if (what == 2) {
        v->type = TOML_FLOAT;
        v->number = strtod(clean.data, NULL);
        return true; /* out of range is infinite, as written */
    }
    v->type = TOML_INTEGER;
    v->integer = what ? strtoll(clean.data, NULL, 10) : 0;
    return what && errno == 0;
}

static bool special(const char *text, struct toml_value *v)
{
    const char *bare = text + (*text == '+' || *text == '-');
    v->type = TOML_FLOAT;
    if (strcmp(bare, "inf") == 0)
        v->number = *text == '-' ? -INFINITY : INFINITY;
    else if (strcmp(bare, "nan") == 0)
        v->number = NAN;
    else
        return false;
    return true;
}

static bool word(const char *text, struct toml_value *v)
{
    if (strcmp(text, "true") == 0 || strcmp(text, "false") == 0) {
        v->type = TOML_BOOLEAN;
        v->boolean = *text == 't';
        return true;
    }
    if (datetime(text)) {
        v->type = TOML_DATETIME;
        v->text = text;
        return true;
    }
    if (text[0] == '0' && text[1] && strchr("xob", text[1])) {
        v->type = TOML_INTEGER;
        return integer_of_base(text, &v->integer);
    }
    return special(text, v) || decimal(text, v);
}

static bool of_word(char c)
{
    return digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c && strchr("+-_.:", c));
}

int toml_word(struct toml_reader *r, struct toml_value *v)
{
    size_t start = r->at;
    while (of_word(toml_peek(r, 0)))
        r->at++;
    /* A date and its time may be apart by one blank. */
    if (r->at - start == 10 && toml_peek(r, 0) == ' ' && digit(toml_peek(r, 1)) && digit(r->text[start]) &&
        r->text[start + 4] == '-')
        for (r->at++; of_word(toml_peek(r, 0));)
            r->at++;
    char *text = os_arena_strndup(r->arena, r->text + start, r->at - start);
    if (!*text)
        return toml_fail(r, start, "a value is missing; strings stand in quotes");
    if (word(text, v))
        return 0;
    return toml_fail(r, start, "'%.60s' is no number, boolean or date; strings stand in quotes", text);
}
