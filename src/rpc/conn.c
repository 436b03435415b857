/* One connection: socket, TLS, the bytes waiting for the socket, one timer. Knows nothing of HTTP. */
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/x509.h>

#include "core/cleanup.h"
#include "core/limits.h"
#include "core/str.h"
#include "net/tls.h"
#include "rpc/bio.h"
#include "rpc/internal.h"

#define FILL_ROOM 65536 /* plain bytes collected for one write */

/* --- peer --- */

struct rpc_peer_box *rpc_peer_ref(struct rpc_peer_box *box)
{
    if (box)
        atomic_fetch_add_explicit(&box->refs, 1, memory_order_relaxed);
    return box;
}

void rpc_peer_unref(struct rpc_peer_box *box)
{
    if (!box || atomic_fetch_sub_explicit(&box->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (char **ou = box->ou; ou && *ou; ou++)
        free(*ou);
    free(box->ou);
    free(box->cn);
    free(box->address);
    free(box);
}

static char *entry_text(X509_NAME *name, int at)
{
    unsigned char *text = NULL;
    int n = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));
    char *copy = n > 0 && !memchr(text, 0, (size_t)n) ? os_strndup((const char *)text, (size_t)n) : NULL;
    OPENSSL_free(text);
    return copy;
}

static void read_certificate(struct rpc_peer_box *box, SSL *ssl)
{
    X509 *cert = SSL_get0_peer_certificate(ssl);
    if (!cert || SSL_get_verify_result(ssl) != X509_V_OK)
        return;
    X509_NAME *name = X509_get_subject_name(cert);
    int at = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
    if (at >= 0)
        box->cn = entry_text(name, at);
    struct os_strv ou = {0};
    for (at = -1; (at = X509_NAME_get_index_by_NID(name, NID_organizationalUnitName, at)) >= 0;) {
        char *text = entry_text(name, at);
        if (text)
            os_strv_take(&ou, text);
    }
    box->ou = ou.v ? ou.v : os_calloc(1, sizeof(char *));
    box->peer.cert_cn = box->cn;
    box->peer.cert_ou = (const char *const *)box->ou;
}

static bool is_loopback(const struct sockaddr_storage *a)
{
    if (a->ss_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)a)->sin_addr.s_addr) >> 24 == 127;
    if (a->ss_family != AF_INET6)
        return false;
    const struct in6_addr *v6 = &((const struct sockaddr_in6 *)a)->sin6_addr;
    return IN6_IS_ADDR_LOOPBACK(v6) || (IN6_IS_ADDR_V4MAPPED(v6) && v6->s6_addr[12] == 127);
}

/* Who connected, as the kernel saw it at connect(2). */
static void read_credentials(struct rpc_conn *conn, struct rpc_peer *peer)
{
    uv_os_fd_t fd;
    struct ucred who;
    socklen_t n = sizeof(who);
    peer->unix_socket =
        uv_fileno(&conn->sock.handle, &fd) == 0 && getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &n) == 0;
    peer->uid = peer->unix_socket ? who.uid : (uid_t)-1;
}

static void describe_peer(struct rpc_conn *conn)
{
    struct rpc_peer_box *box = os_calloc(1, sizeof(*box));
    atomic_init(&box->refs, 1);
    conn->peer = box;
    box->peer.tls = conn->ssl != NULL;
    struct sockaddr_storage a = {0};
    int n = sizeof(a);
    char ip[INET6_ADDRSTRLEN] = "";
    if (conn->sock.handle.type == UV_NAMED_PIPE) {
        box->peer.loopback = true;
        read_credentials(conn, &box->peer);
        box->address = os_strdup("unix");
    } else if (uv_tcp_getpeername(&conn->sock.tcp, (struct sockaddr *)&a, &n) == 0) {
        box->peer.loopback = is_loopback(&a);
        bool v6 = a.ss_family == AF_INET6;
        uv_ip_name((struct sockaddr *)&a, ip, sizeof(ip));
        uint16_t port = v6 ? ((struct sockaddr_in6 *)&a)->sin6_port : ((struct sockaddr_in *)&a)->sin_port;
        box->address = os_asprintf(v6 ? "[%s]:%u" : "%s:%u", ip, (unsigned)ntohs(port));
    } else {
        box->address = os_strdup("unknown");
    }
    box->peer.address = box->address;
    if (conn->ssl)
        read_certificate(box, conn->ssl);
}

/* --- life --- */

static void on_handle_closed(uv_handle_t *h)
{
    struct rpc_conn *conn = h->data;
    if (--conn->handles)
        return;
    nghttp2_session_del(conn->h2);
    SSL_free(conn->ssl);
    os_buf_free(&conn->out);
    os_buf_free(&conn->head);
    os_buf_free(&conn->answer);
    os_error_clear(&conn->doomed);
    rpc_peer_unref(conn->peer);
    free(conn);
}

static void on_timer(uv_timer_t *h)
{
    struct rpc_conn *conn = h->data;
    conn->ops->on_timer(conn);
}

struct rpc_conn *rpc_conn_new(struct rpc_turn *turn, const struct rpc_conn_ops *ops, void *owner,
                              bool is_server)
{
    struct rpc_conn *conn = os_calloc(1, sizeof(*conn));
    conn->turn = turn;
    conn->ops = ops;
    conn->owner = owner;
    conn->is_server = is_server;
    uv_timer_init(turn->loop, &conn->timer);
    conn->timer.data = conn;
    uv_unref((uv_handle_t *)&conn->timer);
    conn->handles = 1;
    return conn;
}

void rpc_conn_init_socket(struct rpc_conn *conn, bool unix_socket)
{
    if (unix_socket)
        uv_pipe_init(conn->turn->loop, &conn->sock.pipe, 0);
    else
        uv_tcp_init(conn->turn->loop, &conn->sock.tcp);
    conn->sock.handle.data = conn;
    conn->handles++;
}

void rpc_conn_timer(struct rpc_conn *conn, int64_t ms)
{
    if (conn->closed)
        return;
    uv_update_time(conn->turn->loop); /* the loop may not have run for long */
    uv_timer_start(&conn->timer, on_timer, (uint64_t)ms, 0);
}

static bool has_socket(const struct rpc_conn *conn)
{
    return conn->sock.handle.type != UV_UNKNOWN_HANDLE;
}

void rpc_conn_close(struct rpc_conn *conn, enum os_code code, const char *fmt, ...)
{
    if (conn->closed)
        return;
    if (conn->out.len && !conn->writing && has_socket(conn)) {
        uv_buf_t b = uv_buf_init(conn->out.data, (unsigned)conn->out.len);
        uv_try_write(&conn->sock.stream, &b, 1);
    }
    conn->closed = true;
    cleanup_error struct os_error why = {0};
    va_list ap;
    va_start(ap, fmt);
    os_error_vset(&why, code, fmt, ap);
    va_end(ap);
    conn->ops->on_close(conn, &why);
    uv_close((uv_handle_t *)&conn->timer, on_handle_closed);
    if (has_socket(conn) && !uv_is_closing(&conn->sock.handle))
        uv_close(&conn->sock.handle, on_handle_closed);
}

static void on_old_socket_closed(uv_handle_t *h)
{
    struct rpc_conn *conn = h->data;
    if (conn->closed) {
        on_handle_closed(h);
        return;
    }
    conn->handles--;
    rpc_conn_init_socket(conn, false);
    conn->renewed(conn);
}

void rpc_conn_renew_socket(struct rpc_conn *conn, void (*then)(struct rpc_conn *))
{
    conn->renewed = then;
    uv_close(&conn->sock.handle, on_old_socket_closed);
}

/* --- reading --- */

static void opened(struct rpc_conn *conn)
{
    conn->opened = true;
    describe_peer(conn);
    conn->ops->on_open(conn);
}

static bool tls_handshake(struct rpc_conn *conn)
{
    ERR_clear_error();
    int r = SSL_do_handshake(conn->ssl);
    rpc_turn_dirty(conn->turn, conn);
    if (r == 1) {
        opened(conn);
        return !conn->closed;
    }
    if (SSL_get_error(conn->ssl, r) == SSL_ERROR_WANT_READ)
        return false;
    cleanup_error struct os_error err = {0};
    long verify = SSL_get_verify_result(conn->ssl);
    if (!conn->is_server && verify != X509_V_OK) {
        ERR_clear_error();
        os_error_set(&err, OS_UNAVAILABLE, "TLS handshake failed: certificate not accepted: %s",
                     X509_verify_cert_error_string(verify));
    } else {
        net_tls_error(&err, "TLS handshake failed");
    }
    rpc_conn_close(conn, OS_UNAVAILABLE, "%s", os_error_text(&err));
    return false;
}

static void tls_read(struct rpc_conn *conn)
{
    if (!conn->opened && !tls_handshake(conn))
        return;
    uint8_t plain[16384];
    while (!conn->closed) {
        ERR_clear_error();
        int n = SSL_read(conn->ssl, plain, sizeof(plain));
        if (n > 0) {
            conn->ops->on_data(conn, plain, (size_t)n);
            continue;
        }
        int e = SSL_get_error(conn->ssl, n);
        if (e == SSL_ERROR_WANT_READ)
            break;
        if (e == SSL_ERROR_ZERO_RETURN) {
            rpc_conn_close(conn, OS_UNAVAILABLE, "connection closed by the peer");
        } else {
            cleanup_error struct os_error err = {0};
            net_tls_error(&err, "TLS failed");
            rpc_conn_close(conn, OS_UNAVAILABLE, "%s", os_error_text(&err));
        }
    }
    if (!conn->closed && conn->out.len)
        rpc_turn_dirty(conn->turn, conn);
}

/* A TLS listener drops plaintext HTTP without a word (spec/gateway.md 2.1): no request method starts with the
 * first byte of a TLS record. */
static bool is_plain_http(const struct rpc_conn *conn, const char *data)
{
    return conn->is_server && !conn->opened && !conn->heard && strchr("GPDHOTC", *data) && *data;
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
    struct rpc_conn *conn = s->data;
    if (n == 0 || conn->closed)
        return;
    if (n == UV_EOF) {
        rpc_conn_close(conn, OS_UNAVAILABLE, "connection closed by the peer");
        return;
    }
    if (n < 0) {
        rpc_conn_close(conn, OS_UNAVAILABLE, "connection lost: %s", uv_strerror((int)n));
        return;
    }
    if (!conn->ssl) {
        conn->heard = true;
        conn->ops->on_data(conn, (const uint8_t *)buf->base, (size_t)n);
        return;
    }
    if (is_plain_http(conn, buf->base)) {
        rpc_conn_close(conn, OS_UNAVAILABLE, "plaintext on a TLS listener");
        return;
    }
    conn->heard = true;
    conn->in = (const uint8_t *)buf->base;
    conn->in_len = (size_t)n;
    tls_read(conn);
    conn->in_len = 0;
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
    struct rpc_conn *conn = h->data;
    *buf = uv_buf_init(conn->turn->in, RPC_READ_BUFFER);
}

void rpc_conn_start(struct rpc_conn *conn, SSL *ssl)
{
    if (conn->sock.handle.type == UV_TCP)
        uv_tcp_nodelay(&conn->sock.tcp, 1);
    int r = uv_read_start(&conn->sock.stream, on_alloc, on_read);
    if (r < 0) {
        SSL_free(ssl);
        rpc_conn_close(conn, OS_UNAVAILABLE, "cannot read from the connection: %s", uv_strerror(r));
        return;
    }
    conn->ssl = ssl;
    if (!ssl) {
        opened(conn);
        return;
    }
    rpc_bio_attach(conn);
    if (conn->is_server)
        SSL_set_accept_state(ssl);
    else
        SSL_set_connect_state(ssl);
    if (!conn->is_server)
        tls_handshake(conn);
}

/* --- writing --- */

struct write_req {
    uv_write_t req;
    struct os_buf bytes;
};

static void on_written(uv_write_t *req, int status)
{
    struct write_req *w = (struct write_req *)req;
    struct rpc_conn *conn = req->handle->data;
    os_buf_free(&w->bytes);
    free(w);
    conn->writing = false;
    if (status < 0)
        rpc_conn_close(conn, OS_UNAVAILABLE, "connection lost: %s", uv_strerror(status));
    else
        rpc_turn_dirty(conn->turn, conn);
}

/* Hands conn->out to the socket. False when the rest has to wait. */
static bool write_out(struct rpc_conn *conn)
{
    uv_buf_t b = uv_buf_init(conn->out.data, (unsigned)conn->out.len);
    int n = uv_try_write(&conn->sock.stream, &b, 1);
    if (n == UV_EAGAIN)
        n = 0;
    if (n < 0) {
        rpc_conn_close(conn, OS_UNAVAILABLE, "connection lost: %s", uv_strerror(n));
        return false;
    }
    if ((size_t)n == conn->out.len) {
        os_buf_free(&conn->out); /* connections are quiet most of the time */
        return true;
    }
    struct write_req *w = os_calloc(1, sizeof(*w));
    w->bytes = conn->out;
    conn->out = (struct os_buf){0};
    b = uv_buf_init(w->bytes.data + n, (unsigned)(w->bytes.len - (size_t)n));
    conn->writing = true;
    int r = uv_write(&w->req, &conn->sock.stream, &b, 1, on_written);
    if (r < 0) {
        conn->writing = false;
        os_buf_free(&w->bytes);
        free(w);
        rpc_conn_close(conn, OS_UNAVAILABLE, "connection lost: %s", uv_strerror(r));
    }
    return false;
}

/* Collects what the protocol above has to say. */
static void collect(struct rpc_conn *conn)
{
    if (!conn->ssl) {
        conn->ops->fill(conn, &conn->out, FILL_ROOM);
        return;
    }
    cleanup_buf struct os_buf plain = {0};
    conn->ops->fill(conn, &plain, FILL_ROOM);
    if (!plain.len || conn->closed)
        return;
    for (size_t off = 0; off < plain.len;) { /* the context may allow partial writes */
        ERR_clear_error();
        int n = SSL_write(conn->ssl, plain.data + off, (int)(plain.len - off));
        if (n <= 0) {
            cleanup_error struct os_error err = {0};
            net_tls_error(&err, "TLS failed");
            rpc_conn_close(conn, OS_UNAVAILABLE, "%s", os_error_text(&err));
            return;
        }
        off += (size_t)n;
    }
}

void rpc_conn_flush(struct rpc_conn *conn)
{
    while (!conn->closed && !conn->writing) {
        if (conn->opened && !conn->shut)
            collect(conn);
        if (conn->closed)
            return;
        if (!conn->out.len) {
            if (conn->opened)
                conn->ops->on_flushed(conn);
            return;
        }
        if (!write_out(conn))
            return;
    }
}

static void on_shutdown(uv_shutdown_t *req, int status)
{
    free(req);
}

void rpc_conn_shutdown(struct rpc_conn *conn)
{
    if (conn->shut || conn->closed)
        return;
    conn->shut = true;
    if (conn->ssl) {
        SSL_shutdown(conn->ssl);
        if (conn->out.len)
            write_out(conn);
        if (conn->closed)
            return;
    }
    uv_shutdown_t *req = os_calloc(1, sizeof(*req));
    if (uv_shutdown(req, &conn->sock.stream, on_shutdown) < 0)
        free(req);
}
