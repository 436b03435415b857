/* The server object: handlers, listeners, shutdown. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/limits.h"
#include "core/str.h"
#include "rpc/h2.h"
#include "rpc/server_internal.h"

#define LISTEN_BACKLOG 1024 /* spec/gateway.md 2 */

static void on_idle(void *arg)
{
    rpc_server_settle(arg);
}

struct rpc_server *rpc_server_new(const struct rpc_server_options *opt)
{
    struct rpc_server *s = os_calloc(1, sizeof(*s));
    s->opt = *opt;
    if (s->opt.tls)
        SSL_CTX_up_ref(s->opt.tls);
    rpc_turn_init(&s->turn, opt->loop);
    unsigned workers = opt->workers < 1 ? 1 : opt->workers > 64 ? 64 : opt->workers;
    s->pool = rpc_pool_new(opt->loop, workers, on_idle, s);
    return s;
}

void rpc_server_unary(struct rpc_server *s, enum rpc_method_id id, rpc_unary_fn *fn, void *ctx)
{
    s->handlers[id] = (struct rpc_handler){.unary = fn, .ctx = ctx};
}

void rpc_server_stream(struct rpc_server *s, enum rpc_method_id id, rpc_stream_fn *fn, void *ctx)
{
    s->handlers[id] = (struct rpc_handler){.stream = fn, .ctx = ctx};
}

void rpc_server_set_tls(struct rpc_server *s, SSL_CTX *tls)
{
    if (tls)
        SSL_CTX_up_ref(tls);
    SSL_CTX_free(s->opt.tls);
    s->opt.tls = tls;
}

void rpc_server_post(struct rpc_server *s, void (*fn)(void *), void *arg)
{
    rpc_pool_post(s->pool, fn, arg);
}

void rpc_server_work(struct rpc_server *s, void (*work)(void *), void (*done)(void *), void *arg)
{
    rpc_pool_work(s->pool, work, done, arg, 0);
}

/* --- listeners --- */

static void on_listener_closed(uv_handle_t *h)
{
    struct rpc_listener *l = h->data;
    free(l->path);
    free(l);
}

static void listener_close(struct rpc_listener *l)
{
    if (l->path)
        unlink(l->path);
    uv_close(&l->sock.handle, on_listener_closed);
}

static void close_listeners(struct rpc_server *s)
{
    while (s->listeners) {
        struct rpc_listener *l = s->listeners;
        s->listeners = l->next;
        listener_close(l);
    }
}

static struct rpc_listener *listener_new(struct rpc_server *s)
{
    struct rpc_listener *l = os_calloc(1, sizeof(*l));
    l->server = s;
    l->sock.handle.data = l;
    return l;
}

/* Starts listening; on failure closes the listener and fills *err. */
static int listener_start(struct rpc_listener *l, const char *name, int bound, struct os_error *err)
{
    int r = bound < 0 ? bound : uv_listen(&l->sock.stream, LISTEN_BACKLOG, rpc_server_accept);
    if (r < 0) {
        os_error_set(err, r == UV_EADDRINUSE ? OS_ALREADY_EXISTS : OS_UNAVAILABLE, "failed to bind to %s: %s",
                     name, uv_strerror(r));
        uv_close(&l->sock.handle, on_listener_closed);
        return -1;
    }
    l->next = l->server->listeners;
    l->server->listeners = l;
    return 0;
}

int rpc_server_listen(struct rpc_server *s, const char *ip, int port, struct os_error *err)
{
    struct sockaddr_storage a = {0};
    bool v6 = strchr(ip, ':') != NULL;
    if (port < 0 || port > 65535 ||
        (v6 ? uv_ip6_addr(ip, port, (struct sockaddr_in6 *)&a)
            : uv_ip4_addr(ip, port, (struct sockaddr_in *)&a)) != 0)
        return os_error_set(err, OS_INVALID_ARGUMENT,
                            "failed to bind to %s port %d: not an IP address and port", ip, port);
    struct rpc_listener *l = listener_new(s);
    uv_tcp_init(s->turn.loop, &l->sock.tcp);
    cleanup_free char *name = os_asprintf(v6 ? "[%s]:%d" : "%s:%d", ip, port);
    int bound = uv_tcp_bind(&l->sock.tcp, (struct sockaddr *)&a, 0);
    if (listener_start(l, name, bound, err) < 0)
        return -1;
    int n = sizeof(a);
    uv_tcp_getsockname(&l->sock.tcp, (struct sockaddr *)&a, &n);
    return ntohs(v6 ? ((struct sockaddr_in6 *)&a)->sin6_port : ((struct sockaddr_in *)&a)->sin_port);
}

/* A socket file that nobody listens on is left from an earlier run. Anything else stays. */
static int remove_stale(const char *path, struct os_error *err)
{
    struct stat st;
    if (lstat(path, &st) < 0)
        return 0;
    if (!S_ISSOCK(st.st_mode))
        return os_error_set(err, OS_ALREADY_EXISTS,
                            "failed to bind to %s: the file exists and is not a socket", path);
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    memcpy(a.sun_path, path, strlen(path));
    cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && (connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0 || errno == EAGAIN))
        return os_error_set(err, OS_ALREADY_EXISTS, "failed to bind to %s: another process listens there",
                            path);
    unlink(path);
    return 0;
}

int rpc_server_listen_unix(struct rpc_server *s, const char *path, struct os_error *err)
{
    if (strlen(path) >= sizeof(((struct sockaddr_un *)NULL)->sun_path))
        return os_error_set(err, OS_INVALID_ARGUMENT,
                            "failed to bind to %s: the path is too long for a socket", path);
    if (remove_stale(path, err) < 0)
        return -1;
    struct rpc_listener *l = listener_new(s);
    uv_pipe_init(s->turn.loop, &l->sock.pipe, 0);
    int bound = uv_pipe_bind(&l->sock.pipe, path);
    if (bound == 0 && chmod(path, 0600) < 0) /* nobody can connect before it listens */
        bound = -errno;
    if (listener_start(l, path, bound, err) < 0)
        return -1;
    l->path = os_strdup(path);
    return 0;
}

/* --- the end --- */

static void on_grace_closed(uv_handle_t *h)
{
    free(h);
}

static void on_told(uv_timer_t *t)
{
    struct rpc_server *s = t->data;
    s->grace = NULL;
    uv_close((uv_handle_t *)t, on_grace_closed);
    if (s->on_shutdown)
        s->on_shutdown(s->shutdown_arg);
}

void rpc_server_settle(struct rpc_server *s)
{
    if (!s->shutting_down || s->shutdown_told || s->conns || rpc_pool_busy(s->pool))
        return;
    s->shutdown_told = true;
    uv_timer_start(s->grace, on_told, 0, 0); /* keeps a loop going that has nothing else left */
}

/* Whoever is still here is told to come back elsewhere or later. */
static void close_conns(struct rpc_server *s)
{
    while (s->conns) {
        struct rpc_conn *conn = s->conns;
        if (conn->h2)
            rpc_h2_goaway_final(conn);
        for (struct rpc_call *c = conn->calls; c; c = c->next)
            rpc_call_finish(c, OS_UNAVAILABLE, "the server is shutting down");
        rpc_conn_flush(conn);
        rpc_conn_close(conn, OS_UNAVAILABLE, "the server is shutting down");
    }
}

static void on_grace(uv_timer_t *t)
{
    close_conns(t->data);
}

void rpc_server_shutdown(struct rpc_server *s, int grace_ms, void (*done)(void *), void *arg)
{
    if (s->shutting_down)
        return;
    s->shutting_down = true;
    s->on_shutdown = done;
    s->shutdown_arg = arg;
    close_listeners(s);
    s->grace = os_calloc(1, sizeof(*s->grace));
    uv_timer_init(s->turn.loop, s->grace);
    s->grace->data = s;
    uv_timer_start(s->grace, on_grace, grace_ms > 0 ? (uint64_t)grace_ms : 0, 0);
    for (struct rpc_conn *conn = s->conns, *next; conn; conn = next) {
        next = conn->next;
        rpc_server_drain(conn);
    }
    rpc_server_settle(s);
}

static void free_memory(void *owner)
{
    struct rpc_server *s = owner;
    SSL_CTX_free(s->opt.tls);
    free(s);
}

void rpc_server_free(struct rpc_server *s)
{
    if (!s)
        return;
    s->shutdown_told = true;
    close_listeners(s);
    close_conns(s);
    if (s->grace)
        uv_close((uv_handle_t *)s->grace, on_grace_closed);
    rpc_pool_free(s->pool);
    rpc_turn_close(&s->turn, free_memory, s);
}
