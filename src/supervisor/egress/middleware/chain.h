/* The supervisor middleware chain (spec/proxy.md 13): what runs between "the rules allow it" and "it goes
 * upstream". This header is all that the rest of egress needs:
 *
 *   service.h    what a stage is          regex.c, remote*.c   the stages there are
 *   registry.c   which exist              admission.c          how many requests may be in it
 *   result.c, headers.c  what a stage may be shown and may answer
 *   chain.c      one request through all stages, on any thread
 *   pass.c       the same for a connection with a thread of its own;  l7/h2_middleware.c  for a stream
 *   preflight.c, session.c  the messages of a WebSocket
 *   events.c     audit events */
#ifndef SUPERVISOR_EGRESS_MIDDLEWARE_CHAIN_H
#define SUPERVISOR_EGRESS_MIDDLEWARE_CHAIN_H

#include "core/limits.h"
#include "policy/middleware.h"
#include "supervisor/egress/middleware/admission.h"
#include "supervisor/egress/middleware/service.h"

struct deny_answer;
struct egress_conn;
struct egress_request;
struct os_error;
struct websocket_agreement;

/* What connections share; part of struct egress. */
struct middleware_state {
    struct admission requests, sessions; /* sessions: nobody waits */
    _Atomic int64_t saturated_ms;        /* when it was last said that somebody has to wait */
};
void middleware_state_init(struct middleware_state *s);
void middleware_state_destroy(struct middleware_state *s);

/* --- which stages --- */

struct middleware_stage {
    const struct policy_middleware_config *config;
    const struct middleware_service *service; /* NULL = not described: every use of it fails */
};

struct middleware_chain {
    struct middleware_stage stages[OS_LIMIT_MIDDLEWARES];
    size_t n;
    size_t max_payload; /* the largest of the stages' limits */
    bool required;      /* one of them must not be left out */
};

/* The stages that look at requests to the host of the connection; false when there are none. */
bool middleware_chain_for(const struct egress_conn *c, struct middleware_chain *out);
/* What a connection that nobody can look into meets: nothing, only stages that may be left out, or one that
 * must not. */
enum middleware_need { MIDDLEWARE_NONE, MIDDLEWARE_OPTIONAL, MIDDLEWARE_REQUIRED };
enum middleware_need middleware_need(const struct egress_conn *c);
/* The finding for a connection that passes unseen by optional stages. */
void middleware_unseen(struct egress_conn *c, const char *why);

/* --- one request --- */

struct middleware_job {
    struct egress_request *r;
    const char *scheme; /* of the tunnel; "http" on the forward path */
    bool forward;
    struct middleware_chain chain;
    struct middleware_limit limit;
};

enum middleware_outcome {
    MIDDLEWARE_PASSED,    /* r is as the stages want it */
    MIDDLEWARE_ANSWER,    /* answer says why not */
    MIDDLEWARE_MALFORMED, /* *err: the request cannot be shown to a stage as it is */
};
/* Fills in the job for a request of this connection, admitted now; false when no stage looks at it. */
bool middleware_job_init(struct middleware_job *j, struct egress_request *r, const char *scheme,
                         bool forward);
/* The places are taken and the request waits: says so now and then. */
void middleware_saturated(struct egress_conn *c);
/* All places are taken: *answer is the 503. */
void middleware_refuse_admission(struct middleware_job *j, struct deny_answer *answer);
/* Before the body is read. PASSED: it may be; *unseen: it must not be, the request goes on without the chain.
 */
enum middleware_outcome middleware_before_body(struct middleware_job *j, bool *unseen,
                                               struct deny_answer *answer);
/* The body turned out too long while it was read, or did not come to its end within the limit. */
void middleware_body_too_long(struct middleware_job *j, struct deny_answer *answer);
void middleware_body_too_late(struct middleware_job *j, struct deny_answer *answer);
/* The stages in their order; the body, if any, is in r->body. Blocks up to OS_MIDDLEWARE_CHAIN_MS; any one
 * thread that nothing else uses *r on. */
enum middleware_outcome middleware_run(struct middleware_job *j, struct deny_answer *answer,
                                       struct os_error *err);

/* --- the thread of a connection --- */

struct middleware_front {
    struct egress_request *r;
    const char *scheme;
    bool forward;
    void (*answer)(void *ctx, struct egress_request *r, const struct deny_answer *a);
    void (*malformed)(void *ctx, struct egress_request *r, const struct os_error *err);
    void *ctx;
};
/* Admission, body, stages, and for an upgrade the preflight of its session: true when the request may go
 * upstream. What is refused was answered. */
bool middleware_pass(const struct middleware_front *f);

/* --- WebSocket sessions (spec/proxy.md 13.7) --- */

struct middleware_session;

/* After the upstream agreed; false when a required stage is lost by it. */
bool middleware_session_start(struct middleware_session *s, const struct websocket_agreement *agreed);
enum middleware_message {
    MIDDLEWARE_MESSAGE_KEEP,    /* as it came */
    MIDDLEWARE_MESSAGE_REPLACE, /* by *out */
    MIDDLEWARE_MESSAGE_CLOSE,   /* denied, or a required stage failed */
    MIDDLEWARE_MESSAGE_BUSY,    /* no place in the chain */
};
/* One text message of the client through all stages; blocks. */
enum middleware_message middleware_session_text(struct middleware_session *s, const char *text, size_t n,
                                                struct os_buf *out);
/* A binary message of the client begins: it is not shown to anybody, but counts. */
void middleware_session_binary(struct middleware_session *s);

enum middleware_end {
    MIDDLEWARE_END_CLOSE = 1,
    MIDDLEWARE_END_PEER,
    MIDDLEWARE_END_RELOAD,
    MIDDLEWARE_END_DENIAL,
    MIDDLEWARE_END_FAILURE,
    MIDDLEWARE_END_PROTOCOL,
    MIDDLEWARE_END_CANCELLED,
    MIDDLEWARE_END_REJECTED,
    MIDDLEWARE_END_POLICY,
    MIDDLEWARE_END_SKIPPED,
};
/* Why it ends; the first word counts, and CANCELLED when there was none. */
void middleware_session_end(struct middleware_session *s, enum middleware_end reason);
/* May be NULL. */
void middleware_session_free(struct middleware_session *s);

#endif
