/* Writing roff for man pages: everything that comes from a table is escaped here. */
#ifndef CLI_MAN_PAGE_H
#define CLI_MAN_PAGE_H

#include <stdbool.h>

#include "core/buf.h"
#include "core/error.h"
#include "core/option.h"

struct man_page {
    const char *dir; /* share/man of the output */
    const char *name;
    int section;
    struct os_buf out;
};

/* Starts a page: header and NAME. */
void man_begin(struct man_page *p, const char *name, int section, const char *about);
/* A heading, SH. */
void man_heading(struct man_page *p, const char *text);
/* A paragraph of running text; "\n\n" in it starts another one. */
void man_text(struct man_page *p, const char *text);
/* PP: what follows is no part of the item before. */
void man_paragraph(struct man_page *p);
/* Ends a sentence, unless its text brings a stop of its own. */
const char *man_stop(const char *text);
/* Text in bold or italics, or plain, on the current line. */
void man_bold(struct man_page *p, const char *text);
void man_italic(struct man_page *p, const char *text);
void man_plain(struct man_page *p, const char *text);
/* TP: a term, made by the caller on the current line until man_describe() ends it. */
void man_item(struct man_page *p);
void man_describe(struct man_page *p, const char *text);
/* Lines shown as they are. */
void man_lines(struct man_page *p, const char *text);
/* An item per listed option. */
void man_options(struct man_page *p, const struct os_option *list, size_t n);
/* "name(section), ..." from words "name.section". */
void man_see_also(struct man_page *p, const char *pages);
/* Writes <dir>/man<section>/<name>.<section> and frees the buffer. */
int man_end(struct man_page *p, struct os_error *err);

#endif
