/* Writes the answer to one DNS query. */
#include <assert.h>
#include <string.h>

#include "net/dnswire/dnswire.h"

#define FLAG_RESPONSE 0x8000
#define FLAG_RECURSION_DESIRED 0x0100
#define FLAG_RECURSION_AVAILABLE 0x0080
#define RCODE_MASK 0xf
#define NAME_OF_QUESTION 0xc00c /* pointer to the first byte behind the header */
#define UDP_PAYLOAD 1232        /* what is offered to peers with EDNS */

struct writer {
    uint8_t *p;
    size_t n;
};

static void put16(struct writer *w, uint16_t v)
{
    w->p[w->n++] = (uint8_t)(v >> 8);
    w->p[w->n++] = (uint8_t)v;
}

static void put(struct writer *w, const void *data, size_t n)
{
    memcpy(w->p + w->n, data, n);
    w->n += n;
}

static void put_record(struct writer *w, const struct net_addr *addr, uint32_t ttl)
{
    bool v6 = addr->family == AF_INET6;
    put16(w, NAME_OF_QUESTION);
    put16(w, v6 ? DNSWIRE_AAAA : DNSWIRE_A);
    put16(w, DNSWIRE_CLASS_IN);
    put16(w, (uint16_t)(ttl >> 16));
    put16(w, (uint16_t)ttl);
    put16(w, v6 ? sizeof(addr->v6) : sizeof(addr->v4));
    if (v6)
        put(w, &addr->v6, sizeof(addr->v6));
    else
        put(w, &addr->v4, sizeof(addr->v4));
}

static void put_opt(struct writer *w, enum dnswire_rcode rcode)
{
    w->p[w->n++] = 0; /* root */
    put16(w, DNSWIRE_OPT);
    put16(w, UDP_PAYLOAD);
    put16(w, (uint16_t)((rcode >> 4) << 8)); /* upper bits of the code; version 0 */
    put16(w, 0);
    put16(w, 0);
}

size_t dnswire_answer(const struct dnswire_query *q, enum dnswire_rcode rcode, const struct net_addr *addr,
                      uint32_t ttl, uint8_t *out)
{
    struct writer w = {.p = out};
    bool record = addr && q->question && rcode == DNSWIRE_NOERROR;
    put16(&w, q->id);
    put16(&w, (uint16_t)(FLAG_RESPONSE | (q->recursion_desired ? FLAG_RECURSION_DESIRED : 0) |
                         FLAG_RECURSION_AVAILABLE | (rcode & RCODE_MASK)));
    put16(&w, q->question ? 1 : 0);
    put16(&w, record ? 1 : 0);
    put16(&w, 0);
    put16(&w, q->edns ? 1 : 0);
    if (q->question)
        put(&w, q->question, q->question_len);
    if (record)
        put_record(&w, addr, ttl);
    if (q->edns)
        put_opt(&w, rcode);
    assert(w.n <= DNSWIRE_ANSWER_MAX);
    return w.n;
}
