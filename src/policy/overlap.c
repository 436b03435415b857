/* Have two host or path patterns a common match? See overlap.h. */
#include "policy/overlap.h"

#include <string.h>

#include "core/str.h"

#define TOKENS_MAX 512 /* longer selectors count as overlapping */

enum { ONE = 256, ANY, RUN, ALL }; /* one or any run without a dot; any byte; any run */

struct tokens {
    uint16_t t[TOKENS_MAX];
    size_t n;
    bool overflow;
};

static void push(struct tokens *out, unsigned t)
{
    if (out->n == TOKENS_MAX)
        out->overflow = true;
    else
        out->t[out->n++] = (uint16_t)t;
}

static bool absorbs(uint16_t run, uint16_t t)
{
    return run == ALL || t != '.';
}

static bool agree(uint16_t a, uint16_t b)
{
    if (a == b || a == ANY || b == ANY)
        return true;
    return (a == ONE && b != '.') || (b == ONE && a != '.');
}

static bool is_run(uint16_t t)
{
    return t == RUN || t == ALL;
}

/* Rows of "rest of a from i and rest of b from j have a common match", from the ends backwards. */
static bool meet(const struct tokens *a, const struct tokens *b, uint64_t *steps)
{
    if (a->overflow || b->overflow)
        return true;
    *steps += (a->n + 1) * (b->n + 1);
    bool rows[2][TOKENS_MAX + 1] = {{false}};
    for (size_t i = a->n + 1; i-- > 0;) {
        bool *row = rows[i % 2];
        const bool *below = rows[(i + 1) % 2];
        bool a_run = i < a->n && is_run(a->t[i]);
        for (size_t j = b->n + 1; j-- > 0;) {
            bool b_run = j < b->n && is_run(b->t[j]);
            bool v = i == a->n && j == b->n;
            if (a_run)
                v |= below[j] || (j < b->n && absorbs(a->t[i], b->t[j]) && row[j + 1]);
            if (b_run)
                v |= row[j + 1] || (i < a->n && absorbs(b->t[j], a->t[i]) && below[j]);
            if (!a_run && !b_run && i < a->n && j < b->n)
                v = agree(a->t[i], b->t[j]) && below[j + 1];
            row[j] = v;
        }
    }
    return rows[0][0];
}

static void host_tokens(const char *host, struct tokens *out)
{
    bool wild = strchr(host, '*') != NULL;
    out->n = 0;
    out->overflow = wild && strpbrk(host, "[{\\");
    for (const char *p = host; *p; p++) {
        char c = *p >= 'A' && *p <= 'Z' ? (char)(*p + 32) : *p;
        if (c == '*' && p[1] == '*') {
            push(out, ALL);
            p++;
        } else {
            push(out, c == '*' ? RUN : c == '?' && wild ? ONE : (unsigned char)c);
        }
    }
}

/* Host names that begin or end differently do not meet; this is what most pairs are. */
static bool ends_agree(const struct overlap_host *a, const struct overlap_host *b)
{
    size_t prefix = a->prefix < b->prefix ? a->prefix : b->prefix;
    size_t suffix = a->suffix < b->suffix ? a->suffix : b->suffix;
    return !memcmp(a->name, b->name, prefix) &&
           !memcmp(a->name + a->n - suffix, b->name + b->n - suffix, suffix);
}

void overlap_host_init(struct overlap_host *h, struct os_arena *arena, const char *host)
{
    struct tokens t;
    h->name = os_str_lower(os_arena_strdup(arena, host));
    h->n = h->prefix = h->suffix = strlen(host);
    h->wild = strchr(host, '*') != NULL;
    host_tokens(host, &t);
    if (t.overflow) { /* nothing is known of it */
        h->prefix = h->suffix = 0;
    } else if (h->wild) {
        size_t last = h->n;
        while (h->name[last - 1] != '*' && h->name[last - 1] != '?')
            last--;
        h->prefix = strcspn(host, "*?");
        h->suffix = h->n - last;
    }
}

bool overlap_hosts(const struct overlap_host *a, const struct overlap_host *b, uint64_t *steps)
{
    if (!a->n || !b->n || (a->n == b->n && !memcmp(a->name, b->name, a->n)))
        return true;
    if ((!a->wild && !b->wild) || !ends_agree(a, b))
        return false;
    struct tokens x;
    struct tokens y;
    host_tokens(a->name, &x);
    host_tokens(b->name, &y);
    *steps += a->n + b->n;
    return meet(&x, &y, steps);
}

bool overlap_hosts_apart(const struct overlap_host *a, const struct overlap_host *b)
{
    return a->n && b->n && !ends_agree(a, b);
}

/* A shell glob that crosses '/'. Classes count as any byte, "**" components as any run: never too narrow. */
static void path_tokens(const char *path, size_t n, bool literal, struct tokens *out)
{
    out->n = 0;
    out->overflow = false;
    for (size_t i = 0; i < n; i++) {
        const char *close = !literal && path[i] == '[' ? memchr(path + i, ']', n - i) : NULL;
        if (!literal && path[i] == '*') {
            push(out, ALL);
            bool recursive = i + 1 < n && path[i + 1] == '*';
            i += recursive;
            i += recursive && i + 1 < n && path[i + 1] == '/';
        } else if (close) {
            push(out, ANY);
            i = (size_t)(close - path);
        } else {
            push(out, !literal && path[i] == '?' ? ANY : (unsigned char)path[i]);
        }
    }
}

static bool selects_all(const char *path)
{
    return !*path || !strcmp(path, "**") || !strcmp(path, "/**");
}

/* The forms a selector stands for: a recursive suffix means the prefix itself or anything below it. Returns
 * how many. */
static size_t path_forms(const char *path, struct tokens out[2])
{
    size_t n = strlen(path);
    if (n <= 3 || strcmp(path + n - 3, "/**") != 0) {
        path_tokens(path, n, false, &out[0]);
        return 1;
    }
    path_tokens(path, n - 3, true, &out[0]);
    out[1] = out[0];
    push(&out[1], '/');
    push(&out[1], ALL);
    return 2;
}

bool overlap_paths(const char *a, const char *b, uint64_t *steps)
{
    if (selects_all(a) || selects_all(b) || !strcmp(a, b))
        return true;
    struct tokens x[2];
    struct tokens y[2];
    size_t nx = path_forms(a, x);
    size_t ny = path_forms(b, y);
    for (size_t i = 0; i < nx; i++) {
        for (size_t k = 0; k < ny; k++) {
            if (meet(&x[i], &y[k], steps))
                return true;
        }
    }
    return false;
}
