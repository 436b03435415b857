/* The agent's side of an HTTP/2 tunnel: every stream is one request, judged as if it came in HTTP/1
 * (l7/gate.c). A body that the rules look at is read whole first; every other goes on as it comes. */
#include <string.h>

#include "core/clock.h"
#include "core/str.h"
#include "supervisor/egress/credentials/guard.h"
#include "supervisor/egress/l7/h2.h"

static struct h2_stream *stream_of(nghttp2_session *session, int32_t id)
{
    return nghttp2_session_get_stream_user_data(session, id);
}

/* --- one request --- */

static void refuse(struct h2_stream *st)
{
    st->phase = H2_CLOSED;
    h2_stream_reset(st, H2_AGENT, NGHTTP2_REFUSED_STREAM);
}

/* The client waits for our word before it sends the body. */
static void invite(const struct h2_stream *st)
{
    static const nghttp2_nv status = {(uint8_t *)":status", (uint8_t *)"100", 7, 3, 0};
    if (http1_has_token(st->r.head, "expect", "100-continue"))
        nghttp2_submit_headers(st->h->session[H2_AGENT], NGHTTP2_FLAG_NONE, st->agent, NULL, &status, 1,
                               NULL);
}

/* Everything the rules need is here. */
static void decide(struct h2_stream *st)
{
    const struct tunnel_http *t = st->h->t;
    bool collect;
    if (t->inspect)
        inspect_request(&st->r, &st->plan);
    if (!gate_allow(t, &st->r))
        return;
    if (conn_stale(t->c)) {
        refuse(st);
    } else if (!h2_chain_begin(st, &collect)) {
        if (guard_admit(t, &st->r))
            h2_stream_forward(st);
    } else if (collect) {
        st->phase = H2_COLLECT;
        invite(st);
    }
}

/* True when the judgement has to wait for the body, or an answer was given. */
static bool collects(struct h2_stream *st, bool ended)
{
    struct os_error err cleanup_error = {0};
    struct egress_request *r = &st->r;
    if (!st->h->t->inspect)
        return false;
    int rc = inspect_plan(r, &st->plan, &err);
    if (rc == 0 && !st->plan.body)
        return false;
    r->body_read = true;
    r->body.max = st->plan.limit;
    if (rc == 0 && r->head->framing == HTTP1_LENGTH && r->head->length > st->plan.limit)
        rc = body_too_long(st->plan.what, st->plan.limit, &err);
    if (rc < 0) {
        gate_refuse_malformed(st->h->t, r, &err);
        return true;
    }
    if (ended)
        return false;
    st->phase = H2_COLLECT;
    invite(st);
    return true;
}

static void begin(struct h2_stream *st, bool ended)
{
    struct os_error err cleanup_error = {0};
    struct h2_relay *h = st->h;
    st->request.ended = ended;
    h->t->c->requests++;
    if (h->draining || h->n_streams > 2 * OS_PROXY_H2_STREAMS) {
        refuse(st);
        return;
    }
    bool ok = h2_request_head(&st->in, h->t->scheme, ended, &err) == 0;
    st->r.head = st->in.head;
    if (!ok)
        gate_refuse_malformed(h->t, &st->r, &err);
    else if (gate_admit(h->t, &st->r) && !collects(st, ended))
        decide(st);
}

/* The bounds on what all streams of a connection collect, where one alone always has room, and on what all
 * connections do. */
static int within_budget(struct h2_stream *st, size_t n, struct os_error *err)
{
    if (body_hold(st->h->t->c->egress, n, err) < 0)
        return -1;
    st->collected += n;
    st->h->collected += n;
    if (st->h->collected <= OS_L7_BODY_MAX || st->h->collected == st->collected)
        return 0;
    return os_error_set(err, OS_RESOURCE_EXHAUSTED, "bodies that wait to be judged exceed %d bytes",
                        OS_L7_BODY_MAX);
}

static void collect(struct h2_stream *st, const uint8_t *data, size_t n)
{
    struct os_error err cleanup_error = {0};
    os_buf_add(&st->r.body, data, n);
    st->moved_ms = os_clock_mono_ms();
    if (st->r.body.failed && st->chain) {
        h2_chain_too_long(st);
    } else if (st->r.body.failed) {
        body_too_long(st->plan.what, st->plan.limit, &err);
        gate_refuse_malformed(st->h->t, &st->r, &err);
    } else if (within_budget(st, n, &err) < 0) {
        event_failure(st->h->t->c, "L7 relay error", &err);
        h2_chain_drop(st);
        refuse(st);
    }
}

static void end(struct h2_stream *st)
{
    if (st->request.ended)
        return;
    if (st->phase == H2_COLLECT) {
        st->request.ended = true;
        if (st->chain)
            h2_chain_ready(st);
        else
            decide(st);
    } else {
        h2_stream_request_data(st, NULL, 0, true);
    }
}

static void trailers(struct h2_stream *st)
{
    if (st->in.too_long) {
        h2_stream_reset(st, H2_AGENT, NGHTTP2_ENHANCE_YOUR_CALM);
    } else if (st->phase == H2_OPEN && !st->request.ended) {
        if (!h2_stream_request_trailers(st, &st->in))
            return;
        st->request.trailers = st->in;
        st->in = (struct h2_section){0};
    } else if (st->phase == H2_COLLECT) {
        st->r.body_trailers = true;
    }
    end(st);
}

/* --- frames --- */

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct h2_relay *h = user;
    h->waits_since[H2_AGENT] = os_clock_mono_ms();
    if (frame->headers.cat == NGHTTP2_HCAT_REQUEST)
        nghttp2_session_set_stream_user_data(session, frame->hd.stream_id,
                                             h2_stream_new(h, frame->hd.stream_id));
    return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags, void *user)
{
    struct h2_stream *st = stream_of(session, frame->hd.stream_id);
    /* Until a request is judged its head is still needed, and trailers are no part of what is. */
    if (st && (st->phase == H2_HEAD || st->phase == H2_OPEN))
        h2_section_add(&st->in, (const char *)name, name_len, (const char *)value, value_len);
    return 0;
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct h2_relay *h = user;
    struct h2_stream *st = frame->hd.stream_id ? stream_of(session, frame->hd.stream_id) : NULL;
    bool ended = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    h->waits_since[H2_AGENT] = 0;
    if (frame->hd.type == NGHTTP2_GOAWAY)
        h->agent_leaves = true;
    if (!st)
        return 0;
    if (frame->hd.type == NGHTTP2_HEADERS && st->phase == H2_HEAD)
        begin(st, ended);
    else if (frame->hd.type == NGHTTP2_HEADERS)
        trailers(st);
    else if (frame->hd.type == NGHTTP2_DATA && ended)
        end(st);
    if (st->phase == H2_CLOSED)
        h2_stream_forget(st);
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data, size_t n,
                   void *user)
{
    struct h2_stream *st = stream_of(session, id);
    if (st && st->phase == H2_OPEN) {
        h2_stream_request_data(st, data, n, false);
        return 0;
    }
    nghttp2_session_consume(session, id, n);
    if (st && st->phase == H2_COLLECT)
        collect(st, data, n);
    return 0;
}

/* A request that is no HTTP/2 request; the library resets its stream. */
static int on_invalid_frame(nghttp2_session *session, const nghttp2_frame *frame, int error, void *user)
{
    struct h2_relay *h = user;
    const struct egress_conn *c = h->t->c;
    h->waits_since[H2_AGENT] = 0;
    if (frame->hd.type != NGHTTP2_HEADERS)
        return 0;
    cleanup_free char *detail = os_asprintf("malformed HTTP/2 request: %s", nghttp2_strerror(error));
    const struct conn_event ev = {"Refuse", AUDIT_SEV_MEDIUM, AUDIT_DENIED, "http-parser", detail};
    event_conn(h->t->c, &ev, "HTTP request rejected before policy evaluation for %s:%u", c->host, c->port);
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *user)
{
    struct h2_stream *st = stream_of(session, id);
    if (code != NGHTTP2_NO_ERROR)
        h2_count_reset(user, H2_AGENT);
    if (st)
        h2_stream_closed(st, H2_AGENT, code, NULL);
    return 0;
}

static int on_frame_send(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct h2_relay *h = user;
    bool carries_end = frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS;
    if (frame->hd.type == NGHTTP2_GOAWAY && frame->goaway.error_code != NGHTTP2_NO_ERROR && !h->why[H2_AGENT])
        h->why[H2_AGENT] = nghttp2_http2_strerror(frame->goaway.error_code);
    if (!carries_end || !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
        return 0;
    /* The answer is complete, whatever the client was still going to say (RFC 9113 8.1). */
    struct h2_stream *st = stream_of(session, frame->hd.stream_id);
    if (st && !st->request.ended)
        h2_stream_reset(st, H2_AGENT, NGHTTP2_NO_ERROR);
    return 0;
}

void h2_agent_callbacks(nghttp2_session_callbacks *cb)
{
    nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame_recv);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(cb, on_invalid_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
    nghttp2_session_callbacks_set_on_frame_send_callback(cb, on_frame_send);
}
