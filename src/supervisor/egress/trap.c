/* Direct connections and datagrams: the agent's namespace has no way out, a redirect leads them here. They
 * are identified, logged and refused (spec/supervisor.md 4.2). */
#include <arpa/inet.h>
#include <linux/netfilter_ipv4.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "core/log.h"
#include "supervisor/egress/internal.h"

#define ORIGINAL_DST_V6 80 /* IP6T_SO_ORIGINAL_DST */

/* Sets host and port of the connection from an address. */
static void set_target(struct egress_conn *c, const struct sockaddr_storage *ss)
{
    struct net_addr a = {.family = ss->ss_family};
    char text[INET6_ADDRSTRLEN];
    if (ss->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)ss;
        a.v6 = in6->sin6_addr;
        c->port = ntohs(in6->sin6_port);
        if (IN6_IS_ADDR_V4MAPPED(&a.v6)) {
            uint8_t v4[4];
            memcpy(v4, a.v6.s6_addr + 12, sizeof(v4));
            a.family = AF_INET;
            memcpy(&a.v4, v4, sizeof(v4));
        }
    } else {
        const struct sockaddr_in *in = (const struct sockaddr_in *)ss;
        a.v4 = in->sin_addr;
        c->port = ntohs(in->sin_port);
    }
    c->host = os_arena_strdup(&c->arena, net_addr_text(&a, text));
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
    struct os_error err cleanup_error = {0};
    struct sockaddr_storage to = original_target(c);
    set_target(c, &to);
    if (!decide_identify(c, &to, &err))
        os_log_debug("egress", "direct connection: %s", os_error_text(&err));
    event_bypass(c, "tcp");
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
