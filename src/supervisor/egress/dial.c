/* Connects to the vetted addresses in their order, all within one deadline. */
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
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

static int dial_one(struct egress_conn *c, const struct net_addr *a, int64_t end)
{
    struct sockaddr_storage ss;
    socklen_t len = net_addr_sockaddr(a, c->port, &ss);
    cleanup_close int fd = socket(a->family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return errno;
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
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

int dial_upstream(struct egress_conn *c, const struct net_addrs *addrs, struct os_error *err)
{
    int64_t end = os_clock_mono_ms() + OS_PROXY_CONNECT_MS;
    int error = EHOSTUNREACH;
    for (size_t i = 0; i < addrs->n; i++) {
        int64_t now = os_clock_mono_ms(), share = (end - now) / (int64_t)(addrs->n - i);
        if (now >= end)
            break;
        error = dial_one(c, &addrs->v[i], now + share);
        if (!error)
            return 0;
        if (error == ECANCELED)
            break;
    }
    os_error_sys(err, error, "cannot connect to %s:%u", c->host, c->port);
    err->code = OS_UNAVAILABLE;
    return -1;
}
