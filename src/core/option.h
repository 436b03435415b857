/* The options of a program as data: --help, the man page and the parser are made from one table. */
#ifndef OS_CORE_OPTION_H
#define OS_CORE_OPTION_H

#include <stddef.h>

#include "core/buf.h"

struct os_option {
    const char *name;     /* without dashes */
    char letter;          /* 0 = none */
    const char *metavar;  /* "" = a switch */
    const char *env;      /* variable that stands in; NULL = none */
    const char *fallback; /* NULL = none, or said in help */
    const char *help;     /* NULL = not listed */
};

/* One paragraph per listed option, wrapped for 100 columns. */
void os_option_help(const struct os_option *list, size_t n, struct os_buf *out);
/* Such a paragraph: `left` in its column, `text` beside it. */
void os_option_paragraph(const char *left, const char *text, struct os_buf *out);

#endif
