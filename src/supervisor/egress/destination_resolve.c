/* Resolves a host and has every address it has vetted; only vetted addresses are dialled, without a second
 * lookup. */
#include <string.h>

#include "supervisor/egress/internal.h"

int destination_resolve(struct egress_conn *c, struct net_addrs *out, const char **kind,
                        struct os_error *reason)
{
    struct net_addr literal;
    struct os_error failed cleanup_error = {0};
    *out = (struct net_addrs){0};
    if (net_addr_parse(c->host, &literal) == 0)
        net_addrs_add(out, &literal);
    else if (c->egress->opt.extra_hosts)
        net_hosts_lookup(c->egress->opt.extra_hosts, c->host, out);
    if (!out->n)
        net_dns_resolve(c->host, OS_PROXY_DNS_MS, out, &failed);
    if (destination_check(&c->l4, &c->egress->gateway, c->host, c->port, out, kind, reason) == 0)
        return 0;
    if (!out->n && failed.code && strcmp(*kind, "invalid allowed_ips in policy"))
        os_error_set(reason, failed.code, "DNS resolution failed for %s:%u: %s", c->host, c->port,
                     os_error_text(&failed));
    return -1;
}
