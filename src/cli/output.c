/* Styled lines, tables and errors. */
#include "cli/output.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/text.h"
#include "core/cleanup.h"
#include "core/clock.h"
#include "core/str.h"

static const char *ansi(char style)
{
    switch (style) {
    case '\001':
        return "\033[1m";
    case '\002':
        return "\033[0m";
    case '\003':
        return "\033[2m";
    case '\004':
        return "\033[36m";
    case '\005':
        return "\033[32m";
    case '\006':
        return "\033[33m";
    case '\016':
        return "\033[31m";
    case '\017':
        return "\033[36m\033[1m";
    case '\020':
        return "\033[32m\033[1m";
    case '\021':
        return "\033[33m\033[1m";
    default:
        return NULL;
    }
}

bool colour_on(FILE *f)
{
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
    return (!no || !*no) && !os_str_eq(term, "dumb") && isatty(fileno(f));
}

/* One conversion of the small printf; returns the byte after it. */
static const char *convert(struct os_buf *out, const char *p, va_list *ap)
{
    size_t max = SIZE_MAX;
    if (strncmp(p, ".*", 2) == 0) {
        max = (size_t)va_arg(*ap, int);
        p += 2;
    }
    if (*p == 's') {
        const char *s = va_arg(*ap, const char *);
        text_clean(out, s ? s : "", strnlen(s ? s : "", max), false);
        return p + 1;
    }
    if (*p == 'd') {
        os_buf_addf(out, "%d", va_arg(*ap, int));
        return p + 1;
    }
    if (*p == 'u') {
        os_buf_addf(out, "%u", va_arg(*ap, unsigned));
        return p + 1;
    }
    if (strncmp(p, "zu", 2) == 0) {
        os_buf_addf(out, "%zu", va_arg(*ap, size_t));
        return p + 2;
    }
    if (strncmp(p, "lld", 3) == 0) {
        os_buf_addf(out, "%lld", va_arg(*ap, long long));
        return p + 3;
    }
    if (strncmp(p, "llu", 3) == 0) {
        os_buf_addf(out, "%llu", va_arg(*ap, unsigned long long));
        return p + 3;
    }
    os_buf_addc(out, '%');
    return *p == '%' ? p + 1 : p;
}

static void format(struct os_buf *out, bool colour, const char *fmt, va_list *ap)
{
    for (const char *p = fmt; *p;) {
        const char *code = ansi(*p);
        if (code && colour)
            os_buf_adds(out, code);
        else if (!code && *p != '%')
            os_buf_addc(out, *p);
        p++;
        if (p[-1] == '%')
            p = convert(out, p, ap);
    }
}

void say_buf(struct os_buf *out, bool colour, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    format(out, colour, fmt, &ap);
    va_end(ap);
}

void say(FILE *f, const char *fmt, ...)
{
    cleanup_buf struct os_buf b = {0};
    va_list ap;
    va_start(ap, fmt);
    format(&b, colour_on(f), fmt, &ap);
    va_end(ap);
    fwrite(os_buf_str(&b), 1, b.len, f);
}

void say_block(FILE *f, const char *text, unsigned indent)
{
    cleanup_buf struct os_buf clean = {0}, b = {0};
    text_clean(&clean, text, strlen(text), true);
    for (const char *line = os_buf_str(&clean); *line;) {
        size_t n = strcspn(line, "\n");
        for (unsigned i = 0; n && i < indent; i++)
            os_buf_addc(&b, ' ');
        os_buf_add(&b, line, n);
        os_buf_addc(&b, '\n');
        line += n + (line[n] == '\n');
    }
    fwrite(os_buf_str(&b), 1, b.len, f);
}

/* --- errors --- */

/* One message: first line behind `first`, the others behind `next`. */
static void error_lines(struct os_buf *out, const char *message, size_t n, const char *first,
                        const char *next)
{
    const char *lead = first;
    for (;;) {
        const char *newline = memchr(message, '\n', n);
        size_t len = newline ? (size_t)(newline - message) : n;
        os_buf_adds(out, lead);
        text_clean(out, message, len, false);
        os_buf_addc(out, '\n');
        if (!newline)
            return;
        message += len + 1;
        n -= len + 1;
        lead = next;
    }
}

void error_format(struct os_buf *out, const char *message, bool utf8, bool colour)
{
    const char *cause = strchr(message, *CAUSE);
    size_t n = cause ? (size_t)(cause - message) : strlen(message);
    cleanup_buf struct os_buf first = {0};
    say_buf(&first, colour, utf8 ? "Error:   " RED "×" END " " : "Error:   " RED "x" END " ");
    error_lines(out, message, n, os_buf_str(&first), utf8 ? "  │ " : "  | ");
    while (cause) {
        const char *text = cause + 1;
        cause = strchr(text, *CAUSE);
        n = cause ? (size_t)(cause - text) : strlen(text);
        if (utf8)
            error_lines(out, text, n, cause ? "  ├─▶ " : "  ╰─▶ ", cause ? "  │   " : "      ");
        else
            error_lines(out, text, n, cause ? "  |-> " : "  `-> ", cause ? "  |   " : "      ");
    }
}

static bool locale_is_utf8(void)
{
    static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    for (size_t i = 0; i < OS_ARRAY_LEN(names); i++) {
        const char *v = getenv(names[i]);
        if (v && *v)
            return strcasestr(v, "utf-8") || strcasestr(v, "utf8");
    }
    return false;
}

void error_print(const struct os_error *err)
{
    cleanup_buf struct os_buf b = {0};
    error_format(&b, os_error_text(err), locale_is_utf8(), colour_on(stderr));
    fflush(stdout);
    fwrite(os_buf_str(&b), 1, b.len, stderr);
}

/* --- tables --- */

void table_add(struct table *t, const char *text, const char *style)
{
    cleanup_buf struct os_buf b = {0};
    text_clean(&b, text, strlen(text), false);
    /* Grown by doubling inside the arena: rows are few and the arena is short-lived. */
    if (!t->n_cells || (t->n_cells >= 8 && (t->n_cells & (t->n_cells - 1)) == 0)) {
        size_t room = t->n_cells ? t->n_cells * 2 : 8;
        const char **cells = os_arena_alloc(t->arena, room * sizeof(*cells));
        const char **styles = os_arena_alloc(t->arena, room * sizeof(*styles));
        if (t->n_cells) {
            memcpy(cells, t->cells, t->n_cells * sizeof(*cells));
            memcpy(styles, t->styles, t->n_cells * sizeof(*styles));
        }
        t->cells = cells;
        t->styles = styles;
    }
    t->cells[t->n_cells] = os_arena_strdup(t->arena, os_buf_str(&b));
    t->styles[t->n_cells++] = style;
}

/* The last column is not padded; empty last cells leave no blanks behind. */
static void table_row(const struct table *t, const char *const *cells, const char *const *styles,
                      const size_t *width, bool colour, struct os_buf *out)
{
    for (size_t c = 0; c < t->columns; c++) {
        const char *style = styles ? styles[c] : BOLD;
        const char *code = style && colour ? ansi(*style) : NULL;
        os_buf_adds(out, c ? (t->gap ? t->gap : "  ") : "");
        os_buf_adds(out, code ? code : "");
        os_buf_adds(out, cells[c]);
        os_buf_adds(out, code ? ansi('\002') : "");
        for (size_t w = text_width(cells[c]); w < width[c] && c + 1 < t->columns; w++)
            os_buf_addc(out, ' ');
    }
    while (out->len && out->data[out->len - 1] == ' ')
        out->data[--out->len] = '\0';
    os_buf_addc(out, '\n');
}

void table_format(const struct table *t, bool colour, struct os_buf *out)
{
    size_t width[TABLE_COLUMNS];
    for (size_t c = 0; c < t->columns; c++) {
        width[c] = text_width(t->headers[c]);
        if (width[c] < t->least[c])
            width[c] = t->least[c];
        for (size_t i = c; i < t->n_cells; i += t->columns)
            if (text_width(t->cells[i]) > width[c])
                width[c] = text_width(t->cells[i]);
    }
    table_row(t, t->headers, NULL, width, colour, out);
    for (size_t i = 0; i + t->columns <= t->n_cells; i += t->columns)
        table_row(t, t->cells + i, t->styles + i, width, colour, out);
}

void table_print(const struct table *t, FILE *f)
{
    cleanup_buf struct os_buf b = {0};
    table_format(t, colour_on(f), &b);
    fwrite(os_buf_str(&b), 1, b.len, f);
}

const char *time_text(struct os_arena *a, int64_t ms)
{
    char text[OS_CLOCK_TEXT_LEN];
    return os_arena_strdup(a, os_clock_text(ms, text));
}
