/* The scanner: a prefilter over pairs of bytes that skips what cannot begin a secret, then the comparisons of
 * shapes.c. A secret that the bytes end inside is looked at again with those that follow; of it, no more than
 * its prefix has gone on until then. */
#include "supervisor/egress/credentials/scan.h"

#include <string.h>

#include "supervisor/egress/credentials/secrets_priv.h"

#define PEM_MAX 65536 /* bytes of a private key that are overwritten */

/* The bytes at hand. */
struct span {
    char *p; /* n_before bytes before it can be read too */
    size_t n, n_before;
    bool ended;
    size_t aws_end; /* up to here 40 bytes may be an AWS secret key */
};

/* What stands at a place. */
struct verdict {
    enum shape_match match;
    const char *rule;
    const struct shape *shape; /* NULL: a known text or an AWS secret key */
    bool certain, allowed;
    bool names_aws; /* no secret, but the name of one that may follow */
    struct shape_found found;
};

/* --- where something may begin --- */

static uint32_t starts(const struct secret_rules *r, const unsigned char *p)
{
    return (uint32_t)(r->first[p[0]] & r->second[p[1]]) & r->third[p[2]];
}

/* First place at or behind i where a row of the table may begin, n if there is none; the last two bytes
 * cannot be told. */
static size_t next_row(const struct secret_rules *r, const struct span *b, size_t i)
{
    const unsigned char *p = (const unsigned char *)b->p;
    for (size_t k = i + 1; k + 1 < b->n; k += 2) {
        uint64_t t = r->first[p[k]] & r->second[p[k + 1]];
        if (!t)
            continue;
        if (t >> SECRET_BUCKETS && starts(r, p + k - 1))
            return k - 1;
        if ((uint32_t)t && k + 2 < b->n && starts(r, p + k))
            return k;
    }
    return b->n;
}

static bool is_aws_byte(unsigned char c)
{
    return shape_byte(SHAPE_ALNUM, c) || c == '+' || c == '/';
}

/* First place at or behind i where a run of bytes begins that could be an AWS secret key. */
static size_t next_aws(const struct span *b, size_t i, size_t limit)
{
    for (; i < limit; i++)
        if (is_aws_byte((unsigned char)b->p[i]) &&
            (i + b->n_before == 0 || !is_aws_byte((unsigned char)b->p[(ptrdiff_t)i - 1])))
            return i;
    return b->n;
}

static size_t next_place(const struct secret_rules *r, const struct span *b, size_t i)
{
    size_t row = next_row(r, b, i), limit = b->aws_end < row ? b->aws_end : row;
    size_t aws = i < limit ? next_aws(b, i, limit) : b->n;
    return aws < row ? aws : row;
}

/* --- what stands there --- */

static struct verdict look_at_shape(const struct secret_view *v, const struct span *b, size_t at, size_t row)
{
    const struct shape *s = &shapes[row];
    struct verdict out = {.match = SHAPE_NO, .rule = s->id, .shape = s};
    out.certain = !(s->flags & SHAPE_HINT);
    out.allowed = v->allowed >> row & 1;
    if ((!out.certain && v->certain_only) ||
        ((s->flags & SHAPE_BOUND) && !shape_begins_word(b->p + at, at + b->n_before)))
        return out;
    out.names_aws = s->flags & SHAPE_NAMED && shape_names_aws_secret(b->p + at, b->n - at);
    out.match = out.names_aws ? SHAPE_YES : shape_at(s, b->p + at, b->n - at, b->ended, &out.found);
    return out;
}

static struct verdict look_at_known(const struct secret_view *v, const struct span *b, size_t at, size_t i)
{
    const struct secret_known *k = &v->rules->known[i];
    struct verdict out = {.rule = k->label, .certain = true, .allowed = v->allowed_known >> i & 1};
    out.match = shape_text_at(k->text, strlen(k->text), b->p + at, b->n - at, b->ended, &out.found);
    return out;
}

/* The first row that fits; else what is undecided, held back by the one that lets the least go. */
static struct verdict look_at_rows(const struct secret_view *v, const struct span *b, size_t at)
{
    const struct secret_rules *r = v->rules;
    uint32_t buckets = b->n - at > 2 ? starts(r, (const unsigned char *)b->p + at) : 0;
    uint64_t rows[2] = {0};
    struct verdict best = {.match = SHAPE_NO};
    for (; buckets; buckets &= buckets - 1) {
        const uint64_t *more = r->rows[__builtin_ctz(buckets)];
        rows[0] |= more[0];
        rows[1] |= more[1];
    }
    while (rows[0] || rows[1]) {
        uint64_t *word = rows[0] ? &rows[0] : &rows[1];
        size_t row = (size_t)(word - rows) * 64 + (size_t)__builtin_ctzll(*word);
        *word &= *word - 1;
        struct verdict one =
            row < shapes_n ? look_at_shape(v, b, at, row) : look_at_known(v, b, at, row - shapes_n);
        if (one.match == SHAPE_YES)
            return one;
        if (one.match == SHAPE_MORE && one.allowed)
            one.found.plain = b->n - at;
        if (one.match == SHAPE_MORE && (best.match == SHAPE_NO || one.found.plain < best.found.plain))
            best = one;
    }
    return best;
}

static struct verdict look(const struct secret_view *v, const struct span *b, size_t at)
{
    struct verdict row = look_at_rows(v, b, at);
    if (row.match == SHAPE_YES || at >= b->aws_end || next_aws(b, at, at + 1) != at)
        return row;
    struct verdict aws = {
        .rule = SHAPE_AWS_SECRET, .certain = true, .allowed = v->allowed >> SECRET_AWS_BIT & 1};
    aws.match = shape_aws_secret_at(b->p + at, b->n - at, b->ended, &aws.found);
    if (aws.match == SHAPE_MORE && aws.allowed)
        aws.found.plain = b->n - at;
    return aws.match == SHAPE_NO ? row : aws;
}

/* --- what follows from it --- */

static void report(const struct secret_scan *s, const struct span *b, size_t at, const struct verdict *v)
{
    struct secret_hit hit = {
        .rule = v->rule, .certain = v->certain, .from = at, .plain = v->found.plain, .n = v->found.n};
    size_t told = v->found.told - v->found.plain;
    secret_fingerprint(s->view.rules, b->p + at + v->found.plain, told, hit.fingerprint);
    s->hit(s->ctx, &hit);
}

static void overwrite(const struct secret_scan *s, char *p, size_t n)
{
    if (s->overwrites)
        memset(p, '*', n);
}

/* The rest of a key up to the line that ends it, or the text it stands in. */
static size_t pass_pem(struct secret_scan *s, const struct span *b, size_t i)
{
    for (; i < b->n && s->state == SCAN_PEM; i++) {
        s->dashes = b->p[i] == '-' ? s->dashes + 1 : 0;
        if (s->dashes == 5 || b->p[i] == '"' || !--s->pem_left)
            s->state = SCAN_SEARCH;
        if (b->p[i] == '"')
            return i;
        if (b->p[i] != '\n' && b->p[i] != '\r')
            overwrite(s, b->p + i, 1);
    }
    return i;
}

static size_t pass_rest(struct secret_scan *s, const struct span *b, size_t i)
{
    if (s->state == SCAN_PEM)
        return pass_pem(s, b, i);
    size_t from = i;
    while (i < b->n && shape_byte(s->alphabet, (unsigned char)b->p[i]))
        i++;
    overwrite(s, b->p + from, i - from);
    if (i < b->n)
        s->state = SCAN_SEARCH;
    return i;
}

/* A secret stands at `at`; where the search goes on. */
static size_t take_found(struct secret_scan *s, struct span *b, size_t at, const struct verdict *v)
{
    const struct shape *shape = v->shape;
    if (v->names_aws) {
        b->aws_end = at + shape->prefix_len + SHAPE_AWS_REACH;
        return at + shape->prefix_len;
    }
    bool acts = s->acts && (v->certain || s->hints) && !v->allowed;
    if (!v->allowed)
        report(s, b, at, v);
    if (acts && !s->redacts) {
        s->blocked = true;
        return at;
    }
    s->overwrites = acts;
    overwrite(s, b->p + at + v->found.plain, v->found.n - v->found.plain);
    if (shape && !strcmp(shape->id, "aws-access-key-id"))
        b->aws_end = at + v->found.n + SHAPE_AWS_REACH;
    if (shape && shape->flags & SHAPE_PEM) {
        s->state = SCAN_PEM;
        s->pem_left = PEM_MAX;
        s->dashes = 0;
    } else if (shape) {
        s->state = SCAN_RUN;
        s->alphabet = shape->alphabet;
    }
    return at + v->found.n;
}

/* Looks at a span. *safe: bytes that may go on; the result is from where on bytes have to be looked at again.
 */
static size_t search(struct secret_scan *s, struct span *b, size_t *safe)
{
    size_t i = 0;
    *safe = b->n;
    while (i < b->n && !s->blocked) {
        if (s->state != SCAN_SEARCH) {
            i = pass_rest(s, b, i);
            continue;
        }
        size_t at = next_place(s->view.rules, b, i);
        if (at == b->n)
            break;
        struct verdict v = look(&s->view, b, at);
        if (v.match == SHAPE_YES) {
            i = take_found(s, b, at, &v);
            *safe = s->blocked ? at : *safe;
        } else if (v.match == SHAPE_MORE && b->n - at < SECRET_CARRY) {
            *safe = at + v.found.plain;
            return at;
        } else {
            i = at + 1;
        }
    }
    if (b->ended || s->blocked)
        return b->n;
    size_t tail = b->n > 2 ? b->n - 2 : 0;
    return i > tail ? i : tail;
}

/* --- streams --- */

void secret_scan_init(struct secret_scan *s, const struct secret_view *view, secret_hit_fn *hit, void *ctx)
{
    enum secret_mode mode = view->rules->mode;
    memset(s, 0, sizeof(*s));
    s->view = *view;
    s->hit = hit;
    s->ctx = ctx;
    s->acts = mode == SECRET_ENFORCE || mode == SECRET_REDACT;
    s->redacts = mode == SECRET_REDACT;
}

/* Keeps what has to be looked at again, and a little of what stands before. */
static void keep(struct secret_scan *s, const struct span *b, size_t from)
{
    size_t before = from + b->n_before < SECRET_BEFORE ? from + b->n_before : SECRET_BEFORE;
    memcpy(s->held, b->p + (ptrdiff_t)from - (ptrdiff_t)before, before + b->n - from);
    s->n_before = before;
    s->n_carry = b->n - from;
    s->aws_left = b->aws_end > from ? b->aws_end - from : 0;
}

size_t secret_scan_feed(struct secret_scan *s, const char *p, size_t n, bool ended, char *work, char **out)
{
    size_t had = s->n_before + s->n_carry, safe, sent = s->n_sent;
    memcpy(work, s->held, had);
    if (n)
        memcpy(work + had, p, n);
    struct span b = {.p = work + s->n_before,
                     .n = s->n_carry + n,
                     .n_before = s->n_before,
                     .ended = ended,
                     .aws_end = s->aws_left};
    *out = b.p + sent;
    if (s->blocked)
        return 0;
    size_t from = search(s, &b, &safe);
    if (!s->acts)
        safe = b.n;
    if (safe < sent)
        safe = sent;
    keep(s, &b, from);
    s->n_sent = safe > from ? safe - from : 0;
    return safe - sent;
}

void secret_text_scan(const struct secret_view *view, const char *p, size_t n, secret_hit_fn *hit, void *ctx)
{
    struct secret_scan s;
    size_t safe;
    secret_scan_init(&s, view, hit, ctx);
    s.acts = s.redacts = false; /* nothing is written */
    struct span b = {.p = (char *)(uintptr_t)p, .n = n, .ended = true};
    search(&s, &b, &safe);
}
