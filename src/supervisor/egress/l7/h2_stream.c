/* One request and its response between the two sessions. Bytes wait in a pipe until the session that sends
 * them asks for them; only then the session that received them grants their window again, so that a side that
 * does not read stops the other, stream by stream. */
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/str.h"
#include "supervisor/egress/credentials/guard.h"
#include "supervisor/egress/l7/h2.h"

struct h2_stream *h2_stream_new(struct h2_relay *h, int32_t agent)
{
    struct h2_stream *st = os_calloc(1, sizeof(*st));
    st->h = h;
    st->agent = agent;
    st->r = (struct egress_request){.conn = h->t->c, .arena = &st->arena, .path = "/"};
    st->moved_ms = os_clock_mono_ms();
    st->link = &h->streams;
    st->next = h->streams;
    if (st->next)
        st->next->link = &st->next;
    h->streams = st;
    h->n_streams++;
    return st;
}

void h2_stream_forget(struct h2_stream *st)
{
    request_free(&st->r);
    h2_section_free(&st->in);
    os_arena_free(&st->arena);
    st->r = (struct egress_request){.conn = st->h->t->c, .arena = &st->arena, .path = "/"};
}

static void release_budget(struct h2_stream *st)
{
    body_let_go(st->h->t->c->egress, st->collected);
    st->h->collected -= st->collected;
    st->collected = 0;
}

static void free_pipe(struct h2_pipe *p)
{
    os_buf_free(&p->bytes);
    h2_section_free(&p->trailers);
}

void h2_stream_free(struct h2_stream *st)
{
    h2_chain_drop(st);
    st->h->n_streams--;
    *st->link = st->next;
    if (st->next)
        st->next->link = st->link;
    release_budget(st);
    h2_stream_forget(st);
    h2_section_free(&st->out);
    body_guard_free(st->guard);
    free_pipe(&st->request);
    free_pipe(&st->response);
    free(st);
}

/* --- pipes --- */

/* The n bytes that side sent have left: it may send as many again. */
static void grant(const struct h2_stream *st, enum h2_side side, const struct h2_pipe *p, size_t n)
{
    nghttp2_session *session = st->h->session[side];
    int32_t id = side == H2_AGENT ? st->agent : st->upstream;
    if (p->ours || !n)
        return;
    if (id)
        nghttp2_session_consume(session, id, n);
    else
        nghttp2_session_consume_connection(session, n);
}

static void discard(const struct h2_stream *st, enum h2_side side, struct h2_pipe *p)
{
    grant(st, side, p, h2_pipe_held(p));
    os_buf_free(&p->bytes);
    p->taken = 0;
}

/* Copies n bytes out. What is empty keeps no memory beyond a little, what is half empty no more than it
 * holds. */
static void take_bytes(struct h2_pipe *p, uint8_t *buf, size_t n)
{
    memcpy(buf, p->bytes.data + p->taken, n);
    p->taken += n;
    if (p->taken < p->bytes.len && p->taken < p->bytes.len / 2)
        return;
    os_buf_consume(&p->bytes, p->taken);
    p->taken = 0;
    if (!p->bytes.len && p->bytes.cap > 2 * OS_PROXY_COPY)
        os_buf_free(&p->bytes);
}

static nghttp2_nv pair(struct http1_text name, struct http1_text value)
{
    return (nghttp2_nv){(uint8_t *)(uintptr_t)name.p, (uint8_t *)(uintptr_t)value.p, name.n, value.n, 0};
}

static struct http1_text text(const char *s)
{
    return (struct http1_text){s, strlen(s)};
}

static void send_trailers(nghttp2_session *to, int32_t id, const struct h2_section *s)
{
    nghttp2_nv nv[OS_HTTP1_FIELDS];
    for (size_t i = 0; i < s->head->n_fields; i++)
        nv[i] = pair(s->head->fields[i].name, s->head->fields[i].value);
    nghttp2_submit_trailer(to, id, nv, s->head->n_fields);
}

static ssize_t take(struct h2_stream *st, struct h2_pipe *p, enum h2_side from, nghttp2_session *to,
                    int32_t id, uint8_t *buf, size_t room, uint32_t *flags)
{
    size_t held = h2_pipe_held(p), n = held < room ? held : room;
    if (n) {
        take_bytes(p, buf, n);
        grant(st, from, p, n);
        st->moved_ms = os_clock_mono_ms();
    }
    if (n == held && p->ended) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        if (p->trailers.head && p->trailers.head->n_fields) {
            *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
            send_trailers(to, id, &p->trailers);
        }
    } else if (!n) {
        p->waits = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    return (ssize_t)n;
}

static ssize_t read_request(nghttp2_session *to, int32_t id, uint8_t *buf, size_t room, uint32_t *flags,
                            nghttp2_data_source *source, void *user)
{
    struct h2_stream *st = source->ptr;
    ssize_t n = take(st, &st->request, H2_AGENT, to, id, buf, room, flags);
    if (!h2_pipe_held(&st->request))
        release_budget(st);
    return n;
}

static ssize_t read_response(nghttp2_session *to, int32_t id, uint8_t *buf, size_t room, uint32_t *flags,
                             nghttp2_data_source *source, void *user)
{
    struct h2_stream *st = source->ptr;
    return take(st, &st->response, H2_UPSTREAM, to, id, buf, room, flags);
}

static void fill(struct h2_stream *st, struct h2_pipe *p, enum h2_side to, const void *data, size_t n,
                 bool ended)
{
    int32_t id = to == H2_AGENT ? st->agent : st->upstream;
    if (n)
        os_buf_add(&p->bytes, data, n);
    p->ended = p->ended || ended;
    st->moved_ms = os_clock_mono_ms();
    if (p->waits && id && (n || ended)) {
        p->waits = false;
        nghttp2_session_resume_data(st->h->session[to], id);
    }
}

/* The guard is done with the body; the window of what it still held is granted again. */
static void drop_guard(struct h2_stream *st)
{
    if (!st->guard)
        return;
    grant(st, H2_AGENT, &st->request, body_guard_held(st->guard));
    body_guard_free(st->guard);
    st->guard = NULL;
}

/* The rest of the body must not be sent: the upstream's stream is broken off, the agent is told why. */
static void refuse_body(struct h2_stream *st)
{
    struct deny_answer a cleanup_answer = {0};
    body_guard_answer(st->guard, &a);
    drop_guard(st);
    st->phase = H2_CLOSED;
    h2_stream_reset(st, H2_UPSTREAM, NGHTTP2_CANCEL);
    if (a.body && !st->answered)
        h2_answer(st->h->t, &st->r, &a);
    else
        h2_stream_reset(st, H2_AGENT, NGHTTP2_CANCEL);
}

static void guarded_data(struct h2_stream *st, const void *p, size_t n, bool ended)
{
    struct h2_relay *h = st->h;
    size_t held = body_guard_held(st->guard);
    os_buf_clear(&h->released);
    if (body_guard_feed(st->guard, p, n, ended, &h->released, &h->work)) {
        fill(st, &st->request, H2_UPSTREAM, os_buf_str(&h->released), h->released.len, ended);
        return;
    }
    grant(st, H2_AGENT, &st->request, held + n);
    refuse_body(st);
}

void h2_stream_request_data(struct h2_stream *st, const void *p, size_t n, bool ended)
{
    if (st->guard && !body_guard_holds(st->guard))
        body_guard_feed(st->guard, p, n, ended, NULL, &st->h->work);
    if (st->guard && body_guard_holds(st->guard))
        guarded_data(st, p, n, ended);
    else
        fill(st, &st->request, H2_UPSTREAM, p, n, ended);
    if (!st->upstream || st->phase == H2_CLOSED)
        discard(st, H2_AGENT, &st->request);
}

bool h2_stream_request_trailers(struct h2_stream *st, const struct h2_section *s)
{
    size_t held = st->guard ? body_guard_held(st->guard) : 0;
    if (!st->guard || body_guard_trailers(st->guard, s->head))
        return true;
    grant(st, H2_AGENT, &st->request, held);
    refuse_body(st);
    discard(st, H2_AGENT, &st->request);
    return false;
}

void h2_stream_response_data(struct h2_stream *st, const void *p, size_t n, bool ended)
{
    fill(st, &st->response, H2_AGENT, p, n, ended);
    if (!st->agent)
        discard(st, H2_UPSTREAM, &st->response);
}

/* --- heads --- */

/* The head that goes upstream; nv has room. Texts that are made here live in the arena of the request. */
static size_t request_fields(const struct h2_stream *st, nghttp2_nv *nv)
{
    const struct egress_request *r = &st->r;
    const struct http1_field *host = http1_find(r->head, "host", NULL);
    const char *path = r->target.path;
    size_t n = 0;
    if (r->target.query)
        path = os_arena_printf(r->arena, "%s?%s", path, r->target.query);
    nv[n++] = pair(text(":method"), text(r->method));
    nv[n++] = pair(text(":scheme"), text(st->h->t->scheme));
    if (host)
        nv[n++] = pair(text(":authority"), host->value);
    nv[n++] = pair(text(":path"), text(path));
    for (size_t i = 0; i < r->head->n_fields; i++) {
        const struct http1_field *f = &r->head->fields[i];
        if (!http1_text_is(f->name, "host") && request_field_passes(r, f, false))
            nv[n++] = pair(f->name, f->value);
    }
    if (r->body_read)
        nv[n++] = pair(text("content-length"), text(os_arena_printf(r->arena, "%zu", r->body.len)));
    return n;
}

/* gRPC carries its status in fields and takes any body for messages, so a refusal of a call is fields alone
 * (gRPC over HTTP/2, "Trailers-Only"). */
static bool is_grpc(const struct egress_request *r)
{
    static const char grpc[] = "application/grpc";
    const struct http1_field *type = r->head ? http1_find(r->head, "content-type", NULL) : NULL;
    return type && type->value.n >= sizeof(grpc) - 1 && !memcmp(type->value.p, grpc, sizeof(grpc) - 1);
}

void h2_stream_forward(struct h2_stream *st)
{
    struct h2_relay *h = st->h;
    nghttp2_session *up = h->session[H2_UPSTREAM];
    nghttp2_nv nv[OS_HTTP1_FIELDS + 5];
    nghttp2_data_provider body = {.source.ptr = st, .read_callback = read_request};
    size_t n = request_fields(st, nv);
    bool ended = st->r.body_read ? !st->r.body.len : st->r.head->framing == HTTP1_NO_BODY;
    int32_t id = h->draining || nghttp2_session_get_outbound_queue_size(up) > OS_PROXY_H2_QUEUE
                     ? -1
                     : nghttp2_submit_request(up, NULL, nv, n, ended ? NULL : &body, st);
    if (id < 0) {
        st->phase = H2_CLOSED;
        h2_stream_reset(st, H2_AGENT, NGHTTP2_REFUSED_STREAM);
        return;
    }
    st->phase = H2_OPEN;
    st->grpc = is_grpc(&st->r);
    st->upstream = id;
    st->request.ended = ended || st->r.body_read;
    if (st->r.body_read) {
        st->request.bytes = st->r.body;
        st->request.ours = true;
        st->r.body = (struct os_buf){0};
    }
    if (!ended && !st->r.body_read)
        st->guard = body_guard_new(&st->r, h->t->scheme, false);
    h2_stream_forget(st);
}

void h2_stream_interim(struct h2_stream *st, int status)
{
    nghttp2_nv nv[OS_HTTP1_FIELDS + 1];
    char digits[16];
    size_t n = 0;
    const struct http1_head *h = st->out.head;
    if (!st->agent)
        return;
    if (st->interims == OS_PROXY_INTERIM) {
        h2_count_worthless(st->h, H2_UPSTREAM);
        return;
    }
    st->interims++;
    snprintf(digits, sizeof(digits), "%d", status);
    nv[n++] = pair(text(":status"), text(digits));
    for (size_t i = 0; h && i < h->n_fields; i++)
        nv[n++] = pair(h->fields[i].name, h->fields[i].value);
    nghttp2_submit_headers(st->h->session[H2_AGENT], NGHTTP2_FLAG_NONE, st->agent, NULL, nv, n, NULL);
}

static void submit_response(struct h2_stream *st, const nghttp2_nv *nv, size_t n, bool ended)
{
    nghttp2_data_provider body = {.source.ptr = st, .read_callback = read_response};
    st->answered = true;
    st->response.ended = st->response.ended || ended;
    nghttp2_submit_response(st->h->session[H2_AGENT], st->agent, nv, n, ended ? NULL : &body);
}

void h2_stream_respond(struct h2_stream *st, bool ended)
{
    nghttp2_nv nv[OS_HTTP1_FIELDS + 1];
    char digits[16];
    size_t n = 0;
    const struct http1_head *h = st->out.head;
    snprintf(digits, sizeof(digits), "%d", h->status);
    nv[n++] = pair(text(":status"), text(digits));
    for (size_t i = 0; i < h->n_fields; i++)
        nv[n++] = pair(h->fields[i].name, h->fields[i].value);
    if (st->agent)
        submit_response(st, nv, n, ended);
}

/* Percent-encoded as gRPC wants it, at most that many bytes of it. */
#define GRPC_MESSAGE 1024

static void put_grpc_message(struct os_buf *out, const char *detail)
{
    for (const unsigned char *p = (const unsigned char *)detail; *p && out->len < GRPC_MESSAGE; p++)
        if (*p >= 0x20 && *p < 0x7f && *p != '%')
            os_buf_addc(out, (char)*p);
        else
            os_buf_addf(out, "%%%02X", *p);
}

static void answer_grpc(struct h2_stream *st, const struct deny_answer *a)
{
    cleanup_buf struct os_buf message = {0};
    nghttp2_nv nv[5];
    size_t n = 0;
    const char *status = !memcmp(a->status_line, "403", 3)   ? "7"   /* PERMISSION_DENIED */
                         : !memcmp(a->status_line, "400", 3) ? "13"  /* INTERNAL */
                                                             : "14"; /* UNAVAILABLE */
    put_grpc_message(&message, a->detail);
    nv[n++] = pair(text(":status"), text("200"));
    nv[n++] = pair(text("content-type"), text("application/grpc"));
    nv[n++] = pair(text("grpc-status"), text(status));
    nv[n++] = pair(text("grpc-message"), text(os_buf_str(&message)));
    if (a->policy)
        nv[n++] = pair(text("x-openshell-policy"), text(a->policy));
    st->response.ours = true;
    st->response.ended = true;
    submit_response(st, nv, n, true);
}

void h2_answer(const struct tunnel_http *t, struct egress_request *r, const struct deny_answer *a)
{
    struct h2_stream *st = (struct h2_stream *)((char *)r - offsetof(struct h2_stream, r));
    nghttp2_nv nv[4];
    char digits[24];
    size_t n = 0;
    st->phase = H2_CLOSED;
    if (!st->agent || st->answered)
        return;
    if (!a->body) {
        h2_stream_reset(st, H2_AGENT, NGHTTP2_INTERNAL_ERROR);
        return;
    }
    if ((st->grpc || is_grpc(r)) && a->detail) {
        answer_grpc(st, a);
        release_budget(st);
        os_buf_free(&st->r.body);
        return;
    }
    struct http1_text body = text(a->body);
    snprintf(digits, sizeof(digits), "%zu", body.n);
    nv[n++] = pair(text(":status"), (struct http1_text){a->status_line, 3});
    nv[n++] = pair(text("content-type"), text(a->type));
    nv[n++] = pair(text("content-length"), text(digits));
    if (a->policy)
        nv[n++] = pair(text("x-openshell-policy"), text(a->policy));
    st->response.ours = true;
    submit_response(st, nv, n, false);
    fill(st, &st->response, H2_AGENT, body.p, body.n, true);
    release_budget(st);
    os_buf_free(&st->r.body);
}

/* --- the end --- */

void h2_stream_reset(struct h2_stream *st, enum h2_side side, uint32_t code)
{
    int32_t id = side == H2_AGENT ? st->agent : st->upstream;
    if (id)
        nghttp2_submit_rst_stream(st->h->session[side], NGHTTP2_FLAG_NONE, id, code);
}

/* What an error on one side is to the other; errors of that side's own framing are none of its business. */
static uint32_t carried(uint32_t code, uint32_t other)
{
    switch (code) {
    case NGHTTP2_CANCEL:
    case NGHTTP2_REFUSED_STREAM:
    case NGHTTP2_INTERNAL_ERROR:
    case NGHTTP2_ENHANCE_YOUR_CALM:
    case NGHTTP2_INADEQUATE_SECURITY:
    case NGHTTP2_HTTP_1_1_REQUIRED:
        return code;
    default:
        return other;
    }
}

static void closed_agent(struct h2_stream *st, uint32_t code)
{
    st->agent = 0;
    discard(st, H2_UPSTREAM, &st->response);
    if (code == NGHTTP2_NO_ERROR && st->request.ended && st->response.ended)
        return; /* the upstream may still want the rest of the body */
    h2_stream_reset(st, H2_UPSTREAM, carried(code, NGHTTP2_CANCEL));
}

static void closed_upstream(struct h2_stream *st, uint32_t code, const char *why)
{
    struct os_error err cleanup_error = {0};
    st->upstream = 0;
    drop_guard(st);
    discard(st, H2_AGENT, &st->request);
    release_budget(st);
    if (!st->agent || st->response.ended)
        return;
    if (st->answered) {
        h2_stream_reset(st, H2_AGENT, carried(code, NGHTTP2_INTERNAL_ERROR));
    } else if (!st->sent || code == NGHTTP2_REFUSED_STREAM) {
        h2_stream_reset(st, H2_AGENT, NGHTTP2_REFUSED_STREAM);
    } else if (st->reset) {
        h2_stream_reset(st, H2_AGENT, carried(code, NGHTTP2_INTERNAL_ERROR));
    } else {
        os_error_set(&err, OS_UNAVAILABLE, "%s", why ? why : nghttp2_http2_strerror(code));
        event_failure(st->h->t->c, "L7 relay error", &err);
        gate_no_upstream(st->h->t, &st->r, os_error_text(&err));
    }
}

void h2_stream_closed(struct h2_stream *st, enum h2_side side, uint32_t code, const char *why)
{
    if (side == H2_AGENT)
        closed_agent(st, code);
    else
        closed_upstream(st, code, why);
    if (!st->agent && !st->upstream && !h2_chain_outlives(st))
        h2_stream_free(st);
}
