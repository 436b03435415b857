/* Shared by the files of session/ only. */
#ifndef SUPERVISOR_SESSION_INTERNAL_H
#define SUPERVISOR_SESSION_INTERNAL_H

#include <pthread.h>

#include "rpc/client.h"
#include "supervisor/session/backoff.h"
#include "supervisor/session/session.h"

#define SESSION_UNARY_MS 30000 /* deadline of every unary call */

enum session_timer_id {
    TIMER_CONFIG,  /* next fetch: retry or poll */
    TIMER_CONNECT, /* next attempt to open the control session */
    TIMER_BEAT,    /* heartbeat; before acceptance the limit of the wait for it */
    TIMER_TOKEN,
    TIMER_POLICY, /* retry of a policy report */
    TIMER_EXIT,   /* retry of the exit report */
    TIMER_LOGS,   /* batch is due, or the stream may be reopened */
    TIMER_STOP,
    TIMER_COUNT,
};

struct log_line {
    struct log_line *next;
    int64_t time_ms;
    char level[8];
    const char *target, *message; /* in text */
    char text[];
};

struct log_push {
    pthread_mutex_t lock; /* guards queue, n, dropped */
    struct log_line *queue, **tail;
    unsigned n, dropped;
    uv_async_t wake;
    struct rpc_call *call; /* PushSandboxLogs, NULL while closed */
    struct backoff backoff;
    uint64_t sent_ms; /* loop time of the last batch */
    bool waiting;     /* for the back-off */
    bool refused;     /* for good */
    bool ending;      /* our side of the stream is closed */
};

struct policy_report {
    struct policy_report *next;
    uint32_t version;
    bool loaded;
    char *error;
};

/* What tells two configurations apart. */
struct config_mark {
    uint32_t version, global_version;
    uint64_t revision, provider_revision;
    char hash[72];
};

struct relay;

struct session {
    struct session_options opt; /* texts are copies in arena */
    struct os_arena arena;
    struct rpc_client *client;
    uv_timer_t timers[TIMER_COUNT];
    unsigned refs; /* open handles and unary calls under way */
    bool started, stopping, freed;
    bool link_up; /* the gateway has answered on this connection */

    bool configured, fetching, fetch_again;
    struct backoff fetch_backoff;
    struct config_mark mark;

    struct rpc_call *control; /* ConnectSupervisor, NULL while closed */
    bool accepted, gateway_pushes;
    uint32_t beat_ms;
    struct backoff connect_backoff, away_backoff;

    int64_t token_expiry_ms;
    struct log_push logs;
    struct policy_report *reports, **reports_tail; /* the first one is under way when reporting */
    bool reporting;
    struct backoff report_backoff;
    struct backoff exit_backoff;
    int32_t exit_code;
    void (*exit_done)(void *ctx);
    void *exit_ctx;
    void (*stop_done)(void *ctx);
    void *stop_ctx;
    int64_t stop_deadline_ms;

    struct relay *relays;
    unsigned n_relays;
};

void session_hold(struct session *s);
/* False when the session has been given up: nothing of it may be used. */
bool session_drop(struct session *s);
void session_timer(struct session *s, enum session_timer_id id, uint64_t ms);
uint32_t session_random(void);
/* Waiting may help. */
bool session_retryable(enum os_code code);
/* Any answer of the gateway: what was held back until then may be sent. */
void session_link_up(struct session *s);

/* config.c */
void config_fetch(struct session *s);
void config_pushed(struct session *s, const session_config *config);
/* The control session was accepted or lost. */
void config_session_changed(struct session *s);

/* relay.c */
void relay_begin(struct session *s, const Openshell__V1__RelayOpen *open);
void relay_close(struct session *s, const char *channel_id);
/* No relay has an end status that is still on its way. */
bool relays_drained(const struct session *s);
void relays_free(struct session *s);
void session_send_open_result(struct session *s, const char *channel_id, const char *error);

/* logs.c */
void logs_init(struct session *s);
/* Sends what waits; with `all` also what a full batch is not reached for. */
void logs_flush(struct session *s, bool all);
/* Flushes, and ends the stream once the queue is empty; called until logs_drained(): the gateway has all of
 * it. */
void logs_finish(struct session *s);
bool logs_drained(const struct session *s);
void logs_free(struct session *s);

/* report.c */
void report_policy_next(struct session *s);
void report_exit_send(struct session *s);
void reports_free(struct session *s);

/* renew.c */
void session_token_start(struct session *s, const char *token);
void session_token_schedule(struct session *s);
void session_token_renew(struct session *s);

#endif
