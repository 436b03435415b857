/* Calls of one service. Private to remote*.c. */
#ifndef SUPERVISOR_EGRESS_MIDDLEWARE_REMOTE_CALL_H
#define SUPERVISOR_EGRESS_MIDDLEWARE_REMOTE_CALL_H

#include <stdatomic.h>

#include "core/error.h"
#include "rpc/method.h"
#include "supervisor/egress/middleware/remote.h"

struct rpc_client;

struct remote {
    struct middleware_service service;
    struct middleware_loop *loop;
    /* Loop only. */
    struct rpc_client *client;
    unsigned calls; /* under way */
    bool doomed;    /* goes with the last of them: what was sent last still has to leave */
    char *name;
    bool authenticated;
    atomic_bool credential;
    _Atomic int64_t expires_ms; /* wall clock, of the token; 0 = never */
};

enum remote_outcome { REMOTE_OK, REMOTE_TIMEOUT, REMOTE_ERROR };

/* Loop only: a call of a doomed service ended. */
void remote_retire(struct remote *r);
/* One question, one answer in the arena. *err says what happened otherwise; it may be NULL. */
enum remote_outcome remote_unary(struct remote *r, enum rpc_method_id method, const ProtobufCMessage *request,
                                 const struct middleware_limit *limit, struct os_arena *arena,
                                 ProtobufCMessage **out, struct os_error *err);

/* The operations of struct middleware_ops. */
const char *remote_http(const struct middleware_service *s, const mw_request *request,
                        const struct middleware_limit *limit, struct os_arena *arena, mw_result **out);
struct middleware_stream *remote_open(const struct middleware_service *s, const mw_event *preflight);
const char *remote_receive(struct middleware_stream *st, const char *missing,
                           const struct middleware_limit *limit, struct os_arena *arena,
                           mw_event_result **out);
bool remote_send(struct middleware_stream *st, const mw_event *event);
bool remote_send_text(struct middleware_stream *st, uint64_t sequence, const char *text, size_t n);
void remote_close(struct middleware_stream *st);

#endif
