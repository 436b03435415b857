/* Which addresses may be dialled. */
#include "policy/destination.h"

#include <string.h>

#include "core/cleanup.h"
#include "core/str.h"
#include "policy/validate.h"

struct range {
    uint8_t addr[4];
    uint8_t prefix;
};

static const struct range blocked4[] = {{{127, 0, 0, 0}, 8}, {{169, 254, 0, 0}, 16}, {{0, 0, 0, 0}, 8}};
static const struct range internal4[] = {
    {{10, 0, 0, 0}, 8},     {{172, 16, 0, 0}, 12}, {{192, 168, 0, 0}, 16}, {{100, 64, 0, 0}, 10},
    {{192, 0, 0, 0}, 24},   {{192, 0, 2, 0}, 24},  {{198, 18, 0, 0}, 15},  {{198, 51, 100, 0}, 24},
    {{203, 0, 113, 0}, 24}, {{240, 0, 0, 0}, 4},   {{224, 0, 0, 0}, 4},
};

static bool in_ranges(const uint8_t *addr, const struct range *r, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (policy_cidr_same_prefix(addr, r[i].addr, r[i].prefix))
            return true;
    return false;
}

/* The IPv4 address that *a is or embeds, NULL for other IPv6 addresses. */
static const uint8_t *embedded_v4(const struct net_addr *a)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    static const uint8_t nat64[12] = {0x00, 0x64, 0xff, 0x9b};
    if (a->family == AF_INET)
        return (const uint8_t *)&a->v4;
    if (!memcmp(a->v6.s6_addr, mapped, 12) || !memcmp(a->v6.s6_addr, nat64, 12))
        return a->v6.s6_addr + 12;
    return NULL;
}

/* Where in an IPv6 address a transition mechanism keeps the IPv4 address that packets end up at. Unlike
 * embedded_v4 these are not that address itself: they never match an IPv4 entry of allowed_ips. */
static const struct {
    uint8_t addr[12];
    uint8_t from, to; /* the bytes of addr that tell the mechanism */
    uint8_t at, mask; /* first byte of the IPv4 address; what its bytes are XORed with */
} transitions[] = {
    {{0}, 0, 12, 12, 0},                                 /* IPv4-compatible (RFC 4291) */
    {{[8] = 0xff, [9] = 0xff}, 0, 12, 12, 0},            /* IPv4-translated (RFC 2765) */
    {{0x20, 0x02}, 0, 2, 2, 0},                          /* 6to4 (RFC 3056) */
    {{0x20, 0x01}, 0, 4, 4, 0},                          /* Teredo server (RFC 4380) */
    {{0x20, 0x01}, 0, 4, 12, 0xff},                      /* Teredo client */
    {{0x00, 0x64, 0xff, 0x9b, 0, 1}, 0, 6, 12, 0},       /* NAT64 of the site (RFC 8215) */
    {{[10] = 0x5e, [11] = 0xfe}, 8, 12, 12, 0},          /* ISATAP (RFC 5214) */
    {{[8] = 2, [10] = 0x5e, [11] = 0xfe}, 8, 12, 12, 0}, /* ISATAP, globally unique */
};

static enum destination_class classify4(const uint8_t *v4)
{
    if (in_ranges(v4, blocked4, OS_ARRAY_LEN(blocked4)))
        return DESTINATION_BLOCKED;
    return in_ranges(v4, internal4, OS_ARRAY_LEN(internal4)) ? DESTINATION_INTERNAL : DESTINATION_PUBLIC;
}

/* The strictest class of the IPv4 addresses that *p may be a way to. */
static enum destination_class classify_transition(const uint8_t *p)
{
    enum destination_class class = DESTINATION_PUBLIC;
    for (size_t i = 0; i < OS_ARRAY_LEN(transitions); i++) {
        size_t from = transitions[i].from;
        if (memcmp(p + from, transitions[i].addr + from, transitions[i].to - from))
            continue;
        uint8_t v4[4];
        for (size_t k = 0; k < sizeof(v4); k++)
            v4[k] = p[transitions[i].at + k] ^ transitions[i].mask;
        enum destination_class c = classify4(v4);
        class = c > class ? c : class;
    }
    return class;
}

enum destination_class destination_classify(const struct net_addr *a)
{
    const uint8_t *v4 = embedded_v4(a);
    if (v4)
        return classify4(v4);
    const uint8_t *p = a->v6.s6_addr;
    if (IN6_IS_ADDR_UNSPECIFIED(&a->v6) || IN6_IS_ADDR_LOOPBACK(&a->v6) ||
        (p[0] == 0xfe && (p[1] & 0xc0) == 0x80))
        return DESTINATION_BLOCKED;
    enum destination_class class = classify_transition(p);
    bool site_local = p[0] == 0xfe && (p[1] & 0xc0) == 0xc0; /* deprecated, still private: RFC 3879 */
    bool site_nat64 = !memcmp(p, "\0\x64\xff\x9b\0\1", 6);   /* leads wherever the site says */
    bool internal = site_local || site_nat64 || (p[0] & 0xfe) == 0xfc || p[0] == 0xff;
    return internal && class == DESTINATION_PUBLIC ? DESTINATION_INTERNAL : class;
}

static bool same_addr(const struct net_addr *a, const struct net_addr *b)
{
    const uint8_t *x = embedded_v4(a), *y = embedded_v4(b);
    if (x && y)
        return !memcmp(x, y, 4);
    return !x && !y && !memcmp(&a->v6, &b->v6, 16);
}

static bool is_metadata(const struct net_addr *a)
{
    static const uint8_t metadata[4] = {169, 254, 169, 254};
    const uint8_t *v4 = embedded_v4(a);
    return v4 && !memcmp(v4, metadata, 4);
}

static bool is_link_local(const struct net_addr *a)
{
    const uint8_t *v4 = embedded_v4(a);
    return v4 ? v4[0] == 169 && v4[1] == 254 : IN6_IS_ADDR_LINKLOCAL(&a->v6);
}

void destination_gateway_read(const char *hosts_text, struct destination_gateway *out)
{
    struct net_addrs found = {0};
    net_hosts_lookup(hosts_text, "host.openshell.internal", &found);
    out->trusted = found.n && is_link_local(&found.v[0]) && !is_metadata(&found.v[0]);
    if (out->trusted)
        out->addr = found.v[0];
}

bool destination_is_gateway_alias(const char *host)
{
    return !strcmp(host, "host.openshell.internal") || !strcmp(host, "host.containers.internal") ||
           !strcmp(host, "host.docker.internal");
}

static int control_plane_port(uint16_t port, struct os_error *reason)
{
    static const uint16_t ports[] = {2379, 2380, 6443, 10250, 10255};
    for (size_t i = 0; i < OS_ARRAY_LEN(ports); i++)
        if (port == ports[i])
            return os_error_set(reason, OS_PERMISSION_DENIED,
                                "port %u is a blocked control-plane port, connection rejected", port);
    return 0;
}

static int reject(struct os_error *reason, const char *host, const char *what, const struct net_addr *a,
                  const char *more)
{
    char text[INET6_ADDRSTRLEN];
    return os_error_set(reason, OS_PERMISSION_DENIED, "%s resolves to %s%s%s, connection rejected", host,
                        what, net_addr_text(a, text), more);
}

static int check_gateway(const struct destination_gateway *gateway, const char *host,
                         const struct net_addr *a, struct os_error *reason)
{
    char trusted[INET6_ADDRSTRLEN];
    if (is_metadata(a))
        return reject(reason, host, "cloud metadata address ", a, "");
    if (!is_link_local(a))
        return reject(reason, host, "non-link-local address ", a, "");
    if (same_addr(a, &gateway->addr))
        return 0;
    cleanup_free char *more =
        os_asprintf(" which does not match trusted host gateway %s", net_addr_text(&gateway->addr, trusted));
    return reject(reason, host, "", a, more);
}

static bool in_allowed(const struct policy_endpoint *ep, const struct net_addr *a)
{
    const uint8_t *v4 = embedded_v4(a);
    for (size_t i = 0; i < ep->n_allowed_ips; i++) {
        const struct policy_cidr *cidr = &ep->allowed_ips[i];
        if (cidr->family == AF_INET
                ? v4 && policy_cidr_same_prefix(v4, cidr->addr, cidr->prefix)
                : a->family == AF_INET6 && policy_cidr_same_prefix(a->v6.s6_addr, cidr->addr, cidr->prefix))
            return true;
    }
    return false;
}

static int check_not_blocked(const char *host, const struct net_addr *a, struct os_error *reason)
{
    return destination_classify(a) == DESTINATION_BLOCKED
               ? reject(reason, host, "always-blocked address ", a, "")
               : 0;
}

static int check_public(const char *host, const struct net_addr *a, struct os_error *reason)
{
    return destination_classify(a) == DESTINATION_PUBLIC ? 0
                                                         : reject(reason, host, "internal address ", a, "");
}

int destination_check(const struct policy_l4 *l4, const struct destination_gateway *gateway, const char *host,
                      uint16_t port, const struct net_addrs *addrs, const char **kind,
                      struct os_error *reason)
{
    const struct policy_endpoint *first = l4->n_configs ? l4->configs[0] : NULL;
    bool alias = gateway->trusted && destination_is_gateway_alias(host);
    bool listed = !alias && first && (first->n_allowed_ips || first->allowed_ips_invalid);
    struct net_addr literal;
    bool is_literal = !alias && !listed && net_addr_parse(host, &literal) == 0 &&
                      destination_classify(&literal) != DESTINATION_BLOCKED;
    bool declared = !alias && !listed && !is_literal && l4->declared_host;
    if (listed && first->allowed_ips_invalid) {
        *kind = "invalid allowed_ips in policy";
        return os_error_set(
            reason, OS_PERMISSION_DENIED,
            "allowed_ips of the endpoint are unusable: every entry must be an address or CIDR "
            "outside the always-blocked ranges");
    }
    *kind = alias                  ? "trusted-gateway check failed"
            : listed || is_literal ? "allowed_ips check failed"
            : declared             ? "declared endpoint check failed"
                                   : "internal address";
    if (!addrs->n)
        return os_error_set(reason, OS_NOT_FOUND, "DNS resolution returned no addresses for %s", host);
    bool plan = alias || listed || is_literal || declared;
    if (plan && control_plane_port(port, reason) < 0)
        return -1;
    for (size_t i = 0; i < addrs->n; i++) {
        const struct net_addr *a = &addrs->v[i];
        if (alias ? check_gateway(gateway, host, a, reason) < 0
                  : (plan ? check_not_blocked(host, a, reason) : check_public(host, a, reason)) < 0)
            return -1;
        if ((listed && !in_allowed(first, a)) || (is_literal && !same_addr(a, &literal)))
            return reject(reason, host, "", a, " which is not in allowed_ips");
    }
    return 0;
}
