/* A server with one handler of every kind and a client for it, on one loop of their own. */
#ifndef TEST_RPC_FIXTURE_H
#define TEST_RPC_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/buf.h"
#include "core/cleanup.h"
#include "core/str.h"
#include "openshell.pb-c.h"
#include "rpc/client.h"
#include "rpc/pb.h"
#include "rpc/server.h"

enum transport { PLAIN, TLS, MTLS, UNIX };

struct fixture {
    uv_loop_t loop;
    struct rpc_server *server;
    int port;
    enum transport transport;
    char *endpoint;
    bool shut;
    bool refuse;  /* authenticate says no */
    size_t large; /* bytes of text in the answer of Health; 0 = "1.2.3" */
    unsigned authenticated, principals_freed;
    char *last_header; /* x-test of the last authenticated request */
    char *last_cn, *last_ou;
    /* ForwardTcp handler */
    struct rpc_call *held; /* with hold: the call the handler keeps for the test */
    bool hold, gated;
    unsigned server_done, half_closes;
    enum os_code server_status;
    uv_sem_t gate; /* GetSandbox waits here while gated */
};

/* What a client's call was told. */
struct seen {
    unsigned messages, done, writable;
    size_t bytes;
    struct os_buf data; /* payloads of TcpForwardFrame or stdout, in order */
    enum os_code code;
    char *message;
    bool keep;   /* collect data */
    bool in_api; /* the test is inside an rpc_ function: no callback may come */
};

void fixture_start(struct fixture *f, enum transport transport);
void fixture_stop(struct fixture *f);
struct rpc_client *fixture_client(struct fixture *f);
/* With another CA, certificate or name than the right ones; any may be NULL for the default. */
struct rpc_client *fixture_client_with(struct fixture *f, struct rpc_client_options *opt);
const char *fixture_ca(void);
const char *fixture_other_ca(void);
SSL_CTX *fixture_client_tls(const char *alpn);

/* Runs the loop until *flag (or counter) is not below want. */
void run_until(struct fixture *f, const unsigned *counter, unsigned want);
void run_turns(struct fixture *f, int n);

extern const struct rpc_call_ops seen_ops;
void seen_clear(struct seen *s);
/* One TcpForwardFrame with n data bytes of value `fill`. */
void send_data(struct rpc_call *call, size_t n, int fill);

/* Raw socket to the server's port (blocking), for what a proper client does not send. */
int fixture_dial(struct fixture *f);
/* Writes, then reads what comes until the server closes or `until` was seen; runs the loop meanwhile. */
char *fixture_exchange(struct fixture *f, int fd, SSL *ssl, const void *data, size_t n, const char *until);

#endif
