/* Head of one HTTP/1.1 request (RFC 9112), strict: what is not exactly the grammar is refused. No I/O. Only
 * for small requests next to gRPC (health, discovery); bodies are not looked at. */
#ifndef RPC_HTTP1_H
#define RPC_HTTP1_H

#include <stdbool.h>
#include <stddef.h>

struct rpc_http1_head {
    const char *method, *path; /* path without query; both inside the buffer */
    const char *host;          /* NULL = none (HTTP/1.0) */
    const char *request_id;    /* x-request-id, NULL = none */
    bool grpc;                 /* content-type names gRPC, which needs HTTP/2 */
};

/* Parses the head at data (n bytes, changed in place only when complete). 0 = more bytes are needed, 200 =
 * *out is filled, otherwise the HTTP status to answer: 400, 414, 431, 505. */
int rpc_http1_parse(char *data, size_t n, struct rpc_http1_head *out);

#endif
