/* Which addresses may be dialled (spec/proxy.md 7, spec/policy.md 4.6). Pure: the proxy asks after it has
 * resolved a name, `openshell policy check` for an address that is given. */
#ifndef POLICY_DESTINATION_H
#define POLICY_DESTINATION_H

#include <stdbool.h>
#include <stdint.h>

#include "core/error.h"
#include "net/dns.h"
#include "policy/engine.h"

enum destination_class {
    DESTINATION_PUBLIC,
    DESTINATION_INTERNAL, /* private, shared, documentation and benchmark ranges */
    DESTINATION_BLOCKED,  /* loopback, link-local, unspecified: never */
};

/* Addresses that embed an IPv4 address (mapped, NAT64) count as that address; those of other ways to reach
 * one over IPv6 (6to4, Teredo, ISATAP, ...) are no more public than it. */
enum destination_class destination_classify(const struct net_addr *a);

/* A name under which a sandbox knows the machine it runs on. */
bool destination_is_gateway_alias(const char *host);

/* The host's gateway, when its alias names a link-local address (rootless Podman). */
struct destination_gateway {
    bool trusted;
    struct net_addr addr;
};
void destination_gateway_read(const char *hosts_text, struct destination_gateway *out);

/* Vets all addresses for host:port under the first plan that applies. 0, or -1 with *kind the published kind
 * and *reason the text for the log. */
int destination_check(const struct policy_l4 *l4, const struct destination_gateway *gateway, const char *host,
                      uint16_t port, const struct net_addrs *addrs, const char **kind,
                      struct os_error *reason);

#endif
