/* Name resolution with c-ares (a static glibc has no usable getaddrinfo). Blocking, any thread. */
#ifndef NET_DNS_H
#define NET_DNS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "core/error.h"

#define NET_ADDRS_MAX 16

struct net_addr {
    int family; /* AF_INET or AF_INET6 */
    union {
        struct in_addr v4;
        struct in6_addr v6;
    };
};

struct net_addrs {
    struct net_addr v[NET_ADDRS_MAX]; /* first seen first, no duplicates */
    size_t n;
};

/* "1.2.3.4", "::1" or "[::1]" -> address. No zone ids, no shorthand ("127.1" is not an address). */
int net_addr_parse(const char *text, struct net_addr *out);
/* Text form into out (at least INET6_ADDRSTRLEN bytes). Returns out. */
const char *net_addr_text(const struct net_addr *a, char *out);
/* Fills a sockaddr; returns its length. */
socklen_t net_addr_sockaddr(const struct net_addr *a, uint16_t port, struct sockaddr_storage *out);
/* 127.0.0.0/8, also mapped into IPv6, and ::1. */
bool net_addr_is_loopback(const struct net_addr *a);
void net_addrs_add(struct net_addrs *l, const struct net_addr *a);

/* Looks name up in the text of a hosts file (names case-insensitive, '#' comments); appends every match. */
void net_hosts_lookup(const char *hosts_text, const char *name, struct net_addrs *out);

/* IP literals as is, then /etc/hosts, then A and AAAA through the servers of /etc/resolv.conf (search list
 * and options included); IPv4 addresses come first. "localhost" and names below it never reach a name server.
 * Errors: OS_NOT_FOUND (not a host name, no such name, no addresses), OS_DEADLINE_EXCEEDED, OS_UNAVAILABLE.
 */
int net_dns_resolve(const char *name, int timeout_ms, struct net_addrs *out, struct os_error *err);

/* Where net_dns_resolve finds its servers from now on; before threads start. The path is borrowed. */
void net_dns_use_resolv_conf(const char *path);

struct net_dns_source {
    const char *hosts, *resolv_conf; /* paths */
    uint16_t port;                   /* of the name servers */
};
/* The same from elsewhere. */
int net_dns_resolve_from(const struct net_dns_source *from, const char *name, int timeout_ms,
                         struct net_addrs *out, struct os_error *err);

#endif
