/* Log lines as text. */
#include "cli/log_line.h"

#include <stdlib.h>
#include <string.h>

#include "cli/text.h"

static int by_key(const void *a, const void *b)
{
    typedef Openshell__V1__SandboxLogLine__FieldsEntry entry;
    return strcmp((*(entry *const *)a)->key, (*(entry *const *)b)->key);
}

static void padded(struct os_buf *out, const char *text, size_t width)
{
    size_t n = text_width(text);
    os_buf_addc(out, '[');
    text_clean(out, text, strlen(text), false);
    while (n++ < width)
        os_buf_addc(out, ' ');
    os_buf_adds(out, "] ");
}

void log_line_format(const Openshell__V1__SandboxLogLine *line, struct os_buf *out)
{
    int64_t ms = line->timestamp_ms < 0 ? 0 : line->timestamp_ms;
    os_buf_addf(out, "[%lld.%03lld] ", (long long)(ms / 1000), (long long)(ms % 1000));
    padded(out, *line->source ? line->source : "gateway", 7);
    padded(out, line->level, 5);
    padded(out, line->target, 0);
    text_clean(out, line->message, strlen(line->message), false);
    if (line->n_fields)
        qsort(line->fields, line->n_fields, sizeof(*line->fields), by_key);
    for (size_t i = 0; i < line->n_fields; i++) {
        os_buf_addc(out, ' ');
        text_clean(out, line->fields[i]->key, strlen(line->fields[i]->key), false);
        os_buf_addc(out, '=');
        text_clean(out, line->fields[i]->value, strlen(line->fields[i]->value), false);
    }
    os_buf_addc(out, '\n');
}
