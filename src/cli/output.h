/* The one way the CLI shows things: styled lines whose arguments are neutralised, tables, JSON, YAML, errors.
 * Colour only when the stream is a terminal and NO_COLOR is unset (spec/cli.md 1.2, 1.3, 1.5). */
#ifndef CLI_OUTPUT_H
#define CLI_OUTPUT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "core/arena.h"
#include "core/buf.h"
#include "core/error.h"

/* Styles inside format strings; END closes. Bytes that arguments cannot contain once they are cleaned. */
#define BOLD "\001"
#define END "\002"
#define DIM "\003"
#define CYAN "\004"
#define GREEN "\005"
#define YELLOW "\006"
#define RED "\016"
#define TITLE "\017"     /* cyan, bold */
#define OK_MARK "\020"   /* green, bold */
#define WARN_MARK "\021" /* yellow, bold */

/* Separates a message from its cause in an os_error that is meant for error_print(). */
#define CAUSE "\037"

/* printf to a stream. Understands %s %.*s %d %u %zu %lld %llu %% only; strings are neutralised to one line.
 */
void say(FILE *f, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* As say() into a buffer, with or without colour. */
void say_buf(struct os_buf *out, bool colour, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Several lines of foreign text (YAML, log tails): each indented by `indent` columns, neutralised. */
void say_block(FILE *f, const char *text, unsigned indent);
bool colour_on(FILE *f);

/* "Error:   x message" with continuation lines and causes, on stderr. */
void error_print(const struct os_error *err);
void error_format(struct os_buf *out, const char *message, bool utf8, bool colour);

/* --- tables --- */

#define TABLE_COLUMNS 8

struct table {
    struct os_arena *arena;
    size_t columns;
    const char *headers[TABLE_COLUMNS];
    size_t least[TABLE_COLUMNS]; /* minimal widths, columns on screen */
    const char *gap;             /* NULL = two spaces */
    const char **cells;          /* rows * columns, cleaned */
    const char **styles;         /* per cell, NULL = none */
    size_t n_cells;
};

/* Next cell in row order; the text is copied and cleaned, the style is one of the constants above or NULL. */
void table_add(struct table *t, const char *text, const char *style);
void table_format(const struct table *t, bool colour, struct os_buf *out);
void table_print(const struct table *t, FILE *f);

/* --- documents --- */

/* Sorted keys, two spaces, one trailing newline; as YAML without "---". */
void json_format(const json_t *value, struct os_buf *out);
void yaml_format(const json_t *value, struct os_buf *out);
/* Prints as `format` says ("json" or "yaml") on stdout and drops the reference. */
void document_print(json_t *value, const char *format);

/* Number of ms as "YYYY-MM-DD HH:MM:SS", in the arena. */
const char *time_text(struct os_arena *a, int64_t ms);

#endif
