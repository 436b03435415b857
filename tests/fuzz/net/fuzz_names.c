/* Fuzzes the texts that src/net/dns reads: a hosts file, and a name or address to look for in it. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/str.h"
#include "net/dns.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The first line is the name, the rest is the hosts file. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *name = os_strndup((const char *)data, size), *hosts = strchrnul(name, '\n');
    struct net_addrs found = {0};
    struct net_addr addr, again;
    char text[INET6_ADDRSTRLEN];
    if (*hosts)
        *hosts++ = '\0';
    net_hosts_lookup(hosts, name, &found);
    if (found.n > NET_ADDRS_MAX)
        abort();
    if (net_addr_parse(name, &addr) == 0 &&
        (net_addr_parse(net_addr_text(&addr, text), &again) < 0 || again.family != addr.family))
        abort();
    free(name);
    return 0;
}
