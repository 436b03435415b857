/* The scanner: a prefilter over pairs of bytes that skips what cannot begin a secret, then the comparisons of
 * shapes.c. A secret that the bytes end inside is looked at again with those that follow; of it, no more than
 * its prefix has gone on until then. */
#include "supervisor/egress/credentials/scan.h"

#include <string.h>

#include "supervisor/egress/credentials/secrets_priv.h"

#define PEM_MAX 65536 /* bytes of a private key that are overwritten */

/* The bytes at hand, and which rows are looked for. */
struct span {
    const struct secret_filter *filter;
    bool hints;
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

static uint32_t starts(const struct secret_filter *f, const unsigned char *p)
{
    return (uint32_t)(f->first[p[0]] & f->second[p[1]]) & f->third[p[2]];
}

static uint64_t pair(const struct secret_filter *f, const unsigned char *p)
{
    return f->first[p[0]] & f->second[p[1]];
}

/* First place at or behind i where a row of the table may begin, n if there is none; the last two bytes
 * cannot be told. */
static size_t next_row(const struct span *b, size_t i)
{
    const struct secret_filter *f = b->filter;
    const unsigned char *p = (const unsigned char *)b->p;
    for (size_t k = i + 1; k + 1 < b->n; k += 2) {
        while (k + 8 < b->n &&
               !(pair(f, p + k) | pair(f, p + k + 2) | pair(f, p + k + 4) | pair(f, p + k + 6)))
            k += 8;
        uint64_t t = k + 1 < b->n ? pair(f, p + k) : 0;
        if (!t)
            continue;
        if (t >> SECRET_BUCKETS && starts(f, p + k - 1))
            return k - 1;
        if ((uint32_t)t && k + 2 < b->n && starts(f, p + k))
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

static size_t next_place(const struct span *b, size_t i)
{
    size_t row = next_row(b, i), limit = b->aws_end < row ? b->aws_end : row;
    size_t aws = i < limit ? next_aws(b, i, limit) : b->n;
    return aws < row ? aws : row;
}

/* --- what stands there --- */

/* A token does not begin in what could be another one: else every "-eyJ" in a row of them would be compared.
 */
static bool begins_jwt(const struct span *b, size_t at)
{
    char before = at + b->n_before ? b->p[(ptrdiff_t)at - 1] : '\0';
    return before != '-' && before != '_';
}

static struct verdict look_at_shape(const struct secret_view *v, const struct span *b, size_t at, size_t row)
{
    const struct shape *s = &shapes[row];
    struct verdict out = {.match = SHAPE_NO, .rule = s->id, .shape = s};
    const char *p = b->p + at;
    out.certain = !(s->flags & SHAPE_HINT);
    out.allowed = v->allowed >> row & 1;
    if (s->flags & SHAPE_NAMED && !b->hints) {
        out.names_aws = true;
        out.match = shape_names_aws_secret(p, b->n - at, b->ended, &out.found.n);
        out.found.plain = b->n - at;
        return out;
    }
    if ((!out.certain && v->certain_only) ||
        ((s->flags & SHAPE_BOUND) && !shape_begins_word(p, at + b->n_before)) ||
        (s->flags & SHAPE_JWT && !begins_jwt(b, at)))
        return out;
    out.match = shape_at(s, p, b->n - at, b->ended, &out.found);
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
    const struct secret_filter *f = b->filter;
    uint32_t buckets = b->n - at > 2 ? starts(f, (const unsigned char *)b->p + at) : 0;
    uint64_t rows[2] = {0};
    struct verdict best = {.match = SHAPE_NO};
    for (; buckets; buckets &= buckets - 1) {
        const uint64_t *more = f->rows[__builtin_ctz(buckets)];
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

static void overwrite(const struct secret_pass *s, char *p, size_t n)
{
    if (s->overwrites)
        memset(p, '*', n);
}

/* The rest of a key up to the line that ends it, or the text it stands in. */
static size_t pass_pem(struct secret_pass *s, const struct span *b, size_t i)
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

static size_t pass_rest(struct secret_pass *s, const struct span *b, size_t i)
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
static size_t take_found(struct secret_scan *s, struct secret_pass *pass, struct span *b, size_t at,
                         const struct verdict *v)
{
    const struct shape *shape = v->shape;
    if (v->names_aws) {
        b->aws_end = at + v->found.n + SHAPE_AWS_REACH;
        return at + v->found.n;
    }
    bool acts = s->acts && (v->certain || s->hints) && !v->allowed;
    if (!v->allowed && s->hit)
        report(s, b, at, v);
    if (acts && !s->redacts) {
        s->blocked = true;
        return at;
    }
    pass->overwrites = acts;
    overwrite(pass, b->p + at + v->found.plain, v->found.n - v->found.plain);
    size_t end = at + v->found.n;
    if (acts && shape && shape->flags & SHAPE_JWT) /* all of its parts */
        for (; end < b->n && (b->p[end] == '.' || shape_byte(shape->alphabet, (unsigned char)b->p[end]));
             end++)
            overwrite(pass, b->p + end, 1);
    if (shape && !strcmp(shape->id, "aws-access-key-id"))
        b->aws_end = at + v->found.n + SHAPE_AWS_REACH;
    if (shape && shape->flags & SHAPE_PEM) {
        pass->state = SCAN_PEM;
        pass->pem_left = PEM_MAX;
        pass->dashes = 0;
    } else if (shape) {
        pass->state = SCAN_RUN;
        pass->alphabet = shape->alphabet;
    }
    return end;
}

/* Where bytes have to be looked at again: from `at` on, where something is undecided, and from the last two
 * on, which could not be compared with a row; but nothing behind which something was found. */
static size_t again(const struct span *b, size_t at, size_t settled)
{
    size_t tail = b->n > 2 ? b->n - 2 : 0, from = at < tail ? at : tail;
    return from > settled ? from : settled;
}

/* Looks at a span. *safe: bytes that may go on; the result is from where on bytes have to be looked at again.
 */
static size_t search(struct secret_scan *s, struct secret_pass *pass, struct span *b, size_t *safe)
{
    size_t i = 0, settled = 0; /* up to here something was found */
    size_t undecided =
        SIZE_MAX; /* what may go, if it is anything: looked at again, but nothing waits for it */
    *safe = b->n;
    while (i < b->n && !s->blocked) {
        if (pass->state != SCAN_SEARCH) {
            i = settled = pass_rest(pass, b, i);
            continue;
        }
        size_t at = next_place(b, i);
        if (at == b->n)
            break;
        struct verdict v = look(&s->view, b, at);
        if (v.match == SHAPE_YES) {
            i = settled = take_found(s, pass, b, at, &v);
            *safe = s->blocked ? at : *safe;
        } else if (v.match == SHAPE_MORE && b->n - at < SECRET_CARRY && !v.allowed) {
            *safe = at + v.found.plain;
            return again(b, at < undecided ? at : undecided, settled);
        } else if (v.match == SHAPE_MORE && b->n - at < SECRET_CARRY) {
            undecided = at < undecided ? at : undecided;
            i = at + 1;
        } else {
            i = at + 1;
        }
    }
    return b->ended || s->blocked ? b->n : again(b, undecided < b->n ? undecided : b->n, settled);
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
static void keep(struct secret_pass *pass, const struct span *b, size_t from)
{
    size_t before = from + b->n_before < SECRET_BEFORE ? from + b->n_before : SECRET_BEFORE;
    memcpy(pass->held, b->p + (ptrdiff_t)from - (ptrdiff_t)before, before + b->n - from);
    pass->n_before = before;
    pass->n_carry = b->n - from;
    pass->aws_left = b->aws_end > from ? b->aws_end - from : 0;
}

/* One pass over what it carries and the new bytes, which stand in work then. *safe as search(); the result is
 * where they begin. */
static char *run_pass(struct secret_scan *s, int which, const char *p, size_t n, bool ended, char *work,
                      size_t *safe)
{
    struct secret_pass *pass = &s->pass[which];
    struct span b = {.filter = &s->view.rules->filter[which],
                     .hints = which == SCAN_HINTS,
                     .p = work + pass->n_before,
                     .n = pass->n_carry + n,
                     .n_before = pass->n_before,
                     .ended = ended,
                     .aws_end = pass->aws_left};
    memcpy(work, pass->held, pass->n_before + pass->n_carry);
    if (n)
        memcpy(b.p + pass->n_carry, p, n);
    size_t from = search(s, pass, &b, safe);
    if (which == SCAN_CERTAIN && !s->acts)
        *safe = b.n;
    if (*safe < s->n_sent)
        *safe = s->n_sent;
    keep(pass, &b, from);
    /* How far it went, from where the next call begins. */
    if (which == SCAN_CERTAIN) {
        size_t sent = s->n_sent;
        s->n_sent = *safe > from ? *safe - from : 0;
        *safe -= sent;
        return b.p + sent;
    }
    return b.p;
}

size_t secret_scan_feed(struct secret_scan *s, const char *p, size_t n, bool ended, char *work, char **out)
{
    size_t safe;
    *out = work;
    if (s->blocked)
        return 0;
    if (!s->view.certain_only)
        run_pass(s, SCAN_HINTS, p, n, ended, work, &safe);
    *out = run_pass(s, SCAN_CERTAIN, p, n, ended, work, &safe);
    return safe;
}

/* All of a text at once: nothing is held back, and what is overwritten is so where it stands. */
static void scan_whole(struct secret_scan *s, char *p, size_t n, bool hints)
{
    size_t safe;
    for (int which = SCAN_CERTAIN; which <= (hints ? SCAN_HINTS : SCAN_CERTAIN); which++) {
        struct span b = {.filter = &s->view.rules->filter[which],
                         .hints = which == SCAN_HINTS,
                         .p = p,
                         .n = n,
                         .ended = true};
        search(s, &s->pass[which], &b, &safe);
    }
}

void secret_text_scan(const struct secret_view *view, const char *p, size_t n, secret_hit_fn *hit, void *ctx)
{
    struct secret_scan s;
    secret_scan_init(&s, view, hit, ctx);
    s.acts = s.redacts = false; /* nothing is written */
    scan_whole(&s, (char *)(uintptr_t)p, n, !view->certain_only);
}

void secret_overwrite(const struct secret_view *view, char *p, size_t n, bool hints)
{
    struct secret_scan s;
    secret_scan_init(&s, view, NULL, NULL);
    s.acts = s.redacts = true;
    s.hints = hints;
    scan_whole(&s, p, n, hints);
}
