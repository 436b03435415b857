/* Header fields, list values and authorities. */
#include <string.h>

#include "core/str.h"
#include "net/http1/chars.h"
#include "net/http1/http1.h"

/* RFC 9110 tchar. */
static const bool token_byte[256] = {
    ['!'] = 1, ['#'] = 1, ['$'] = 1, ['%'] = 1,         ['&'] = 1,         ['\''] = 1,
    ['*'] = 1, ['+'] = 1, ['-'] = 1, ['.'] = 1,         ['^'] = 1,         ['_'] = 1,
    ['`'] = 1, ['|'] = 1, ['~'] = 1, ['0' ... '9'] = 1, ['A' ... 'Z'] = 1, ['a' ... 'z'] = 1,
};

bool http1_is_token(struct http1_text t)
{
    for (size_t i = 0; i < t.n; i++)
        if (!token_byte[(unsigned char)t.p[i]])
            return false;
    return t.n > 0;
}

bool http1_is_value_byte(unsigned char c)
{
    return c == '\t' || (c >= 0x20 && c != 0x7f);
}

struct http1_text http1_trim(struct http1_text t)
{
    while (t.n && (t.p[0] == ' ' || t.p[0] == '\t')) {
        t.p++;
        t.n--;
    }
    while (t.n && (t.p[t.n - 1] == ' ' || t.p[t.n - 1] == '\t'))
        t.n--;
    return t;
}

void http1_list_next(struct http1_text *rest, struct http1_text *item)
{
    const char *comma = memchr(rest->p, ',', rest->n);
    if (!comma) {
        *item = http1_trim(*rest);
        *rest = (struct http1_text){NULL, 0};
        return;
    }
    size_t n = (size_t)(comma - rest->p);
    *item = http1_trim((struct http1_text){rest->p, n});
    rest->p = comma + 1;
    rest->n -= n + 1;
}

bool http1_text_is(struct http1_text t, const char *s)
{
    return t.n == strlen(s) && !memcmp(t.p, s, t.n);
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static bool same_nocase(struct http1_text a, struct http1_text b)
{
    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++)
        if (lower(a.p[i]) != lower(b.p[i]))
            return false;
    return true;
}

bool http1_text_is_nocase(struct http1_text t, const char *s)
{
    return same_nocase(t, (struct http1_text){s, strlen(s)});
}

const struct http1_field *http1_find(const struct http1_head *h, const char *name,
                                     const struct http1_field *after)
{
    const struct http1_field *end = h->fields + h->n_fields;
    for (const struct http1_field *f = after ? after + 1 : h->fields; f < end; f++)
        if (http1_text_is_nocase(f->name, name))
            return f;
    return NULL;
}

static bool list_has(const struct http1_head *h, const char *name, struct http1_text token)
{
    const struct http1_field *f = NULL;
    while ((f = http1_find(h, name, f))) {
        struct http1_text rest = f->value, item;
        do {
            http1_list_next(&rest, &item);
            if (same_nocase(item, token))
                return true;
        } while (rest.p);
    }
    return false;
}

bool http1_has_token(const struct http1_head *h, const char *name, const char *token)
{
    return list_has(h, name, (struct http1_text){token, strlen(token)});
}

bool http1_accepts(const struct http1_head *h, const char *type)
{
    size_t len = strlen(type);
    for (const struct http1_field *f = NULL; (f = http1_find(h, "accept", f));)
        for (size_t i = 0; i + len <= f->value.n; i++)
            if (!strncasecmp(f->value.p + i, type, len))
                return true;
    return false;
}

bool http1_is_hop_field(const struct http1_head *h, const struct http1_field *f)
{
    return http1_text_is_nocase(f->name, "connection") || http1_text_is_nocase(f->name, "upgrade") ||
           list_has(h, "connection", f->name);
}

static bool host_byte(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || c == '-' || c == '.' || c == '_';
}

static bool ipv6_byte(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || c == ':' || c == '.';
}

/* Copies the host in lower case; false when it is empty, too long or holds a byte that no host has. */
static bool copy_host(struct http1_text t, struct http1_authority *out)
{
    if (!out->ipv6 && t.n && t.p[t.n - 1] == '.')
        t.n--;
    if (!t.n || t.n >= sizeof(out->host))
        return false;
    for (size_t i = 0; i < t.n; i++) {
        char c = lower(t.p[i]);
        if (out->ipv6 ? !ipv6_byte(c) : !host_byte(c))
            return false;
        if (c == '.' && !out->ipv6 && (i == 0 || t.p[i - 1] == '.' || i + 1 == t.n))
            return false;
        out->host[i] = c;
    }
    out->host[t.n] = '\0';
    return true;
}

bool http1_parse_authority(struct http1_text t, struct http1_authority *out)
{
    *out = (struct http1_authority){.ipv6 = t.n && t.p[0] == '['};
    struct http1_text host = t, port = {NULL, 0};
    if (out->ipv6) {
        const char *close = memchr(t.p, ']', t.n);
        if (!close)
            return false;
        host = (struct http1_text){t.p + 1, (size_t)(close - t.p) - 1};
        size_t left = t.n - host.n - 2;
        if (left && close[1] != ':')
            return false;
        if (left)
            port = (struct http1_text){close + 2, left - 1};
    } else {
        const char *colon = memchr(t.p, ':', t.n);
        if (colon) {
            host.n = (size_t)(colon - t.p);
            port = (struct http1_text){colon + 1, t.n - host.n - 1};
        }
    }
    if (!copy_host(host, out))
        return false;
    uint64_t value = 0;
    if (port.p && (!port.n || port.n > 5 || !os_str_u64n(port.p, port.n, UINT16_MAX, &value) || !value))
        return false;
    out->port = (uint16_t)value;
    return true;
}

bool http1_split_absolute(struct http1_text target, struct http1_text *scheme, struct http1_text *authority,
                          struct http1_text *rest)
{
    const char *colon = memmem(target.p, target.n, "://", 3);
    if (!colon || colon == target.p)
        return false;
    *scheme = (struct http1_text){target.p, (size_t)(colon - target.p)};
    for (size_t i = 0; i < scheme->n; i++) {
        char c = lower(scheme->p[i]);
        bool alpha = c >= 'a' && c <= 'z';
        if (!alpha && (i == 0 || !((c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.')))
            return false;
    }
    const char *p = colon + 3;
    size_t left = target.n - scheme->n - 3, n = 0;
    while (n < left && p[n] != '/' && p[n] != '?' && p[n] != '#')
        n++;
    *authority = (struct http1_text){p, n};
    *rest = (struct http1_text){p + n, left - n};
    return n > 0;
}
