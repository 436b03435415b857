/* A gateway for one sandbox, in the test's own loop: records what the supervisor says, and says what it is
 * told. */
#ifndef TESTS_FAKE_GATEWAY_H
#define TESTS_FAKE_GATEWAY_H

#include <pthread.h>

#include "core/buf.h"
#include "openshell.pb-c.h"
#include "rpc/server.h"

struct fake_relay {
    struct rpc_call *call; /* NULL before the claim and after the end */
    struct os_buf out, err;
    bool claimed, ended, exited;
    int exit_code;
    char error[160];
    bool hold; /* read nothing */
    /* what to send: total bytes of a pattern, then stdin_eof */
    uint64_t to_send, sent;
    bool eof_when_sent, eof_sent;
    uint64_t received;  /* bytes of stdout */
    bool check_pattern; /* verify them instead of collecting */
    bool pattern_broken;
};

struct fake_gateway {
    uv_loop_t *loop;
    struct rpc_server *server;
    int port;
    bool down; /* server is gone */

    pthread_mutex_t lock;     /* unary handlers run on workers */
    unsigned config_failures; /* answers left that fail */
    enum os_code config_error;
    uint32_t version;
    unsigned config_calls;
    unsigned exit_failures, exit_calls;
    int exit_code;
    char exit_instance[40];
    struct os_buf policy_reports; /* "version:status:error;" */
    unsigned refreshes;
    unsigned log_calls;

    struct rpc_call *control;
    bool no_push;   /* do not announce config-push */
    bool no_accept; /* leave hello unanswered */
    unsigned hellos, heartbeats;
    char sandbox_id[64], instance_id[64], enforcement[64], version_text[32], bearer[64];
    struct os_buf capabilities; /* "a,b," */
    struct os_buf logs;         /* "LEVEL target: message\n" */
    unsigned log_lines;
    bool open_refused;
    char open_error[160];
    struct fake_relay relay; /* one at a time */
    unsigned channels;
};

void fake_gateway_init(struct fake_gateway *g, uv_loop_t *loop);
/* Listens again on the port of the first time. */
void fake_gateway_up(struct fake_gateway *g);
/* Cuts every connection. */
void fake_gateway_down(struct fake_gateway *g);
void fake_gateway_free(struct fake_gateway *g);

/* Sends RelayOpen; g->relay starts afresh. */
void fake_gateway_open(struct fake_gateway *g, Openshell__V1__RelayOpen *open);
void fake_gateway_send(struct fake_gateway *g, const Openshell__V1__RelayFrame *f);
void fake_gateway_push(struct fake_gateway *g, uint32_t version);
/* Sends what relay.to_send asks for, as far as the window goes. */
void fake_gateway_pump(struct fake_gateway *g);

#endif
