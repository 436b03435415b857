/* From an endpoint to an open connection: resolve, try the addresses in order, TLS, HTTP/2. */
#include <stdlib.h>
#include <string.h>

#include "core/limits.h"
#include "core/str.h"
#include "net/tls.h"
#include "rpc/client_internal.h"
#include "rpc/h2.h"

/* Owned by itself: a resolution on the thread pool may outlive its connection. */
struct attempt {
    uv_work_t work;
    uv_connect_t req;
    bool resolving, connecting;
    struct rpc_conn *conn; /* NULL = given up */
    char *host;
    int port;
    struct net_addrs addrs;
    size_t next;
    struct os_error err;
};

static void attempt_free(struct attempt *a)
{
    free(a->host);
    os_error_clear(&a->err);
    free(a);
}

static struct rpc_client *client_of(const struct rpc_conn *conn)
{
    return conn->owner;
}

/* Closes with the reason on the next turn of the loop, since the caller may be inside rpc_client_call(). */
static void fail_later(struct rpc_conn *conn, const char *why)
{
    os_error_set(&conn->doomed, OS_UNAVAILABLE, "%s", why);
    rpc_conn_timer(conn, 0);
}

/* --- open --- */

static void submit_waiting(struct rpc_conn *conn)
{
    struct rpc_call *call = conn->calls;
    while (call && call->next)
        call = call->next;
    for (struct rpc_call *before; call; call = before) {
        before = call->prev; /* newest first in the list */
        if (call->ending)
            rpc_call_detach(call);
        else if (rpc_client_submit(client_of(conn), call) < 0)
            rpc_call_end(call, false, OS_UNAVAILABLE, "the connection takes no more calls");
    }
}

static void on_open(struct rpc_conn *conn)
{
    if (conn->ssl) {
        const unsigned char *alpn;
        unsigned n;
        SSL_get0_alpn_selected(conn->ssl, &alpn, &n);
        if (n != 2 || memcmp(alpn, "h2", 2) != 0) {
            rpc_conn_close(conn, OS_UNAVAILABLE, "cannot connect to %s: the server does not offer HTTP/2",
                           client_of(conn)->endpoint.text);
            return;
        }
    }
    rpc_h2_start(conn);
    submit_waiting(conn);
}

static void start(struct rpc_conn *conn)
{
    struct rpc_client *c = client_of(conn);
    SSL *ssl = NULL;
    struct os_error err = {0};
    if (c->tls) {
        ssl = SSL_new(c->tls);
        const char *name = c->server_name ? c->server_name : c->endpoint.host;
        if (!ssl || net_tls_expect_name(ssl, name, &err) < 0) {
            rpc_conn_close(conn, OS_UNAVAILABLE, "cannot connect to %s: %s", c->endpoint.text,
                           err.code ? os_error_text(&err) : "out of memory");
            os_error_clear(&err);
            SSL_free(ssl);
            return;
        }
    }
    rpc_conn_start(conn, ssl);
}

/* --- addresses --- */

static void try_next(struct attempt *a);

static void on_renewed(struct rpc_conn *conn)
{
    try_next(conn->attempt);
}

static void connect_failed(struct attempt *a, int r)
{
    struct rpc_conn *conn = a->conn;
    os_error_set(&a->err, OS_UNAVAILABLE, "cannot connect to %s: %s", client_of(conn)->endpoint.text,
                 uv_strerror(r));
    if (a->next < a->addrs.n)
        rpc_conn_renew_socket(conn, on_renewed);
    else
        fail_later(conn, os_error_text(&a->err));
}

static void on_connect(uv_connect_t *req, int status)
{
    struct attempt *a = req->data;
    struct rpc_conn *conn = a->conn;
    if (!conn) {
        attempt_free(a);
        return;
    }
    a->connecting = false;
    if (status < 0) {
        connect_failed(a, status);
        return;
    }
    conn->attempt = NULL;
    attempt_free(a);
    start(conn);
}

static void try_next(struct attempt *a)
{
    struct sockaddr_storage to;
    net_addr_sockaddr(&a->addrs.v[a->next++], (uint16_t)a->port, &to);
    a->req.data = a;
    int r = uv_tcp_connect(&a->req, &a->conn->sock.tcp, (struct sockaddr *)&to, on_connect);
    if (r < 0)
        connect_failed(a, r);
    else
        a->connecting = true;
}

static void resolve_work(uv_work_t *req)
{
    struct attempt *a = req->data;
    net_dns_resolve(a->host, OS_CONNECT_TIMEOUT_MS, &a->addrs, &a->err);
}

static void resolve_done(uv_work_t *req, int status)
{
    struct attempt *a = req->data;
    a->resolving = false;
    if (!a->conn) {
        attempt_free(a);
    } else if (!a->addrs.n) {
        rpc_conn_close(a->conn, OS_UNAVAILABLE, "cannot connect to %s: %s", client_of(a->conn)->endpoint.text,
                       os_error_text(&a->err));
    } else {
        try_next(a);
    }
}

static void start_tcp(struct rpc_client *c, struct attempt *a)
{
    rpc_conn_init_socket(a->conn, false);
    a->port = c->endpoint.port;
    a->host = os_strdup(c->endpoint.host);
    struct net_addr literal;
    if (net_addr_parse(a->host, &literal) == 0) {
        net_addrs_add(&a->addrs, &literal);
        try_next(a);
        return;
    }
    a->work.data = a;
    if (uv_queue_work(c->turn.loop, &a->work, resolve_work, resolve_done) == 0)
        a->resolving = true;
    else
        fail_later(a->conn, "cannot resolve the host name: no worker thread");
}

/* --- the connection's callbacks --- */

static void on_timer(struct rpc_conn *conn)
{
    if (conn->doomed.code != OS_OK)
        rpc_conn_close(conn, OS_UNAVAILABLE, "%s", os_error_text(&conn->doomed));
    else if (!conn->opened)
        rpc_conn_close(conn, OS_UNAVAILABLE, "cannot connect to %s: no answer in %d s",
                       client_of(conn)->endpoint.text, client_of(conn)->connect_ms / 1000);
    else
        rpc_h2_on_timer(conn);
}

static void give_up(struct attempt *a)
{
    a->conn = NULL;
    if (a->resolving)
        uv_cancel((uv_req_t *)&a->work);
    else if (!a->connecting)
        attempt_free(a);
}

static void on_close(struct rpc_conn *conn, const struct os_error *why)
{
    struct rpc_client *c = client_of(conn);
    if (conn->attempt)
        give_up(conn->attempt);
    conn->attempt = NULL;
    if (conn->prev)
        conn->prev->next = conn->next;
    else
        c->conns = conn->next;
    if (conn->next)
        conn->next->prev = conn->prev;
    if (c->conn == conn)
        c->conn = NULL;
    rpc_h2_drop(conn, why);
    if (!c->conn && !c->freed && c->on_disconnect)
        c->on_disconnect(c->ctx, why);
}

struct rpc_conn *rpc_client_connect(struct rpc_client *c)
{
    static const struct rpc_conn_ops ops = {.on_open = on_open,
                                            .on_data = rpc_h2_feed,
                                            .fill = rpc_h2_fill,
                                            .on_flushed = rpc_h2_flushed,
                                            .on_timer = on_timer,
                                            .move = rpc_client_move,
                                            .on_close = on_close};
    struct rpc_conn *conn = rpc_conn_new(&c->turn, &ops, c, false);
    conn->next = c->conns;
    if (c->conns)
        c->conns->prev = conn;
    c->conns = conn;
    rpc_conn_timer(conn, (unsigned)c->connect_ms);
    struct attempt *a = os_calloc(1, sizeof(*a));
    conn->attempt = a;
    a->conn = conn;
    if (c->endpoint.unix_socket) {
        rpc_conn_init_socket(conn, true);
        a->req.data = a;
        a->connecting = true;
        uv_pipe_connect(&a->req, &conn->sock.pipe, c->endpoint.path, on_connect);
    } else {
        start_tcp(c, a);
    }
    return conn;
}
