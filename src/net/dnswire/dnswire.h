/* DNS messages as a name server sees them (RFC 1035, RFC 6891): one question in, one answer out. I/O-free and
 * strict: what is not exactly one plain question is refused, nothing is guessed. */
#ifndef NET_DNSWIRE_H
#define NET_DNSWIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/limits.h"
#include "net/dns.h"

#define DNSWIRE_HEADER 12
#define DNSWIRE_QUERY_MAX 8192 /* bytes of a query, spec/supervisor.md 4.3 */
/* Header, the longest question, one record, one OPT record: no answer is ever truncated. */
#define DNSWIRE_ANSWER_MAX 512

enum dnswire_type { DNSWIRE_A = 1, DNSWIRE_AAAA = 28, DNSWIRE_OPT = 41 };
enum { DNSWIRE_CLASS_IN = 1 };

enum dnswire_rcode {
    DNSWIRE_NOERROR = 0,
    DNSWIRE_FORMERR = 1,
    DNSWIRE_SERVFAIL = 2,
    DNSWIRE_NXDOMAIN = 3,
    DNSWIRE_NOTIMP = 4,
    DNSWIRE_REFUSED = 5,
    DNSWIRE_BADVERS = 16, /* needs edns */
};

struct dnswire_query {
    uint16_t id;
    bool recursion_desired;
    uint16_t type, class;
    char name[OS_LIMIT_HOST_NAME + 1]; /* lower case, without final dot */
    bool edns;
    const uint8_t *question; /* as received, in the query's bytes; NULL when it cannot be echoed */
    size_t question_len;
};

/* Reads a query. Returns false when it deserves no answer at all (too short for a header, or a response).
 * Otherwise *rcode is DNSWIRE_NOERROR, or what to answer with: FORMERR for anything malformed, for other
 * opcodes than QUERY, for other than one question, and for names that are no host names (root, IP literals,
 * labels of other than letters, digits, '-' and '_'); NOTIMP for other classes than IN; BADVERS. */
bool dnswire_parse(const uint8_t *p, size_t n, struct dnswire_query *q, enum dnswire_rcode *rcode);

/* Writes the answer into out (DNSWIRE_ANSWER_MAX bytes) and returns its length. addr NULL = no record;
 * otherwise one A or AAAA record after addr->family, valid for ttl seconds. */
size_t dnswire_answer(const struct dnswire_query *q, enum dnswire_rcode rcode, const struct net_addr *addr,
                      uint32_t ttl, uint8_t *out);

#endif
