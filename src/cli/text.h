/* Text that others wrote, made safe to show: whatever comes from a gateway, a sandbox or a file passes here
 * before it reaches a terminal. No I/O. */
#ifndef CLI_TEXT_H
#define CLI_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "core/arena.h"
#include "core/buf.h"

/* Appends s with everything neutralised that could drive a terminal or reorder text: C0, DEL and C1 controls
 * become \n, \r, \t, \xNN or \u{NNNN} spelled out, bidirectional overrides likewise, bytes that are not UTF-8
 * become U+FFFD. With keep_lines line feeds and tabs pass through. */
void text_clean(struct os_buf *out, const char *s, size_t n, bool keep_lines);

/* Columns that UTF-8 text takes on a terminal: wide characters two, combining ones none. */
size_t text_width(const char *s);

/* s neutralised to one line of at most `columns` columns, with "…" at its end when something is missing; in
 * the arena. */
const char *text_fit(struct os_arena *a, const char *s, size_t columns);

/* Appends at most n bytes of s, cut at a character boundary. */
void text_cut(struct os_buf *out, const char *s, size_t n);

#endif
