/* The upstream's side of an HTTP/2 tunnel: interim and final heads, bodies and trailers of responses go on to
 * the agent's stream. */
#include <string.h>

#include "core/clock.h"
#include "core/str.h"
#include "supervisor/egress/l7/h2.h"

static struct h2_stream *stream_of(nghttp2_session *session, int32_t id)
{
    return nghttp2_session_get_stream_user_data(session, id);
}

/* A response that cannot be passed on. */
static void refuse(struct h2_stream *st, const struct os_error *err)
{
    struct h2_relay *h = st->h;
    event_failure(h->t->c, "L7 relay error", err);
    gate_no_upstream(h->t, &st->r, os_error_text(err));
    h2_stream_reset(st, H2_UPSTREAM, NGHTTP2_CANCEL);
}

static void head(struct h2_stream *st, bool ended)
{
    struct os_error err cleanup_error = {0};
    if (h2_response_head(&st->out, &err) < 0) {
        refuse(st, &err);
    } else if (st->out.head->status < 200) {
        h2_stream_interim(st, st->out.head->status);
    } else {
        st->final = true;
        h2_stream_respond(st, ended);
    }
}

static void trailers(struct h2_stream *st)
{
    if (st->out.too_long) {
        h2_stream_reset(st, H2_UPSTREAM, NGHTTP2_ENHANCE_YOUR_CALM);
        return;
    }
    st->response.trailers = st->out;
    st->out = (struct h2_section){0};
    h2_stream_response_data(st, NULL, 0, true);
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct h2_relay *h = user;
    struct h2_stream *st = stream_of(session, frame->hd.stream_id);
    h->waits_since[H2_UPSTREAM] = os_clock_mono_ms();
    if (st)
        h2_section_free(&st->out);
    return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags, void *user)
{
    struct h2_stream *st = stream_of(session, frame->hd.stream_id);
    if (st)
        h2_section_add(&st->out, (const char *)name, name_len, (const char *)value, value_len);
    return 0;
}

/* Ours: the answer was given here. */
static bool is_ours(const struct h2_stream *st)
{
    return st->phase == H2_CLOSED || st->response.ours;
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct h2_relay *h = user;
    struct h2_stream *st = frame->hd.stream_id ? stream_of(session, frame->hd.stream_id) : NULL;
    bool ended = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    h->waits_since[H2_UPSTREAM] = 0;
    if (frame->hd.type == NGHTTP2_GOAWAY)
        h2_relay_drain(h);
    if (st && frame->hd.type == NGHTTP2_RST_STREAM)
        st->reset = true;
    if (!st || is_ours(st))
        return 0;
    if (frame->hd.type == NGHTTP2_HEADERS && !st->final) {
        head(st, ended);
        h2_section_free(&st->out);
    } else if (frame->hd.type == NGHTTP2_HEADERS) {
        trailers(st);
    } else if (frame->hd.type == NGHTTP2_DATA && ended) {
        h2_stream_response_data(st, NULL, 0, true);
    }
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data, size_t n,
                   void *user)
{
    struct h2_stream *st = stream_of(session, id);
    if (st && st->final && !is_ours(st))
        h2_stream_response_data(st, data, n, false);
    else
        nghttp2_session_consume(session, id, n);
    return 0;
}

static int on_invalid_frame(nghttp2_session *session, const nghttp2_frame *frame, int error, void *user)
{
    struct h2_relay *h = user;
    h->waits_since[H2_UPSTREAM] = 0;
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *user)
{
    struct h2_stream *st = stream_of(session, id);
    if (st && st->reset)
        h2_count_reset(user, H2_UPSTREAM);
    if (st)
        h2_stream_closed(st, H2_UPSTREAM, code, NULL);
    return 0;
}

static int on_frame_send(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct h2_relay *h = user;
    struct h2_stream *st = frame->hd.stream_id ? stream_of(session, frame->hd.stream_id) : NULL;
    if (frame->hd.type == NGHTTP2_GOAWAY && frame->goaway.error_code != NGHTTP2_NO_ERROR &&
        !h->why[H2_UPSTREAM])
        h->why[H2_UPSTREAM] = nghttp2_http2_strerror(frame->goaway.error_code);
    if (st && frame->hd.type == NGHTTP2_HEADERS)
        st->sent = true;
    return 0;
}

void h2_upstream_callbacks(nghttp2_session_callbacks *cb)
{
    nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame_recv);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(cb, on_invalid_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
    nghttp2_session_callbacks_set_on_frame_send_callback(cb, on_frame_send);
}
