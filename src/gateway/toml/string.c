/* TOML strings. */
#include <string.h>

#include "core/cleanup.h"
#include "core/encode.h"
#include "gateway/toml/reader.h"

static void add_utf8(struct os_buf *out, uint32_t c)
{
    if (c < 0x80) {
        os_buf_addc(out, (char)c);
    } else if (c < 0x800) {
        os_buf_addc(out, (char)(0xc0 | c >> 6));
        os_buf_addc(out, (char)(0x80 | (c & 0x3f)));
    } else if (c < 0x10000) {
        os_buf_addc(out, (char)(0xe0 | c >> 12));
        os_buf_addc(out, (char)(0x80 | (c >> 6 & 0x3f)));
        os_buf_addc(out, (char)(0x80 | (c & 0x3f)));
    } else {
        os_buf_addc(out, (char)(0xf0 | c >> 18));
        os_buf_addc(out, (char)(0x80 | (c >> 12 & 0x3f)));
        os_buf_addc(out, (char)(0x80 | (c >> 6 & 0x3f)));
        os_buf_addc(out, (char)(0x80 | (c & 0x3f)));
    }
}

/* \uXXXX and \UXXXXXXXX; the cursor is on the u. */
static int unicode(struct toml_reader *r, size_t digits, struct os_buf *out)
{
    uint32_t c = 0;
    for (size_t i = 1; i <= digits; i++) {
        int d = os_hex_value(toml_peek(r, i));
        if (d < 0)
            return toml_fail(r, r->at, "\\%c takes %zu hexadecimal digits", toml_peek(r, 0), digits);
        c = c << 4 | (uint32_t)d;
    }
    if (c > 0x10ffff || (c >= 0xd800 && c < 0xe000) || !c)
        return toml_fail(r, r->at,
                         c ? "the escape names no Unicode character" : "a NUL character is not accepted");
    add_utf8(out, c);
    r->at += digits + 1;
    return 0;
}

/* A backslash at a line's end, blanks before and all white space after it. */
static bool line_continuation(struct toml_reader *r)
{
    size_t start = r->at;
    toml_blanks(r);
    if (!toml_newline(r)) {
        r->at = start;
        return false;
    }
    do
        toml_blanks(r);
    while (toml_newline(r));
    return true;
}

/* The cursor is after the backslash. */
static int escape(struct toml_reader *r, bool multiline, struct os_buf *out)
{
    static const char from[] = "btnfr\"\\", to[] = "\b\t\n\f\r\"\\";
    char c = toml_peek(r, 0);
    const char *simple = c ? strchr(from, c) : NULL;
    if (simple) {
        os_buf_addc(out, to[simple - from]);
        r->at++;
        return 0;
    }
    if (c == 'u' || c == 'U')
        return unicode(r, c == 'u' ? 4 : 8, out);
    if (multiline && line_continuation(r))
        return 0;
    return toml_fail(r, r->at - 1, "unknown escape; write a backslash as \\\\, or use '...'");
}

static bool quotes(const struct toml_reader *r, char quote, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (toml_peek(r, i) != quote)
            return false;
    return true;
}

static int body(struct toml_reader *r, char quote, bool multiline, size_t start, struct os_buf *out)
{
    for (;;) {
        unsigned char c = (unsigned char)toml_peek(r, 0);
        if (r->at >= r->n)
            return toml_fail(r, start, "the string is not closed");
        if (c == (unsigned char)quote && (!multiline || quotes(r, quote, 3)))
            return 0;
        size_t line = r->at;
        if (multiline && toml_newline(r)) {
            os_buf_add(out, r->text + line, r->at - line);
            continue;
        }
        if (c == '\n' || c == '\r')
            return toml_fail(r, start, "the string is not closed on its line");
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return toml_fail(r, r->at, "control character 0x%02x in a string; write it as an escape", c);
        r->at++;
        if (c == '\\' && quote == '"') {
            if (escape(r, multiline, out) < 0)
                return -1;
        } else {
            os_buf_addc(out, (char)c);
        }
    }
}

const char *toml_string(struct toml_reader *r, bool key)
{
    cleanup_buf struct os_buf out = {0};
    size_t start = r->at;
    char quote = toml_peek(r, 0);
    bool multiline = quotes(r, quote, 3);
    if (multiline && key) {
        toml_fail(r, start, "a key cannot be a multi-line string");
        return NULL;
    }
    r->at += multiline ? 3 : 1;
    if (multiline)
        toml_newline(r); /* right after the opening quotes it does not count */
    if (body(r, quote, multiline, start, &out) < 0)
        return NULL;
    r->at += multiline ? 3 : 1;
    /* One or two quotes may stand before the closing three. */
    for (int i = 0; multiline && i < 2 && toml_peek(r, 0) == quote; i++, r->at++)
        os_buf_addc(&out, quote);
    return os_arena_strdup(r->arena, os_buf_str(&out));
}
