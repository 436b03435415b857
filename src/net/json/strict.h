/* JSON that decides something: read so strictly that whoever gets the same bytes next reads the same
 * (RFC 8259). Bytes in, a tree out; no I/O. Any thread. */
#ifndef NET_JSON_STRICT_H
#define NET_JSON_STRICT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "core/arena.h"
#include "core/error.h"

/* One JSON text, any type at the top. The caller owns the tree. NULL with
 * OS_INVALID_ARGUMENT: not JSON; also invalid UTF-8, NUL (raw or escaped), lone surrogates.
 * OS_FAILED_PRECONDITION: JSON, but a member name is repeated in an object (parsers differ in which one they
 * take), nested deeper than OS_JSON_DEPTH, or more than OS_JSON_VALUES values.
 * The text says where and what, and repeats nothing of the input. Integers beyond 64 bits are kept as reals,
 * and so are then all others of that text. Time is linear in n; memory at most 300 * OS_JSON_VALUES + 2 * n
 * bytes, stack some 64 KiB. */
json_t *strict_json_parse(const char *text, size_t n, struct os_error *err);

/* True when the names differ, but not for a decoder that ignores case (Unicode simple folding included). */
bool strict_json_same_but_case(const char *a, const char *b);
/* The first member whose name is one of the n names but for case; *of is that name. NULL = none. */
const char *strict_json_lookalike(json_t *object, const char *const *names, size_t n, const char **of);

/* Integers from INT64_MIN to INT64_MAX; 1.0 is one, since JSON has a single number type. */
bool strict_json_is_integer(const json_t *v);
/* The string, NULL when v is NULL, no string, or empty. */
const char *strict_json_text(const json_t *v);

/* A foreign name for an error text: at most OS_JSON_EXCERPT bytes, "..." behind what was cut, control bytes
 * as
 * '?'. s is UTF-8. */
const char *strict_json_excerpt(struct os_arena *arena, const char *s);

#endif
