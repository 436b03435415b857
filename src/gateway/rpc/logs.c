/* GetSandboxLogs and PushSandboxLogs (spec/gateway.md 7). */
#include "gateway/logbus.h"

#include <stdlib.h>
#include <string.h>

#include "core/id.h"
#include "core/limits.h"
#include "core/str.h"
#include "gateway/identity/principal.h"
#include "gateway/rpc/handlers.h"
#include "gateway/sandbox.h"
#include "rpc/pb.h"

/* Index of the first line of the answer: more bytes than a client accepts would be no answer at all. */
static size_t newest_that_fit(ProtobufCMessage *const *lines, size_t n, const struct logbus_filter *f)
{
    size_t left = OS_LIMIT_GRPC_CLIENT_MESSAGE - 65536, first = n;
    while (first) {
        const Openshell__V1__SandboxLogLine *line = (const Openshell__V1__SandboxLogLine *)lines[first - 1];
        size_t cost = logbus_passes(f, line) ? protobuf_c_message_get_packed_size(&line->base) + 8
                                             : 0; /* tag, length */
        if (cost > left)
            break;
        left -= cost;
        first--;
    }
    return first;
}

int rpc_get_logs(void *ctx, struct rpc_call *call, const ProtobufCMessage *request, struct os_arena *a,
                 ProtobufCMessage **response, struct os_error *err)
{
    struct gateway *gw = ctx;
    const Openshell__V1__GetSandboxLogsRequest *req = (const Openshell__V1__GetSandboxLogsRequest *)request;
    if (!*req->sandbox_id)
        return os_error_set(err, OS_INVALID_ARGUMENT, "sandbox_id is required");
    if (!sandbox_load(gw, req->sandbox_id, a, err))
        return -1;
    uint64_t head = logbus_head(gw->logs, req->sandbox_id, LOGBUS_LINES), lost;
    uint64_t want = req->lines && req->lines < OS_LOG_RING ? req->lines : OS_LOG_RING;
    uint64_t seq = head > want ? head - want : 0;
    ProtobufCMessage **lines = os_arena_alloc(a, (size_t)want * sizeof(*lines));
    size_t n = logbus_read(gw->logs, req->sandbox_id, LOGBUS_LINES, &seq, (size_t)want, a, lines, &lost);
    const struct logbus_filter f = {req->sources, req->n_sources, req->min_level, req->since_ms};
    Openshell__V1__GetSandboxLogsResponse *r = pb_new(a, openshell__v1__get_sandbox_logs_response);
    r->logs = os_arena_alloc(a, (n + 1) * sizeof(*r->logs));
    r->buffer_total = (uint32_t)n;
    for (size_t i = newest_that_fit(lines, n, &f); i < n; i++) {
        Openshell__V1__SandboxLogLine *line = (Openshell__V1__SandboxLogLine *)lines[i];
        if (logbus_passes(&f, line))
            r->logs[r->n_logs++] = line;
    }
    *response = &r->base;
    return 0;
}

/* --- push --- */

struct push {
    struct gateway *gw;
    struct rpc_call *call;
    char id[OS_UUID_LEN]; /* set by the first batch that names a sandbox */
    bool known;           /* the sandbox exists */
    bool busy, ended, half_closed;
    struct os_error err;
    struct os_arena arena; /* the batch that waits for the check */
    Openshell__V1__PushSandboxLogsRequest *waiting;
};

static void push_free(struct push *p)
{
    os_error_clear(&p->err);
    os_arena_free(&p->arena);
    rpc_call_unref(p->call);
    free(p);
}

static void push_lines(struct push *p, Openshell__V1__PushSandboxLogsRequest *batch)
{
    for (size_t i = 0; i < batch->n_logs && i < OS_LOG_PUSH_LINES; i++) {
        batch->logs[i]->sandbox_id = p->id;
        batch->logs[i]->source = (char *)"sandbox";
        logbus_add_line(p->gw->logs, p->id, batch->logs[i]);
    }
}

static void push_finish(struct push *p)
{
    Openshell__V1__PushSandboxLogsResponse r = OPENSHELL__V1__PUSH_SANDBOX_LOGS_RESPONSE__INIT;
    rpc_call_send(p->call, &r.base);
    rpc_call_finish(p->call, OS_OK, NULL);
}

static void check_work(void *arg)
{
    struct push *p = arg;
    cleanup_arena struct os_arena a = {0};
    p->known = sandbox_load(p->gw, p->id, &a, &p->err) != NULL;
}

static void check_done(void *arg)
{
    struct push *p = arg;
    p->busy = false;
    if (p->ended) {
        push_free(p);
        return;
    }
    if (!p->known) {
        rpc_call_finish(p->call, p->err.code, os_error_text(&p->err));
        return;
    }
    push_lines(p, p->waiting);
    p->waiting = NULL;
    os_arena_free(&p->arena);
    rpc_call_resume(p->call);
    if (p->half_closed)
        push_finish(p);
}

static void push_first(struct push *p, Openshell__V1__PushSandboxLogsRequest *batch)
{
    if (principal_check_scope(p->call, batch->sandbox_id, &p->err) < 0 ||
        strlen(batch->sandbox_id) >= OS_UUID_LEN) {
        rpc_call_finish(p->call, OS_PERMISSION_DENIED, os_error_text(&p->err));
        return;
    }
    strcpy(p->id, batch->sandbox_id);
    p->waiting = batch;
    p->busy = true;
    rpc_call_pause(p->call);
    rpc_server_work(p->gw->rpc, check_work, check_done, p);
}

static void push_message(struct rpc_call *call, void *ctx, const uint8_t *data, size_t n)
{
    struct push *p = ctx;
    struct os_arena a = {0};
    Openshell__V1__PushSandboxLogsRequest *batch = (Openshell__V1__PushSandboxLogsRequest *)rpc_unpack(
        &a, &openshell__v1__push_sandbox_logs_request__descriptor, data, n);
    if (!batch) {
        rpc_call_finish(call, OS_INTERNAL, "stream error: failed to decode Protobuf message");
    } else if (!*batch->sandbox_id) {
        /* skipped as published */
    } else if (!*p->id) {
        p->arena = a; /* kept until the sandbox was looked up */
        push_first(p, batch);
        return;
    } else if (strcmp(p->id, batch->sandbox_id) != 0) {
        rpc_call_finish(call, OS_PERMISSION_DENIED, "log stream sandbox_id changed after validation");
    } else {
        push_lines(p, batch);
    }
    os_arena_free(&a);
}

static void push_half_close(struct rpc_call *call, void *ctx)
{
    struct push *p = ctx;
    p->half_closed = true;
    if (!p->busy)
        push_finish(p);
}

static void push_done(struct rpc_call *call, void *ctx, const struct os_error *status)
{
    struct push *p = ctx;
    p->ended = true;
    if (!p->busy)
        push_free(p);
}

void push_logs_rpc(void *ctx, struct rpc_call *call)
{
    static const struct rpc_call_ops ops = {
        .on_message = push_message, .on_half_close = push_half_close, .on_done = push_done};
    struct push *p = os_calloc(1, sizeof(*p));
    p->gw = ctx;
    p->call = rpc_call_ref(call);
    rpc_call_set_ops(call, &ops, p);
}
