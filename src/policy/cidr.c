/* allowed_ips entries (spec/policy.md 2.4, 4.6): parsing and the always-blocked overlap. */
#include <arpa/inet.h>
#include <string.h>

#include "core/cleanup.h"
#include "policy/validate.h"

bool policy_cidr_parse(const char *text, struct policy_cidr *out)
{
    char addr[INET6_ADDRSTRLEN];
    const char *slash = strchr(text, '/');
    size_t n = slash ? (size_t)(slash - text) : strlen(text);
    if (n >= sizeof(addr))
        return false;
    memcpy(addr, text, n);
    addr[n] = '\0';
    *out = (struct policy_cidr){.family = strchr(addr, ':') ? AF_INET6 : AF_INET};
    if (inet_pton(out->family, addr, out->addr) != 1)
        return false;
    uint64_t bits = out->family == AF_INET ? 32 : 128;
    if (slash && !os_str_u64(slash + 1, bits, &bits))
        return false;
    out->prefix = (uint8_t)bits;
    for (size_t i = out->prefix; i < 128; i++)
        out->addr[i / 8] &= (uint8_t) ~(0x80 >> (i % 8));
    return true;
}

bool policy_cidr_same_prefix(const uint8_t *a, const uint8_t *b, size_t bits)
{
    if (memcmp(a, b, bits / 8) != 0)
        return false;
    uint8_t mask = (uint8_t)(0xff00 >> (bits % 8));
    return bits % 8 == 0 || ((a[bits / 8] ^ b[bits / 8]) & mask) == 0;
}

bool policy_cidr_blocked(const struct policy_cidr *c)
{
    static const char *const blocked[] = {
        "127.0.0.0/8",          "169.254.0.0/16",         "0.0.0.0/32",     "::1", "::", "fe80::/10",
        "::ffff:127.0.0.0/104", "::ffff:169.254.0.0/112", "::ffff:0.0.0.0",
    };
    for (size_t i = 0; i < OS_ARRAY_LEN(blocked); i++) {
        struct policy_cidr b;
        if (!policy_cidr_parse(blocked[i], &b) || b.family != c->family)
            continue;
        if (policy_cidr_same_prefix(b.addr, c->addr, b.prefix < c->prefix ? b.prefix : c->prefix))
            return true;
    }
    return false;
}

char *policy_allowed_ip_error(const char *entry)
{
    struct policy_cidr c;
    if (!policy_cidr_parse(entry, &c))
        return os_asprintf("invalid CIDR/IP in allowed_ips: %s", entry);
    if (policy_cidr_blocked(&c))
        return os_asprintf("allowed_ips entry %s falls within always-blocked range "
                           "(loopback/link-local/unspecified); remove this entry \xe2\x80\x94 SSRF hardening "
                           "prevents traffic to these destinations regardless of policy",
                           entry);
    return NULL;
}
