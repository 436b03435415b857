/* HTTP/2 inside a tunnel: one nghttp2 session towards the agent, one towards the upstream, and the streams
 * that connect them. Nothing here touches a socket but h2_serve.c: bytes in, bytes out. One thread.
 *
 *   h2_serve.c   both sockets
 *   h2_relay.c   both sessions: bytes, limits, the end
 *   h2_agent.c   what the agent sends: requests to judge, their bodies
 *   h2_upstream.c  what the upstream sends: responses
 *   h2_middleware.c  requests on their way through the middleware chain, each on a thread of its own
 *   h2_stream.c  one request and its response, and the bytes of either on their way
 *   h2_head.c    field sections */
#ifndef SUPERVISOR_EGRESS_L7_H2_H
#define SUPERVISOR_EGRESS_L7_H2_H

#include <nghttp2/nghttp2.h>

#include "supervisor/egress/internal.h"

/* --- h2_head.c: pure --- */

/* One field section as it arrives: head or trailers. Fields and pseudo-headers are copied; what does not fit
 * the limit of a head is not kept. */
struct h2_section {
    struct os_arena arena;
    struct http1_head *head; /* NULL before the first field */
    struct http1_text scheme, authority;
    size_t size; /* as RFC 9113 6.5.2 counts */
    bool too_long;
    bool odd; /* a pseudo-header that does not belong here */
};
void h2_section_free(struct h2_section *s);
void h2_section_add(struct h2_section *s, const char *name, size_t name_len, const char *value,
                    size_t value_len);
/* Completes head so that it reads like that of an HTTP/1.1 request: method, target, Host from :authority.
 * ended: no body follows. -1 with what is wrong; the head is as far as it goes then, never NULL. */
int h2_request_head(struct h2_section *s, const char *scheme, bool ended, struct os_error *err);
/* status is set. */
int h2_response_head(struct h2_section *s, struct os_error *err);

/* --- streams --- */

/* Bytes of one direction between being received on one session and being sent on the other. They stay within
 * the window that the sender was granted, which is granted again only as they leave. */
struct h2_pipe {
    struct os_buf bytes;
    size_t taken; /* bytes at the front that have left */
    bool ended;   /* nothing follows */
    bool waits;   /* the sending session has nothing to send until it is told so */
    bool ours;    /* not received on the other session: no window is owed for it */
    struct h2_section trailers;
};

enum h2_phase {
    H2_HEAD,    /* the request head is on its way */
    H2_COLLECT, /* its body is read for the judgement or the middleware chain */
    H2_CHAIN,   /* it is in that chain: its request belongs to another thread */
    H2_OPEN,    /* it was sent on */
    H2_CLOSED,  /* answered by us, or refused */
};

struct h2_stream {
    struct egress_request r; /* until it was sent on */
    struct h2_relay *h;
    struct h2_stream *next, **link;
    int32_t agent, upstream; /* stream ids; 0 = none, or none any more */
    enum h2_phase phase;
    struct os_arena arena;
    struct inspect_plan plan;
    struct h2_chain *chain;    /* NULL = no middleware looks at it, or no more */
    struct h2_section in, out; /* what the agent or the upstream is sending */
    struct h2_pipe request, response;
    struct body_guard *guard; /* looks at the request body; NULL = nobody does */
    size_t collected;         /* bytes of the connection's budget */
    bool sent;                /* the request left for the upstream */
    bool final;               /* a response head that is not interim came from the upstream */
    bool grpc;                /* the request that went upstream was a gRPC call */
    bool answered;            /* ... or from us, and goes to the agent */
    bool reset;               /* by the upstream */
    unsigned interims;
    int64_t moved_ms; /* a byte was moved */
};

struct h2_bucket {
    double used;
    int64_t ms;
};

enum h2_side { H2_AGENT, H2_UPSTREAM, H2_SIDES };

struct h2_relay {
    const struct tunnel_http *t;
    nghttp2_session *session[H2_SIDES];
    struct h2_stream *streams;
    size_t n_streams;             /* also those that only one side still has */
    size_t collected;             /* bytes of bodies read for the judgement */
    struct os_buf work, released; /* while bytes of a body are looked at */
    struct h2_bucket resets[H2_SIDES], worthless[H2_SIDES];
    int64_t waits_since[H2_SIDES]; /* for the first SETTINGS or the rest of a head; 0 = not */
    const char *why[H2_SIDES];     /* the session is broken */
    bool agent_leaves;             /* sent GOAWAY */
    bool draining;                 /* no new streams */
    int wake;                      /* eventfd: a chain moved; -1 = there was none yet */
};

struct h2_relay *h2_relay_new(const struct tunnel_http *t);
void h2_relay_free(struct h2_relay *h);
/* Takes bytes from one side; -1 when that session is over because of them, with *err. */
int h2_relay_feed(struct h2_relay *h, enum h2_side side, const char *p, size_t n, struct os_error *err);
/* Appends frames for one side, about as much as one TLS record; -1 as above. */
int h2_relay_pull(struct h2_relay *h, enum h2_side side, struct os_buf *out, struct os_error *err);
/* More frames wait for that side than a peer that reads leaves waiting. */
bool h2_relay_clogged(const struct h2_relay *h, enum h2_side side);
/* The upstream is gone: streams without a response are answered, others reset, new ones refused. */
void h2_relay_lost_upstream(struct h2_relay *h, const struct os_error *err);
/* Ends streams without progress; milliseconds until the next look, -1 = none needed. -1 with *err set when a
 * peer did not say what it had to. */
int h2_relay_tick(struct h2_relay *h, struct os_error *err);
/* Nothing more will happen on the agent's side. */
bool h2_relay_over(const struct h2_relay *h);
/* GOAWAY to that side. */
void h2_relay_goodbye(struct h2_relay *h, enum h2_side side);

/* --- between the files --- */

/* No new streams: GOAWAY to the agent, which may try them again elsewhere. */
void h2_relay_drain(struct h2_relay *h);
/* Counts something that costs the peer nothing; ends the session when there is too much of it. */
void h2_count_reset(struct h2_relay *h, enum h2_side side);
/* The peer sent something that carries nothing; too much of it ends the connection. */
void h2_count_worthless(struct h2_relay *h, enum h2_side side);
void h2_agent_callbacks(nghttp2_session_callbacks *cb);
void h2_upstream_callbacks(nghttp2_session_callbacks *cb);
/* --- h2_middleware.c --- */

/* A request that the rules allow: true when the chain has it, or it was answered. *collect: its body is to be
 * read first, into r.body; then h2_chain_ready(). */
bool h2_chain_begin(struct h2_stream *st, bool *collect);
void h2_chain_ready(struct h2_stream *st);
/* The body that is collected for it is longer than any stage takes: answers. */
void h2_chain_too_long(struct h2_stream *st);
/* Starts and finishes what can be; true when something moved. *patience is lowered when a chain is under way.
 */
bool h2_chains_turn(struct h2_relay *h, int *patience);
/* Ends the chain, waiting for its thread where there is one. */
void h2_chain_drop(struct h2_stream *st);
/* The stream has to stay until its thread is done; that is told to hurry. */
bool h2_chain_outlives(struct h2_stream *st);

/* The answer hook of struct tunnel_http. */
void h2_answer(const struct tunnel_http *t, struct egress_request *r, const struct deny_answer *a);

struct h2_stream *h2_stream_new(struct h2_relay *h, int32_t agent);
void h2_stream_free(struct h2_stream *st);
/* Frees what only the judgement needed. */
void h2_stream_forget(struct h2_stream *st);
static inline size_t h2_pipe_held(const struct h2_pipe *p)
{
    return p->bytes.len - p->taken;
}
/* Sends the judged request on; refuses it where the upstream takes no more. */
void h2_stream_forward(struct h2_stream *st);
/* Sends the response head in st->out; ended: no body follows. */
void h2_stream_respond(struct h2_stream *st, bool ended);
void h2_stream_interim(struct h2_stream *st, int status);
/* Bytes or the end arrived. */
void h2_stream_request_data(struct h2_stream *st, const void *p, size_t n, bool ended);
/* False when they must not be sent: the stream is over then. */
bool h2_stream_request_trailers(struct h2_stream *st, const struct h2_section *s);
void h2_stream_response_data(struct h2_stream *st, const void *p, size_t n, bool ended);
/* RST_STREAM to one side; the agent of a stream that the upstream never saw may try again. */
void h2_stream_reset(struct h2_stream *st, enum h2_side side, uint32_t code);
void h2_stream_closed(struct h2_stream *st, enum h2_side side, uint32_t code, const char *why);

#endif
