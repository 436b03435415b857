/* The comparisons. Each looks at a bounded number of bytes: what a shape says it needs, and at most
 * the limits below around that. */
#include "supervisor/egress/credentials/shapes.h"

#include <string.h>
#include <strings.h>

#include "core/cleanup.h"
#include "core/encode.h"
#include "core/str.h"

#define NAME_REST 32   /* bytes of a name behind its keyword: secret_key_base */
#define JWT_HEADER 700 /* bytes of the first part of a token */
#define PEM_LABEL 32   /* bytes between BEGIN and PRIVATE KEY */
#define PEM_GAP 24     /* line end, escaped or not, before the first line of a key */
#define VALUE_SEEN 64  /* bytes of a value whose entropy is measured */

#define EXACT SHAPE_EXACT
#define BOUND SHAPE_BOUND
#define DIGIT SHAPE_DIGIT
#define HINT SHAPE_HINT
#define NOCASE SHAPE_NOCASE
#define JWT SHAPE_JWT
#define PEM SHAPE_PEM
#define NAMED SHAPE_NAMED

const struct shape shapes[] = {
#define SHAPE(id, prefix, alphabet, min, flags, hosts)                                                       \
    {id, prefix, sizeof(prefix) - 1, SHAPE_##alphabet, min, flags, hosts},
#include "supervisor/egress/credentials/tbl/shapes.h"
};
const size_t shapes_n = OS_ARRAY_LEN(shapes);

#define NAMES (SHAPE_WORD | SHAPE_TOKEN | SHAPE_DOTTED)
#define DIGITS (SHAPE_ALNUM | NAMES | SHAPE_HEX | SHAPE_BASE36 | SHAPE_BASE64 | SHAPE_VALUE)
#define LETTERS (SHAPE_ALPHA | SHAPE_ALNUM | NAMES | SHAPE_BASE64 | SHAPE_VALUE)
const uint16_t shape_alphabets[256] = {
    ['0' ... '1'] = DIGITS,
    ['2' ... '7'] = DIGITS | SHAPE_BASE32,
    ['8' ... '9'] = DIGITS,
    ['A' ... 'F'] = LETTERS | SHAPE_HEX | SHAPE_BASE32 | SHAPE_BASE36,
    ['G' ... 'Z'] = LETTERS | SHAPE_BASE32 | SHAPE_BASE36,
    ['a' ... 'f'] = LETTERS | SHAPE_HEX,
    ['g' ... 'z'] = LETTERS,
    ['_'] = NAMES | SHAPE_VALUE,
    ['-'] = SHAPE_TOKEN | SHAPE_DOTTED | SHAPE_VALUE,
    ['.'] = SHAPE_DOTTED | SHAPE_VALUE,
    ['+'] = SHAPE_BASE64 | SHAPE_VALUE,
    ['/'] = SHAPE_BASE64 | SHAPE_VALUE,
    ['='] = SHAPE_BASE64 | SHAPE_VALUE,
    ['%'] = SHAPE_BASE64,
    ['~'] = SHAPE_VALUE,
    ['!'] = SHAPE_VALUE,
    ['@'] = SHAPE_VALUE,
    ['#'] = SHAPE_VALUE,
    ['$'] = SHAPE_VALUE,
    ['^'] = SHAPE_VALUE,
    ['*'] = SHAPE_VALUE,
};

static bool is_digit(unsigned char c)
{
    return c >= '0' && c <= '9';
}

static bool is_upper(unsigned char c)
{
    return c >= 'A' && c <= 'Z';
}

static bool is_letter(unsigned char c)
{
    return is_upper(c) || (c >= 'a' && c <= 'z');
}

static bool is_alnum(unsigned char c)
{
    return is_letter(c) || is_digit(c);
}

bool shape_begins_word(const char *p, size_t n)
{
    if (!n || !is_alnum((unsigned char)p[-1]))
        return true;
    if (n >= 2 && p[-2] == '\\')
        return true;
    if (n >= 3 && p[-3] == '%' && os_hex_value(p[-2]) >= 0 && os_hex_value(p[-1]) >= 0)
        return true;
    return n >= 6 && p[-6] == '\\' && p[-5] == 'u';
}

/* Bytes of the alphabet at p, at most max. */
static size_t run(enum shape_alphabet a, const char *p, size_t n, size_t max)
{
    size_t i = 0;
    while (i < n && i < max && shape_byte(a, (unsigned char)p[i]))
        i++;
    return i;
}

/* Real secrets are drawn at random; samples in texts are "xxxx", "1111" or words. */
static bool looks_random(const char *p, size_t n, bool mixed)
{
    uint64_t seen[4] = {0};
    size_t distinct = 0, digits = 0, letters = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)p[i];
        distinct += !(seen[c >> 6] >> (c & 63) & 1);
        seen[c >> 6] |= UINT64_C(1) << (c & 63);
        digits += is_digit(c);
        letters += is_letter(c);
    }
    return distinct >= 8 && (!mixed || (digits >= 2 && letters >= 2)) && !memmem(p, n, "EXAMPLE", 7);
}

static enum shape_match match_prefix(const struct shape *s, const char *p, size_t n)
{
    size_t len = s->prefix_len < n ? s->prefix_len : n;
    if (s->flags & SHAPE_NOCASE ? strncasecmp(p, s->prefix, len) != 0 : memcmp(p, s->prefix, len) != 0)
        return SHAPE_NO;
    return len < s->prefix_len ? SHAPE_MORE : SHAPE_YES;
}

static enum shape_match match_run(const struct shape *s, const char *p, size_t n, bool ended,
                                  struct shape_found *found)
{
    const char *value = p + s->prefix_len;
    size_t left = n - s->prefix_len, len = run(s->alphabet, value, left, (size_t)s->min + 1);
    bool open = len == left && !ended;
    if (len < s->min)
        return open ? SHAPE_MORE : SHAPE_NO;
    if (s->flags & SHAPE_EXACT) {
        if (len == s->min && open)
            return SHAPE_MORE;
        if (len > s->min)
            return SHAPE_NO;
    }
    found->n = s->prefix_len + len;
    found->told = (size_t)s->prefix_len + s->min;
    return looks_random(value, s->min, s->flags & SHAPE_DIGIT) ? SHAPE_YES : SHAPE_NO;
}

/* Header, '.', and the beginning of a payload that is a JSON object too (RFC 7519). */
static enum shape_match match_jwt(const struct shape *s, const char *p, size_t n, bool ended,
                                  struct shape_found *found)
{
    static const char payload[] = ".eyJ";
    size_t header = run(s->alphabet, p, n, JWT_HEADER);
    if (header == n)
        return ended || header == JWT_HEADER ? SHAPE_NO : SHAPE_MORE;
    size_t left = n - header, len = left < 4 ? left : 4;
    if (header < (size_t)s->prefix_len + s->min || memcmp(p + header, payload, len) != 0)
        return SHAPE_NO;
    size_t body = left > 4 ? run(SHAPE_TOKEN, p + header + 4, left - 4, s->min) : 0;
    if (body < s->min)
        return left == len + body && !ended ? SHAPE_MORE : SHAPE_NO;
    found->n = header + 4 + body;
    found->told = header + 4 + s->min;
    return SHAPE_YES;
}

/* The label, in a form too (blanks as '+' or %20), the line end in whatever escape, and some of the key: a
 * heading alone is a text about keys. */
static enum shape_match match_pem(const struct shape *s, const char *p, size_t n, bool ended,
                                  struct shape_found *found)
{
    static const char word[] = "PRIVATE", end[] = "-----", encrypted[] = "Proc-Type: 4,ENCRYPTED\nDEK-";
    size_t at = s->prefix_len, label = at;
    const char *private = NULL, *close = NULL;
    while (at < n && at - label < PEM_LABEL && p[at] != '-')
        at++;
    if (at == n)
        return ended ? SHAPE_NO : SHAPE_MORE;
    private = memmem(p + label, at - label, word, sizeof(word) - 1);
    size_t dashes = n - at < 5 ? n - at : 5;
    if (!private || memcmp(p + at, end, dashes) != 0)
        return SHAPE_NO;
    close = p + at + dashes;
    size_t gap = 0, left = n - (size_t)(close - p);
    while (gap < left && gap < PEM_GAP && strchr("\r\n \t\\nrud0123456789%ADa", close[gap]) && close[gap])
        gap++;
    /* What belongs to the key and what to the gap does not matter: all of it is behind the heading. */
    size_t len = run(s->alphabet, close + gap, left - gap, s->min);
    size_t has = left - gap < sizeof(encrypted) - 1 ? left - gap : sizeof(encrypted) - 1;
    if (has && !memcmp(close + gap, encrypted, has))
        len = has < s->min ? has : s->min;
    if (gap + len == left && len < s->min && !ended)
        return SHAPE_MORE;
    if (dashes < 5 || len < s->min)
        return SHAPE_NO;
    found->n = (size_t)(close - p) + gap + len;
    found->told = found->n;
    return SHAPE_YES;
}

/* Version 4 UUIDs, digests in hex and words joined by hyphens are no secrets. */
static bool is_ordinary(const char *p, size_t n)
{
    size_t hex = run(SHAPE_HEX, p, n, n), digits = 0, upper = 0, lower = 0, breaks = 0;
    if (hex == n && (n == 40 || n == 64 || n == 56 || n == 96))
        return true;
    if (n == 36 && p[8] == '-' && p[13] == '-' && p[18] == '-' && p[23] == '-')
        return true;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)p[i];
        digits += is_digit(c);
        upper += is_upper(c);
        lower += is_letter(c) && !is_upper(c);
        breaks += c == '-' || c == '_' || c == '.' || c == '/';
    }
    return digits < 2 || upper + lower < 4 || digits == n || breaks * 5 > n;
}

/* Shannon entropy of at least 3.5 bits a byte: sum of c * log2(c) stays below n * (log2(n) - 3.5). */
static bool is_dense(const char *p, size_t n)
{
    /* 16 * c * log2(c), rounded, for counts up to 16; more of one byte is no random text of this length. */
    static const uint16_t cost[] = {0,   0,   32,  76,  128, 186, 248, 314, 384,
                                    456, 532, 609, 688, 770, 853, 938, 1024};
    static const uint16_t log16[] = {[20] = 69, [24] = 73, [28] = 77, [32] = 80, [36] = 83, [40] = 85,
                                     [44] = 87, [48] = 89, [52] = 91, [56] = 93, [60] = 95, [64] = 96};
    uint8_t count[256] = {0};
    size_t sum = 0, len = n & ~(size_t)3;
    for (size_t i = 0; i < len; i++)
        if (++count[(unsigned char)p[i]] > 16)
            return false;
    for (size_t i = 0; i < OS_ARRAY_LEN(count); i++)
        sum += cost[count[i]];
    return log16[len] > 56 && sum <= len * (size_t)(log16[len] - 56);
}

/* A value with a shape of its own is reported under that. */
static bool has_shape(const char *p, size_t n)
{
    struct shape_found found;
    if (n > 3 && !memcmp(p, "eyJ", 3))
        return true;
    for (size_t i = 0; i < shapes_n; i++)
        if (!(shapes[i].flags & (SHAPE_NAMED | SHAPE_PEM)) &&
            shape_at(&shapes[i], p, n, true, &found) == SHAPE_YES)
            return true;
    return false;
}

/* keyword, the rest of the name, perhaps a quote, '=' or ':', perhaps a quote, value. */
static enum shape_match match_named(const struct shape *s, const char *p, size_t n, bool ended,
                                    struct shape_found *found)
{
    size_t at = s->prefix_len, quotes = 0, name;
    at += run(SHAPE_TOKEN, p + at, n - at, NAME_REST);
    for (bool sign = false; at < n && quotes < 12; quotes++, at++) {
        char c = p[at];
        if (!sign && (c == '=' || c == ':'))
            sign = true;
        else if (c != '"' && c != '\'' && c != '\\' && c != ' ' && !(sign && c == '>')) {
            if (!sign)
                return SHAPE_NO;
            break;
        }
    }
    size_t left = n - at, len = run(s->alphabet, p + at, left, VALUE_SEEN);
    if (len == left && len < VALUE_SEEN && !ended)
        return SHAPE_MORE;
    if (len < s->min || quotes == 12 || is_ordinary(p + at, len) || !is_dense(p + at, len) ||
        has_shape(p + at, len) || shape_names_aws_secret(p, n, true, &name) == SHAPE_YES)
        return SHAPE_NO;
    found->plain = at;
    found->n = found->told = at + len;
    return SHAPE_YES;
}

enum shape_match shape_at(const struct shape *s, const char *p, size_t n, bool ended,
                          struct shape_found *found)
{
    enum shape_match m = match_prefix(s, p, n);
    found->plain = m == SHAPE_MORE ? n : s->prefix_len;
    if (m == SHAPE_MORE)
        return ended ? SHAPE_NO : SHAPE_MORE;
    if (m == SHAPE_NO)
        return SHAPE_NO;
    m = s->flags & SHAPE_JWT     ? match_jwt(s, p, n, ended, found)
        : s->flags & SHAPE_PEM   ? match_pem(s, p, n, ended, found)
        : s->flags & SHAPE_NAMED ? match_named(s, p, n, ended, found)
                                 : match_run(s, p, n, ended, found);
    if (m == SHAPE_MORE && s->flags & SHAPE_HINT)
        found->plain = n;
    return m;
}

enum shape_match shape_text_at(const char *text, size_t len, const char *p, size_t n, bool ended,
                               struct shape_found *found)
{
    size_t have = len < n ? len : n;
    *found = (struct shape_found){.n = len, .plain = 3 < have ? 3 : have, .told = len};
    if (memcmp(p, text, have) != 0)
        return SHAPE_NO;
    return have == len ? SHAPE_YES : ended ? SHAPE_NO : SHAPE_MORE;
}

enum shape_match shape_aws_secret_at(const char *p, size_t n, bool ended, struct shape_found *found)
{
    size_t len = 0, upper = 0, lower = 0, digits = 0;
    for (; len < n && len <= SHAPE_AWS_SECRET_LEN; len++) {
        unsigned char c = (unsigned char)p[len];
        if (!is_alnum(c) && c != '+' && c != '/')
            break;
        upper += is_upper(c);
        digits += is_digit(c);
        lower += is_letter(c) && !is_upper(c);
    }
    *found = (struct shape_found){.n = len, .plain = 0, .told = len};
    if (len == n && len <= SHAPE_AWS_SECRET_LEN && !ended)
        return SHAPE_MORE;
    return len == SHAPE_AWS_SECRET_LEN && upper >= 3 && lower >= 3 && digits >= 2 &&
                   !memmem(p, len, "EXAMPLE", 7)
               ? SHAPE_YES
               : SHAPE_NO;
}

enum shape_match shape_names_aws_secret(const char *p, size_t n, bool ended, size_t *len)
{
    static const char *const names[] = {"secret_access_key", "secretaccesskey", "secret-access-key"};
    enum shape_match best = SHAPE_NO;
    for (size_t i = 0; i < OS_ARRAY_LEN(names); i++) {
        *len = strlen(names[i]);
        size_t have = *len < n ? *len : n;
        if (strncasecmp(p, names[i], have) != 0)
            continue;
        if (have == *len)
            return SHAPE_YES;
        best = ended ? SHAPE_NO : SHAPE_MORE;
    }
    return best;
}
