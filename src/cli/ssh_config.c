/* Changes to SSH configurations as text. */
#include <string.h>

#include "cli/editor.h"
#include "core/str.h"

static size_t line_length(const char *line)
{
    size_t n = strcspn(line, "\n");
    return n + (line[n] == '\n');
}

static bool same_line(const char *line, const char *other)
{
    size_t n = strcspn(line, "\n"), k = strcspn(other, "\n");
    return n == k && strncmp(line, other, n) == 0;
}

static bool begins_block(const char *line)
{
    line += strspn(line, " \t");
    return strncasecmp(line, "host ", 5) == 0 || strncasecmp(line, "match ", 6) == 0;
}

void editor_place_block(const char *text, const char *block, struct os_buf *out)
{
    bool placed = false, skipping = false;
    for (const char *line = text; *line; line += line_length(line)) {
        if (begins_block(line))
            skipping = same_line(line, block);
        if (skipping && !placed) {
            os_buf_adds(out, block);
            placed = true;
        }
        /* Blank lines between blocks stay. */
        if (!skipping || line[strspn(line, " \t\r")] == '\n')
            os_buf_add(out, line, line_length(line));
    }
    if (placed)
        return;
    if (out->len && out->data[out->len - 1] != '\n')
        os_buf_addc(out, '\n');
    if (out->len)
        os_buf_addc(out, '\n');
    os_buf_adds(out, block);
}

/* The block that starts here, up to the next one. */
static size_t block_length(const char *text)
{
    size_t n = line_length(text);
    while (text[n] && !begins_block(text + n))
        n += line_length(text + n);
    return n;
}

void editor_drop_block(const char *text, const char *host_line, const char *part, struct os_buf *out)
{
    while (*text) {
        bool block = begins_block(text);
        size_t n = block ? block_length(text) : line_length(text);
        const char *found = block && same_line(text, host_line) ? strstr(text, part) : NULL;
        if (!found || found >= text + n)
            os_buf_add(out, text, n);
        text += n;
    }
    while (out->len > 1 && out->data[out->len - 1] == '\n' && out->data[out->len - 2] == '\n')
        out->data[--out->len] = '\0';
}

void editor_place_include(const char *text, const char *include, struct os_buf *out)
{
    bool placed = false;
    for (const char *line = text; *line; line += line_length(line)) {
        if (!placed && begins_block(line)) {
            os_buf_addf(out, "%s\n\n", include);
            placed = true;
        }
        if (same_line(line, include)) {
            if (!placed)
                os_buf_addf(out, "%s\n", include);
            placed = true;
            continue;
        }
        os_buf_add(out, line, line_length(line));
    }
    if (placed)
        return;
    if (out->len && out->data[out->len - 1] != '\n')
        os_buf_addc(out, '\n');
    os_buf_addf(out, "%s\n", include);
}
