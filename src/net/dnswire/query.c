/* Reads one DNS query; every byte of it is accounted for. */
#include <string.h>

#include "net/dnswire/dnswire.h"

#define FLAG_RESPONSE 0x8000
#define FLAG_RECURSION 0x0100
#define FLAG_TRUNCATED 0x0200
#define OPCODE_SHIFT 11
#define OPCODE_MASK 0xf
#define RECORD_FIXED 10 /* type, class, TTL, length */

struct reader {
    const uint8_t *p;
    size_t n, at;
    bool failed;
};

static uint16_t take16(struct reader *r)
{
    if (r->n - r->at < 2) {
        r->failed = true;
        return 0;
    }
    r->at += 2;
    return (uint16_t)(r->p[r->at - 2] << 8 | r->p[r->at - 1]);
}

/* One label into the name; false when it cannot be part of a host name. */
static bool add_label(const uint8_t *p, size_t n, char *name, size_t *len)
{
    if (*len + n + (*len ? 1 : 0) > OS_LIMIT_HOST_NAME)
        return false;
    if (*len)
        name[(*len)++] = '.';
    for (size_t i = 0; i < n; i++) {
        uint8_t c = p[i];
        if (c >= 'A' && c <= 'Z')
            c = (uint8_t)(c + 32);
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_'))
            return false;
        name[(*len)++] = (char)c;
    }
    return true;
}

/* The name of the question. Compression has nothing to point to there: a pointer is malformed. *usable is
 * false for names that are well-formed but no host names. */
static bool take_name(struct reader *r, char *name, bool *usable)
{
    size_t len = 0, wire = 1;
    *usable = true;
    for (;;) {
        if (r->at >= r->n)
            return false;
        size_t n = r->p[r->at++];
        if (n == 0)
            break;
        wire += n + 1;
        if (n > OS_LIMIT_HOST_LABEL || n > r->n - r->at || wire > 255)
            return false;
        *usable = *usable && add_label(r->p + r->at, n, name, &len);
        r->at += n;
    }
    name[len] = '\0';
    struct net_addr literal;
    *usable = *usable && len && net_addr_parse(name, &literal) < 0;
    return true;
}

/* The one additional record that a query may carry: OPT (RFC 6891 6.1.2). */
static bool take_opt(struct reader *r, bool *bad_version)
{
    if (r->n - r->at < 1 + RECORD_FIXED || r->p[r->at] != 0)
        return false;
    r->at++;
    uint16_t type = take16(r);
    take16(r); /* the peer's UDP payload size: every answer fits the smallest */
    uint16_t extended = take16(r);
    take16(r); /* flags */
    uint16_t length = take16(r);
    if (type != DNSWIRE_OPT || length > r->n - r->at)
        return false;
    *bad_version = (extended & 0xff) != 0;
    r->at += length;
    return true;
}

static bool take_question(struct reader *r, struct dnswire_query *q, bool *usable)
{
    size_t from = r->at;
    if (!take_name(r, q->name, usable))
        return false;
    q->type = take16(r);
    q->class = take16(r);
    if (r->failed)
        return false;
    q->question = r->p + from;
    q->question_len = r->at - from;
    return true;
}

static enum dnswire_rcode take_body(struct reader *r, uint16_t flags, struct dnswire_query *q)
{
    uint16_t questions = take16(r), answers = take16(r), authorities = take16(r), additionals = take16(r);
    bool usable = false, bad_version = false;
    if ((flags >> OPCODE_SHIFT & OPCODE_MASK) != 0 || (flags & FLAG_TRUNCATED) || r->n > DNSWIRE_QUERY_MAX)
        return DNSWIRE_FORMERR;
    if (questions != 1 || answers || authorities || additionals > 1 || !take_question(r, q, &usable))
        return DNSWIRE_FORMERR;
    if (additionals) {
        if (!take_opt(r, &bad_version))
            return DNSWIRE_FORMERR;
        q->edns = true;
    }
    if (r->at != r->n)
        return DNSWIRE_FORMERR;
    if (bad_version)
        return DNSWIRE_BADVERS;
    if (q->class != DNSWIRE_CLASS_IN)
        return DNSWIRE_NOTIMP;
    return usable ? DNSWIRE_NOERROR : DNSWIRE_FORMERR;
}

bool dnswire_parse(const uint8_t *p, size_t n, struct dnswire_query *q, enum dnswire_rcode *rcode)
{
    struct reader r = {.p = p, .n = n};
    memset(q, 0, sizeof(*q));
    if (n < DNSWIRE_HEADER)
        return false;
    q->id = take16(&r);
    uint16_t flags = take16(&r);
    if (flags & FLAG_RESPONSE)
        return false;
    q->recursion_desired = (flags & FLAG_RECURSION) != 0;
    *rcode = take_body(&r, flags, q);
    return true;
}
