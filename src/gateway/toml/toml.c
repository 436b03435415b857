/* TOML documents: keys, tables, arrays. */
#include "gateway/toml/toml.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/str.h"
#include "gateway/toml/reader.h"

/* --- the cursor --- */

uint32_t toml_line(struct toml_reader *r, size_t at, uint32_t *column)
{
    if (!r->line || at < r->line_at) {
        r->line = 1;
        r->line_at = 0;
    }
    for (const char *lf; (lf = memchr(r->text + r->line_at, '\n', at - r->line_at));) {
        r->line++;
        r->line_at = (size_t)(lf - r->text) + 1;
    }
    *column = 1;
    for (size_t i = r->line_at; i < at; i++)
        *column += ((unsigned char)r->text[i] & 0xc0) != 0x80; /* characters, not bytes */
    return r->line;
}

int toml_fail(struct toml_reader *r, size_t at, const char *fmt, ...)
{
    char text[400];
    uint32_t column, line = toml_line(r, at, &column);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    return os_error_set(r->err, OS_INVALID_ARGUMENT, "line %u, column %u: %s", line, column, text);
}

void toml_blanks(struct toml_reader *r)
{
    while (toml_peek(r, 0) == ' ' || toml_peek(r, 0) == '\t')
        r->at++;
}

bool toml_newline(struct toml_reader *r)
{
    size_t n = toml_peek(r, 0) == '\n' ? 1 : toml_peek(r, 0) == '\r' && toml_peek(r, 1) == '\n' ? 2 : 0;
    r->at += n;
    return n > 0;
}

int toml_comment(struct toml_reader *r)
{
    if (toml_peek(r, 0) != '#')
        return 0;
    for (r->at++; r->at < r->n; r->at++) {
        unsigned char c = (unsigned char)r->text[r->at];
        if (c == '\n' || (c == '\r' && toml_peek(r, 1) == '\n'))
            return 0;
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return toml_fail(r, r->at, "control character 0x%02x in a comment", c);
    }
    return 0;
}

/* Blanks, comments and newlines. */
static int space(struct toml_reader *r)
{
    do {
        toml_blanks(r);
        if (toml_comment(r) < 0)
            return -1;
    } while (toml_newline(r));
    return 0;
}

static int end_of_line(struct toml_reader *r)
{
    toml_blanks(r);
    if (toml_comment(r) < 0)
        return -1;
    if (r->at == r->n || toml_newline(r))
        return 0;
    return toml_fail(r, r->at, "the line must end here; put what follows on a line of its own");
}

/* --- the tree --- */

const char *toml_type_name(enum toml_type type)
{
    static const char *const names[] = {"a string",    "an integer", "a float", "a boolean",
                                        "a date-time", "an array",   "a table"};
    return names[type];
}

const struct toml_value *toml_get(const struct toml_value *table, const char *key)
{
    for (const struct toml_value *v = table->first; v; v = v->next)
        if (strcmp(v->key, key) == 0)
            return v;
    return NULL;
}

static struct toml_value *new_value(struct toml_reader *r, size_t at)
{
    struct toml_value *v = os_arena_alloc(r->arena, sizeof(*v));
    memset(v, 0, sizeof(*v));
    v->line = toml_line(r, at, &v->column);
    return v;
}

static void append(struct toml_value *parent, struct toml_value *child)
{
    if (parent->last)
        parent->last->next = child;
    else
        parent->first = child;
    parent->last = child;
}

static struct toml_value *new_table(struct toml_reader *r, const char *key, size_t at,
                                    enum toml_origin origin)
{
    struct toml_value *t = new_value(r, at);
    t->type = TOML_TABLE;
    t->origin = origin;
    t->key = key;
    return t;
}

/* --- keys --- */

struct key {
    const char *parts[TOML_DEPTH_MAX];
    size_t at[TOML_DEPTH_MAX];
    size_t n;
};

static bool bare(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '-';
}

static int key_part(struct toml_reader *r, struct key *k)
{
    size_t start = r->at;
    char c = toml_peek(r, 0);
    if (k->n == TOML_DEPTH_MAX)
        return toml_fail(r, start, "the key has more than %d parts", TOML_DEPTH_MAX);
    k->at[k->n] = start;
    if (c == '"' || c == '\'') {
        k->parts[k->n] = toml_string(r, true);
        return k->parts[k->n++] ? 0 : -1;
    }
    while (bare(toml_peek(r, 0)))
        r->at++;
    if (r->at == start)
        return toml_fail(r, start,
                         "a key is missing; keys of other characters than A-Z a-z 0-9 _ - stand in "
                         "quotes");
    k->parts[k->n++] = os_arena_strndup(r->arena, r->text + start, r->at - start);
    return 0;
}

static int read_key(struct toml_reader *r, struct key *k)
{
    k->n = 0;
    for (;;) {
        toml_blanks(r);
        if (key_part(r, k) < 0)
            return -1;
        toml_blanks(r);
        if (toml_peek(r, 0) != '.')
            return 0;
        r->at++;
    }
}

static int twice(struct toml_reader *r, const struct key *k, size_t i, const struct toml_value *first)
{
    return toml_fail(r, k->at[i], "'%.60s' has already been defined, in line %u", k->parts[i], first->line);
}

/* --- values --- */

static int read_value(struct toml_reader *r, struct toml_value *v);

static int read_array(struct toml_reader *r, struct toml_value *v)
{
    size_t start = r->at++;
    v->type = TOML_ARRAY;
    v->origin = TOML_INLINE;
    for (;;) {
        if (space(r) < 0)
            return -1;
        if (toml_peek(r, 0) == ']')
            break;
        if (r->at == r->n)
            return toml_fail(r, start, "the array is not closed");
        struct toml_value *item = new_value(r, r->at);
        if (read_value(r, item) < 0 || space(r) < 0)
            return -1;
        append(v, item);
        if (toml_peek(r, 0) == ',')
            r->at++;
        else if (r->at < r->n && toml_peek(r, 0) != ']')
            return toml_fail(r, r->at, "',' or ']' is missing in the array");
    }
    r->at++;
    return 0;
}

/* key = value into a table; dotted keys make the tables between. */
static int read_pair(struct toml_reader *r, struct toml_value *table)
{
    struct key k;
    if (read_key(r, &k) < 0)
        return -1;
    for (size_t i = 0; i + 1 < k.n; i++) {
        struct toml_value *next = (struct toml_value *)toml_get(table, k.parts[i]);
        if (!next)
            append(table, next = new_table(r, k.parts[i], k.at[i], TOML_DOTTED));
        else if (next->type != TOML_TABLE || (next->origin != TOML_DOTTED && next->origin != TOML_IMPLICIT))
            return twice(r, &k, i, next);
        else
            next->origin = TOML_DOTTED;
        table = next;
    }
    const struct toml_value *old = toml_get(table, k.parts[k.n - 1]);
    if (old)
        return twice(r, &k, k.n - 1, old);
    if (toml_peek(r, 0) != '=')
        return toml_fail(r, r->at, "'=' is missing after the key '%.60s'", k.parts[k.n - 1]);
    r->at++;
    toml_blanks(r);
    struct toml_value *v = new_value(r, k.at[k.n - 1]);
    v->key = k.parts[k.n - 1];
    if (read_value(r, v) < 0)
        return -1;
    append(table, v);
    return 0;
}

/* What dotted keys made inside of an inline table is as complete as the table itself. */
static void complete(struct toml_value *table)
{
    table->origin = TOML_INLINE;
    for (struct toml_value *v = table->first; v; v = v->next)
        if (v->type == TOML_TABLE && v->origin == TOML_DOTTED)
            complete(v);
}

static int read_inline_table(struct toml_reader *r, struct toml_value *v)
{
    r->at++;
    v->type = TOML_TABLE;
    toml_blanks(r);
    bool more = toml_peek(r, 0) != '}';
    while (more) {
        if (read_pair(r, v) < 0)
            return -1;
        toml_blanks(r);
        more = toml_peek(r, 0) == ',';
        if (!more && toml_peek(r, 0) != '}')
            return toml_fail(r, r->at, "',' or '}' is missing; an inline table stands on one line");
        r->at += more;
    }
    r->at++;
    complete(v);
    return 0;
}

static int read_nested(struct toml_reader *r, struct toml_value *v)
{
    if (r->depth == TOML_DEPTH_MAX)
        return toml_fail(r, r->at, "more than %d values are nested", TOML_DEPTH_MAX);
    r->depth++;
    int rc = toml_peek(r, 0) == '[' ? read_array(r, v) : read_inline_table(r, v);
    r->depth--;
    return rc;
}

static int read_value(struct toml_reader *r, struct toml_value *v)
{
    switch (toml_peek(r, 0)) {
    case '[':
    case '{':
        return read_nested(r, v);
    case '"':
    case '\'':
        v->type = TOML_STRING;
        v->text = toml_string(r, false);
        return v->text ? 0 : -1;
    default:
        return toml_word(r, v);
    }
}

/* --- headers --- */

/* The table a header part leads into. */
static struct toml_value *step(struct toml_reader *r, struct toml_value *table, const struct key *k, size_t i)
{
    struct toml_value *next = (struct toml_value *)toml_get(table, k->parts[i]);
    if (!next) {
        append(table, next = new_table(r, k->parts[i], k->at[i], TOML_IMPLICIT));
        return next;
    }
    if (next->type == TOML_ARRAY && next->origin == TOML_OF_HEADERS)
        return next->last;
    if (next->type == TOML_TABLE && next->origin != TOML_INLINE)
        return next;
    toml_fail(r, k->at[i], "'%.60s' is complete since line %u; nothing can be added to it", k->parts[i],
              next->line);
    return NULL;
}

static struct toml_value *define_table(struct toml_reader *r, struct toml_value *parent, const struct key *k)
{
    size_t last = k->n - 1;
    struct toml_value *t = (struct toml_value *)toml_get(parent, k->parts[last]);
    if (!t) {
        append(parent, t = new_table(r, k->parts[last], k->at[last], TOML_DEFINED));
        return t;
    }
    if (t->type != TOML_TABLE || t->origin != TOML_IMPLICIT) {
        twice(r, k, last, t);
        return NULL;
    }
    t->origin = TOML_DEFINED;
    t->line = toml_line(r, k->at[last], &t->column);
    return t;
}

static struct toml_value *add_table(struct toml_reader *r, struct toml_value *parent, const struct key *k)
{
    size_t last = k->n - 1;
    struct toml_value *list = (struct toml_value *)toml_get(parent, k->parts[last]);
    if (!list) {
        list = new_value(r, k->at[last]);
        list->type = TOML_ARRAY;
        list->origin = TOML_OF_HEADERS;
        list->key = k->parts[last];
        append(parent, list);
    } else if (list->type != TOML_ARRAY || list->origin != TOML_OF_HEADERS) {
        twice(r, k, last, list);
        return NULL;
    }
    struct toml_value *t = new_table(r, NULL, k->at[last], TOML_DEFINED);
    append(list, t);
    return t;
}

static struct toml_value *read_header(struct toml_reader *r, struct toml_value *root)
{
    struct key k;
    bool many = toml_peek(r, 1) == '[';
    r->at += many ? 2 : 1;
    if (read_key(r, &k) < 0)
        return NULL;
    if (toml_peek(r, 0) != ']' || (many && toml_peek(r, 1) != ']')) {
        toml_fail(r, r->at, "'%s' is missing after the name of the table", many ? "]]" : "]");
        return NULL;
    }
    r->at += many ? 2 : 1;
    struct toml_value *t = root;
    for (size_t i = 0; t && i + 1 < k.n; i++)
        t = step(r, t, &k, i);
    if (!t)
        return NULL;
    return many ? add_table(r, t, &k) : define_table(r, t, &k);
}

static int read_document(struct toml_reader *r, struct toml_value *root)
{
    struct toml_value *table = root;
    for (;;) {
        if (space(r) < 0)
            return -1;
        if (r->at == r->n)
            return 0;
        if (toml_peek(r, 0) == '[')
            table = read_header(r, root);
        else if (read_pair(r, table) < 0)
            return -1;
        if (!table || end_of_line(r) < 0)
            return -1;
    }
}

struct toml_value *toml_parse(struct os_arena *arena, const char *text, size_t n, struct os_error *err)
{
    struct toml_reader r = {.text = text, .n = n, .arena = arena, .err = err};
    const char *nul = n ? memchr(text, '\0', n) : NULL;
    if (n > TOML_TEXT_MAX) {
        os_error_set(err, OS_INVALID_ARGUMENT, "the text has %zu bytes; at most %zu are read", n,
                     TOML_TEXT_MAX);
        return NULL;
    }
    if (nul) {
        toml_fail(&r, (size_t)(nul - text), "a NUL character is not accepted");
        return NULL;
    }
    if (n && !os_utf8_valid(text, n)) {
        os_error_set(err, OS_INVALID_ARGUMENT, "the text is not UTF-8");
        return NULL;
    }
    if (n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
        r.at = 3;
    struct toml_value *root = new_table(&r, NULL, 0, TOML_DEFINED);
    return read_document(&r, root) < 0 ? NULL : root;
}
