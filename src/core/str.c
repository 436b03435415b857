/* String helpers and string lists. */
#include "core/str.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/buf.h"

bool os_str_starts(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

bool os_str_ends(const char *s, const char *suffix)
{
    size_t n = strlen(s), m = strlen(suffix);
    return n >= m && memcmp(s + n - m, suffix, m) == 0;
}

bool os_str_eq(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

bool os_str_eq_nocase(const char *a, const char *b)
{
    if (!a || !b)
        return a == b;
    while (*a && lower(*a) == lower(*b)) {
        a++;
        b++;
    }
    return lower(*a) == lower(*b);
}

char *os_str_lower(char *s)
{
    for (char *p = s; *p; p++)
        *p = lower(*p);
    return s;
}

static void *must(void *p)
{
    if (!p) {
        static const char text[] = "out of memory\n";
        fwrite(text, 1, sizeof(text) - 1, stderr);
        abort();
    }
    return p;
}

char *os_strdup(const char *s)
{
    return must(strdup(s ? s : ""));
}

char *os_strndup(const char *s, size_t n)
{
    return must(strndup(s, n));
}

static char *format(const char *fmt, va_list ap) __attribute__((format(printf, 1, 0)));

static char *format(const char *fmt, va_list ap)
{
    char *s = NULL;
    return must(vasprintf(&s, fmt, ap) < 0 ? NULL : s);
}

char *os_asprintf(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    char *s = format(fmt, ap);
    va_end(ap);
    return s;
}

void *os_calloc(size_t n, size_t size)
{
    return must(calloc(n ? n : 1, size ? size : 1));
}

void *os_realloc(void *p, size_t n, size_t size)
{
    return must(reallocarray(p, n ? n : 1, size));
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

char *os_str_trim(char *s)
{
    while (is_space(*s))
        s++;
    size_t n = strlen(s);
    while (n && is_space(s[n - 1]))
        s[--n] = '\0';
    return s;
}

bool os_str_u64n(const char *s, size_t n, uint64_t max, uint64_t *out)
{
    uint64_t v = 0;
    if (!n)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (s[i] < '0' || s[i] > '9')
            return false;
        uint64_t d = (uint64_t)(s[i] - '0');
        if (v > (UINT64_MAX - d) / 10)
            return false;
        v = v * 10 + d;
    }
    if (v > max)
        return false;
    *out = v;
    return true;
}

bool os_str_u64(const char *s, uint64_t max, uint64_t *out)
{
    return os_str_u64n(s, strlen(s), max, out);
}

bool os_utf8_valid(const char *s, size_t n)
{
    const unsigned char *p = (const unsigned char *)s, *end = p + n;
    while (p < end) {
        unsigned c = *p++;
        if (c < 0x80)
            continue;
        int more = c >= 0xf0 && c <= 0xf4 ? 3 : c >= 0xe0 && c < 0xf0 ? 2 : c >= 0xc2 && c < 0xe0 ? 1 : -1;
        if (more < 0 || end - p < more)
            return false;
        if ((c == 0xe0 && p[0] < 0xa0) || (c == 0xed && p[0] > 0x9f) || (c == 0xf0 && p[0] < 0x90) ||
            (c == 0xf4 && p[0] > 0x8f))
            return false;
        while (more--)
            if ((*p++ & 0xc0) != 0x80)
                return false;
    }
    return true;
}

char *os_utf8_force(char *s, size_t n)
{
    if (os_utf8_valid(s, n))
        return s;
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)s[i] >= 0x80)
            s[i] = '?';
    return s;
}

void os_strv_take(struct os_strv *l, char *owned)
{
    l->v = os_realloc(l->v, l->n + 2, sizeof(*l->v));
    l->v[l->n++] = owned;
    l->v[l->n] = NULL;
}

void os_strv_add(struct os_strv *l, const char *s)
{
    os_strv_take(l, os_strdup(s));
}

void os_strv_addf(struct os_strv *l, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    os_strv_take(l, format(fmt, ap));
    va_end(ap);
}

bool os_strv_has(const struct os_strv *l, const char *s)
{
    for (size_t i = 0; i < l->n; i++)
        if (strcmp(l->v[i], s) == 0)
            return true;
    return false;
}

void os_strv_free(struct os_strv *l)
{
    for (size_t i = 0; i < l->n; i++)
        free(l->v[i]);
    free(l->v);
    *l = (struct os_strv){0};
}

void os_strv_split(struct os_strv *l, const char *s, char sep)
{
    for (;;) {
        const char *e = strchrnul(s, sep);
        os_strv_take(l, os_strndup(s, (size_t)(e - s)));
        if (!*e)
            return;
        s = e + 1;
    }
}

char *os_strv_join(const struct os_strv *l, const char *sep)
{
    struct os_buf b = {0};
    for (size_t i = 0; i < l->n; i++) {
        if (i)
            os_buf_adds(&b, sep);
        os_buf_adds(&b, l->v[i]);
    }
    return must(os_buf_take(&b));
}
