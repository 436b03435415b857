/* The grammar of placeholders. Keys swallow revision and handle: both are made of the bytes of a key. */
#include "supervisor/egress/credentials/placeholder.h"

#include <string.h>

#include "core/buf.h"
#include "supervisor/egress/credentials/marker.h"

static bool is_key(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static bool is_prefix(char c)
{
    return is_key(c) || c == '.' || c == '~' || c == '-';
}

static const char *find(const char *p, size_t n, const char *text)
{
    return p && n ? memmem(p, n, text, strlen(text)) : NULL;
}

bool placeholder_find(const char *p, size_t n, size_t at, struct placeholder *out)
{
    const char *plain = find(p + at, n - at, MARKER_TEXT), *alias = find(p + at, n - at, MARKER_ALIAS);
    if (!plain && !alias)
        return false;
    bool is_alias = alias && (!plain || alias < plain);
    size_t from = (size_t)((is_alias ? alias : plain) - p);
    size_t key = from + strlen(is_alias ? MARKER_ALIAS : MARKER_TEXT), end = key;
    while (end < n && is_key(p[end]))
        end++;
    size_t start = from;
    while (is_alias && start > at && is_prefix(p[start - 1]))
        start--;
    *out = (struct placeholder){start, end - start, end == key || (is_alias && start == from)};
    return true;
}

const char *placeholder_redact(struct os_arena *arena, const char *text, bool *malformed)
{
    size_t n = strlen(text), at = 0;
    struct placeholder one;
    if (!placeholder_find(text, n, 0, &one))
        return text;
    cleanup_buf struct os_buf out = {0};
    do {
        os_buf_add(&out, text + at, one.from - at);
        os_buf_adds(&out, PLACEHOLDER_SHOWN);
        at = one.from + one.n;
        if (malformed && one.malformed)
            *malformed = true;
    } while (placeholder_find(text, n, at, &one));
    os_buf_add(&out, text + at, n - at);
    return os_arena_strndup(arena, os_buf_str(&out), out.len);
}
