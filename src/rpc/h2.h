/* HTTP/2 under the calls: one nghttp2 session per connection. Inside of src/rpc. */
#ifndef RPC_H2_H
#define RPC_H2_H

#include "rpc/internal.h"

/* Creates the session and queues SETTINGS. Out of memory aborts, as for every small allocation. */
void rpc_h2_start(struct rpc_conn *conn);
/* The rpc_conn_ops of a connection that speaks HTTP/2. */
void rpc_h2_feed(struct rpc_conn *conn, const uint8_t *data, size_t n);
void rpc_h2_fill(struct rpc_conn *conn, struct os_buf *out, size_t room);
/* Server: response headers, with the body (tx of the call) behind them unless fin. */
void rpc_h2_submit(struct rpc_call *call, const nghttp2_nv *nv, size_t n, bool fin);
/* Client: opens the stream. -1 when the connection cannot take more streams. */
int rpc_h2_submit_request(struct rpc_conn *conn, struct rpc_call *call, const nghttp2_nv *nv, size_t n);
/* There are new bytes to send, or their end. */
void rpc_h2_wake(struct rpc_call *call);
void rpc_h2_reset(struct rpc_call *call, uint32_t error_code);
/* Credits n received bytes to the stream. */
void rpc_h2_credit(struct rpc_call *call, size_t n);

/* --- h2_end.c: how a connection ends --- */

/* Ends every call of a connection that is gone. */
void rpc_h2_drop(struct rpc_conn *conn, const struct os_error *why);
/* Asks the peer for no new calls, and answers those that are on their way; final takes none from now on, and
 * is sent by itself when the peer has read the first. The connection closes after the last call. */
void rpc_h2_goaway(struct rpc_conn *conn);
void rpc_h2_goaway_final(struct rpc_conn *conn);
/* A ping with this mark was answered; it may have been the one behind the first goodbye. */
void rpc_h2_goaway_read(struct rpc_conn *conn, const uint8_t mark[8]);
/* Client: a stream closes with that code, and its call can be made again on another connection. */
bool rpc_h2_may_move(const struct rpc_conn *conn, const struct rpc_call *call, uint32_t error_code);
/* Client: the server said goodbye; calls that wait for a free stream go elsewhere. */
void rpc_h2_move_waiting(struct rpc_conn *conn);
/* Everything is written: a session that has nothing more to do is closed. One of the rpc_conn_ops. */
void rpc_h2_flushed(struct rpc_conn *conn);

/* --- h2_guard.c: what a peer may cost --- */

/* Every frame, either way: too many of the cheap ones end the connection with ENHANCE_YOUR_CALM. */
void rpc_h2_count_received(struct rpc_conn *conn, const nghttp2_frame *frame);
void rpc_h2_count_sent(struct rpc_conn *conn, const nghttp2_frame *frame);
/* Handshake limit and pings, and on servers calls that do not get on. One of the rpc_conn_ops. */
void rpc_h2_on_timer(struct rpc_conn *conn);

/* --- h2_headers.c: which header fields go out --- */

/* Server: response headers of a gRPC call, if they are not out yet; fin = trailers-only with the status. */
void rpc_h2_respond(struct rpc_call *call, bool fin);
/* Server: grpc-status and grpc-message behind the last message. */
void rpc_h2_trailers(struct rpc_call *call);
/* Server: head of the answer to a plain HTTP request. */
void rpc_h2_respond_http(struct rpc_call *call, int status, const char *content_type, size_t length,
                         bool fin);
/* Client: what rpc_h2_submit_request() sends for a call. */
int rpc_h2_request(struct rpc_conn *conn, struct rpc_call *call, const char *scheme, const char *authority,
                   const char *bearer);

#endif
