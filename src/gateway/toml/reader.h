/* Shared by the files of toml/ only: a cursor over the text. */
#ifndef GATEWAY_TOML_READER_H
#define GATEWAY_TOML_READER_H

#include "core/buf.h"
#include "gateway/toml/toml.h"

struct toml_reader {
    const char *text;
    size_t n, at;
    struct os_arena *arena;
    struct os_error *err;
    unsigned depth;
    size_t line_at; /* start of a line that was counted already, and its number */
    uint32_t line;
};

/* Sets the error at offset `at`; returns -1. */
int toml_fail(struct toml_reader *r, size_t at, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
uint32_t toml_line(struct toml_reader *r, size_t at, uint32_t *column);

/* The byte `ahead` of the cursor; 0 at the end (the text holds no NUL). */
static inline char toml_peek(const struct toml_reader *r, size_t ahead)
{
    return r->at + ahead < r->n ? r->text[r->at + ahead] : '\0';
}

void toml_blanks(struct toml_reader *r);
/* Comment, if there is one, up to the line's end. */
int toml_comment(struct toml_reader *r);
/* LF or CRLF. */
bool toml_newline(struct toml_reader *r);
/* "..." '...' """...""" '''...'''; in keys only the first two. NULL with the error. */
const char *toml_string(struct toml_reader *r, bool key);
/* Numbers, booleans, dates: everything that is a word. */
int toml_word(struct toml_reader *r, struct toml_value *v);

#endif
