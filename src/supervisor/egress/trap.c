/* Direct connections and datagrams: the agent's namespace has no way out, a redirect leads them here. A
 * connection goes through the stages of CONNECT, with the name that its made-up address stands for, or with
 * the address it was for (DESIGN 11); datagrams are logged and dropped (spec/supervisor.md 4.2). */
#include <arpa/inet.h>
#include <linux/netfilter_ipv4.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "supervisor/egress/internal.h"

#define ORIGINAL_DST_V6 80 /* IP6T_SO_ORIGINAL_DST */

static uint16_t split_address(const struct sockaddr_storage *ss, struct net_addr *a)
{
    *a = (struct net_addr){.family = ss->ss_family};
    if (ss->ss_family != AF_INET6) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)ss;
        a->v4 = in->sin_addr;
        return ntohs(in->sin_port);
    }
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)ss;
    a->v6 = in6->sin6_addr;
    if (IN6_IS_ADDR_V4MAPPED(&a->v6)) {
        uint8_t v4[4];
        memcpy(v4, a->v6.s6_addr + 12, sizeof(v4));
        a->family = AF_INET;
        memcpy(&a->v4, v4, sizeof(v4));
    }
    return ntohs(in6->sin6_port);
}

bool conn_set_target(struct egress_conn *c, const char *host, uint16_t port)
{
    char name[OS_LIMIT_HOST_NAME + 1];
    struct net_addr a;
    enum names_found found = NAMES_OUTSIDE;
    if (net_addr_parse(host, &a) == 0)
        found = names_find(c->egress->names, &a, name);
    c->named = found == NAMES_FOUND;
    c->host = os_arena_strdup(&c->arena, c->named ? name : host);
    c->port = port;
    return found != NAMES_UNKNOWN;
}

/* As conn_set_target, from an address. */
static bool set_target(struct egress_conn *c, const struct sockaddr_storage *ss)
{
    struct net_addr a;
    char text[INET6_ADDRSTRLEN];
    uint16_t port = split_address(ss, &a);
    return conn_set_target(c, net_addr_text(&a, text), port);
}

/* Where the agent wanted to go; the local address when the kernel does not know. */
static struct sockaddr_storage original_target(const struct egress_conn *c)
{
    struct sockaddr_storage to = {0};
    socklen_t len = sizeof(to);
    if (getsockopt(c->client.fd, SOL_IP, SO_ORIGINAL_DST, &to, &len) == 0)
        return to;
    len = sizeof(to);
    if (getsockopt(c->client.fd, SOL_IPV6, ORIGINAL_DST_V6, &to, &len) == 0)
        return to;
    return c->local;
}

void trap_serve(struct egress_conn *c)
{
    c->captured = true;
    c->local = original_target(c);
    if (set_target(c, &c->local)) {
        tunnel_serve_target(c);
        return;
    }
    struct os_error err cleanup_error = {0};
    decide_identify(c, &c->local, &err);
    const struct conn_event ev = {"Open", AUDIT_SEV_MEDIUM, AUDIT_DENIED, "transparent-tcp",
                                  "transparent_tcp_mapping_missing"};
    event_conn(c, &ev, "TRANSPARENT_TCP denied %s:%u", c->host, c->port);
    stream_reset(&c->client);
}

/* The destination of a received datagram from its control messages; false when it is not told. */
static bool datagram_target(struct msghdr *m, struct sockaddr_storage *to)
{
    for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h; h = CMSG_NXTHDR(m, h)) {
        bool v4 = h->cmsg_level == SOL_IP && h->cmsg_type == IP_ORIGDSTADDR;
        bool v6 = h->cmsg_level == SOL_IPV6 && h->cmsg_type == IPV6_ORIGDSTADDR;
        if (!v4 && !v6)
            continue;
        memcpy(to, CMSG_DATA(h), v4 ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6));
        return true;
    }
    return false;
}

void trap_datagram(struct egress *e)
{
    struct sockaddr_storage from = {0}, to = {0};
    char byte;
    union {
        struct cmsghdr align;
        char room[256];
    } control;
    struct iovec iov = {.iov_base = &byte, .iov_len = 1};
    struct msghdr m = {.msg_name = &from,
                       .msg_namelen = sizeof(from),
                       .msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = &control,
                       .msg_controllen = sizeof(control)};
    if (recvmsg(e->opt.udp_trap, &m, MSG_DONTWAIT | MSG_TRUNC) < 0)
        return;
    socklen_t len = sizeof(to);
    if (!datagram_target(&m, &to))
        getsockname(e->opt.udp_trap, (struct sockaddr *)&to, &len);
    struct egress_conn c = {.egress = e, .agent = from};
    set_target(&c, &to);
    event_bypass(&c, "udp");
    os_arena_free(&c.arena);
}
