/* The client object: endpoint, credentials, calls. Connections are made in client_connect.c. */
#include "rpc/client.h"

#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/limits.h"
#include "core/log.h"
#include "core/str.h"
#include "net/tls.h"
#include "rpc/client_internal.h"
#include "rpc/h2.h"

/* --- endpoint --- */

void rpc_endpoint_free(struct rpc_endpoint *e)
{
    free(e->text);
    free(e->host);
    free(e->path);
    free(e->authority);
    *e = (struct rpc_endpoint){0};
}

/* "host:port", "[v6]:port", "host", with at most a lone "/" behind. */
static bool parse_authority(const char *s, struct rpc_endpoint *out)
{
    size_t n = strcspn(s, "/");
    if (s[n] && s[n + 1])
        return false;
    const char *host_end, *port = NULL;
    if (*s == '[') {
        host_end = memchr(s, ']', n);
        if (!host_end)
            return false;
        out->host = os_strndup(s + 1, (size_t)(host_end - s - 1));
        if (host_end + 1 < s + n && host_end[1] != ':')
            return false;
        port = host_end + 1 < s + n ? host_end + 2 : NULL;
    } else {
        host_end = memchr(s, ':', n);
        out->host = os_strndup(s, host_end ? (size_t)(host_end - s) : n);
        port = host_end ? host_end + 1 : NULL;
    }
    uint64_t number = out->tls ? 443 : 80;
    if (port && !os_str_u64n(port, (size_t)(s + n - port), 65535, &number))
        return false;
    for (const char *p = out->host; *p; p++) {
        if (*p <= 0x20 || *p >= 0x7f || strchr("@?#\\%", *p))
            return false;
    }
    out->port = (int)number;
    out->authority = os_asprintf(*s == '[' ? "[%s]:%d" : "%s:%d", out->host, out->port);
    return *out->host && number;
}

int rpc_endpoint_parse(const char *text, struct rpc_endpoint *out, struct os_error *err)
{
    *out = (struct rpc_endpoint){.text = os_strdup(text)};
    bool ok = false;
    if (os_str_starts(text, "unix://")) {
        out->unix_socket = true;
        out->path = os_strdup(text + 7);
        out->authority = os_strdup("localhost");
        ok = out->path[0] == '/' && strlen(out->path) < 108; /* sun_path */
    } else if (os_str_starts(text, "https://")) {
        out->tls = true;
        ok = parse_authority(text + 8, out);
    } else if (os_str_starts(text, "http://")) {
        ok = parse_authority(text + 7, out);
    }
    if (ok)
        return 0;
    rpc_endpoint_free(out);
    return os_error_set(err, OS_INVALID_ARGUMENT,
                        "invalid endpoint '%s': use http://host:port, https://host:port or unix:///path",
                        text);
}

/* --- client --- */

static void free_memory(void *owner)
{
    struct rpc_client *c = owner;
    SSL_CTX_free(c->tls);
    rpc_endpoint_free(&c->endpoint);
    free(c->server_name);
    free(c->authorization);
    free(c);
}

struct rpc_client *rpc_client_new(const struct rpc_client_options *opt, struct os_error *err)
{
    struct rpc_client *c = os_calloc(1, sizeof(*c));
    if (rpc_endpoint_parse(opt->endpoint, &c->endpoint, err) < 0) {
        free_memory(c);
        return NULL;
    }
    if (c->endpoint.tls) {
        static const char *const alpn[] = {"h2", NULL};
        struct net_tls_pem pem = {.cert = opt->cert_pem, .key = opt->key_pem, .ca = opt->ca_pem};
        c->tls = net_tls_client(&pem, alpn, opt->insecure, err);
        if (!c->tls) {
            free_memory(c);
            return NULL;
        }
    }
    c->server_name = opt->server_name ? os_strdup(opt->server_name) : NULL;
    c->on_disconnect = opt->on_disconnect;
    c->ctx = opt->ctx;
    c->max_message = opt->max_message ? opt->max_message : OS_LIMIT_GRPC_CLIENT_MESSAGE;
    c->connect_ms = opt->connect_ms ? opt->connect_ms : OS_CONNECT_TIMEOUT_MS;
    rpc_client_set_bearer(c, opt->bearer);
    rpc_turn_init(&c->turn, opt->loop);
    return c;
}

void rpc_client_set_bearer(struct rpc_client *c, const char *token)
{
    free(os_steal(c->authorization));
    if (!token || !*token)
        return;
    for (const char *p = token; *p; p++) {
        if (*p <= 0x20 || *p >= 0x7f) {
            os_log_warn("rpc", "the bearer token holds characters that no token has; it is not sent");
            return;
        }
    }
    c->authorization = os_asprintf("Bearer %s", token);
}

void rpc_client_free(struct rpc_client *c)
{
    if (!c || c->freed)
        return;
    c->freed = true;
    while (c->turn.live) {
        struct rpc_call *call = rpc_call_ref(c->turn.live);
        rpc_call_end_now(call, OS_CANCELLED, "the client was closed");
        rpc_call_unref(call);
    }
    while (c->conns) {
        struct rpc_conn *conn = c->conns;
        if (conn->h2)
            nghttp2_session_terminate_session(conn->h2, NGHTTP2_NO_ERROR);
        rpc_conn_flush(conn);
        rpc_conn_close(conn, OS_CANCELLED, "the client was closed");
    }
    rpc_turn_close(&c->turn, free_memory, c);
}

int rpc_client_submit(struct rpc_client *c, struct rpc_call *call)
{
    return rpc_h2_request(call->conn, call, c->endpoint.tls ? "https" : "http", c->endpoint.authority,
                          c->authorization);
}

/* The connection for a new call: the current one unless it is on its way out. */
static struct rpc_conn *current(struct rpc_client *c)
{
    if (c->conn && c->conn->draining)
        c->conn = NULL;
    if (!c->conn)
        c->conn = rpc_client_connect(c);
    return c->conn;
}

void rpc_client_move(struct rpc_conn *conn, struct rpc_call *call)
{
    struct rpc_client *c = conn->owner;
    rpc_call_ref(call);
    rpc_call_detach(call);
    call->stream_id = 0;
    call->headers_sent = call->tx_deferred = false;
    call->moved = true;
    struct rpc_conn *next = current(c);
    rpc_call_attach(call, next);
    if (next->h2 && rpc_client_submit(c, call) < 0)
        rpc_call_end(call, false, OS_UNAVAILABLE, "the connection takes no more calls");
    rpc_call_unref(call);
}

struct rpc_call *rpc_client_call(struct rpc_client *c, enum rpc_method_id id, const struct rpc_call_ops *ops,
                                 void *ctx, int64_t deadline_ms)
{
    struct rpc_call *call = rpc_call_new(&c->turn, false);
    call->method = rpc_method(id);
    call->ops = ops;
    call->ctx = ctx;
    call->rx_limit = c->max_message;
    if (deadline_ms > 0)
        rpc_call_set_deadline(call, deadline_ms);
    if (c->freed) {
        rpc_call_end(call, false, OS_CANCELLED, "the client was closed");
        return call;
    }
    struct rpc_conn *conn = current(c);
    rpc_call_attach(call, conn);
    if (!conn->h2 || rpc_client_submit(c, call) == 0)
        return call;
    /* Out of stream ids: the calls on it may go on, new ones get a new connection. */
    rpc_call_detach(call);
    conn->draining = true;
    rpc_turn_dirty(conn->turn, conn);
    rpc_call_attach(call, current(c));
    return call;
}
