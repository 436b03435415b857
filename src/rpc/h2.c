/* The nghttp2 session of a connection: frames in become headers and bytes of calls, queued bytes of calls
 * become frames out. The owner of a call is never told anything from here (see turn.c). */
#include "rpc/h2.h"

#include <string.h>

#include "core/clock.h"
#include "core/limits.h"
#include "core/str.h"
#include "rpc/internal.h"
#include "rpc/status.h"

/* --- from the peer --- */

static int on_begin_headers(nghttp2_session *h2, const nghttp2_frame *frame, void *user)
{
    struct rpc_conn *conn = user;
    if (!conn->is_server || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    struct rpc_call *call = rpc_call_new(conn->turn, true);
    call->stream_id = frame->hd.stream_id;
    call->peer = rpc_peer_ref(conn->peer);
    call->rx_limit = OS_LIMIT_GRPC_MESSAGE;
    rpc_call_attach(call, conn);
    nghttp2_session_set_stream_user_data(h2, frame->hd.stream_id, call);
    return 0;
}

/* Status, code and message of a response; true when the header needs no keeping. */
static bool client_header(struct rpc_call *call, const char *name, const uint8_t *value, size_t n)
{
    if (strcmp(name, ":status") == 0) {
        uint64_t status = 0;
        os_str_u64n((const char *)value, n, 999, &status);
        call->http_status = (int)status;
    } else if (strcmp(name, "grpc-status") == 0) {
        call->got_status = true;
        call->status.code = rpc_status_parse((const char *)value, n);
    } else if (strcmp(name, "grpc-message") == 0 && !call->status.msg) {
        cleanup_buf struct os_buf text = {0};
        rpc_message_decode(&text, (const char *)value, n);
        call->status.msg = os_strdup(os_buf_str(&text));
    } else {
        return false;
    }
    return true;
}

static int on_header(nghttp2_session *h2, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
                     const uint8_t *value, size_t value_len, uint8_t flags, void *user)
{
    struct rpc_call *call = nghttp2_session_get_stream_user_data(h2, frame->hd.stream_id);
    if (!call || call->ending)
        return 0;
    bool status = !call->is_server && client_header(call, (const char *)name, value, value_len);
    if (!status && !call->headers_done)
        rpc_call_add_header(call, (const char *)name, name_len, (const char *)value, value_len);
    return 0;
}

static void ended_by_peer(struct rpc_call *call)
{
    call->rx_ended = true;
    rpc_turn_ready(call->turn, call);
}

static void on_headers_complete(struct rpc_conn *conn, const nghttp2_frame *frame)
{
    struct rpc_call *call = nghttp2_session_get_stream_user_data(conn->h2, frame->hd.stream_id);
    if (!call)
        return;
    bool interim = !call->is_server && call->http_status >= 100 && call->http_status < 200;
    if (interim)
        os_buf_clear(&call->headers);
    else
        call->headers_done = true;
    if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
        call->rx_ended = true;
    rpc_turn_ready(call->turn, call);
}

static void on_ping_answered(struct rpc_conn *conn, const uint8_t mark[8])
{
    if (conn->phase != RPC_OPENING) {
        conn->phase = RPC_LIVE;
        rpc_conn_timer(conn, conn->is_server ? OS_H2_PING_INTERVAL_MS : OS_H2_CLIENT_PING_INTERVAL_MS);
    }
    rpc_h2_goaway_read(conn, mark);
}

static int on_frame_recv(nghttp2_session *h2, const nghttp2_frame *frame, void *user)
{
    struct rpc_conn *conn = user;
    rpc_h2_count_received(conn, frame);
    switch (frame->hd.type) {
    case NGHTTP2_SETTINGS:
        if (conn->phase == RPC_OPENING && !(frame->hd.flags & NGHTTP2_FLAG_ACK)) {
            conn->phase = RPC_LIVE;
            rpc_conn_timer(conn, conn->is_server ? OS_H2_PING_INTERVAL_MS : OS_H2_CLIENT_PING_INTERVAL_MS);
        }
        break;
    case NGHTTP2_HEADERS:
        on_headers_complete(conn, frame);
        break;
    case NGHTTP2_DATA:
        if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) {
            struct rpc_call *call = nghttp2_session_get_stream_user_data(h2, frame->hd.stream_id);
            if (call)
                ended_by_peer(call);
        }
        break;
    case NGHTTP2_PING:
        if (frame->hd.flags & NGHTTP2_FLAG_ACK)
            on_ping_answered(conn, frame->ping.opaque_data);
        break;
    case NGHTTP2_GOAWAY:
        conn->draining = true;
        rpc_h2_move_waiting(conn);
        break;
    default:
        break;
    }
    return 0;
}

static int on_data_chunk(nghttp2_session *h2, uint8_t flags, int32_t stream_id, const uint8_t *data, size_t n,
                         void *user)
{
    /* The connection window only bounds bytes in flight; what a call holds is bounded by its stream window.
     */
    nghttp2_session_consume_connection(h2, n);
    struct rpc_call *call = nghttp2_session_get_stream_user_data(h2, stream_id);
    if (call)
        rpc_call_receive(call, data, n);
    else
        nghttp2_session_consume_stream(h2, stream_id, n);
    return 0;
}

static int on_stream_close(nghttp2_session *h2, int32_t stream_id, uint32_t error_code, void *user)
{
    struct rpc_conn *conn = user;
    struct rpc_call *call = nghttp2_session_get_stream_user_data(h2, stream_id);
    if (!call)
        return 0;
    nghttp2_session_set_stream_user_data(h2, stream_id, NULL);
    if (rpc_h2_may_move(conn, call, error_code)) {
        conn->ops->move(conn, call);
        return 0;
    }
    call->has_deadline = false;
    if (!call->is_server)
        rpc_call_end_client(call, error_code);
    else if (call->tx_done && error_code == NGHTTP2_NO_ERROR)
        rpc_call_end(call, false, OS_OK, NULL);
    else
        rpc_call_end(call, false, OS_CANCELLED, "the client cancelled the call");
    rpc_call_detach(call);
    return 0;
}

/* --- to the peer --- */

static ssize_t read_data(nghttp2_session *h2, int32_t stream_id, uint8_t *buf, size_t room, uint32_t *flags,
                         nghttp2_data_source *source, void *user)
{
    struct rpc_call *call = source->ptr;
    size_t have = call->tx.len - call->tx_off, n = have < room ? have : room;
    if (n) {
        memcpy(buf, call->tx.data + call->tx_off, n);
        call->tx_off += n;
        call->tx_taken = true;
        call->step_ms = (int64_t)uv_now(call->turn->loop);
        have -= n;
        if (!have)
            rpc_call_tx_drained(call);
        if (call->tx_full && have < OS_RELAY_WINDOW / 2) {
            call->tx_full = false;
            call->wake_writer = true;
            rpc_turn_ready(call->turn, call);
        }
    }
    if (!have && call->tx_ended) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        if (call->tx_trailers) {
            *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
            rpc_h2_trailers(call);
        }
    } else if (!n) {
        call->tx_deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    return (ssize_t)n;
}

static int on_frame_send(nghttp2_session *h2, const nghttp2_frame *frame, void *user)
{
    struct rpc_conn *conn = user;
    rpc_h2_count_sent(conn, frame);
    if (frame->hd.type != NGHTTP2_DATA && frame->hd.type != NGHTTP2_HEADERS)
        return 0;
    struct rpc_call *call = nghttp2_session_get_stream_user_data(h2, frame->hd.stream_id);
    if (!call)
        return 0;
    call->opened = true;
    if (!(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
        return 0;
    call->tx_done = true;
    /* The answer is complete, whatever the client was still going to say (RFC 9113 8.1). */
    if (conn->is_server && !call->rx_ended)
        nghttp2_submit_rst_stream(h2, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_NO_ERROR);
    return 0;
}

void rpc_h2_wake(struct rpc_call *call)
{
    if (!call->conn || !call->stream_id)
        return;
    if (call->tx_deferred) {
        call->tx_deferred = false;
        nghttp2_session_resume_data(call->conn->h2, call->stream_id);
    }
    rpc_turn_dirty(call->turn, call->conn);
}

void rpc_h2_reset(struct rpc_call *call, uint32_t error_code)
{
    if (!call->conn || !call->stream_id)
        return;
    nghttp2_submit_rst_stream(call->conn->h2, NGHTTP2_FLAG_NONE, call->stream_id, error_code);
    rpc_turn_dirty(call->turn, call->conn);
}

void rpc_h2_credit(struct rpc_call *call, size_t n)
{
    if (!n || !call->conn || !call->stream_id)
        return;
    nghttp2_session_consume_stream(call->conn->h2, call->stream_id, n);
    rpc_turn_dirty(call->turn, call->conn);
}

void rpc_h2_submit(struct rpc_call *call, const nghttp2_nv *nv, size_t n, bool fin)
{
    nghttp2_data_provider body = {.source.ptr = call, .read_callback = read_data};
    call->headers_sent = true;
    nghttp2_submit_response(call->conn->h2, call->stream_id, nv, n, fin ? NULL : &body);
    rpc_turn_dirty(call->turn, call->conn);
}

int rpc_h2_submit_request(struct rpc_conn *conn, struct rpc_call *call, const nghttp2_nv *nv, size_t n)
{
    nghttp2_data_provider body = {.source.ptr = call, .read_callback = read_data};
    int32_t id = nghttp2_submit_request(conn->h2, NULL, nv, n, &body, call);
    if (id < 0)
        return -1;
    call->stream_id = id;
    call->headers_sent = true;
    rpc_turn_dirty(conn->turn, conn);
    return 0;
}

void rpc_h2_fill(struct rpc_conn *conn, struct os_buf *out, size_t room)
{
    const uint8_t *data;
    while (out->len < room) {
        ssize_t n = nghttp2_session_mem_send(conn->h2, &data);
        if (n < 0) {
            rpc_conn_close(conn, OS_INTERNAL, "HTTP/2 failed: %s", nghttp2_strerror((int)n));
            return;
        }
        if (n == 0)
            return;
        os_buf_add(out, data, (size_t)n);
    }
}

/* --- session --- */

void rpc_h2_feed(struct rpc_conn *conn, const uint8_t *data, size_t n)
{
    if (conn->phase == RPC_LINGER)
        return;
    ssize_t r = nghttp2_session_mem_recv(conn->h2, data, n);
    if (r < 0) {
        if (r == NGHTTP2_ERR_FLOODED)
            nghttp2_session_terminate_session(conn->h2, NGHTTP2_ENHANCE_YOUR_CALM);
        rpc_conn_flush(conn);
        rpc_conn_close(conn, OS_UNAVAILABLE, "peer broke the HTTP/2 protocol: %s", nghttp2_strerror((int)r));
        return;
    }
    if (conn->is_server && nghttp2_session_get_outbound_queue_size(conn->h2) > OS_H2_QUEUE) {
        rpc_conn_close(conn, OS_RESOURCE_EXHAUSTED, "the peer makes work and does not read the answers");
        return;
    }
    if (nghttp2_session_want_write(conn->h2) || !nghttp2_session_want_read(conn->h2) || conn->draining)
        rpc_turn_dirty(conn->turn, conn);
}

static nghttp2_session_callbacks *make_callbacks(void)
{
    nghttp2_session_callbacks *cb;
    if (nghttp2_session_callbacks_new(&cb) != 0)
        abort();
    nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame_recv);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data_chunk);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
    nghttp2_session_callbacks_set_on_frame_send_callback(cb, on_frame_send);
    return cb;
}

void rpc_h2_start(struct rpc_conn *conn)
{
    nghttp2_session_callbacks *cb = make_callbacks();
    nghttp2_option *opt;
    if (nghttp2_option_new(&opt) != 0)
        abort();
    nghttp2_option_set_no_auto_window_update(opt, 1);
    nghttp2_option_set_no_closed_streams(opt, 1);
    /* rpc_h2_count_received() is the bound; the library's own one stays behind it. */
    nghttp2_option_set_stream_reset_rate_limit(opt, 2 * OS_H2_RESET_BURST, 2 * OS_H2_RESET_RATE);
    int r = conn->is_server ? nghttp2_session_server_new2(&conn->h2, cb, conn, opt)
                            : nghttp2_session_client_new2(&conn->h2, cb, conn, opt);
    nghttp2_option_del(opt);
    nghttp2_session_callbacks_del(cb);
    if (r != 0)
        abort();
    nghttp2_settings_entry iv[] = {
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, OS_H2_STREAM_WINDOW},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, OS_LIMIT_HEADER_LIST},
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, OS_LIMIT_STREAMS_PER_CONNECTION},
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
    };
    nghttp2_submit_settings(conn->h2, NGHTTP2_FLAG_NONE, iv, conn->is_server ? 3 : 4);
    nghttp2_session_set_local_window_size(conn->h2, NGHTTP2_FLAG_NONE, 0, OS_H2_CONNECTION_WINDOW);
    rpc_turn_dirty(conn->turn, conn);
}
