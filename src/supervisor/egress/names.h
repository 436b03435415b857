/* The addresses that the sandbox's name server makes up, and the names they stand for (DESIGN 11,
 * spec/supervisor.md 4.3). An address stays with its name while it is used, and is not given to another name
 * before the whole pool was gone through. Any thread. */
#ifndef SUPERVISOR_EGRESS_NAMES_H
#define SUPERVISOR_EGRESS_NAMES_H

#include <stdbool.h>

#include "net/dns.h"

struct egress_names;

struct egress_names *names_new(void);
void names_free(struct egress_names *t);

enum names_result {
    NAMES_KNOWN,
    NAMES_NEW,  /* just made up */
    NAMES_FULL, /* OS_NAMES_MAX names in use: no address */
};
/* The address of name in family (AF_INET or AF_INET6). */
enum names_result names_address(struct egress_names *t, const char *name, int family, struct net_addr *out);

enum names_found {
    NAMES_OUTSIDE, /* not an address of the pools */
    NAMES_UNKNOWN, /* of a pool, but it stands for nothing (any more) */
    NAMES_FOUND,
};
/* What *a stands for; name takes OS_LIMIT_HOST_NAME + 1 bytes. */
enum names_found names_find(struct egress_names *t, const struct net_addr *a, char *name);

#endif
