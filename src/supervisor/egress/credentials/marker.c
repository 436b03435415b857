/* Search for two short texts under percent-encoding. A text begins with a byte that is rare enough for a
 * plain search to be quick; all comparisons are bounded by the width of a marker. */
#include "supervisor/egress/credentials/marker.h"

#include <string.h>
#include <strings.h>

#include "core/encode.h"

enum match { MATCH_NO, MATCH_YES, MATCH_PARTIAL /* the bytes end inside */ };

/* One byte of a text, raw or as %XX: the bytes it takes, 0 when it is another one, -1 when they end inside.
 */
static int take(const char *p, size_t n, char want)
{
    if (p[0] == want)
        return 1;
    if (p[0] != '%')
        return 0;
    for (size_t i = 1; i < 3 && i < n; i++)
        if (os_hex_value(p[i]) < 0)
            return 0;
    if (n == 2 && os_hex_value(p[1]) != (unsigned char)want >> 4)
        return 0;
    if (n < 3)
        return -1;
    return os_hex_value(p[1]) * 16 + os_hex_value(p[2]) == (unsigned char)want ? 3 : 0;
}

static enum match match_text(const char *p, size_t n, const char *text)
{
    size_t at = 0;
    for (; *text; text++) {
        if (at == n)
            return MATCH_PARTIAL;
        int step = take(p + at, n - at, *text);
        if (step <= 0)
            return step < 0 ? MATCH_PARTIAL : MATCH_NO;
        at += (size_t)step;
    }
    return MATCH_YES;
}

/* At p, one of the markers. */
static enum match match_any(const char *p, size_t n)
{
    if (*p != 'o' && *p != 'O' && *p != '%')
        return MATCH_NO;
    enum match a = match_text(p, n, MARKER_TEXT), b = match_text(p, n, MARKER_ALIAS);
    return a == MATCH_YES || b == MATCH_YES           ? MATCH_YES
           : a == MATCH_PARTIAL || b == MATCH_PARTIAL ? MATCH_PARTIAL
                                                      : MATCH_NO;
}

/* True when there is one; else *tail is where a marker could have begun that the bytes end inside, n if none.
 */
static bool search(const char *p, size_t n, size_t *tail)
{
    *tail = n;
    for (size_t i = 0; i < n; i++) {
        enum match m = match_any(p + i, n - i);
        if (m == MATCH_YES)
            return true;
        if (m == MATCH_PARTIAL && *tail == n)
            *tail = i;
    }
    return false;
}

bool marker_in(const char *p, size_t n)
{
    size_t tail;
    return search(p, n, &tail);
}

bool marker_in_header(const char *value, size_t n)
{
    if (marker_in(value, n))
        return true;
    if (n < 6 || strncasecmp(value, "basic ", 6) != 0)
        return false;
    cleanup_buf struct os_buf text = {0};
    while (n > 6 && value[6] == ' ') {
        value++;
        n--;
    }
    os_base64_decode_lenient(&text, value + 6, n - 6);
    return marker_in(os_buf_str(&text), text.len);
}

size_t marker_scan_feed(struct marker_scan *s, const char *p, size_t n, char *ready)
{
    if (s->found)
        return 0;
    size_t total = s->n_held + n, tail;
    memcpy(ready, s->held, s->n_held);
    memcpy(ready + s->n_held, p, n);
    s->found = search(ready, total, &tail);
    if (s->found) {
        s->n_held = 0;
        return 0;
    }
    s->n_held = total - tail;
    memcpy(s->held, ready + tail, s->n_held);
    return tail;
}

size_t marker_scan_end(struct marker_scan *s, char *ready)
{
    size_t n = s->found ? 0 : s->n_held;
    memcpy(ready, s->held, n);
    s->n_held = 0;
    return n;
}
