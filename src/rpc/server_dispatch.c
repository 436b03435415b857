/* From request headers to a handler: request id, gRPC or HTTP, deadline, authentication, method; and the
 * unary handlers' way over a worker thread. */
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/limits.h"
#include "core/str.h"
#include "rpc/h2.h"
#include "rpc/server_internal.h"
#include "rpc/status.h"

/* --- unary: collect the one message, run on a worker, answer --- */

struct unary {
    struct rpc_call *call;
    const struct rpc_handler *handler;
    struct rpc_server *server;
    uint8_t *request;
    size_t request_len;
    bool have_request;
    unsigned refs; /* loop thread: the call's callbacks and the job */
    uint8_t *response;
    size_t response_len;
    struct os_error err;
};

static void unary_unref(struct unary *u)
{
    if (--u->refs)
        return;
    rpc_call_unref(u->call);
    free(u->request);
    free(u->response);
    os_error_clear(&u->err);
    free(u);
}

static void unary_work(void *arg)
{
    struct unary *u = arg;
    if (atomic_load_explicit(&u->call->gone, memory_order_relaxed))
        return;
    cleanup_arena struct os_arena arena = {0};
    const struct rpc_method *m = u->call->method;
    const ProtobufCMessage *request = rpc_unpack(&arena, m->request, u->request, u->request_len);
    if (!request) {
        os_error_set(&u->err, OS_INTERNAL, "failed to decode Protobuf message: malformed %s",
                     m->request->name);
        return;
    }
    ProtobufCMessage *response = NULL;
    if (u->handler->unary(u->handler->ctx, u->call, request, &arena, &response, &u->err) < 0) {
        if (u->err.code == OS_OK)
            os_error_set(&u->err, OS_INTERNAL, "%s failed", m->name);
        return;
    }
    os_error_clear(&u->err);
    if (!response) {
        os_error_set(&u->err, OS_INTERNAL, "%s has no response", m->name);
        return;
    }
    u->response_len = protobuf_c_message_get_packed_size(response);
    u->response = os_calloc(1, u->response_len + 1);
    protobuf_c_message_pack(response, u->response);
}

/* Answers that wait for this client to read them: small ones are bounded by the number of streams. */
static bool waits_too_much(const struct rpc_call *call, size_t n)
{
    if (n <= OS_RELAY_WINDOW || !call->conn)
        return false;
    size_t waiting = n;
    for (const struct rpc_call *c = call->conn->calls; c; c = c->next)
        waiting += rpc_call_queued(c);
    return waiting > OS_LIMIT_CONNECTION_ANSWERS;
}

static void unary_answer(void *arg)
{
    struct unary *u = arg;
    if (u->response && waits_too_much(u->call, u->response_len))
        os_error_set(&u->err, OS_RESOURCE_EXHAUSTED,
                     "more than %d bytes of answers wait for this client to read them",
                     OS_LIMIT_CONNECTION_ANSWERS);
    else if (u->response)
        rpc_call_send_packed(u->call, u->response, u->response_len);
    rpc_call_finish(u->call, u->err.code, u->err.msg);
    unary_unref(u);
}

static void unary_message(struct rpc_call *call, void *ctx, const uint8_t *data, size_t n)
{
    struct unary *u = ctx;
    if (u->have_request) {
        rpc_call_finish(call, OS_INTERNAL, "a unary request holds exactly one message");
        return;
    }
    u->have_request = true;
    u->request = os_calloc(1, n + 1);
    memcpy(u->request, data, n);
    u->request_len = n;
}

static void unary_half_close(struct rpc_call *call, void *ctx)
{
    struct unary *u = ctx;
    if (!u->have_request) {
        rpc_call_finish(call, OS_INTERNAL, "Missing request message.");
        return;
    }
    u->refs++;
    if (rpc_pool_work(u->server->pool, unary_work, unary_answer, u, u->server->opt.queue))
        return;
    rpc_call_finish(call, OS_RESOURCE_EXHAUSTED, "too many requests are waiting for the server; try again");
    unary_unref(u);
}

static void unary_done(struct rpc_call *call, void *ctx, const struct os_error *status)
{
    unary_unref(ctx);
}

static void start_unary(struct rpc_server *s, struct rpc_call *call, const struct rpc_handler *h)
{
    static const struct rpc_call_ops ops = {
        .on_message = unary_message, .on_half_close = unary_half_close, .on_done = unary_done};
    struct unary *u = os_calloc(1, sizeof(*u));
    u->call = rpc_call_ref(call);
    u->server = s;
    u->handler = h;
    u->refs = 1;
    rpc_call_set_ops(call, &ops, u);
}

/* --- plain HTTP over HTTP/2 --- */

static void start_http(struct rpc_server *s, struct rpc_call *call, int refuse_with)
{
    struct rpc_http_response resp = {.status = refuse_with ? refuse_with : 404};
    const char *method = rpc_call_header(call, ":method"), *path = rpc_call_header(call, ":path");
    rpc_call_discard(call);
    if (!refuse_with && s->opt.http && method && path) {
        const char *host = rpc_call_header(call, ":authority");
        cleanup_free char *plain = os_strndup(path, strcspn(path, "?"));
        struct rpc_http_request req = {
            .method = method, .path = plain, .host = host ? host : rpc_call_header(call, "host")};
        s->opt.http(s->opt.ctx, &req, &resp);
    }
    size_t n = resp.body ? strlen(resp.body) : 0;
    bool body = n && !os_str_eq(method, "HEAD");
    call->finished = call->tx_ended = true;
    call->step_ms = (int64_t)uv_now(s->turn.loop);
    if (body)
        os_buf_add(&call->tx, resp.body, n);
    rpc_h2_respond_http(call, resp.status, resp.content_type, n, !body);
    free(resp.body);
}

/* --- gRPC --- */

static bool is_grpc(const char *content_type)
{
    return content_type && os_str_starts(content_type, "application/grpc");
}

/* "application/grpc", "application/grpc+proto", "application/grpc;..."; not "application/grpc-web". */
static bool is_grpc_proto(const char *content_type)
{
    return strchr("+;", content_type[strlen("application/grpc")]) != NULL;
}

static int check_request(struct rpc_server *s, struct rpc_call *call, struct os_error *err)
{
    if (call->headers_refused)
        return os_error_set(
            err, OS_RESOURCE_EXHAUSTED,
            "request headers are larger than %d bytes, or too many requests wait on the connection",
            OS_LIMIT_HEADER_LIST);
    const char *path = rpc_call_header(call, ":path");
    call->method = path ? rpc_method_find(path) : NULL;
    const char *timeout = rpc_call_header(call, "grpc-timeout");
    int64_t ms;
    if (timeout && !rpc_timeout_parse(timeout, &ms))
        return os_error_set(err, OS_INVALID_ARGUMENT, "grpc-timeout '%.32s' is malformed", timeout);
    if (timeout)
        rpc_call_set_deadline(call, ms);
    if (s->opt.authenticate && s->opt.authenticate(s->opt.ctx, call, err) < 0)
        return -1;
    if (!call->method)
        return os_error_set(err, OS_UNIMPLEMENTED, "unknown method %.256s", path ? path : "");
    const char *encoding = rpc_call_header(call, "grpc-encoding");
    if (encoding && !os_str_eq_nocase(encoding, "identity"))
        return os_error_set(err, OS_UNIMPLEMENTED, "Content is compressed with `%.32s` which isn't supported",
                            encoding);
    return 0;
}

static void start_grpc(struct rpc_server *s, struct rpc_call *call)
{
    cleanup_error struct os_error err = {0};
    if (check_request(s, call, &err) < 0) {
        rpc_call_finish(call, err.code, err.msg);
        return;
    }
    const struct rpc_handler *h = &s->handlers[call->method->id];
    if (h->unary) {
        start_unary(s, call, h);
    } else if (h->stream) {
        h->stream(h->ctx, call);
    } else {
        os_error_set(&err, OS_UNIMPLEMENTED, "method %s is not implemented by this server",
                     call->method->path);
        rpc_call_finish(call, err.code, err.msg);
    }
}

void rpc_server_dispatch(struct rpc_call *call)
{
    struct rpc_server *s = call->conn->owner;
    const char *type = rpc_call_header(call, "content-type");
    if (!is_grpc(type))
        start_http(s, call, call->headers_refused ? 431 : 0);
    else if (!is_grpc_proto(type))
        start_http(s, call, 415);
    else if (!os_str_eq(rpc_call_header(call, ":method"), "POST"))
        start_http(s, call, 405);
    else
        start_grpc(s, call);
}
