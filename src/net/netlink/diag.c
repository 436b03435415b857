/* sock_diag look-up of one connection by its four addresses. */
#include "net/netlink/diag.h"

#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

#include "net/netlink/message.h"

struct end {
    int family;
    uint16_t port; /* network order */
    uint8_t addr[16];
};

static int normalise(const struct sockaddr_storage *sa, struct end *out)
{
    memset(out, 0, sizeof(*out));
    if (sa->ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)sa;
        out->family = AF_INET;
        out->port = v4->sin_port;
        memcpy(out->addr, &v4->sin_addr, 4);
        return 0;
    }
    if (sa->ss_family != AF_INET6)
        return -1;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)sa;
    out->port = v6->sin6_port;
    if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) {
        out->family = AF_INET;
        memcpy(out->addr, v6->sin6_addr.s6_addr + 12, 4);
    } else {
        out->family = AF_INET6;
        memcpy(out->addr, &v6->sin6_addr, 16);
    }
    return 0;
}

static int parse(const uint8_t *data, size_t n, uint32_t seq, struct netlink_tcp *out, struct os_error *err)
{
    struct nlmsghdr h;
    if (n < sizeof(h))
        return os_error_set(err, OS_INTERNAL, "the kernel's answer about a socket is cut short");
    memcpy(&h, data, sizeof(h));
    if (h.nlmsg_len < NLMSG_HDRLEN || h.nlmsg_len > n || h.nlmsg_seq != seq)
        return os_error_set(err, OS_INTERNAL, "the kernel's answer about a socket is malformed");
    if (h.nlmsg_type == NLMSG_ERROR) {
        struct nlmsgerr e;
        if (h.nlmsg_len < NLMSG_LENGTH(sizeof(e)))
            return os_error_set(err, OS_INTERNAL, "the kernel's answer about a socket is cut short");
        memcpy(&e, data + NLMSG_HDRLEN, sizeof(e));
        if (e.error == -ENOENT)
            return os_error_set(err, OS_NOT_FOUND, "no such connection");
        return os_error_sys(err, -e.error, "the kernel refuses to look a socket up (sock_diag)");
    }
    struct inet_diag_msg d;
    if (h.nlmsg_type != SOCK_DIAG_BY_FAMILY || h.nlmsg_len < NLMSG_LENGTH(sizeof(d)))
        return os_error_set(err, OS_INTERNAL, "the kernel's answer about a socket is of another type");
    memcpy(&d, data + NLMSG_HDRLEN, sizeof(d));
    /* An exact look-up falls back to a listener on the local port, and a socket that is still connecting may
     * take over the ports of one that is gone: neither is the connection. */
    if (d.idiag_state == TCP_LISTEN || d.idiag_state == TCP_SYN_SENT || d.idiag_inode == 0)
        return os_error_set(err, OS_NOT_FOUND, "no such connection");
    *out = (struct netlink_tcp){.inode = d.idiag_inode, .uid = d.idiag_uid};
    return 0;
}

int netlink_tcp_lookup(int fd, const struct sockaddr_storage *local, const struct sockaddr_storage *remote,
                       struct netlink_tcp *out, struct os_error *err)
{
    struct end l, r;
    if (normalise(local, &l) < 0 || normalise(remote, &r) < 0 || l.family != r.family)
        return os_error_set(err, OS_INVALID_ARGUMENT, "not a pair of IP addresses of one family");
    struct inet_diag_req_v2 req = {
        .sdiag_family = (uint8_t)l.family,
        .sdiag_protocol = IPPROTO_TCP,
        .idiag_states = ~0u,
        .id = {.idiag_sport = l.port,
               .idiag_dport = r.port,
               .idiag_cookie = {INET_DIAG_NOCOOKIE, INET_DIAG_NOCOOKIE}},
    };
    memcpy(req.id.idiag_src, l.addr, sizeof(req.id.idiag_src));
    memcpy(req.id.idiag_dst, r.addr, sizeof(req.id.idiag_dst));
    struct netlink_message m = {0};
    netlink_begin(&m, SOCK_DIAG_BY_FAMILY, 0, &req, sizeof(req));
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    if (sendto(fd, m.data, m.len, 0, (struct sockaddr *)&kernel, sizeof(kernel)) != (ssize_t)m.len)
        return os_error_sys(err, errno, "cannot ask the kernel about a socket (sock_diag)");
    _Alignas(4) uint8_t reply[4096];
    ssize_t n;
    do
        n = recv(fd, reply, sizeof(reply), 0);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return os_error_sys(err, errno, "the kernel does not answer about a socket (sock_diag)");
    return parse(reply, (size_t)n, m.seq, out, err);
}
