/* A middleware service as the chain sees it: what it looks at, and how it is asked. Built-in stages and the
 * operator's gRPC services implement the same operations and speak the same messages
 * (proto/middleware.proto), so that the chain has one set of checks for both.
 *
 * To add a built-in stage: write its operations, describe it in a static struct middleware_service, and list
 * it in builtins[] of registry.c. */
#ifndef SUPERVISOR_EGRESS_MIDDLEWARE_SERVICE_H
#define SUPERVISOR_EGRESS_MIDDLEWARE_SERVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/arena.h"
#include "core/error.h"
#include "middleware/manifest.h"

typedef Openshell__Middleware__V1__HttpRequestEvaluation mw_request;
typedef Openshell__Middleware__V1__HttpRequestResult mw_result;
typedef Openshell__Middleware__V1__HttpHeader mw_header;
typedef Openshell__Middleware__V1__HeaderMutation mw_mutation;
typedef Openshell__Middleware__V1__RequestContext mw_context;
typedef Openshell__Middleware__V1__HttpRequestTarget mw_target;
typedef Openshell__Middleware__V1__Finding mw_finding;
typedef Openshell__Middleware__V1__WebSocketSessionEvent mw_event;
typedef Openshell__Middleware__V1__WebSocketSessionEventResult mw_event_result;
typedef Openshell__Middleware__V1__WebSocketMessage mw_message;
typedef Openshell__Middleware__V1__WebSocketMessageResult mw_message_result;
typedef Openshell__Middleware__V1__WebSocketPreflight mw_preflight;
typedef Openshell__Middleware__V1__WebSocketPreflightDecision mw_preflight_decision;

#define MW_PHASE                                                                                             \
    OPENSHELL__MIDDLEWARE__V1__SUPERVISOR_MIDDLEWARE_PHASE__SUPERVISOR_MIDDLEWARE_PHASE_PRE_CREDENTIALS
#define MW_ALLOW OPENSHELL__MIDDLEWARE__V1__DECISION__DECISION_ALLOW
#define MW_DENY OPENSHELL__MIDDLEWARE__V1__DECISION__DECISION_DENY

/* How long one question may take, and who may end it earlier. */
struct middleware_limit {
    int64_t end_ms;               /* monotonic clock */
    bool (*cancelled)(void *ctx); /* asked now and then, from the waiting thread; NULL = nobody */
    void *ctx;
};

/* One WebSocket as one service sees it. The first member of what the service keeps of it. */
struct middleware_stream {
    const struct middleware_service *service;
};

struct middleware_ops {
    /* Judges a request. NULL and *out in the arena, or the published name of a failure (static). Called from
     * many threads at once; may block until the limit. */
    const char *(*http)(const struct middleware_service *s, const mw_request *request,
                        const struct middleware_limit *limit, struct os_arena *arena, mw_result **out);
    /* Begins a session with its preflight; never blocks; NULL when that cannot be. One thread uses it. */
    struct middleware_stream *(*open)(const struct middleware_service *s, const mw_event *preflight);
    /* The next answer: NULL and *out, or a failure. `missing` is the name for a session that ended instead.
     */
    const char *(*receive)(struct middleware_stream *st, const char *missing,
                           const struct middleware_limit *limit, struct os_arena *arena,
                           mw_event_result **out);
    /* Sends an event; false when the session is over. Never blocks. */
    bool (*send)(struct middleware_stream *st, const mw_event *event);
    /* Sends a text message, which may hold NUL and is borrowed until its answer was received. */
    bool (*send_text)(struct middleware_stream *st, uint64_t sequence, const char *text, size_t n);
    /* Ends it: what was sent still goes out. */
    void (*close)(struct middleware_stream *st);
};

struct middleware_service {
    const char *name;
    bool external; /* the operator's: its texts are not trusted */
    struct middleware_bindings bindings;
    const struct middleware_ops *ops;
    void *self;
};

/* Milliseconds left, 0 when the limit has passed. */
int middleware_left(const struct middleware_limit *limit);

#endif
