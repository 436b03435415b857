/* What the parts of the gateway share. Wired up by main; read-only afterwards. */
#ifndef GATEWAY_GATEWAY_H
#define GATEWAY_GATEWAY_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <uv.h>

#include "drivers/driver.h"
#include "gateway/identity/jwt.h"
#include "gateway/mint_limit.h"
#include "gateway/store/store.h"
#include "rpc/server.h"

#define GATEWAY_GATES 64

struct gateway {
    uv_loop_t *loop;
    struct rpc_server *rpc;
    struct store *store;
    struct driver *driver;
    struct jwt_keys *jwt; /* NULL = sandbox tokens not configured */
    int64_t jwt_ttl_s;    /* life of sandbox tokens, 0 = for ever */
    char *reserve;        /* see store/reserve.h */
    atomic_bool ending;   /* sessions end because the gateway does, not their supervisors */
    atomic_bool settling; /* supervisors of the last run are still coming back: what was READY stays READY */
    bool mtls_auth;       /* users are client certificates */
    bool allow_unauthenticated;      /* whoever shows nothing is the local user, from anywhere */
    const char *policy_failure_mode; /* what supervisors do with a policy they cannot use */
    /* where clients reach this gateway */
    const char *host; /* bind address */
    uint16_t port;
    bool tls;
    struct mint_limit mints;
    struct middlewares *middlewares; /* registered services, possibly none */
    uint64_t ssh_session_ttl_s;      /* 0 = SSH session tokens never expire */
    struct forward *forwards;        /* open ForwardTcp calls; loop thread */
    struct logbus *logs;
    struct watches *watches;
    struct health *health;
    struct health_watches *health_watches; /* grpc.health.v1 */
    unsigned reflections;                  /* open streams of grpc.reflection; loop thread */
    struct sessions *sessions;
    /* Read-modify-write of sandbox rows (spec/gateway.md 5.3). Order: gate, then sync. */
    pthread_mutex_t sync;
    pthread_mutex_t gates[GATEWAY_GATES]; /* lifecycle gate of a sandbox, picked by id */
};

/* Lifecycle gate of one sandbox: create and delete of the same sandbox never overlap. Worker threads. */
pthread_mutex_t *gateway_gate(struct gateway *gw, const char *sandbox_id);

/* Logs to stderr and into the sandbox's log ring as source "gateway". Any thread. */
void gateway_log(struct gateway *gw, const char *sandbox_id, int level, const char *target, const char *fmt,
                 ...) __attribute__((format(printf, 5, 6)));

#endif
