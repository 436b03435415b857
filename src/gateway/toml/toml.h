/* TOML 1.0, strict: text in, tree out, no I/O. A tree lives in the caller's arena. */
#ifndef GATEWAY_TOML_TOML_H
#define GATEWAY_TOML_TOML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/arena.h"
#include "core/error.h"

#define TOML_TEXT_MAX ((size_t)64 << 10) /* bytes */
#define TOML_DEPTH_MAX 32                /* nested arrays, tables and key parts */

enum toml_type {
    TOML_STRING,
    TOML_INTEGER,
    TOML_FLOAT,
    TOML_BOOLEAN,
    TOML_DATETIME, /* checked; kept as text */
    TOML_ARRAY,
    TOML_TABLE,
};

/* How a table or array came about, which decides what may still be added to it. */
enum toml_origin {
    TOML_PLAIN,
    TOML_IMPLICIT,   /* named on the way to another table: may be defined once */
    TOML_DEFINED,    /* by a header of its own */
    TOML_DOTTED,     /* by a dotted key */
    TOML_INLINE,     /* {...} or [...]: complete */
    TOML_OF_HEADERS, /* array made by [[...]] */
};

struct toml_value {
    enum toml_type type;
    enum toml_origin origin;
    uint32_t line, column; /* of its key or, in an array, of the value; from 1 */
    const char *key;       /* in a table; may hold any character, NUL excepted */
    const char *text;      /* string (NUL-terminated, no NUL inside), date-time */
    int64_t integer;
    double number;
    bool boolean;
    struct toml_value *first, *last, *next; /* children in order */
};

/* The root table, or NULL with "line 3, column 7: ..." (OS_INVALID_ARGUMENT). */
struct toml_value *toml_parse(struct os_arena *arena, const char *text, size_t n, struct os_error *err);
/* Entry of a table; NULL when there is none. */
const struct toml_value *toml_get(const struct toml_value *table, const char *key);
/* "a string", "an integer", ... for messages. */
const char *toml_type_name(enum toml_type type);

#endif
