/* How a connection ends: goodbyes in either direction, calls that go elsewhere, the last bytes, the end of
 * all calls. */
#include <string.h>

#include "core/limits.h"
#include "rpc/h2.h"

/* RFC 9113 6.8: a notice that takes nothing back, then, once the peer must have read it, which streams were
 * the last. What the peer opened meanwhile is served. */
static const uint8_t goodbye[8] = "goodbye";

void rpc_h2_goaway(struct rpc_conn *conn)
{
    nghttp2_submit_shutdown_notice(conn->h2);
    nghttp2_submit_ping(conn->h2, NGHTTP2_FLAG_NONE, goodbye);
    rpc_turn_dirty(conn->turn, conn);
}

void rpc_h2_goaway_final(struct rpc_conn *conn)
{
    if (conn->draining)
        return;
    conn->draining = true;
    nghttp2_submit_goaway(conn->h2, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(conn->h2),
                          NGHTTP2_NO_ERROR, NULL, 0);
    rpc_turn_dirty(conn->turn, conn);
}

void rpc_h2_goaway_read(struct rpc_conn *conn, const uint8_t mark[8])
{
    if (memcmp(mark, goodbye, sizeof(goodbye)) == 0)
        rpc_h2_goaway_final(conn);
}

/* The server that says goodbye has not seen the call, and nothing of its messages is gone. */
bool rpc_h2_may_move(const struct rpc_conn *conn, const struct rpc_call *call, uint32_t error_code)
{
    bool unseen = error_code == NGHTTP2_REFUSED_STREAM || !call->opened;
    return conn->ops->move && conn->draining && unseen && !call->tx_taken && !call->moved && !call->ending;
}

/* Calls that wait for a free stream would wait for one that may never be opened. */
void rpc_h2_move_waiting(struct rpc_conn *conn)
{
    for (struct rpc_call *call = conn->calls, *next; call; call = next) {
        next = call->next;
        if (!call->opened && rpc_h2_may_move(conn, call, NGHTTP2_NO_ERROR)) {
            nghttp2_session_set_stream_user_data(conn->h2, call->stream_id, NULL);
            conn->ops->move(conn, call);
        }
    }
}

/* A server that closes while the client still sends makes the kernel throw away what the client has not got
 * yet: it ends its direction, and reads on without listening until the client has closed or the time is over.
 */
static void finish(struct rpc_conn *conn, const char *why)
{
    if (!conn->is_server) {
        rpc_conn_close(conn, OS_UNAVAILABLE, "%s", why);
        return;
    }
    conn->phase = RPC_LINGER;
    rpc_conn_timer(conn, OS_H2_LINGER_MS);
    cleanup_error struct os_error err = {0};
    os_error_set(&err, OS_UNAVAILABLE, "%s", why);
    rpc_h2_drop(conn, &err);
    rpc_conn_shutdown(conn);
}

void rpc_h2_flushed(struct rpc_conn *conn)
{
    if (conn->phase == RPC_LINGER)
        return;
    if (!nghttp2_session_want_read(conn->h2) && !nghttp2_session_want_write(conn->h2))
        finish(conn, "HTTP/2 session ended");
    else if (conn->draining && !conn->ncalls)
        finish(conn, "connection drained");
}

void rpc_h2_drop(struct rpc_conn *conn, const struct os_error *why)
{
    while (conn->calls) {
        struct rpc_call *call = conn->calls;
        call->has_deadline = false;
        if (call->is_server)
            rpc_call_end(call, false, OS_CANCELLED, "the client's connection is gone");
        else
            rpc_call_end(call, true, OS_UNAVAILABLE, os_error_text(why));
        rpc_call_detach(call);
    }
}
