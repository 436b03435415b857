/* Help texts of option tables. */
#include "core/option.h"

#include <string.h>

#define COLUMN 34
#define WIDTH 100

void os_option_paragraph(const char *left, const char *text, struct os_buf *out)
{
    size_t start = out->len, used;
    os_buf_adds(out, left);
    used = out->len - start;
    if (used >= COLUMN) {
        os_buf_addc(out, '\n');
        used = 0;
    }
    for (; used < COLUMN; used++)
        os_buf_addc(out, ' ');
    for (const char *word = text; *word;) {
        size_t n = strcspn(word, *word == '[' ? "]" : " ") + (*word == '['); /* [env: X] stays together */
        if (word != text && used + 1 + n > WIDTH) {
            os_buf_addf(out, "\n%*s", COLUMN, "");
            used = COLUMN;
        } else if (word != text) {
            os_buf_addc(out, ' ');
            used++;
        }
        os_buf_add(out, word, n);
        used += n;
        word += n + (word[n] == ' ');
    }
    os_buf_addc(out, '\n');
}

void os_option_help(const struct os_option *list, size_t n, struct os_buf *out)
{
    for (const struct os_option *o = list; o < list + n; o++) {
        struct os_buf cleanup_buf left = {0}, text = {0};
        if (!o->help)
            continue;
        if (o->letter)
            os_buf_addf(&left, "  -%c, --%s", o->letter, o->name);
        else
            os_buf_addf(&left, "      --%s", o->name);
        os_buf_addf(&left, *o->metavar ? " %s" : "%s", o->metavar);
        os_buf_adds(&text, o->help);
        if (o->fallback)
            os_buf_addf(&text, " [default: %s]", o->fallback);
        if (o->env)
            os_buf_addf(&text, " [env: %s]", o->env);
        os_option_paragraph(os_buf_str(&left), os_buf_str(&text), out);
    }
}
