/* gRPC client: one HTTP/2 connection, opened lazily, on one libuv loop. Loop thread only unless stated. */
#ifndef RPC_CLIENT_H
#define RPC_CLIENT_H

#include <uv.h>

#include "rpc/call.h"

struct rpc_client;

struct rpc_client_options {
    uv_loop_t *loop;
    /* "http://host:port" (h2c), "https://host:port" (TLS, ALPN h2), "unix:///path" (h2c). Copied. */
    const char *endpoint;
    /* PEM text, all copied; NULL = none. With https and no ca_pem the system roots are used. */
    const char *ca_pem, *cert_pem, *key_pem;
    const char *server_name; /* overrides SNI and the verified name; NULL = host of the endpoint */
    bool insecure;           /* skip verification of the server certificate */
    const char *bearer;      /* initial "authorization: Bearer" value; NULL = none */
    size_t max_message;      /* bytes of a message that is accepted; 0 = OS_LIMIT_GRPC_CLIENT_MESSAGE */
    int connect_ms;          /* to be connected; 0 = OS_CONNECT_TIMEOUT_MS */
    /* The connection is gone (also after a failed connect): every call has been or will be ended
     * UNAVAILABLE. The next call opens a new connection. May be NULL. */
    void (*on_disconnect)(void *ctx, const struct os_error *why);
    void *ctx;
};

/* NULL with *err on a malformed endpoint or unusable certificate. SIGPIPE is ignored from here on unless the
 * program handles it. */
struct rpc_client *rpc_client_new(const struct rpc_client_options *opt, struct os_error *err);
void rpc_client_set_bearer(struct rpc_client *c, const char *token);
/* Ends every call with CANCELLED (their on_done run before it returns), closes. The loop must run once more
 * to release handles. */
void rpc_client_free(struct rpc_client *c);

/* A server that says goodbye (GOAWAY) finishes the calls it has taken; new ones open a new connection. A call
 * that it has not taken moves there too if nothing of its messages was sent, and ends UNAVAILABLE otherwise.
 */

/* Starts a call; messages sent before the connection is up are queued. deadline_ms 0 = none (otherwise sent
 * as grpc-timeout and enforced locally). Failure to connect arrives in on_done as UNAVAILABLE. */
struct rpc_call *rpc_client_call(struct rpc_client *c, enum rpc_method_id id, const struct rpc_call_ops *ops,
                                 void *ctx, int64_t deadline_ms);

/* Unary, asynchronous: cb runs exactly once; response is NULL unless status is OS_OK, and lives in an arena
 * that is freed when cb returns. */
typedef void rpc_unary_cb(void *ctx, const struct os_error *status, const ProtobufCMessage *response);
void rpc_client_unary(struct rpc_client *c, enum rpc_method_id id, const ProtobufCMessage *request,
                      int64_t deadline_ms, rpc_unary_cb *cb, void *ctx);

/* Unary, blocking: runs the loop until the answer is there. Only while the loop is not running (CLI). The
 * response lives in the arena. 0, or -1 with *err holding the server's code and message. */
int rpc_client_unary_wait(struct rpc_client *c, enum rpc_method_id id, const ProtobufCMessage *request,
                          int64_t deadline_ms, struct os_arena *arena, ProtobufCMessage **response,
                          struct os_error *err);

#endif
