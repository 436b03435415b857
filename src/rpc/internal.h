/* Inside of src/rpc: the loop turn, the connection, the call. Not for other modules.
 *
 * Bytes arrive in conn.c (socket, TLS), go through h2.c (nghttp2) into the receive buffer of a call, and
 * call.c tells the call's owner about them from the turn (turn.c), never from inside nghttp2 or from a
 * function the owner called. What owners send collects in the calls; once per loop turn each connection that
 * has something to say is asked for it and it goes out in one write. */
#ifndef RPC_INTERNAL_H
#define RPC_INTERNAL_H

#include <nghttp2/nghttp2.h>
#include <openssl/ssl.h>
#include <stdatomic.h>
#include <uv.h>

#include "core/buf.h"
#include "core/id.h"
#include "rpc/call.h"

struct rpc_conn;

/* --- turn.c: what happens once per loop iteration --- */

struct rpc_turn {
    uv_loop_t *loop;
    uv_prepare_t prepare;
    uv_check_t check;
    uv_timer_t deadline;
    unsigned handles;
    bool closing;
    struct rpc_call *ready_head, *ready_tail; /* calls that have something to tell their owner */
    struct rpc_conn *dirty;                   /* connections that have something to send */
    struct rpc_call *live;                    /* calls whose end has not been told */
    int64_t armed_ms;                         /* when the deadline timer fires; 0 = not armed */
    char *in;                                 /* read buffer, shared by all connections */
    void (*on_closed)(void *owner);
    void *owner;
};

#define RPC_READ_BUFFER 65536

void rpc_turn_init(struct rpc_turn *t, uv_loop_t *loop);
/* Closes the handles; on_closed(owner) runs on the loop when memory may go. */
void rpc_turn_close(struct rpc_turn *t, void (*on_closed)(void *), void *owner);
void rpc_turn_ready(struct rpc_turn *t, struct rpc_call *call);
void rpc_turn_dirty(struct rpc_turn *t, struct rpc_conn *conn);
void rpc_turn_watch_deadline(struct rpc_turn *t, const struct rpc_call *call);
void rpc_turn_add(struct rpc_turn *t, struct rpc_call *call);
void rpc_turn_remove(struct rpc_turn *t, struct rpc_call *call);

/* --- conn.c: socket and TLS --- */

/* The peer description outlives the connection: calls on worker threads hold it. */
struct rpc_peer_box {
    atomic_uint refs;
    struct rpc_peer peer;
    char *cn, *address;
    char **ou;
};

struct rpc_conn_ops {
    void (*on_open)(struct rpc_conn *conn); /* connected, TLS finished */
    void (*on_data)(struct rpc_conn *conn, const uint8_t *data, size_t n);
    /* Appends plain bytes to out, about `room` of them; asked when the socket can take them. */
    void (*fill)(struct rpc_conn *conn, struct os_buf *out, size_t room);
    void (*on_timer)(struct rpc_conn *conn);
    void (*on_flushed)(struct rpc_conn *conn); /* nothing is left to write */
    /* Client: the call was not taken and is to be made again elsewhere, once. NULL on servers. */
    void (*move)(struct rpc_conn *conn, struct rpc_call *call);
    /* Once, the last callback. The connection is freed by itself later. */
    void (*on_close)(struct rpc_conn *conn, const struct os_error *why);
};

enum rpc_phase { RPC_OPENING, RPC_LIVE, RPC_PINGED, RPC_DOUBTED, RPC_LINGER };

/* A socket of either kind, under every name that libuv has for it. */
union rpc_socket {
    uv_handle_t handle;
    uv_stream_t stream;
    uv_tcp_t tcp;
    uv_pipe_t pipe;
};

/* Token bucket. */
struct rpc_bucket {
    unsigned used;
    int64_t filled_ms;
};

struct rpc_conn {
    struct rpc_turn *turn;
    const struct rpc_conn_ops *ops;
    void *owner; /* server or client */
    struct rpc_conn *prev, *next, *dirty_next;
    union rpc_socket sock;
    uv_timer_t timer;
    unsigned handles; /* not yet closed */
    enum rpc_phase phase;
    void (*renewed)(struct rpc_conn *conn);
    bool is_server, opened, dirty, writing, closed, shut;
    bool heard; /* bytes arrived since the ping */
    SSL *ssl;
    const uint8_t *in; /* ciphertext that the BIO hands to OpenSSL */
    size_t in_len;
    struct os_buf out; /* bytes for the socket */
    struct rpc_peer_box *peer;
    struct attempt *attempt; /* client: not connected yet (client_connect.c) */
    struct os_error doomed;  /* client: why the timer closes it */

    /* HTTP/2 (h2.c) */
    nghttp2_session *h2;
    struct rpc_call *calls;
    unsigned ncalls;
    size_t header_bytes; /* of all calls */
    size_t partial;      /* bytes of unfinished messages in all calls */
    struct rpc_bucket resets, chatter;
    bool draining; /* last GOAWAY sent, or any received: no new calls, close after the last */

    /* HTTP/1.1 and protocol detection (server_http.c) */
    bool http1;
    struct os_buf head;
    struct os_buf answer;
};

struct rpc_conn *rpc_conn_new(struct rpc_turn *turn, const struct rpc_conn_ops *ops, void *owner,
                              bool is_server);
/* Prepares the socket handle; before accept or connect. */
void rpc_conn_init_socket(struct rpc_conn *conn, bool unix_socket);
/* Closes the socket of a failed attempt and prepares a new TCP one; then(conn) runs unless the connection is
 * closed meanwhile. */
void rpc_conn_renew_socket(struct rpc_conn *conn, void (*then)(struct rpc_conn *));
/* The socket is connected: starts TLS (ssl is taken over, may be NULL) and reading. */
void rpc_conn_start(struct rpc_conn *conn, SSL *ssl);
/* Arms the one timer of the connection. */
void rpc_conn_timer(struct rpc_conn *conn, int64_t ms);
/* Writes what is ready. Called by the turn. */
void rpc_conn_flush(struct rpc_conn *conn);
/* Sends what is ready if the socket takes it, then closes; on_close is called from here. */
void rpc_conn_close(struct rpc_conn *conn, enum os_code code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Ends our direction (after close_notify) when everything is written. */
void rpc_conn_shutdown(struct rpc_conn *conn);
struct rpc_peer_box *rpc_peer_ref(struct rpc_peer_box *box);
void rpc_peer_unref(struct rpc_peer_box *box);

/* --- call.c --- */

enum rpc_call_kind { RPC_CALL_GRPC, RPC_CALL_HTTP };

struct rpc_call {
    atomic_uint refs;
    atomic_bool gone; /* nobody waits for the answer; read by workers */
    struct rpc_turn *turn;
    struct rpc_conn *conn; /* NULL once the stream is closed */
    struct rpc_call *prev, *next;
    struct rpc_call *ready_next;
    struct rpc_call *live_prev, *live_next;
    int32_t stream_id; /* 0 = none yet */
    enum rpc_call_kind kind;
    bool is_server;
    const struct rpc_method *method;
    const struct rpc_call_ops *ops;
    void *ctx;
    struct rpc_peer_box *peer;
    void *principal;
    void (*principal_free)(void *);

    /* received */
    struct os_buf headers;        /* "name\0value\0"...; fixed once complete */
    size_t header_bytes;          /* as counted by RFC 9113 10.5.1 */
    char request_id[OS_UUID_LEN]; /* server: when the client sent none that can be kept; else "" */
    bool headers_done, headers_refused;
    struct os_buf rx;
    size_t rx_off, rx_uncredited, rx_partial;
    size_t rx_limit; /* bytes, largest message */
    bool rx_ended, half_close_told, paused;
    bool discard; /* what still comes is dropped */

    /* to send */
    struct os_buf tx;
    size_t tx_off;
    bool tx_ended;    /* nothing follows what is queued */
    bool tx_deferred; /* the data provider waits for rpc_h2_wake() */
    bool tx_trailers; /* server gRPC: trailers follow the last byte */
    bool tx_done;     /* END_STREAM is out */
    bool tx_full, wake_writer;
    bool headers_sent;
    bool opened;   /* the first frame is with the transport */
    bool tx_taken; /* and so are bytes of a message */
    bool moved;    /* client: this is not the first connection */

    /* life */
    bool ready, started;
    bool finished; /* server: rpc_call_finish() was called */
    bool ending;   /* `end` is known and to be told */
    bool graceful; /* ... after what is complete was delivered */
    bool done_told;
    int64_t step_ms; /* loop time: begun, answered, last byte taken by the peer */
    bool has_deadline;
    bool got_status;        /* client: grpc-status came */
    int http_status;        /* client */
    int64_t deadline_ms;    /* monotonic */
    struct os_error status; /* on the wire: the server's answer */
    struct os_error end;    /* for on_done */
};

struct rpc_call *rpc_call_new(struct rpc_turn *turn, bool is_server);
/* Joins and leaves the connection's list; the list holds a reference. */
void rpc_call_attach(struct rpc_call *call, struct rpc_conn *conn);
void rpc_call_detach(struct rpc_call *call);
/* Tells the owner what there is to tell. Called by the turn. */
void rpc_call_process(struct rpc_call *call);
/* Ends the call for its owner; graceful = complete messages that were received are delivered first. The first
 * end wins, except that a hard one overtakes a graceful one. */
void rpc_call_end(struct rpc_call *call, bool graceful, enum os_code code, const char *message);
/* Deadline passed: server answers, client resets. */
void rpc_call_expire(struct rpc_call *call);
void rpc_call_set_deadline(struct rpc_call *call, int64_t ms_from_now);
/* Client: ends the call with the status that came, or with what its absence means. */
void rpc_call_end_client(struct rpc_call *call, uint32_t error_code);
void rpc_call_discard(struct rpc_call *call);
/* All queued bytes are with the transport. */
void rpc_call_tx_drained(struct rpc_call *call);
/* Appends received DATA bytes. */
void rpc_call_receive(struct rpc_call *call, const uint8_t *data, size_t n);
/* The request's id: the client's, or a new one. */
const char *rpc_call_request_id(struct rpc_call *call);
void rpc_call_add_header(struct rpc_call *call, const char *name, size_t name_len, const char *value,
                         size_t value_len);
/* Tells on_done at once (rpc_client_free). */
void rpc_call_end_now(struct rpc_call *call, enum os_code code, const char *message);

/* --- server_dispatch.c --- */

/* A request's headers are complete: authenticate, find the handler, hand over. */
void rpc_server_dispatch(struct rpc_call *call);

#endif
