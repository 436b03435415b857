/* Inside of the server: listeners, accepted connections, dispatch. */
#ifndef RPC_SERVER_INTERNAL_H
#define RPC_SERVER_INTERNAL_H

#include "rpc/internal.h"
#include "rpc/pool.h"
#include "rpc/server.h"

struct rpc_handler {
    rpc_unary_fn *unary;
    rpc_stream_fn *stream;
    void *ctx;
};

struct rpc_listener {
    struct rpc_listener *next;
    struct rpc_server *server;
    union rpc_socket sock;
    char *path; /* of a UNIX socket; removed when the listener closes */
};

struct rpc_server {
    struct rpc_turn turn;
    struct rpc_server_options opt;
    struct rpc_handler handlers[RPC_METHOD_COUNT];
    struct rpc_listener *listeners;
    struct rpc_conn *conns;
    unsigned nconns;
    struct rpc_pool *pool;
    bool shutting_down, shutdown_told;
    uv_timer_t *grace;
    void (*on_shutdown)(void *);
    void *shutdown_arg;
};

/* server_conn.c: one more connection waits on the listener. */
void rpc_server_accept(uv_stream_t *listener, int status);
/* server.c: a connection or a job is gone; a shutdown may be complete. */
void rpc_server_settle(struct rpc_server *s);
/* server_conn.c: no new requests on this connection. */
void rpc_server_drain(struct rpc_conn *conn);

#endif
