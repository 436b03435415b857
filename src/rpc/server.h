/* gRPC and HTTP/1.1 server on one port (spec/gateway.md 2): h2c with prior knowledge, TLS with ALPN and
 * optional client certificates, unary handlers on a bounded worker pool, streams on the loop thread. */
#ifndef RPC_SERVER_H
#define RPC_SERVER_H

#include <openssl/ssl.h>
#include <uv.h>

#include "rpc/call.h"

struct rpc_server;

/* Worker thread. The request and everything allocated from the arena live until the response was packed.
 * Fill *response with a message from the arena (or static), or return -1 with *err. */
typedef int rpc_unary_fn(void *ctx, struct rpc_call *call, const ProtobufCMessage *request,
                         struct os_arena *arena, ProtobufCMessage **response, struct os_error *err);

/* Loop thread, for all three streaming kinds: call rpc_call_set_ops() before returning. */
typedef void rpc_stream_fn(void *ctx, struct rpc_call *call);

/* Loop thread, before dispatch of every gRPC request (also of unknown methods: method NULL, path in the
 * ":path" header). Return -1 with *err to refuse. May attach a principal. */
typedef int rpc_authenticate_fn(void *ctx, struct rpc_call *call, struct os_error *err);

/* Loop thread: a non-gRPC request (HTTP/1.1 or HTTP/2), headers only (a body is read and dropped). */
struct rpc_http_request {
    const char *method, *path, *host; /* path without query */
};
struct rpc_http_response {
    int status;
    const char *content_type; /* NULL = none */
    char *body;               /* malloc'ed, NULL = empty; freed by the server */
};
typedef void rpc_http_fn(void *ctx, const struct rpc_http_request *req, struct rpc_http_response *resp);

struct rpc_server_options {
    uv_loop_t *loop;
    SSL_CTX *tls;     /* NULL = plaintext; referenced, see net/tls.h */
    unsigned workers; /* worker threads, 1..64 */
    unsigned queue;   /* unary calls waiting for a worker; more are refused RESOURCE_EXHAUSTED */
    rpc_authenticate_fn *authenticate; /* NULL = everyone */
    rpc_http_fn *http;                 /* NULL = 404 */
    void *ctx;                         /* for both hooks */
};

/* SIGPIPE is ignored from here on unless the program handles it. */
struct rpc_server *rpc_server_new(const struct rpc_server_options *opt);
/* Registration before listen; a method without handler answers UNIMPLEMENTED and names itself. */
void rpc_server_unary(struct rpc_server *s, enum rpc_method_id id, rpc_unary_fn *fn, void *ctx);
void rpc_server_stream(struct rpc_server *s, enum rpc_method_id id, rpc_stream_fn *fn, void *ctx);
/* Binds one more listener: "127.0.0.1", "::1", ...; port 0 picks one. Returns the bound port, -1 on error. */
int rpc_server_listen(struct rpc_server *s, const char *ip, int port, struct os_error *err);
/* As above on a UNIX socket (mode 0600, stale file replaced), always without TLS. 0 or -1. */
int rpc_server_listen_unix(struct rpc_server *s, const char *path, struct os_error *err);
/* Replaces the TLS context for new connections. */
void rpc_server_set_tls(struct rpc_server *s, SSL_CTX *tls);
/* Stops accepting, sends GOAWAY, lets running calls end for at most grace_ms, then closes everything.
 * `done` runs on the loop afterwards; the server may be freed then. */
void rpc_server_shutdown(struct rpc_server *s, int grace_ms, void (*done)(void *), void *arg);
void rpc_server_free(struct rpc_server *s);

/* Any thread: run fn(arg) on the loop thread, in order of posting. */
void rpc_server_post(struct rpc_server *s, void (*fn)(void *), void *arg);
/* Loop thread: run work(arg) on a worker, then done(arg) on the loop thread. */
void rpc_server_work(struct rpc_server *s, void (*work)(void *), void (*done)(void *), void *arg);

#endif
