/* A session between its preflight and its end. Private to preflight.c and session.c. */
#ifndef SUPERVISOR_EGRESS_MIDDLEWARE_SESSION_H
#define SUPERVISOR_EGRESS_MIDDLEWARE_SESSION_H

#include "supervisor/egress/middleware/internal.h"

struct session_stage {
    struct middleware_stage s;
    struct middleware_stream *stream; /* NULL = it does not listen, or no more */
};

struct middleware_session {
    struct egress_request *r;
    const char *scheme;
    bool forward, started, told_binary;
    struct admission_ticket permit;
    struct session_stage stages[OS_LIMIT_MIDDLEWARES];
    size_t n;
    uint64_t sequence;
    enum middleware_end reason; /* 0 = not known yet */
};

/* At most one word to a stage, and its end. */
void session_end_stage(struct session_stage *st, enum middleware_end reason);
/* A stage and what became of it, without an answer of its own; failure may be NULL. */
void session_log_stage(const struct middleware_session *s, const struct session_stage *st, const char *word,
                       const char *failure);
bool session_has_listeners(const struct middleware_session *s);

#endif
