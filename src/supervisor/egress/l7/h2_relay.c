/* The two sessions of an HTTP/2 tunnel: their settings, what a peer may cost, and how they end. */
#include <stdlib.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/str.h"
#include "supervisor/egress/l7/h2.h"

/* --- what a peer may cost --- */

/* Counts one; false when there were more than burst at once, or than rate a second for longer. */
static bool spend(struct h2_bucket *b, unsigned burst, unsigned rate)
{
    int64_t now = os_clock_mono_ms();
    b->used -= (double)(now - b->ms) * rate / 1000;
    b->used = (b->used < 0 ? 0 : b->used) + 1;
    b->ms = now;
    return b->used <= burst;
}

static void calm(struct h2_relay *h, enum h2_side side, const char *why)
{
    if (h->why[side])
        return;
    h->why[side] = why;
    nghttp2_session_terminate_session(h->session[side], NGHTTP2_ENHANCE_YOUR_CALM);
}

void h2_count_reset(struct h2_relay *h, enum h2_side side)
{
    if (!spend(&h->resets[side], OS_H2_RESET_BURST, OS_H2_RESET_RATE))
        calm(h, side, "too many streams reset");
}

void h2_count_worthless(struct h2_relay *h, enum h2_side side)
{
    if (!spend(&h->worthless[side], OS_PROXY_H2_WORTHLESS_BURST, OS_PROXY_H2_WORTHLESS_RATE))
        calm(h, side, "too many frames without content");
}

/* Frames that carry nothing; what carries something pays for one of them. */
static int count_frame(struct h2_relay *h, enum h2_side side, const nghttp2_frame_hd *hd)
{
    struct h2_bucket *b = &h->worthless[side];
    switch (hd->type) {
    case NGHTTP2_DATA:
        if (hd->length || (hd->flags & NGHTTP2_FLAG_END_STREAM)) {
            b->used -= b->used >= 1 ? 1 : 0;
            return 0;
        }
        break;
    case NGHTTP2_HEADERS:
    case NGHTTP2_CONTINUATION:  /* bounded by the library */
    case NGHTTP2_RST_STREAM:    /* counted apart */
    case NGHTTP2_WINDOW_UPDATE: /* one for every piece of data is usual */
        return 0;
    default:
        break;
    }
    h2_count_worthless(h, side);
    return 0;
}

static int on_agent_frame(nghttp2_session *session, const nghttp2_frame_hd *hd, void *user)
{
    return count_frame(user, H2_AGENT, hd);
}

static int on_upstream_frame(nghttp2_session *session, const nghttp2_frame_hd *hd, void *user)
{
    return count_frame(user, H2_UPSTREAM, hd);
}

/* A field that is not valid makes its message invalid; the library alone would leave it out. */
static int on_invalid_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                             size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                             void *user)
{
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

/* --- start --- */

static nghttp2_session *make_session(struct h2_relay *h, enum h2_side side)
{
    nghttp2_session *session;
    nghttp2_session_callbacks *cb;
    nghttp2_option *opt;
    if (nghttp2_session_callbacks_new(&cb) || nghttp2_option_new(&opt))
        abort();
    nghttp2_session_callbacks_set_on_invalid_header_callback(cb, on_invalid_header);
    nghttp2_session_callbacks_set_on_begin_frame_callback(cb, side == H2_AGENT ? on_agent_frame
                                                                               : on_upstream_frame);
    if (side == H2_AGENT)
        h2_agent_callbacks(cb);
    else
        h2_upstream_callbacks(cb);
    nghttp2_option_set_no_auto_window_update(opt, 1);
    nghttp2_option_set_no_closed_streams(opt, 1);
    /* h2_count_reset() is the bound; the library's own one stays behind it. */
    nghttp2_option_set_stream_reset_rate_limit(opt, 2 * OS_H2_RESET_BURST, 2 * OS_H2_RESET_RATE);
    int rc = side == H2_AGENT ? nghttp2_session_server_new2(&session, cb, h, opt)
                              : nghttp2_session_client_new2(&session, cb, h, opt);
    nghttp2_option_del(opt);
    nghttp2_session_callbacks_del(cb);
    if (rc)
        abort();
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, OS_PROXY_H2_STREAM_WINDOW},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, OS_PROXY_HEADER},
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, OS_PROXY_H2_STREAMS},
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
    };
    nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, settings, side == H2_AGENT ? 3 : 4);
    nghttp2_session_set_local_window_size(session, NGHTTP2_FLAG_NONE, 0, OS_PROXY_H2_WINDOW);
    h->waits_since[side] = h->resets[side].ms = h->worthless[side].ms = os_clock_mono_ms();
    return session;
}

struct h2_relay *h2_relay_new(const struct tunnel_http *t)
{
    struct h2_relay *h = os_calloc(1, sizeof(*h));
    h->t = t;
    h->wake = -1;
    for (enum h2_side side = 0; side < H2_SIDES; side++)
        h->session[side] = make_session(h, side);
    return h;
}

void h2_relay_free(struct h2_relay *h)
{
    for (enum h2_side side = 0; side < H2_SIDES; side++)
        nghttp2_session_del(h->session[side]);
    while (h->streams)
        h2_stream_free(h->streams);
    os_buf_free(&h->work);
    os_buf_free(&h->released);
    if (h->wake >= 0)
        close(h->wake);
    free(h);
}

/* --- bytes --- */

static int broken(const struct h2_relay *h, enum h2_side side, struct os_error *err)
{
    return os_error_set(err, OS_UNAVAILABLE, "%s broke the HTTP/2 protocol: %s",
                        side == H2_AGENT ? "client" : "upstream", h->why[side]);
}

int h2_relay_feed(struct h2_relay *h, enum h2_side side, const char *p, size_t n, struct os_error *err)
{
    nghttp2_session *session = h->session[side];
    ssize_t r = nghttp2_session_mem_recv(session, (const uint8_t *)p, n);
    if (r >= 0)
        return 0;
    if (r == NGHTTP2_ERR_FLOODED)
        nghttp2_session_terminate_session(session, NGHTTP2_ENHANCE_YOUR_CALM);
    if (!h->why[side])
        h->why[side] = nghttp2_strerror((int)r);
    return broken(h, side, err);
}

int h2_relay_pull(struct h2_relay *h, enum h2_side side, struct os_buf *out, struct os_error *err)
{
    const uint8_t *data;
    ssize_t n;
    while (out->len < OS_PROXY_COPY && (n = nghttp2_session_mem_send(h->session[side], &data)) != 0) {
        if (n < 0)
            return os_error_set(err, OS_INTERNAL, "HTTP/2 failed: %s", nghttp2_strerror((int)n));
        os_buf_add(out, data, (size_t)n);
    }
    return h->why[side] && !out->len ? broken(h, side, err) : 0;
}

bool h2_relay_clogged(const struct h2_relay *h, enum h2_side side)
{
    return nghttp2_session_get_outbound_queue_size(h->session[side]) > OS_PROXY_H2_QUEUE;
}

/* --- the end --- */

void h2_relay_goodbye(struct h2_relay *h, enum h2_side side)
{
    if (!h->why[side])
        nghttp2_session_terminate_session(h->session[side], NGHTTP2_NO_ERROR);
}

void h2_relay_drain(struct h2_relay *h)
{
    if (h->draining)
        return;
    nghttp2_session *agent = h->session[H2_AGENT];
    h->draining = true;
    nghttp2_submit_goaway(agent, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(agent),
                          NGHTTP2_NO_ERROR, NULL, 0);
}

void h2_relay_lost_upstream(struct h2_relay *h, const struct os_error *err)
{
    struct h2_stream *next;
    h2_relay_drain(h);
    for (struct h2_stream *st = h->streams; st; st = next) {
        next = st->next;
        if (st->upstream) {
            nghttp2_session_set_stream_user_data(h->session[H2_UPSTREAM], st->upstream, NULL);
            h2_stream_closed(st, H2_UPSTREAM, NGHTTP2_INTERNAL_ERROR, os_error_text(err));
        }
    }
}

static bool is_stuck(const struct h2_stream *st)
{
    return st->phase == H2_COLLECT || h2_pipe_held(&st->request) || h2_pipe_held(&st->response);
}

int h2_relay_tick(struct h2_relay *h, struct os_error *err)
{
    int64_t now = os_clock_mono_ms();
    int next = -1;
    for (enum h2_side side = 0; side < H2_SIDES; side++) {
        if (!h->waits_since[side])
            continue;
        next = 1000;
        if (now - h->waits_since[side] > OS_PROXY_FIRST_BYTE_MS)
            return os_error_set(err, OS_DEADLINE_EXCEEDED, "no complete HTTP/2 settings or head within %d s",
                                OS_PROXY_FIRST_BYTE_MS / 1000);
    }
    for (struct h2_stream *st = h->streams; st; st = st->next) {
        if (!is_stuck(st))
            continue;
        next = 1000;
        if (now - st->moved_ms <= OS_PROXY_BODY_IDLE_MS)
            continue;
        st->moved_ms = now;
        h2_stream_reset(st, H2_AGENT, NGHTTP2_CANCEL);
        h2_stream_reset(st, H2_UPSTREAM, NGHTTP2_CANCEL);
    }
    return next;
}

bool h2_relay_over(const struct h2_relay *h)
{
    nghttp2_session *agent = h->session[H2_AGENT];
    if (nghttp2_session_want_write(agent))
        return false;
    return !nghttp2_session_want_read(agent) || ((h->draining || h->agent_leaves) && !h->streams);
}
