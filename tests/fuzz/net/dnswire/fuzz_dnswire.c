/* Fuzzes the DNS query parser, and the answers to what it took: each must read back as what was written. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "net/dnswire/dnswire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_answer(const struct dnswire_query *q, enum dnswire_rcode rcode, const struct net_addr *addr)
{
    uint8_t out[DNSWIRE_ANSWER_MAX];
    size_t n = dnswire_answer(q, rcode, addr, 10, out);
    struct dnswire_query back;
    enum dnswire_rcode code;
    if (n < DNSWIRE_HEADER || n > sizeof(out) || !(out[2] & 0x80) || (out[3] & 15) != (rcode & 15))
        abort();
    if (dnswire_parse(out, n, &back, &code)) /* a response is no query */
        abort();
    if (addr)
        return;
    out[2] &= 0x7f;
    if (!dnswire_parse(out, n, &back, &code) || back.id != q->id || back.type != q->type ||
        (q->question && strcmp(back.name, q->name) != 0))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dnswire_query q;
    enum dnswire_rcode rcode;
    if (!dnswire_parse(data, size, &q, &rcode))
        return 0;
    if (rcode == DNSWIRE_NOERROR) {
        struct net_addr a = {.family = AF_INET}, b = {.family = AF_INET6};
        size_t len = strlen(q.name);
        if (!len || len > OS_LIMIT_HOST_NAME ||
            strspn(q.name, "abcdefghijklmnopqrstuvwxyz0123456789-_.") != len)
            abort();
        check_answer(&q, rcode, &a);
        check_answer(&q, rcode, &b);
        check_answer(&q, DNSWIRE_NXDOMAIN, NULL);
    }
    check_answer(&q, rcode, NULL);
    return 0;
}
