/* Shared by the files of session/ only. */
#ifndef GATEWAY_SESSION_INTERNAL_H
#define GATEWAY_SESSION_INTERNAL_H

#include "core/arena.h"
#include "core/id.h"
#include "core/limits.h"
#include "gateway/session/sessions.h"

struct session {
    struct sessions *all;
    struct rpc_call *call;
    char sandbox_id[OS_UUID_LEN];
    char session_id[OS_UUID_LEN];
    char instance_id[OS_UUID_LEN];
    bool registered; /* in the table; false once superseded or ended */
    bool accepted;   /* session_accepted was queued */
    bool can_exec, can_push;
    bool enforcement_complete;
    char enforcement[OS_LIMIT_ENFORCEMENT_REPORT +
                     1]; /* what the supervisor's self-test found; "" = not told */
    bool busy;           /* a worker updates the row */
    bool ended;          /* on_done ran */
    struct os_error work_err;
};

struct sessions {
    struct gateway *gw;
    void *by_sandbox; /* struct session */
    void *by_channel; /* struct relay, not yet claimed */
    struct relay *pending;
    unsigned n_pending;
    uv_timer_t tick; /* once a second: relay deadlines, heartbeats */
    int64_t next_heartbeat_ms;
    pthread_mutex_t lock; /* guards by_sandbox for readers on other threads */
};

struct session *session_find(struct sessions *s, const char *sandbox_id);
/* A session was accepted: waiting relays of its sandbox are opened. */
void relays_session_ready(struct sessions *s, struct session *session);
/* The sandbox is gone for good: nothing that waits for its supervisor will be served. */
void relays_fail(struct sessions *s, const char *sandbox_id);
/* Once a second: waits and claims that ran out. */
void relays_expire(struct sessions *s, int64_t now_ms);
/* The supervisor answered a RelayOpen. */
void relays_open_result(struct session *session, const Openshell__V1__RelayOpenResult *result);

#endif
