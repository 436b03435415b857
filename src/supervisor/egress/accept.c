/* Listeners, one thread per connection, and everything that ends connections from outside: reload, stop, and
 * the bound on how many there are. */
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/log.h"
#include "core/str.h"
#include "supervisor/egress/internal.h"

#define LOG "egress"

/* --- one connection --- */

static void link_conn(struct egress *e, struct egress_conn *c)
{
    c->link = &e->conns;
    c->next = e->conns;
    if (c->next)
        c->next->link = &c->next;
    e->conns = c;
    e->live++;
}

static void wake(struct egress *e)
{
    if (eventfd_write(e->wake, 1) < 0)
        os_log_warn(LOG, "cannot wake the accept thread");
}

/* Takes the connection off the list and closes it. The last access to *e is under its lock. */
static void end_conn(struct egress_conn *c)
{
    struct egress *e = c->egress;
    pthread_mutex_lock(&e->lock);
    c->client_fd = c->upstream_fd = -1;
    if (c->reload_fd >= 0)
        close(c->reload_fd);
    *c->link = c->next;
    if (c->next)
        c->next->link = c->link;
    pthread_mutex_unlock(&e->lock);

    stream_free(&c->client);
    stream_free(&c->upstream);
    if (c->client.fd >= 0)
        close(c->client.fd);
    if (c->upstream.fd >= 0)
        close(c->upstream.fd);
    policy_engine_unref(c->engine);
    os_arena_free(&c->arena);
    free(c);

    pthread_mutex_lock(&e->lock);
    if (e->live-- == OS_PROXY_CONNECTIONS)
        wake(e);
    pthread_cond_signal(&e->drained);
    pthread_mutex_unlock(&e->lock);
}

static void *conn_main(void *arg)
{
    struct egress_conn *c = arg;
    c->serve(c);
    end_conn(c);
    return NULL;
}

bool conn_set_upstream(struct egress_conn *c, int fd)
{
    pthread_mutex_lock(&c->egress->lock);
    bool going_on = c->client_fd >= 0 && !c->egress->stopping;
    c->upstream_fd = going_on ? fd : -1; /* refused, the caller closes it */
    pthread_mutex_unlock(&c->egress->lock);
    return going_on;
}

bool conn_stale(const struct egress_conn *c)
{
    return policy_slot_generation(c->egress->opt.policy) != c->generation;
}

void conn_follow_policy(struct egress_conn *c)
{
    pthread_mutex_lock(&c->egress->lock);
    c->cut_on_reload = true;
    pthread_mutex_unlock(&c->egress->lock);
}

void conn_announce_reload(struct egress_conn *c, bool yes)
{
    int fd = yes ? eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) : -1;
    pthread_mutex_lock(&c->egress->lock);
    int old = c->reload_fd;
    c->reload_fd = fd;
    pthread_mutex_unlock(&c->egress->lock);
    if (old >= 0)
        close(old);
    /* What changed before is seen by the next look at the generation, not by an announcement. */
    if (fd >= 0 && conn_stale(c))
        eventfd_write(fd, 1);
}

void conn_cut_gently(struct egress_conn *c)
{
    pthread_mutex_lock(&c->egress->lock);
    c->cut_gently = true;
    pthread_mutex_unlock(&c->egress->lock);
}

static void cut(const struct egress_conn *c)
{
    if (c->client_fd >= 0)
        shutdown(c->client_fd, c->cut_gently ? SHUT_RD : SHUT_RDWR);
    if (c->upstream_fd >= 0)
        shutdown(c->upstream_fd, SHUT_RDWR);
}

/* Policy watcher: ends what was admitted under an older policy. */
void egress_cut(void *egress)
{
    struct egress *e = egress;
    uint64_t generation = policy_slot_generation(e->opt.policy);
    pthread_mutex_lock(&e->lock);
    for (struct egress_conn *c = e->conns; c; c = c->next)
        if (c->reload_fd >= 0)
            eventfd_write(c->reload_fd, 1);
        else if (c->cut_on_reload && c->generation != generation)
            cut(c);
    pthread_mutex_unlock(&e->lock);
    capacity_wake(&e->messages);
}

/* --- accepting --- */

static int start_thread(struct egress_conn *c)
{
    pthread_attr_t attr;
    pthread_t thread;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, OS_PROXY_STACK);
    int rc = pthread_create(&thread, &attr, conn_main, c);
    pthread_attr_destroy(&attr);
    return rc;
}

static void start_conn(struct egress *e, int fd, const struct sockaddr_storage *agent,
                       void (*serve)(struct egress_conn *c))
{
    struct egress_conn *c = os_calloc(1, sizeof(*c));
    int on = 1;
    socklen_t len = sizeof(c->local);
    c->egress = e;
    c->serve = serve;
    c->agent = *agent;
    c->client_fd = fd;
    c->upstream_fd = c->reload_fd = -1;
    stream_open(&c->client, fd);
    c->upstream.fd = -1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    getsockname(fd, (struct sockaddr *)&c->local, &len);
    pthread_mutex_lock(&e->lock);
    link_conn(e, c);
    pthread_mutex_unlock(&e->lock);
    int rc = start_thread(c);
    if (rc) {
        os_log_error(LOG, "cannot start a connection thread: error %d; connection closed", rc);
        end_conn(c);
    }
}

/* What to do about a failed accept (spec/proxy.md 1). */
enum accept_trouble { TROUBLE_NONE, TROUBLE_SHORT, TROUBLE_BACKOFF, TROUBLE_FATAL };

static enum accept_trouble classify(int error)
{
    switch (error) {
    case EAGAIN:
    case EINTR:
    case ECONNABORTED:
        return TROUBLE_NONE;
    case EBADF:
    case EINVAL:
    case ENOTSOCK:
        return TROUBLE_FATAL;
    case ECONNRESET:
    case ENETDOWN:
    case EPROTO:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case EOPNOTSUPP:
    case ENETUNREACH:
    case ENONET:
    case ETIMEDOUT:
    case EPERM:
        return TROUBLE_SHORT;
    default:
        return TROUBLE_BACKOFF;
    }
}

struct listener {
    int fd;
    void (*serve)(struct egress_conn *c);
    int failures;
};

/* Accepts one connection. False when the listener is dead. */
static bool accept_one(struct egress *e, struct listener *l)
{
    struct sockaddr_storage agent = {0};
    socklen_t len = sizeof(agent);
    int fd = accept4(l->fd, (struct sockaddr *)&agent, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0) {
        l->failures = 0;
        start_conn(e, fd, &agent, l->serve);
        return true;
    }
    int error = errno;
    enum accept_trouble t = classify(error);
    if (t == TROUBLE_NONE)
        return true;
    errno = error;
    os_log_warn(LOG, "accept failed: %m");
    if (t == TROUBLE_FATAL)
        return false;
    int ms = 100;
    if (t == TROUBLE_BACKOFF) {
        ms <<= l->failures < 6 ? l->failures : 6;
        l->failures++;
    }
    struct pollfd p = {.fd = e->wake, .events = POLLIN};
    poll(&p, 1, ms < 5000 ? ms : 5000);
    return true;
}

static bool full(struct egress *e, bool *stopping)
{
    pthread_mutex_lock(&e->lock);
    bool yes = e->live >= OS_PROXY_CONNECTIONS;
    *stopping = e->stopping;
    pthread_mutex_unlock(&e->lock);
    return yes;
}

void *egress_accept_loop(void *egress)
{
    struct egress *e = egress;
    struct listener listeners[] = {{.fd = e->opt.proxy_listener, .serve = proxy_serve},
                                   {.fd = e->opt.trap_listener, .serve = trap_serve},
                                   {.fd = e->opt.dns_tcp, .serve = resolver_serve}};
    int udp = e->opt.udp_trap, dns = e->opt.dns_udp;
    for (;;) {
        bool stopping, is_full = full(e, &stopping);
        if (stopping)
            return NULL;
        struct pollfd p[] = {{.fd = e->wake, .events = POLLIN},
                             {.fd = is_full ? -1 : listeners[0].fd, .events = POLLIN},
                             {.fd = is_full ? -1 : listeners[1].fd, .events = POLLIN},
                             {.fd = is_full ? -1 : listeners[2].fd, .events = POLLIN},
                             {.fd = udp, .events = POLLIN},
                             {.fd = dns, .events = POLLIN}};
        if (poll(p, OS_ARRAY_LEN(p), -1) < 0)
            continue;
        eventfd_t count;
        if (p[0].revents)
            eventfd_read(e->wake, &count);
        for (size_t i = 0; i < OS_ARRAY_LEN(listeners); i++)
            if (p[i + 1].revents && !accept_one(e, &listeners[i]))
                listeners[i].fd = -1;
        if (p[4].revents & POLLIN)
            trap_datagram(e);
        else if (p[4].revents)
            udp = -1;
        if (p[5].revents & POLLIN)
            resolver_datagrams(e);
        else if (p[5].revents)
            dns = -1;
    }
}
