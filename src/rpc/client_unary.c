/* Unary calls on top of rpc_client_call(): one message out, one message back. */
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/str.h"
#include "rpc/client_internal.h"

struct unary {
    const ProtobufCMessageDescriptor *desc;
    uint8_t *data;
    size_t n;
    unsigned messages;
    /* asynchronous */
    rpc_unary_cb *cb;
    void *ctx;
    /* blocking */
    struct os_arena *arena;
    ProtobufCMessage **response;
    struct os_error *err;
    bool done;
    int result;
};

static void on_message(struct rpc_call *call, void *ctx, const uint8_t *data, size_t n)
{
    struct unary *u = ctx;
    if (u->messages++)
        return;
    u->data = os_calloc(1, n + 1);
    memcpy(u->data, data, n);
    u->n = n;
}

/* The response in the arena, or NULL with *err. */
static ProtobufCMessage *take_response(struct unary *u, const struct os_error *status, struct os_arena *arena,
                                       struct os_error *err)
{
    ProtobufCMessage *m = NULL;
    if (status->code != OS_OK)
        os_error_set(err, status->code, "%s", status->msg ? status->msg : "");
    else if (u->messages != 1)
        os_error_set(err, OS_INTERNAL, "the server answered with %u messages instead of one", u->messages);
    else if (!(m = rpc_unpack(arena, u->desc, u->data, u->n)))
        os_error_set(err, OS_INTERNAL, "failed to decode Protobuf message: malformed %s", u->desc->name);
    free(os_steal(u->data));
    return m;
}

static struct rpc_call *start(struct rpc_client *c, enum rpc_method_id id, const struct rpc_call_ops *ops,
                              struct unary *u, const ProtobufCMessage *request, int64_t deadline_ms)
{
    u->desc = rpc_method(id)->response;
    struct rpc_call *call = rpc_client_call(c, id, ops, u, deadline_ms);
    rpc_call_send(call, request);
    rpc_call_half_close(call);
    return call;
}

static void async_done(struct rpc_call *call, void *ctx, const struct os_error *status)
{
    struct unary *u = ctx;
    cleanup_arena struct os_arena arena = {0};
    cleanup_error struct os_error err = {0};
    ProtobufCMessage *m = take_response(u, status, &arena, &err);
    u->cb(u->ctx, &err, m);
    free(u);
}

void rpc_client_unary(struct rpc_client *c, enum rpc_method_id id, const ProtobufCMessage *request,
                      int64_t deadline_ms, rpc_unary_cb *cb, void *ctx)
{
    static const struct rpc_call_ops ops = {.on_message = on_message, .on_done = async_done};
    struct unary *u = os_calloc(1, sizeof(*u));
    u->cb = cb;
    u->ctx = ctx;
    start(c, id, &ops, u, request, deadline_ms);
}

static void wait_done(struct rpc_call *call, void *ctx, const struct os_error *status)
{
    struct unary *u = ctx;
    *u->response = take_response(u, status, u->arena, u->err);
    u->result = *u->response ? 0 : -1;
    u->done = true;
}

int rpc_client_unary_wait(struct rpc_client *c, enum rpc_method_id id, const ProtobufCMessage *request,
                          int64_t deadline_ms, struct os_arena *arena, ProtobufCMessage **response,
                          struct os_error *err)
{
    static const struct rpc_call_ops ops = {.on_message = on_message, .on_done = wait_done};
    struct unary u = {.arena = arena, .response = response, .err = err};
    struct rpc_call *call = start(c, id, &ops, &u, request, deadline_ms);
    uv_loop_t *loop = c->turn.loop;
    while (!u.done) {
        if (!uv_run(loop, UV_RUN_ONCE) && !u.done)
            rpc_call_cancel(call); /* nothing left that could answer */
    }
    return u.result;
}
