/* What a peer may cost us: floods of frames that cost it nothing, requests that never arrive, answers that
 * are never taken, silence. Header lists, messages and windows are bounded where they are read (call.c,
 * conn.c). */
#include "core/clock.h"
#include "core/limits.h"
#include "rpc/h2.h"

/* --- floods --- */

/* False when one more is too many. */
static bool take(struct rpc_bucket *b, unsigned burst, unsigned rate)
{
    int64_t now = os_clock_mono_ms(), back = (now - b->filled_ms) * rate / 1000;
    if (back > 0) {
        b->used = back >= b->used ? 0 : b->used - (unsigned)back;
        b->filled_ms = now;
    }
    return ++b->used <= burst;
}

/* Opening a stream and resetting it, or having it reset by a broken frame, costs a client nothing and us
 * work. */
static void count_reset(struct rpc_conn *conn)
{
    if (conn->is_server && !take(&conn->resets, OS_H2_RESET_BURST, OS_H2_RESET_RATE))
        nghttp2_session_terminate_session(conn->h2, NGHTTP2_ENHANCE_YOUR_CALM);
}

/* Frames that carry nothing: each has to be looked at, and some to be answered. */
static bool is_chatter(const nghttp2_frame *frame)
{
    switch (frame->hd.type) {
    case NGHTTP2_PING:
    case NGHTTP2_SETTINGS:
        return !(frame->hd.flags & NGHTTP2_FLAG_ACK);
    case NGHTTP2_PRIORITY:
        return true;
    case NGHTTP2_DATA:
        return frame->hd.length == frame->data.padlen && !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM);
    default:
        return false;
    }
}

void rpc_h2_count_received(struct rpc_conn *conn, const nghttp2_frame *frame)
{
    if (frame->hd.type == NGHTTP2_RST_STREAM)
        count_reset(conn);
    else if (is_chatter(frame) && !take(&conn->chatter, OS_H2_CHATTER_BURST, OS_H2_CHATTER_RATE))
        nghttp2_session_terminate_session(conn->h2, NGHTTP2_ENHANCE_YOUR_CALM);
}

void rpc_h2_count_sent(struct rpc_conn *conn, const nghttp2_frame *frame)
{
    if (frame->hd.type != NGHTTP2_RST_STREAM)
        return;
    uint32_t why = frame->rst_stream.error_code;
    if (why != NGHTTP2_NO_ERROR && why != NGHTTP2_CANCEL && why != NGHTTP2_INTERNAL_ERROR)
        count_reset(conn);
}

/* --- stalls --- */

/* False when the connection was closed. */
static bool check_call(struct rpc_conn *conn, struct rpc_call *call, int64_t now)
{
    int64_t quiet = now - call->step_ms;
    if (!call->headers_done && quiet > OS_H2_REQUEST_MS) {
        rpc_conn_close(conn, OS_DEADLINE_EXCEEDED, "request headers did not arrive within %d s",
                       OS_H2_REQUEST_MS / 1000);
        return false;
    }
    bool waits = call->method && !call->method->client_stream && !call->rx_ended && !call->finished;
    if (waits && quiet > OS_H2_REQUEST_MS)
        rpc_call_finish(call, OS_DEADLINE_EXCEEDED, "the request message did not arrive in time");
    else if (call->finished && !call->tx_done && quiet > OS_H2_ANSWER_MS)
        rpc_h2_reset(call, NGHTTP2_CANCEL);
    return true;
}

static bool check_stalls(struct rpc_conn *conn)
{
    int64_t now = (int64_t)uv_now(conn->turn->loop);
    for (struct rpc_call *call = conn->calls, *next; call; call = next) {
        next = call->next;
        if (!check_call(conn, call, now))
            return false;
    }
    return true;
}

/* --- silence --- */

void rpc_h2_on_timer(struct rpc_conn *conn)
{
    int64_t timeout = conn->is_server ? OS_H2_PING_TIMEOUT_MS : OS_H2_CLIENT_PING_TIMEOUT_MS;
    if (conn->phase == RPC_LINGER) {
        rpc_conn_close(conn, OS_UNAVAILABLE, "the peer did not close after the end");
    } else if (conn->phase == RPC_OPENING) {
        rpc_conn_close(conn, OS_UNAVAILABLE, "the peer did not complete the HTTP/2 handshake in %d s",
                       (conn->is_server ? OS_H2_OPEN_TIMEOUT_MS : OS_CONNECT_TIMEOUT_MS) / 1000);
    } else if (conn->phase == RPC_PINGED && !conn->heard) {
        /* A loop that did not run for a while sees the timer before the answer: look once more. */
        conn->phase = RPC_DOUBTED;
        rpc_conn_timer(conn, 1);
    } else if (conn->phase == RPC_DOUBTED && !conn->heard) {
        rpc_conn_close(conn, OS_UNAVAILABLE, "keepalive: no answer to a ping for %d s",
                       (int)(timeout / 1000));
    } else if (!conn->is_server || check_stalls(conn)) {
        if (conn->phase == RPC_LIVE)
            nghttp2_submit_ping(conn->h2, NGHTTP2_FLAG_NONE, NULL);
        conn->phase = RPC_PINGED;
        conn->heard = false;
        rpc_conn_timer(conn, timeout);
        rpc_turn_dirty(conn->turn, conn);
    }
}
