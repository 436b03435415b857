/* One RPC on either side: what was received and is to be told, what is queued and is to be sent, and the end,
 * told exactly once. */
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/limits.h"
#include "core/str.h"
#include "rpc/frame.h"
#include "rpc/h2.h"
#include "rpc/status.h"

/* --- life --- */

struct rpc_call *rpc_call_new(struct rpc_turn *turn, bool is_server)
{
    struct rpc_call *call = os_calloc(1, sizeof(*call));
    atomic_init(&call->refs, 1); /* given back when the end has been told */
    call->turn = turn;
    call->is_server = is_server;
    call->headers.max = 2 * OS_LIMIT_HEADER_LIST;
    call->step_ms = (int64_t)uv_now(turn->loop);
    rpc_turn_add(turn, call);
    return call;
}

struct rpc_call *rpc_call_ref(struct rpc_call *call)
{
    atomic_fetch_add_explicit(&call->refs, 1, memory_order_relaxed);
    return call;
}

void rpc_call_unref(struct rpc_call *call)
{
    if (atomic_fetch_sub_explicit(&call->refs, 1, memory_order_acq_rel) != 1)
        return;
    if (call->principal_free)
        call->principal_free(call->principal);
    rpc_peer_unref(call->peer);
    os_buf_free(&call->headers);
    os_buf_free(&call->rx);
    os_buf_free(&call->tx);
    os_error_clear(&call->status);
    os_error_clear(&call->end);
    free(call);
}

void rpc_call_attach(struct rpc_call *call, struct rpc_conn *conn)
{
    rpc_call_ref(call);
    call->conn = conn;
    call->prev = NULL;
    call->next = conn->calls;
    if (conn->calls)
        conn->calls->prev = call;
    conn->calls = call;
    conn->ncalls++;
}

void rpc_call_detach(struct rpc_call *call)
{
    struct rpc_conn *conn = call->conn;
    if (!conn)
        return;
    if (call->prev)
        call->prev->next = call->next;
    else
        conn->calls = call->next;
    if (call->next)
        call->next->prev = call->prev;
    conn->ncalls--;
    conn->partial -= call->rx_partial;
    conn->header_bytes -= call->header_bytes;
    call->rx_partial = 0;
    call->conn = NULL;
    if (conn->draining)
        rpc_turn_dirty(conn->turn, conn);
    rpc_call_unref(call);
}

/* --- what anyone may ask --- */

void rpc_call_set_ops(struct rpc_call *call, const struct rpc_call_ops *ops, void *ctx)
{
    call->ops = ops;
    call->ctx = ctx;
}

const struct rpc_method *rpc_call_method(const struct rpc_call *call)
{
    return call->method;
}

void rpc_call_add_header(struct rpc_call *call, const char *name, size_t name_len, const char *value,
                         size_t value_len)
{
    size_t size = name_len + value_len + 32; /* RFC 9113 10.5.1 */
    call->header_bytes += size;
    call->conn->header_bytes += size;
    if (call->header_bytes > OS_LIMIT_HEADER_LIST || call->conn->header_bytes > OS_LIMIT_CONNECTION_HEADERS ||
        memchr(value, 0, value_len)) {
        call->headers_refused = true;
        return;
    }
    os_buf_add(&call->headers, name, name_len);
    os_buf_addc(&call->headers, '\0');
    os_buf_add(&call->headers, value, value_len);
    os_buf_addc(&call->headers, '\0');
}

const char *rpc_call_header(const struct rpc_call *call, const char *name)
{
    const char *p = call->headers.data, *end = p ? p + call->headers.len : NULL;
    while (p < end) {
        const char *value = p + strlen(p) + 1;
        if (strcmp(p, name) == 0)
            return value;
        p = value + strlen(value) + 1;
    }
    return NULL;
}

const char *rpc_call_request_id(struct rpc_call *call)
{
    const char *given = rpc_call_header(call, "x-request-id");
    if (given && strlen(given) <= OS_LIMIT_REQUEST_ID)
        return given;
    return *call->request_id ? call->request_id : os_uuid(call->request_id);
}

void *rpc_call_principal(const struct rpc_call *call)
{
    return call->principal;
}

void rpc_call_set_principal(struct rpc_call *call, void *principal, void (*free_fn)(void *))
{
    if (call->principal_free)
        call->principal_free(call->principal);
    call->principal = principal;
    call->principal_free = free_fn;
}

const struct rpc_peer *rpc_call_peer(const struct rpc_call *call)
{
    static const struct rpc_peer none = {.address = "unknown"};
    return call->peer ? &call->peer->peer : &none;
}

/* The description of the peer is made once per connection, and lives as long as any of its calls. */
bool rpc_call_same_connection(const struct rpc_call *a, const struct rpc_call *b)
{
    return a->peer && a->peer == b->peer;
}

/* --- sending --- */

static bool may_send(const struct rpc_call *call)
{
    return !call->ending && !call->finished && !call->tx_ended;
}

/* Most calls are quiet most of the time: an empty buffer is not kept. */
static void give_back(struct os_buf *b, size_t *off)
{
    *off = 0;
    os_buf_free(b);
}

void rpc_call_tx_drained(struct rpc_call *call)
{
    give_back(&call->tx, &call->tx_off);
}

/* Room for a message of n bytes behind its prefix; NULL when the queue is full beyond reason. */
static uint8_t *queue_message(struct rpc_call *call, size_t n)
{
    if (call->tx_off > call->tx.len / 2) {
        os_buf_consume(&call->tx, call->tx_off);
        call->tx_off = 0;
    }
    if (n > UINT32_MAX || !os_buf_reserve(&call->tx, RPC_FRAME_PREFIX + n)) {
        rpc_h2_reset(call, NGHTTP2_INTERNAL_ERROR);
        rpc_call_end(call, false, OS_RESOURCE_EXHAUSTED, "too much is queued for a peer that does not read");
        return NULL;
    }
    uint8_t *p = (uint8_t *)call->tx.data + call->tx.len;
    rpc_frame_prefix(p, n);
    call->tx.len += RPC_FRAME_PREFIX + n;
    call->tx.data[call->tx.len] = '\0';
    return p + RPC_FRAME_PREFIX;
}

static void queued(struct rpc_call *call)
{
    if (rpc_call_queued(call) >= OS_RELAY_WINDOW)
        call->tx_full = true;
    if (call->is_server)
        rpc_h2_respond(call, false);
    rpc_h2_wake(call);
}

void rpc_call_send(struct rpc_call *call, const ProtobufCMessage *message)
{
    if (!may_send(call))
        return;
    uint8_t *p = queue_message(call, protobuf_c_message_get_packed_size(message));
    if (!p)
        return;
    protobuf_c_message_pack(message, p);
    queued(call);
}

void rpc_call_send_packed(struct rpc_call *call, const void *data, size_t n)
{
    if (!may_send(call))
        return;
    uint8_t *p = queue_message(call, n);
    if (!p)
        return;
    if (n)
        memcpy(p, data, n);
    queued(call);
}

void rpc_call_send_headers(struct rpc_call *call)
{
    if (call->is_server && may_send(call))
        rpc_h2_respond(call, false);
}

size_t rpc_call_queued(const struct rpc_call *call)
{
    return call->tx.len - call->tx_off;
}

void rpc_call_half_close(struct rpc_call *call)
{
    if (call->is_server || !may_send(call))
        return;
    call->tx_ended = true;
    rpc_h2_wake(call);
}

void rpc_call_finish(struct rpc_call *call, enum os_code code, const char *message)
{
    if (!call->is_server || !may_send(call))
        return;
    call->finished = true;
    call->step_ms = (int64_t)uv_now(call->turn->loop);
    os_error_set(&call->status, code, "%s", message ? message : "");
    call->tx_ended = call->tx_trailers = true;
    if (!call->conn)
        return;
    if (call->headers_sent)
        rpc_h2_wake(call);
    else
        rpc_h2_respond(call, true);
    rpc_call_discard(call);
}

void rpc_call_cancel(struct rpc_call *call)
{
    if (call->done_told || (call->ending && !call->graceful))
        return;
    rpc_call_end(call, false, OS_CANCELLED, "the call was cancelled");
    rpc_h2_reset(call, NGHTTP2_CANCEL);
}

/* --- receiving --- */

/* Drops what was received and is not told any more, so that the peer can go on to the end of its stream. */
void rpc_call_discard(struct rpc_call *call)
{
    rpc_h2_credit(call, call->rx_uncredited);
    call->rx_uncredited = 0;
    if (call->conn)
        call->conn->partial -= call->rx_partial;
    call->rx_partial = 0;
    call->discard = true;
}

void rpc_call_receive(struct rpc_call *call, const uint8_t *data, size_t n)
{
    if (call->discard || call->ending) {
        rpc_h2_credit(call, n);
        return;
    }
    if (call->rx_off > call->rx.len / 2) {
        os_buf_consume(&call->rx, call->rx_off);
        call->rx_off = 0;
    }
    os_buf_add(&call->rx, data, n);
    call->rx_uncredited += n;
    rpc_turn_ready(call->turn, call);
}

static size_t unread(const struct rpc_call *call)
{
    return call->rx.len - call->rx_off;
}

/* The peer broke the message stream: the server answers, the client gives up. */
static void refuse_stream(struct rpc_call *call, enum os_code code, const char *message)
{
    if (call->is_server) {
        rpc_call_finish(call, code, message);
        return;
    }
    rpc_call_end(call, false, code, message);
    rpc_h2_reset(call, NGHTTP2_CANCEL);
}

/* The message at the front is not complete: let the rest come, within what the connection may hold. */
static void credit_partial(struct rpc_call *call)
{
    size_t n = call->rx_uncredited;
    call->rx_uncredited = 0;
    if (!call->conn)
        return;
    call->rx_partial += n;
    call->conn->partial += n;
    if (call->conn->partial > OS_LIMIT_CONNECTION_PARTIAL)
        refuse_stream(call, OS_RESOURCE_EXHAUSTED, "too many unfinished messages on this connection");
    else
        rpc_h2_credit(call, n);
}

static void took_message(struct rpc_call *call, size_t n)
{
    call->rx_off += n;
    size_t fresh = n - call->rx_partial;
    if (call->conn)
        call->conn->partial -= call->rx_partial;
    call->rx_partial = 0;
    call->rx_uncredited -= fresh;
    rpc_h2_credit(call, fresh);
}

static enum rpc_frame_result peek(const struct rpc_call *call, const uint8_t **msg, size_t *len)
{
    const uint8_t *data = call->rx.data ? (const uint8_t *)call->rx.data + call->rx_off : NULL;
    return rpc_frame_peek(data, unread(call), call->rx_limit, msg, len);
}

static void refuse_message(struct rpc_call *call, enum rpc_frame_result why, size_t len)
{
    char text[160];
    if (why == RPC_FRAME_TOO_LARGE) {
        snprintf(text, sizeof(text),
                 "Error, decoded message length too large: found %zu bytes, the limit is: %zu bytes", len,
                 call->rx_limit);
        refuse_stream(call, OS_OUT_OF_RANGE, text);
    } else if (why == RPC_FRAME_COMPRESSED) {
        refuse_stream(call, OS_UNIMPLEMENTED,
                      "compressed messages are not supported; send them uncompressed");
    } else {
        refuse_stream(call, OS_INTERNAL, "protocol error: invalid compression flag in a message prefix");
    }
}

static bool may_tell(const struct rpc_call *call)
{
    return call->ops && !call->paused && !call->discard && !(call->ending && !call->graceful);
}

static void tell_messages(struct rpc_call *call)
{
    const uint8_t *msg;
    size_t len;
    while (may_tell(call)) {
        enum rpc_frame_result r = peek(call, &msg, &len);
        if (r == RPC_FRAME_MORE) {
            if (call->rx_uncredited)
                credit_partial(call);
            break;
        }
        if (r != RPC_FRAME_MESSAGE) {
            refuse_message(call, r, len);
            return;
        }
        took_message(call, RPC_FRAME_PREFIX + len);
        call->ops->on_message(call, call->ctx, msg, len);
    }
    if (!unread(call))
        give_back(&call->rx, &call->rx_off);
}

static void tell_half_close(struct rpc_call *call)
{
    if (!call->is_server || !call->rx_ended || call->half_close_told || call->ending || !may_tell(call))
        return;
    call->half_close_told = true;
    if (unread(call))
        rpc_call_finish(call, OS_INTERNAL, "Unexpected EOF decoding stream.");
    else if (call->ops->on_half_close)
        call->ops->on_half_close(call, call->ctx);
}

void rpc_call_pause(struct rpc_call *call)
{
    call->paused = true;
}

void rpc_call_resume(struct rpc_call *call)
{
    if (!call->paused)
        return;
    call->paused = false;
    if (!call->done_told)
        rpc_turn_ready(call->turn, call);
}

/* --- the end --- */

void rpc_call_end(struct rpc_call *call, bool graceful, enum os_code code, const char *message)
{
    if (call->done_told || (call->ending && (graceful || !call->graceful)))
        return;
    call->ending = true;
    atomic_store_explicit(&call->gone, true, memory_order_relaxed);
    call->graceful = graceful;
    os_error_clear(&call->end);
    if (code != OS_OK)
        os_error_set(&call->end, code, "%s", message ? message : "");
    rpc_turn_ready(call->turn, call);
}

void rpc_call_end_client(struct rpc_call *call, uint32_t error_code)
{
    char text[128];
    if (call->got_status) {
        rpc_call_end(call, true, call->status.code, call->status.msg);
    } else if (error_code != NGHTTP2_NO_ERROR) {
        snprintf(text, sizeof(text), "stream reset by the server: %s", nghttp2_http2_strerror(error_code));
        rpc_call_end(call, true, rpc_code_of_h2(error_code), text);
    } else if (call->http_status != 200) {
        snprintf(text, sizeof(text), "server answered HTTP status %d instead of gRPC", call->http_status);
        rpc_call_end(call, true, rpc_code_of_http(call->http_status), text);
    } else {
        rpc_call_end(call, true, OS_INTERNAL, "server ended the stream without a status");
    }
}

/* Everything that is told before a graceful end has been told. */
static bool drained(const struct rpc_call *call)
{
    const uint8_t *msg;
    size_t len;
    return !call->graceful || call->discard || peek(call, &msg, &len) != RPC_FRAME_MESSAGE;
}

static void tell_done(struct rpc_call *call)
{
    if (!call->ending || call->done_told || !drained(call))
        return;
    if (call->graceful && call->end.code == OS_OK && unread(call) && !call->discard)
        os_error_set(&call->end, OS_INTERNAL, "server ended the stream inside a message");
    call->done_told = true;
    call->has_deadline = false;
    rpc_turn_remove(call->turn, call);
    rpc_call_discard(call);
    os_buf_free(&call->rx);
    call->rx_off = 0;
    if (call->ops)
        call->ops->on_done(call, call->ctx, &call->end);
    call->ops = NULL;
    rpc_call_unref(call);
}

void rpc_call_process(struct rpc_call *call)
{
    if (call->is_server && call->headers_done && !call->started && !call->ending) {
        call->started = true;
        rpc_server_dispatch(call);
    }
    tell_messages(call);
    tell_half_close(call);
    if (call->wake_writer) {
        call->wake_writer = false;
        if (call->ops && may_send(call) && call->ops->on_writable)
            call->ops->on_writable(call, call->ctx);
    }
    /* The server is through with us although we were not through with it. */
    if (!call->is_server && call->rx_ended && !call->ending) {
        rpc_call_end_client(call, NGHTTP2_NO_ERROR);
        if (!call->tx_done)
            rpc_h2_reset(call, NGHTTP2_NO_ERROR);
    }
    tell_done(call);
}

void rpc_call_end_now(struct rpc_call *call, enum os_code code, const char *message)
{
    rpc_call_end(call, false, code, message);
    tell_done(call);
}

/* --- deadlines --- */

void rpc_call_set_deadline(struct rpc_call *call, int64_t ms_from_now)
{
    call->deadline_ms = os_clock_mono_ms() + ms_from_now;
    call->has_deadline = true;
    rpc_turn_watch_deadline(call->turn, call);
}

void rpc_call_expire(struct rpc_call *call)
{
    static const char text[] = "deadline exceeded";
    if (call->is_server && !call->finished && !rpc_call_queued(call))
        rpc_call_finish(call, OS_DEADLINE_EXCEEDED, text);
    else
        rpc_h2_reset(call, NGHTTP2_CANCEL);
    rpc_call_end(call, false, OS_DEADLINE_EXCEEDED, text);
}
