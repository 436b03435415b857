/* Neutralising and measuring of text that others wrote. */
#include "cli/text.h"

#include <stdint.h>
#include <string.h>

/* Decodes one character; 0 bytes when it is not well-formed (RFC 3629). */
static size_t decode(const unsigned char *s, size_t n, uint32_t *cp)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    if (s[0] < 0x80) {
        *cp = s[0];
        return 1;
    }
    size_t len = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    if (s[0] < 0xc2 || s[0] > 0xf4 || len > n)
        return 0;
    uint32_t v = s[0] & (0x7fu >> len);
    for (size_t i = 1; i < len; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        v = v << 6 | (s[i] & 0x3f);
    }
    if (v < least[len] || v > 0x10ffff || (v >= 0xd800 && v <= 0xdfff))
        return 0;
    *cp = v;
    return len;
}

struct range {
    uint32_t first, last;
};

static bool within(uint32_t cp, const struct range *r, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (cp >= r[i].first && cp <= r[i].last)
            return true;
    return false;
}

/* Bidirectional embeddings, overrides, isolates and marks; line and paragraph separators. */
static const struct range unsafe[] = {{0x61c, 0x61c},   {0x200e, 0x200f}, {0x2028, 0x202e},
                                      {0x2066, 0x2069}, {0xfff9, 0xfffb}, {0xe0000, 0xe007f}};

static void escape(struct os_buf *out, uint32_t cp)
{
    if (cp == '\n')
        os_buf_adds(out, "\\n");
    else if (cp == '\r')
        os_buf_adds(out, "\\r");
    else if (cp == '\t')
        os_buf_adds(out, "\\t");
    else if (cp < 0x100)
        os_buf_addf(out, "\\x%02x", (unsigned)cp);
    else
        os_buf_addf(out, "\\u{%04x}", (unsigned)cp);
}

void text_clean(struct os_buf *out, const char *s, size_t n, bool keep_lines)
{
    const unsigned char *p = (const unsigned char *)s;
    while (n) {
        uint32_t cp;
        size_t len = decode(p, n, &cp);
        if (!len) {
            os_buf_adds(out, "\xef\xbf\xbd");
            len = 1;
        } else if (keep_lines && (cp == '\n' || cp == '\t')) {
            os_buf_addc(out, (char)cp);
        } else if (cp < 0x20 || (cp >= 0x7f && cp < 0xa0) ||
                   within(cp, unsafe, sizeof(unsafe) / sizeof(unsafe[0]))) {
            escape(out, cp);
        } else {
            os_buf_add(out, p, len);
        }
        p += len;
        n -= len;
    }
}

/* The ranges that matter for names and messages (Unicode 15, East Asian Width W and F; general category M).
 */
static const struct range zero[] = {{0x300, 0x36f},   {0x483, 0x489},   {0x591, 0x5bd},   {0x610, 0x61a},
                                    {0x64b, 0x65f},   {0x1ab0, 0x1aff}, {0x1dc0, 0x1dff}, {0x200b, 0x200d},
                                    {0x20d0, 0x20ff}, {0xfe00, 0xfe0f}, {0xfe20, 0xfe2f}, {0xe0100, 0xe01ef}};
static const struct range wide[] = {
    {0x1100, 0x115f},   {0x231a, 0x231b},   {0x23e9, 0x23ec},   {0x2e80, 0x303e},
    {0x3041, 0xa4cf},   {0xa960, 0xa97f},   {0xac00, 0xd7a3},   {0xf900, 0xfaff},
    {0xfe30, 0xfe6f},   {0xff00, 0xff60},   {0xffe0, 0xffe6},   {0x1f300, 0x1f64f},
    {0x1f680, 0x1f6ff}, {0x1f900, 0x1f9ff}, {0x1fa70, 0x1faff}, {0x20000, 0x3fffd}};

size_t text_width(const char *s)
{
    const unsigned char *p = (const unsigned char *)s;
    size_t n = strlen(s), columns = 0;
    while (n) {
        uint32_t cp;
        size_t len = decode(p, n, &cp);
        if (!len) {
            cp = 0xfffd;
            len = 1;
        }
        if (within(cp, wide, sizeof(wide) / sizeof(wide[0])))
            columns += 2;
        else if (cp >= 0x20 && !within(cp, zero, sizeof(zero) / sizeof(zero[0])))
            columns++;
        p += len;
        n -= len;
    }
    return columns;
}

const char *text_fit(struct os_arena *a, const char *s, size_t columns)
{
    struct os_buf b = {0};
    text_clean(&b, s, strlen(s), false);
    char *text = os_arena_strdup(a, os_buf_str(&b));
    os_buf_free(&b);
    if (text_width(text) <= columns)
        return text;
    size_t n = strlen(text);
    while (n && text_width(text) + 1 > columns) { /* one character less, until there is room for the mark */
        while (n && ((unsigned char)text[--n] & 0xc0) == 0x80)
            ;
        text[n] = '\0';
    }
    return os_arena_printf(a, "%s…", text);
}

void text_cut(struct os_buf *out, const char *s, size_t n)
{
    size_t len = strlen(s);
    if (len > n) {
        len = n;
        while (len && ((unsigned char)s[len] & 0xc0) == 0x80)
            len--;
    }
    os_buf_add(out, s, len);
}
