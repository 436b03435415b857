/* Making of the rules: allow-list, known credentials, prefilter. */
#include "supervisor/egress/credentials/secrets.h"

#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/cleanup.h"
#include "core/encode.h"
#include "supervisor/egress/credentials/secrets_priv.h"

enum secret_mode secret_mode_parse(const char *word)
{
    static const char *const words[] = {"off", "audit", "enforce", "redact"};
    for (size_t i = 0; word && i < OS_ARRAY_LEN(words); i++)
        if (!strcmp(word, words[i]))
            return (enum secret_mode)i;
    return SECRET_AUDIT;
}

/* --- prefilter --- */

static const char *row_prefix(const struct secret_rules *r, size_t row)
{
    return row < shapes_n ? shapes[row].prefix : r->known[row - shapes_n].text;
}

static void file_byte(struct secret_filter *f, size_t bucket, size_t place, unsigned char c)
{
    uint64_t bit = UINT64_C(1) << bucket;
    if (place == 0)
        f->first[c] |= bit;
    if (place == 1) {
        f->second[c] |= bit;
        f->first[c] |= bit << SECRET_BUCKETS;
    }
    if (place == 2) {
        f->second[c] |= bit << SECRET_BUCKETS;
        f->third[c] |= (uint32_t)bit;
    }
}

static void file_row(struct secret_filter *f, const char *prefix, bool any_case, size_t row, size_t bucket)
{
    f->rows[bucket][row / 64] |= UINT64_C(1) << row % 64;
    for (size_t i = 0; i < 3; i++) {
        unsigned char c = (unsigned char)prefix[i];
        file_byte(f, bucket, i, c);
        if (any_case && c >= 'a' && c <= 'z')
            file_byte(f, bucket, i, (unsigned char)(c - 32));
    }
}

static void make_filter(struct secret_rules *r)
{
    size_t bucket[128], next = 0, n = secret_rows(r);
    for (size_t i = 0; i < n; i++) {
        size_t same = 0;
        while (same < i && strncasecmp(row_prefix(r, same), row_prefix(r, i), 3) != 0)
            same++;
        bucket[i] = same < i ? bucket[same] : next++ % SECRET_BUCKETS;
        unsigned flags = i < shapes_n ? shapes[i].flags : 0;
        if (!(flags & SHAPE_JWT))
            file_row(&r->filter[0], row_prefix(r, i), flags & SHAPE_NOCASE, i, bucket[i]);
        if (flags & (SHAPE_JWT | SHAPE_NAMED))
            file_row(&r->filter[1], row_prefix(r, i), flags & SHAPE_NOCASE, i, bucket[i]);
    }
}

/* --- allow-list --- */

static bool is_rule(const struct secret_rules *r, const char *name)
{
    if (!strcmp(name, "*") || !strcmp(name, SHAPE_AWS_SECRET))
        return true;
    for (size_t i = 0; i < shapes_n; i++)
        if (!strcmp(name, shapes[i].id))
            return true;
    for (size_t i = 0; i < r->n_known; i++)
        if (!strcmp(name, r->known[i].label))
            return true;
    return false;
}

static bool is_host(const char *host)
{
    static const char bytes[] = "abcdefghijklmnopqrstuvwxyz0123456789.-_:";
    size_t n = strlen(host);
    return !strcmp(host, "*") || (n > 0 && n <= 253 && strspn(host, bytes) == n && host[0] != '.');
}

/* False when it is no entry. */
static bool add_allow(struct secret_rules *r, const char *entry)
{
    cleanup_free char *copy = os_strdup(entry);
    char *rule = os_str_trim(copy), *host = strrchr(rule, '@');
    if (!*rule)
        return true;
    if (host)
        *host++ = '\0';
    for (char *c = host; c && *c; c++)
        *c = *c >= 'A' && *c <= 'Z' ? (char)(*c + 32) : *c;
    if (!host || !is_rule(r, rule) || !is_host(host))
        return false;
    r->allow = os_realloc(r->allow, r->n_allow + 1, sizeof(*r->allow));
    r->allow[r->n_allow++] = (struct secret_allow){os_strdup(rule), os_strdup(host)};
    return true;
}

static void parse_allow(struct secret_rules *r, const char *text, size_t *bad)
{
    cleanup_strv struct os_strv entries = {0};
    os_strv_split(&entries, text, ',');
    for (size_t i = 0; i < entries.n; i++)
        if (!add_allow(r, entries.v[i]) && bad && !*bad)
            *bad = i + 1;
}

/* --- life --- */

static void copy_known(struct secret_rules *r, const struct secret_options *opt)
{
    r->known = os_calloc(opt->n_known + 1, sizeof(*r->known));
    for (size_t i = 0; i < opt->n_known && r->n_known < SECRET_KNOWN_COUNT; i++) {
        if (strlen(opt->known[i].text) < SECRET_KNOWN_MIN)
            continue;
        r->known[r->n_known++] = (struct secret_known){
            os_strdup(opt->known[i].label), os_strndup(opt->known[i].text, SECRET_KNOWN_MAX),
            os_strdup(opt->known[i].hosts ? opt->known[i].hosts : "")};
    }
}

struct secret_rules *secret_rules_new(const struct secret_options *opt, size_t *bad)
{
    if (bad)
        *bad = 0;
    struct secret_rules *r = os_calloc(1, sizeof(*r));
    atomic_init(&r->refs, 1);
    r->mode = opt->mode;
    memcpy(r->key, opt->key, sizeof(r->key));
    copy_known(r, opt);
    if (opt->allow)
        parse_allow(r, opt->allow, bad);
    make_filter(r);
    return r;
}

struct secret_rules *secret_rules_ref(struct secret_rules *r)
{
    atomic_fetch_add(&r->refs, 1);
    return r;
}

void secret_rules_unref(struct secret_rules *r)
{
    if (!r || atomic_fetch_sub(&r->refs, 1) != 1)
        return;
    for (size_t i = 0; i < r->n_known; i++) {
        explicit_bzero((char *)(uintptr_t)r->known[i].text, strlen(r->known[i].text));
        free((char *)(uintptr_t)r->known[i].label);
        free((char *)(uintptr_t)r->known[i].text);
        free((char *)(uintptr_t)r->known[i].hosts);
    }
    for (size_t i = 0; i < r->n_allow; i++) {
        free(r->allow[i].rule);
        free(r->allow[i].host);
    }
    free(r->known);
    free(r->allow);
    free(r);
}

enum secret_mode secret_rules_mode(const struct secret_rules *r)
{
    return r->mode;
}

/* --- destinations --- */

bool secret_host_within(const char *host, const char *name, size_t n)
{
    size_t len = strlen(host);
    if (len < n || strncasecmp(host + len - n, name, n) != 0)
        return false;
    return len == n || host[len - n - 1] == '.';
}

static bool listed(const char *hosts, const char *host)
{
    while (*hosts) {
        size_t n = strcspn(hosts, " ");
        if (n && secret_host_within(host, hosts, n))
            return true;
        hosts += n + (hosts[n] == ' ');
    }
    return false;
}

static bool permitted(const struct secret_rules *r, const char *rule, const char *host)
{
    for (size_t i = 0; i < r->n_allow; i++) {
        const struct secret_allow *a = &r->allow[i];
        if ((!strcmp(a->rule, "*") || !strcmp(a->rule, rule)) &&
            (!strcmp(a->host, "*") || secret_host_within(host, a->host, strlen(a->host))))
            return true;
    }
    return false;
}

void secret_view_init(struct secret_view *v, const struct secret_rules *r, const char *host)
{
    _Static_assert(SECRET_KNOWN_COUNT <= 64, "one bit each");
    *v = (struct secret_view){.rules = r};
    for (size_t i = 0; i < shapes_n; i++)
        if (listed(shapes[i].hosts, host) || permitted(r, shapes[i].id, host))
            v->allowed |= UINT64_C(1) << i;
    if (listed("amazonaws.com amazonaws.com.cn aws.dev api.aws", host) ||
        permitted(r, SHAPE_AWS_SECRET, host))
        v->allowed |= UINT64_C(1) << SECRET_AWS_BIT;
    for (size_t i = 0; i < r->n_known; i++)
        if (listed(r->known[i].hosts, host) || permitted(r, r->known[i].label, host))
            v->allowed_known |= UINT64_C(1) << i;
}

void secret_fingerprint(const struct secret_rules *r, const char *p, size_t n, char out[SECRET_FINGERPRINT])
{
    unsigned char digest[EVP_MAX_MD_SIZE] = {0};
    unsigned len = 0;
    HMAC(EVP_sha256(), r->key, SECRET_KEY, (const unsigned char *)p, n, digest, &len);
    os_hex(digest, (SECRET_FINGERPRINT - 1) / 2, out);
}
