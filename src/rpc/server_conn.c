/* An accepted connection: TLS, HTTP/2 or HTTP/1.1 by its first bytes, and the one answer of the latter. */
#include <string.h>

#include "core/id.h"
#include "core/limits.h"
#include "core/log.h"
#include "rpc/h2.h"
#include "rpc/http1.h"
#include "rpc/server_internal.h"

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

static void on_open(struct rpc_conn *conn)
{
    if (!conn->ssl)
        return;
    const unsigned char *alpn;
    unsigned n;
    SSL_get0_alpn_selected(conn->ssl, &alpn, &n);
    if (n == 2 && memcmp(alpn, "h2", 2) == 0)
        rpc_h2_start(conn);
}

/* --- HTTP/1.1: one request, one answer, close --- */

static const char *reason(int status)
{
    switch (status) {
    case 200:
        return "OK";
    case 400:
        return "Bad Request";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 414:
        return "URI Too Long";
    case 415:
        return "Unsupported Media Type";
    case 431:
        return "Request Header Fields Too Large";
    case 503:
        return "Service Unavailable";
    case 505:
        return "HTTP Version Not Supported";
    default:
        return status < 400 ? "OK" : "Error";
    }
}

static void answer_http1(struct rpc_conn *conn, const struct rpc_http1_head *head, int status)
{
    struct rpc_server *s = conn->owner;
    struct rpc_http_response resp = {.status = status};
    if (status == 200 && head->grpc) {
        resp.status = 415; /* gRPC needs HTTP/2 */
    } else if (status == 200) {
        struct rpc_http_request req = {.method = head->method, .path = head->path, .host = head->host};
        resp.status = 404;
        if (s->opt.http)
            s->opt.http(s->opt.ctx, &req, &resp);
    }
    char id[OS_UUID_LEN];
    size_t n = resp.body ? strlen(resp.body) : 0;
    os_buf_addf(&conn->answer, "HTTP/1.1 %d %s\r\n", resp.status, reason(resp.status));
    if (resp.content_type)
        os_buf_addf(&conn->answer, "content-type: %s\r\n", resp.content_type);
    os_buf_addf(&conn->answer, "content-length: %zu\r\nx-request-id: %s\r\nconnection: close\r\n\r\n", n,
                head->request_id ? head->request_id : os_uuid(id));
    if (n && !(head->method && strcmp(head->method, "HEAD") == 0))
        os_buf_add(&conn->answer, resp.body, n);
    free(resp.body);
    conn->phase = RPC_LINGER;
    rpc_conn_timer(conn, OS_H2_LINGER_MS);
    rpc_turn_dirty(conn->turn, conn);
}

static void feed_http1(struct rpc_conn *conn, const uint8_t *data, size_t n)
{
    if (conn->phase == RPC_LINGER)
        return; /* a body that nobody wants */
    os_buf_add(&conn->head, data, n);
    struct rpc_http1_head head;
    int status = rpc_http1_parse(conn->head.data, conn->head.len, &head);
    if (status)
        answer_http1(conn, &head, status);
}

/* --- protocol detection --- */

static void on_data(struct rpc_conn *conn, const uint8_t *data, size_t n)
{
    if (conn->h2) {
        rpc_h2_feed(conn, data, n);
        return;
    }
    if (conn->http1) {
        feed_http1(conn, data, n);
        return;
    }
    os_buf_add(&conn->head, data, n);
    size_t have = conn->head.len, want = sizeof(preface) - 1;
    if (memcmp(conn->head.data, preface, have < want ? have : want) != 0) {
        conn->http1 = true;
        feed_http1(conn, NULL, 0);
    } else if (have >= want) {
        struct os_buf first = conn->head;
        conn->head = (struct os_buf){0};
        rpc_h2_start(conn);
        rpc_h2_feed(conn, (uint8_t *)first.data, first.len);
        os_buf_free(&first);
    }
}

static void fill(struct rpc_conn *conn, struct os_buf *out, size_t room)
{
    if (conn->h2) {
        rpc_h2_fill(conn, out, room);
        return;
    }
    if (conn->answer.len)
        os_buf_add(out, conn->answer.data, conn->answer.len);
    os_buf_clear(&conn->answer);
}

static void on_flushed(struct rpc_conn *conn)
{
    if (conn->h2)
        rpc_h2_flushed(conn);
    else if (conn->phase == RPC_LINGER)
        rpc_conn_shutdown(conn);
}

static void on_timer(struct rpc_conn *conn)
{
    if (conn->h2)
        rpc_h2_on_timer(conn);
    else
        rpc_conn_close(conn, OS_DEADLINE_EXCEEDED, "no complete request in %d s",
                       OS_H2_OPEN_TIMEOUT_MS / 1000);
}

static void on_close(struct rpc_conn *conn, const struct os_error *why)
{
    struct rpc_server *s = conn->owner;
    os_log_debug("rpc", "connection from %s closed: %s", conn->peer ? conn->peer->address : "a new peer",
                 os_error_text(why));
    if (conn->prev)
        conn->prev->next = conn->next;
    else
        s->conns = conn->next;
    if (conn->next)
        conn->next->prev = conn->prev;
    s->nconns--;
    rpc_h2_drop(conn, why);
    rpc_server_settle(s);
}

void rpc_server_drain(struct rpc_conn *conn)
{
    if (conn->h2)
        rpc_h2_goaway(conn);
    else if (conn->phase != RPC_LINGER)
        rpc_conn_close(conn, OS_UNAVAILABLE, "the server is shutting down");
}

void rpc_server_accept(uv_stream_t *listener, int status)
{
    static const struct rpc_conn_ops ops = {.on_open = on_open,
                                            .on_data = on_data,
                                            .fill = fill,
                                            .on_flushed = on_flushed,
                                            .on_timer = on_timer,
                                            .on_close = on_close};
    struct rpc_listener *l = listener->data;
    struct rpc_server *s = l->server;
    if (status < 0) {
        os_log_warn("rpc", "cannot accept a connection: %s", uv_strerror(status));
        return;
    }
    struct rpc_conn *conn = rpc_conn_new(&s->turn, &ops, s, true);
    rpc_conn_init_socket(conn, l->sock.handle.type == UV_NAMED_PIPE);
    conn->next = s->conns;
    if (s->conns)
        s->conns->prev = conn;
    s->conns = conn;
    s->nconns++;
    int r = uv_accept(listener, &conn->sock.stream);
    if (r < 0) {
        rpc_conn_close(conn, OS_UNAVAILABLE, "cannot accept: %s", uv_strerror(r));
        return;
    }
    /* A UNIX socket needs no TLS: its peer is on this machine, and the kernel says who it is. */
    bool tls = s->opt.tls && l->sock.handle.type != UV_NAMED_PIPE;
    SSL *ssl = tls ? SSL_new(s->opt.tls) : NULL;
    if (s->nconns > OS_LIMIT_SERVER_CONNECTIONS || (tls && !ssl)) {
        SSL_free(ssl);
        rpc_conn_close(conn, OS_RESOURCE_EXHAUSTED, "more than %d connections are open",
                       OS_LIMIT_SERVER_CONNECTIONS);
        return;
    }
    rpc_conn_timer(conn, OS_H2_OPEN_TIMEOUT_MS);
    rpc_conn_start(conn, ssl);
}
