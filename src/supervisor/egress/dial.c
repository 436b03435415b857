/* Connects to the vetted addresses in their order, all within one deadline: directly, or through the
 * operator's proxy. A policy change ends the attempt at once. */
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/clock.h"
#include "supervisor/egress/internal.h"

/* Completes a non-blocking connect; 0 or an errno. */
static int finish(int fd, int64_t end)
{
    for (;;) {
        int64_t left = end - os_clock_mono_ms();
        struct pollfd p = {.fd = fd, .events = POLLOUT};
        int n = poll(&p, 1, left > 0 ? (int)left : 0);
        if (n == 0)
            return ETIMEDOUT;
        if (n < 0 && errno == EINTR)
            continue;
        int error = 0;
        socklen_t len = sizeof(error);
        if (n < 0 || getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
            return errno;
        if (error)
            return error;
        struct sockaddr_storage peer;
        len = sizeof(peer);
        return getpeername(fd, (struct sockaddr *)&peer, &len) < 0 ? errno : 0;
    }
}

/* A peer that is gone without a word is found within minutes, whoever waits for it. */
static void set_options(int fd)
{
    const int on = 1, idle = OS_PROXY_KEEPALIVE_S, interval = OS_PROXY_KEEPALIVE_S / 4, probes = 4;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
}

static int dial_address(struct egress_conn *c, const struct net_addr *a, uint16_t port, int64_t end)
{
    struct sockaddr_storage ss;
    socklen_t len = net_addr_sockaddr(a, port, &ss);
    cleanup_close int fd = socket(a->family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return errno;
    set_options(fd);
    if (!conn_set_upstream(c, fd))
        return ECANCELED;
    int error = connect(fd, (struct sockaddr *)&ss, len) == 0 ? 0 : errno;
    if (error == EINPROGRESS)
        error = finish(fd, end);
    if (error) {
        conn_set_upstream(c, -1);
        return error;
    }
    stream_open(&c->upstream, os_steal_fd(fd));
    return 0;
}

int dial_addresses(struct egress_conn *c, const struct net_addrs *addrs, uint16_t port, int64_t end)
{
    int error = EHOSTUNREACH;
    for (size_t i = 0; i < addrs->n; i++) {
        int64_t now = os_clock_mono_ms(), share = (end - now) / (int64_t)(addrs->n - i);
        if (now >= end)
            break;
        error = dial_address(c, &addrs->v[i], port, now + share);
        if (!error || error == ECANCELED)
            break;
    }
    return error;
}

static int dial_direct(struct egress_conn *c, const struct net_addrs *addrs, struct os_error *err)
{
    int error = dial_addresses(c, addrs, c->port, os_clock_mono_ms() + OS_PROXY_CONNECT_MS);
    if (!error)
        return 0;
    os_error_sys(err, error, "cannot connect to %s:%u", c->host, c->port);
    err->code = OS_UNAVAILABLE;
    return -1;
}

/* This machine under its other names: no proxy elsewhere leads to it. */
static bool is_this_machine(const char *host, const struct net_addrs *addrs)
{
    if (destination_is_gateway_alias(host))
        return true;
    if (strcmp(host, "localhost"))
        return false;
    for (size_t i = 0; i < addrs->n; i++)
        if (!net_addr_is_loopback(&addrs->v[i]))
            return false;
    return true;
}

int dial_upstream(struct egress_conn *c, const struct net_addrs *addrs, struct os_error *err)
{
    const struct forward_proxy *proxy = c->egress->opt.upstream_proxy;
    struct net_addrs direct = {0};
    int rc;
    conn_dialling(c, true);
    if (proxy)
        forward_proxy_direct_addresses(proxy, addrs, c->port, &direct);
    if (!proxy || is_this_machine(c->host, addrs) || forward_proxy_bypasses(proxy, c->host, c->port))
        rc = dial_direct(c, addrs, err);
    else if (direct.n)
        rc = dial_direct(c, &direct, err);
    else
        rc = upstream_proxy_dial(c, proxy, addrs, err);
    conn_dialling(c, false);
    return rc;
}
