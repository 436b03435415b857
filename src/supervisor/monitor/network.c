/* The agent's network: a namespace without any uplink, whose every address leads back to itself, and the
 * listening sockets in it (DESIGN 4). The worker, forked before, stays outside and serves the sockets. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/in6.h>
#include <linux/netfilter.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>

#include "core/cleanup.h"
#include "core/limits.h"
#include "core/log.h"
#include "net/netlink/message.h"
#include "net/netlink/nft.h"
#include "net/netlink/route.h"
#include "supervisor/monitor/monitor.h"

#define LOG_TARGET "supervisor::network"
#define TABLE "openshell"
#define BACKLOG 128

static const uint8_t PROXY_ADDR[4] = {10, 200, 0, 1};
static const uint8_t LOOPBACK4[4] = {127, 0, 0, 0};
static const uint8_t LOOPBACK6[16] = {[15] = 1};

#define PRIORITY_DSTNAT (-100)
#define PRIORITY_MANGLE (-150)

static int configure_links(bool *ipv6, struct os_error *err)
{
    cleanup_close int fd = netlink_socket(NETLINK_ROUTE, err);
    if (fd < 0)
        return -1;
    int lo = (int)if_nametoindex("lo");
    if (lo == 0)
        return os_error_sys(err, errno, "no loopback link in the new network namespace");
    if (netlink_link_up(fd, lo, err) < 0 || netlink_address_add(fd, lo, AF_INET, PROXY_ADDR, 32, err) < 0 ||
        netlink_route_local_default(fd, lo, AF_INET, err) < 0)
        return -1;
    struct os_error cleanup_error why = {0};
    *ipv6 = netlink_route_local_default(fd, lo, AF_INET6, &why) == 0;
    if (!*ipv6) /* a kernel without IPv6: nothing to capture, nothing to leave open */
        os_log_info(LOG_TARGET, "no IPv6 in the sandbox: %s", os_error_text(&why));
    return 0;
}

/* Loopback stays the agent's own. */
static void accept_loopback(struct nft_batch *b, const char *chain)
{
    nft_rule(b, chain);
    nft_match_daddr4(b, LOOPBACK4, 1);
    nft_accept(b);
    nft_rule_end(b);
    nft_rule(b, chain);
    nft_match_daddr6(b, LOOPBACK6, sizeof(LOOPBACK6));
    nft_accept(b);
    nft_rule_end(b);
}

static void redirect_tcp(struct nft_batch *b)
{
    nft_match_l4(b, IPPROTO_TCP);
    nft_redirect(b, OS_TRAP_PORT);
    nft_rule_end(b);
}

/* The sandbox's own name server has port 53 of every address but the ones it makes up. */
static void accept_dns(struct nft_batch *b, const char *chain, uint8_t protocol)
{
    nft_rule(b, chain);
    nft_match_l4(b, protocol);
    nft_match_dport(b, OS_DNS_PORT);
    nft_accept(b);
    nft_rule_end(b);
}

static void capture_synthetic(struct nft_batch *b, const char *chain)
{
    static const uint8_t pool4[4] = {OS_NAMES_POOL4}, pool6[16] = {OS_NAMES_POOL6};
    nft_rule(b, chain);
    nft_match_daddr4(b, pool4, 2);
    redirect_tcp(b);
    nft_rule(b, chain);
    nft_match_daddr6(b, pool6, 6);
    redirect_tcp(b);
}

static void capture_tcp(struct nft_batch *b, const char *chain, bool dns)
{
    nft_chain(b, chain, "nat", NF_INET_LOCAL_OUT, PRIORITY_DSTNAT);
    accept_loopback(b, chain);
    nft_rule(b, chain);
    nft_match_daddr4(b, PROXY_ADDR, 4);
    nft_match_l4(b, IPPROTO_TCP);
    nft_match_dport(b, OS_PROXY_PORT);
    nft_accept(b);
    nft_rule_end(b);
    if (dns) {
        capture_synthetic(b, chain);
        accept_dns(b, chain, IPPROTO_TCP);
    }
    nft_rule(b, chain);
    redirect_tcp(b);
}

/* A transparent hand-over keeps the datagram's own destination, which a redirect would lose. */
static void capture_udp(struct nft_batch *b, bool dns)
{
    nft_chain(b, "datagrams", "filter", NF_INET_PRE_ROUTING, PRIORITY_MANGLE);
    accept_loopback(b, "datagrams");
    if (dns)
        accept_dns(b, "datagrams", IPPROTO_UDP);
    nft_rule(b, "datagrams");
    nft_match_l4(b, IPPROTO_UDP);
    nft_tproxy(b, OS_UDP_TRAP_PORT);
    nft_rule_end(b);
}

static int install_rules(bool udp, bool dns, struct os_error *err)
{
    cleanup_close int fd = netlink_socket(NETLINK_NETFILTER, err);
    if (fd < 0)
        return -1;
    struct nft_batch b;
    nft_begin(&b, TABLE);
    capture_tcp(&b, "connections", dns);
    if (udp)
        capture_udp(&b, dns);
    return nft_commit(fd, &b, err);
}

/* ip NULL = every address, both families when there is IPv6. Datagram sockets are made transparent. */
static int make_socket(const uint8_t *ip, uint16_t port, int type, bool ipv6, struct os_error *err)
{
    bool six = !ip && ipv6;
    cleanup_close int fd = socket(six ? AF_INET6 : AF_INET, type | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return os_error_sys(err, errno, "cannot make a socket in the sandbox network");
    int on = 1, off = 0;
    bool ok = setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0;
    if (six)
        ok = ok && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) == 0;
    if (type == SOCK_DGRAM) {
        ok = ok && setsockopt(fd, IPPROTO_IP, IP_TRANSPARENT, &on, sizeof(on)) == 0 &&
             setsockopt(fd, IPPROTO_IP, IP_RECVORIGDSTADDR, &on, sizeof(on)) == 0;
        if (six)
            ok = ok && setsockopt(fd, IPPROTO_IPV6, IPV6_RECVORIGDSTADDR, &on, sizeof(on)) == 0;
    }
    if (!ok)
        return os_error_sys(err, errno, "cannot set up a socket in the sandbox network");
    struct sockaddr_storage sa = {0};
    socklen_t n;
    if (six) {
        *(struct sockaddr_in6 *)&sa = (struct sockaddr_in6){
            .sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = IN6ADDR_ANY_INIT};
        n = sizeof(struct sockaddr_in6);
    } else {
        struct sockaddr_in *v4 = (struct sockaddr_in *)&sa;
        *v4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port)};
        if (ip)
            memcpy(&v4->sin_addr, ip, sizeof(v4->sin_addr));
        n = sizeof(*v4);
    }
    if (bind(fd, (struct sockaddr *)&sa, n) < 0 || (type == SOCK_STREAM && listen(fd, BACKLOG) < 0))
        return os_error_sys(err, errno, "cannot listen on port %u in the sandbox network", port);
    return os_steal_fd(fd);
}

/* Both or none. */
static bool make_dns_sockets(bool ipv6, struct monitor_sockets *out)
{
    struct os_error cleanup_error why = {0};
    cleanup_close int udp = make_socket(NULL, OS_DNS_PORT, SOCK_DGRAM, ipv6, &why);
    cleanup_close int tcp = udp < 0 ? -1 : make_socket(NULL, OS_DNS_PORT, SOCK_STREAM, ipv6, &why);
    if (tcp < 0) {
        os_log_warn(LOG_TARGET, "no name server in the sandbox: %s", os_error_text(&why));
        return false;
    }
    out->dns_udp = os_steal_fd(udp);
    out->dns_tcp = os_steal_fd(tcp);
    return true;
}

int monitor_network_setup(struct monitor_sockets *out, struct os_error *err)
{
    *out = (struct monitor_sockets){-1, -1, -1, -1, -1};
    if (unshare(CLONE_NEWNET) < 0)
        return os_error_sys(err, errno,
                            "Network namespace creation failed and proxy mode requires isolation. Ensure "
                            "CAP_NET_ADMIN and CAP_SYS_ADMIN are available. Error");
    bool ipv6 = false;
    if (configure_links(&ipv6, err) < 0)
        return os_error_wrap(err, "Network namespace creation failed and proxy mode requires isolation");
    cleanup_close int proxy = make_socket(PROXY_ADDR, OS_PROXY_PORT, SOCK_STREAM, ipv6, err);
    cleanup_close int trap = proxy < 0 ? -1 : make_socket(NULL, OS_TRAP_PORT, SOCK_STREAM, ipv6, err);
    if (trap < 0)
        return -1;
    bool dns = make_dns_sockets(ipv6, out);
    struct os_error cleanup_error why = {0};
    cleanup_close int udp = make_socket(NULL, OS_UDP_TRAP_PORT, SOCK_DGRAM, ipv6, &why);
    if (udp >= 0 && install_rules(true, dns, &why) == 0) {
        out->udp_trap = os_steal_fd(udp);
        out->trap = os_steal_fd(trap);
    } else if (install_rules(false, dns, &why) == 0) {
        os_log_warn(LOG_TARGET, "datagrams are refused without an event: the kernel has no tproxy");
        out->trap = os_steal_fd(trap);
    } else {
        /* Routing alone still isolates: direct connections fail, only without an event. */
        os_log_warn(LOG_TARGET, "direct connections are refused without an event: %s", os_error_text(&why));
    }
    out->proxy = os_steal_fd(proxy);
    return 0;
}
