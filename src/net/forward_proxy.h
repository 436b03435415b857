/* An operator's forward proxy: where it is, what goes around it, what it is told (spec/proxy.md 15,
 * spec/drivers.md 3.8). Nothing here connects. */
#ifndef NET_FORWARD_PROXY_H
#define NET_FORWARD_PROXY_H

#include <stdbool.h>
#include <stdint.h>

#include "core/buf.h"
#include "core/error.h"
#include "core/limits.h"
#include "net/dns.h"

/* "http://host:port" or "https://host:port": a proxy reached in plain text or over TLS. */
struct forward_proxy_url {
    bool tls;
    char host[OS_LIMIT_HOST_NAME + 1]; /* lower case, without brackets; "" = no proxy */
    uint16_t port;
};

/* One entry of a list of exceptions. */
struct no_proxy_entry {
    enum { NO_PROXY_ALL, NO_PROXY_NET, NO_PROXY_DOMAIN } kind;
    uint16_t port;        /* 0 = any */
    struct net_addr addr; /* NO_PROXY_NET; IPv4 also for addresses mapped into IPv6 */
    unsigned prefix;      /* bits of it that count */
    char *domain;         /* NO_PROXY_DOMAIN: lower case, without leading "." or "*." */
};

struct forward_proxy {
    struct forward_proxy_url url;
    struct no_proxy_entry *direct;
    size_t n_direct;
    struct os_buf authorization; /* secret: value of Proxy-Authorization; empty = none */
    bool by_hostname;            /* the proxy is given names, not the addresses that were checked */
};

/* What an operator gave: texts and files, NULL = not given. */
struct forward_proxy_given {
    const char *url, *no_proxy, *auth_file;
    bool auth_allow_insecure, connect_by_hostname;
};

/* How the operator writes each of them, for messages. */
struct forward_proxy_names {
    const char *url, *no_proxy, *auth_file, *auth_allow_insecure, *connect_by_hostname;
    const char *proxy; /* what is missing when the first of them is */
};

/* Checks everything and reads the credential file; all zero when nothing is given. -1 with *err, whose text
 * never holds the credential nor a URL (it might hold one); *out is then empty. */
int forward_proxy_load(struct forward_proxy *out, const struct forward_proxy_given *given,
                       const struct forward_proxy_names *names, struct os_error *err);
/* Overwrites the credential. */
void forward_proxy_clear(struct forward_proxy *p);

/* Pure. -1 with the text that follows the option's name. */
int forward_proxy_url_parse(const char *text, struct forward_proxy_url *out, struct os_error *err);
/* "*", addresses, CIDRs and domains (with all below them), each with an optional ":port", ',' between. Empty
 * entries are skipped, anything else is an error. Appends to p->direct. */
int forward_proxy_add_exceptions(struct forward_proxy *p, const char *list, struct os_error *err);
/* "user:pass" with white space around it -> "Basic ...". */
int forward_proxy_set_credential(struct forward_proxy *p, const char *text, size_t n, struct os_error *err);

/* Whether host:port (lower case, no brackets) goes around the proxy whatever its addresses are: an exception
 * by name or address, and every loopback literal. */
bool forward_proxy_bypasses(const struct forward_proxy *p, const char *host, uint16_t port);
/* The addresses of `in` that an exception names go to `out`. */
void forward_proxy_direct_addresses(const struct forward_proxy *p, const struct net_addrs *in, uint16_t port,
                                    struct net_addrs *out);

#endif
