/* Inside of the client: the endpoint and its connections. */
#ifndef RPC_CLIENT_INTERNAL_H
#define RPC_CLIENT_INTERNAL_H

#include "net/dns.h"
#include "rpc/client.h"
#include "rpc/internal.h"

struct rpc_endpoint {
    char *text; /* as given, for messages */
    bool tls, unix_socket;
    char *host; /* without brackets; NULL for a UNIX socket */
    int port;
    char *path;      /* of a UNIX socket */
    char *authority; /* "host:port" */
};

struct rpc_client {
    struct rpc_turn turn;
    struct rpc_endpoint endpoint;
    SSL_CTX *tls;
    char *server_name;
    char *authorization; /* "Bearer ...", NULL = none */
    size_t max_message;
    int connect_ms;
    void (*on_disconnect)(void *ctx, const struct os_error *why);
    void *ctx;
    struct rpc_conn *conn;  /* for new calls; NULL = connect at the next one */
    struct rpc_conn *conns; /* all of them, also draining ones */
    bool freed;
};

int rpc_endpoint_parse(const char *text, struct rpc_endpoint *out, struct os_error *err);
void rpc_endpoint_free(struct rpc_endpoint *e);
/* Starts connecting; never fails here, failure arrives as the connection's on_close. */
struct rpc_conn *rpc_client_connect(struct rpc_client *c);
/* Sends the request of a call over an open connection. */
int rpc_client_submit(struct rpc_client *c, struct rpc_call *call);
/* Takes a call off a connection that is on its way out, to the one for new calls. */
void rpc_client_move(struct rpc_conn *conn, struct rpc_call *call);

#endif
