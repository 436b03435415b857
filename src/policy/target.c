/* Request-target canonicalisation (spec/proxy.md 3.4) and query decoding: decode once, resolve dot segments,
 * re-encode. What comes out is both what rules are matched against and what goes upstream. */
#include "policy/target.h"

#include <string.h>

#include "core/encode.h"
#include "core/limits.h"
#include "core/str.h"

#define KEPT_SLASH 0x01 /* stands for a kept %2F; control bytes never get this far */

static bool is_control(unsigned char c)
{
    return c < 0x20 || c == 0x7f;
}

/* Value of the two digits at s, -1 when they are not two hex digits within n bytes. */
static int hex_pair(const char *s, size_t n)
{
    if (n < 2 || os_hex_value(s[0]) < 0 || os_hex_value(s[1]) < 0)
        return -1;
    return os_hex_value(s[0]) * 16 + os_hex_value(s[1]);
}

static int refuse(struct os_error *err, const char *text)
{
    return os_error_set(err, OS_INVALID_ARGUMENT, "request-target%s", text);
}

/* Length of "scheme://authority" in front of an absolute-form path, 0 for anything else. */
static size_t absolute_prefix(const char *s, size_t n)
{
    size_t i = 0;
    while (i < n && ((s[i] >= 'a' && s[i] <= 'z') || (s[i] >= 'A' && s[i] <= 'Z') ||
                     (i > 0 && ((s[i] >= '0' && s[i] <= '9') || strchr("+-.", s[i])))))
        i++;
    if (i == 0 || n - i < 3 || memcmp(s + i, "://", 3) != 0)
        return 0;
    i += 3;
    while (i < n && s[i] != '/')
        i++;
    return i;
}

static int check_bytes(const char *s, size_t n, struct os_error *err)
{
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        if (is_control(c))
            return refuse(err, " contains a null or control byte");
        if (c >= 0x80)
            return refuse(err, " contains raw non-ASCII bytes; non-ASCII must be percent-encoded");
        if (c == '#')
            return refuse(err, " contains a fragment");
    }
    return 0;
}

/* Decodes every escape once into out (n bytes); returns the length or -1. */
static long decode_path(const char *s, size_t n, bool keep_slash, char *out, bool *kept, struct os_error *err)
{
    size_t len = 0;
    for (size_t i = 0; i < n; i++) {
        int c = (unsigned char)s[i];
        if (c == '%') {
            c = hex_pair(s + i + 1, n - i - 1);
            if (c < 0)
                return refuse(err, " contains an invalid percent-encoded sequence");
            i += 2;
            if (is_control((unsigned char)c))
                return refuse(err, " contains a null or control byte");
            if (c == '/') {
                if (!keep_slash)
                    return refuse(err,
                                  " contains an encoded '/' (%2F) which is not allowed on this endpoint");
                *kept = true;
                c = KEPT_SLASH;
            }
        }
        out[len++] = (char)c;
    }
    return (long)len;
}

static bool is_dots(const char *s, size_t n)
{
    return (n == 1 && s[0] == '.') || (n == 2 && s[0] == '.' && s[1] == '.');
}

/* True when a part between kept slashes is "." or "..". */
static bool hides_dots(const char *s, size_t n)
{
    for (size_t start = 0; start <= n;) {
        const char *end = memchr(s + start, KEPT_SLASH, n - start);
        size_t part = end ? (size_t)(end - s) - start : n - start;
        if (is_dots(s + start, part))
            return true;
        start += part + 1;
    }
    return false;
}

struct segments {
    const char **text;
    size_t *len;
    size_t n;
    bool trailing; /* the path ends in '/' */
};

/* Applies one segment (already cut at ';'). */
static int add_segment(struct segments *out, const char *s, size_t n, bool last, struct os_error *err)
{
    bool dots = is_dots(s, n);
    if (dots && n == 2) {
        if (out->n == 0)
            return refuse(err, "'s `..` segment would escape the path root");
        out->n--;
    } else if (!dots && n > 0) {
        if (hides_dots(s, n))
            return refuse(err, " still contains a `.`/`..` segment after canonicalization");
        out->text[out->n] = s;
        out->len[out->n++] = n;
    }
    if (last)
        out->trailing = dots || n == 0;
    return 0;
}

/* path begins with '/'. */
static int resolve(struct segments *out, const char *path, size_t n, struct os_error *err)
{
    for (size_t at = 1; at <= n;) {
        const char *slash = memchr(path + at, '/', n - at);
        size_t end = slash ? (size_t)(slash - path) : n;
        const char *cut = memchr(path + at, ';', end - at);
        size_t len = (cut ? (size_t)(cut - path) : end) - at;
        if (add_segment(out, path + at, len, slash == NULL, err))
            return -1;
        at = end + 1;
    }
    return 0;
}

static char *put_byte(char *p, unsigned char c)
{
    static const char digits[] = "0123456789ABCDEF";
    if (c == KEPT_SLASH)
        c = '/';
    else if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
             strchr("-._~!$&'()*+,;=:@", c)) {
        *p++ = (char)c;
        return p;
    }
    *p++ = '%';
    *p++ = digits[c >> 4];
    *p++ = digits[c & 15];
    return p;
}

static char *encode(struct os_arena *arena, const struct segments *segs)
{
    size_t room = 2;
    for (size_t i = 0; i < segs->n; i++)
        room += 1 + 3 * segs->len[i];
    char *path = os_arena_alloc(arena, room);
    char *p = path;
    for (size_t i = 0; i < segs->n; i++) {
        *p++ = '/';
        for (size_t k = 0; k < segs->len[i]; k++)
            p = put_byte(p, (unsigned char)segs->text[i][k]);
    }
    if (segs->n == 0 || segs->trailing)
        *p++ = '/';
    *p = '\0';
    return path;
}

int policy_target_parse(struct os_arena *arena, const char *target, size_t n, bool allow_encoded_slash,
                        struct policy_target *out, struct os_error *err)
{
    *out = (struct policy_target){0};
    if (check_bytes(target, n, err))
        return -1;
    const char *mark = n ? memchr(target, '?', n) : NULL;
    size_t len = mark ? (size_t)(mark - target) : n;
    size_t skip = absolute_prefix(target, len);
    const char *raw = target + skip;
    len -= skip;
    if (len == 0) {
        raw = "/";
        len = 1;
    }
    if (raw[0] != '/')
        return refuse(err, " is not a valid origin-form path");
    if (len > OS_PROXY_PATH)
        return refuse(err, " exceeds the configured maximum length");
    char *decoded = os_arena_alloc(arena, len);
    long decoded_len = decode_path(raw, len, allow_encoded_slash, decoded, &out->has_encoded_slash, err);
    if (decoded_len < 0)
        return -1;
    struct segments segs = {.text = os_arena_alloc(arena, (len + 1) * sizeof(char *)),
                            .len = os_arena_alloc(arena, (len + 1) * sizeof(size_t))};
    if (resolve(&segs, decoded, (size_t)decoded_len, err))
        return -1;
    out->path = encode(arena, &segs);
    if (mark)
        out->query = os_arena_strndup(arena, mark + 1, n - (size_t)(mark - target) - 1);
    return 0;
}

/* Decodes n bytes of a query key or value. */
static const char *decode_query_part(struct os_arena *arena, const char *s, size_t n, struct os_error *err)
{
    char *out = os_arena_alloc(arena, n + 1);
    size_t len = 0;
    for (size_t i = 0; i < n; i++) {
        int c = (unsigned char)s[i];
        if (c == '+') {
            c = ' ';
        } else if (c == '%') {
            c = hex_pair(s + i + 1, n - i - 1);
            if (c < 0) {
                os_error_set(err, OS_INVALID_ARGUMENT, "query contains an invalid percent-encoded sequence");
                return NULL;
            }
            i += 2;
        }
        if (c == 0) {
            os_error_set(err, OS_INVALID_ARGUMENT, "query contains a null byte");
            return NULL;
        }
        out[len++] = (char)c;
    }
    out[len] = '\0';
    if (!os_utf8_valid(out, len)) {
        os_error_set(err, OS_INVALID_ARGUMENT, "query is not valid UTF-8 after percent-decoding");
        return NULL;
    }
    return out;
}

int policy_query_parse(struct os_arena *arena, const char *query, const struct policy_query_pair **pairs,
                       size_t *n, struct os_error *err)
{
    *pairs = NULL;
    *n = 0;
    if (!query || !*query)
        return 0;
    size_t max = 1;
    for (const char *p = query; *p; p++)
        max += *p == '&';
    struct policy_query_pair *list = os_arena_alloc(arena, max * sizeof(*list));
    size_t count = 0;
    for (const char *p = query;;) {
        size_t len = strcspn(p, "&");
        if (len > 0) {
            const char *equals = memchr(p, '=', len);
            size_t key = equals ? (size_t)(equals - p) : len;
            list[count].key = decode_query_part(arena, p, key, err);
            list[count].value = equals ? decode_query_part(arena, equals + 1, len - key - 1, err) : "";
            if (!list[count].key || !list[count].value)
                return -1;
            count++;
        }
        if (!p[len])
            break;
        p += len + 1;
    }
    *pairs = list;
    *n = count;
    return 0;
}
