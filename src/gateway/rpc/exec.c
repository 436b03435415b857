/* ExecSandbox and ExecSandboxInteractive (spec/gateway.md 4.8, 4.9): a client's call on one side, an exec
 * relay to the supervisor on the other, flow control passed through in both directions. Loop thread. */
#include <stdlib.h>
#include <string.h>

#include "core/limits.h"
#include "core/str.h"
#include "gateway/rpc/handlers.h"
#include "gateway/sandbox.h"
#include "gateway/session/sessions.h"
#include "gateway/validate.h"
#include "rpc/pb.h"

#define TIMEOUT_EXIT 124

typedef Openshell__V1__ExecSandboxRequest exec_request;
typedef Openshell__V1__ExecSandboxEvent exec_event;
typedef Openshell__V1__RelayFrame relay_frame;

struct exec {
    struct gateway *gw;
    struct rpc_call *call;
    struct relay *relay; /* from relay_open until its end */
    struct os_arena arena;
    exec_request *req; /* in arena, NULL before the first message */
    uv_timer_t timer;
    struct os_error work_err;
    bool interactive;
    bool loading;     /* a worker reads the row */
    bool open;        /* frames may be sent */
    bool half_closed; /* the client will send no more input */
    bool answered;    /* the final status was queued */
    bool done;        /* on_done ran */
};

static void exec_timer_closed(uv_handle_t *h)
{
    struct exec *e = h->data;
    free(e);
}

/* Frees when neither the call, nor the relay, nor a worker refers to it any more. */
static void exec_release(struct exec *e)
{
    if (!e->done || e->relay || e->loading)
        return;
    os_arena_free(&e->arena);
    os_error_clear(&e->work_err);
    rpc_call_unref(e->call);
    uv_close((uv_handle_t *)&e->timer, exec_timer_closed);
}

static void exec_finish(struct exec *e, enum os_code code, const char *text)
{
    if (e->answered)
        return;
    e->answered = true;
    uv_timer_stop(&e->timer);
    rpc_call_finish(e->call, code, text);
}

static void exec_finish_err(struct exec *e, const struct os_error *err)
{
    exec_finish(e, err->code, os_error_text(err));
}

static void exec_exit(struct exec *e, int32_t code)
{
    Openshell__V1__ExecSandboxExit exit_msg = OPENSHELL__V1__EXEC_SANDBOX_EXIT__INIT;
    exec_event ev = OPENSHELL__V1__EXEC_SANDBOX_EVENT__INIT;
    if (e->answered)
        return;
    exit_msg.exit_code = code;
    ev.payload_case = OPENSHELL__V1__EXEC_SANDBOX_EVENT__PAYLOAD_EXIT;
    ev.exit = &exit_msg;
    rpc_call_send(e->call, &ev.base);
    exec_finish(e, OS_OK, NULL);
}

/* --- output: supervisor -> client --- */

static void send_stdout(struct exec *e, const ProtobufCBinaryData *data)
{
    Openshell__V1__ExecSandboxStdout out = OPENSHELL__V1__EXEC_SANDBOX_STDOUT__INIT;
    exec_event ev = OPENSHELL__V1__EXEC_SANDBOX_EVENT__INIT;
    out.data = *data;
    ev.payload_case = OPENSHELL__V1__EXEC_SANDBOX_EVENT__PAYLOAD_STDOUT;
    ev.stdout = &out;
    rpc_call_send(e->call, &ev.base);
}

static void send_stderr(struct exec *e, const ProtobufCBinaryData *data)
{
    Openshell__V1__ExecSandboxStderr out = OPENSHELL__V1__EXEC_SANDBOX_STDERR__INIT;
    exec_event ev = OPENSHELL__V1__EXEC_SANDBOX_EVENT__INIT;
    out.data = *data;
    ev.payload_case = OPENSHELL__V1__EXEC_SANDBOX_EVENT__PAYLOAD_STDERR;
    ev.stderr = &out;
    rpc_call_send(e->call, &ev.base);
}

static void relay_on_frame(void *ctx, const relay_frame *f)
{
    struct exec *e = ctx;
    if (e->answered)
        return;
    if (f->payload_case == OPENSHELL__V1__RELAY_FRAME__PAYLOAD_DATA && f->data.len)
        send_stdout(e, &f->data);
    if (f->stderr.len)
        send_stderr(e, &f->stderr);
    if (*f->error)
        exec_finish(e, OS_UNAVAILABLE, f->error);
    else if (f->exit)
        exec_exit(e, f->exit->exit_code);
    else if (rpc_call_queued(e->call) >= OS_RELAY_WINDOW)
        relay_pause(e->relay);
}

static void call_writable(struct rpc_call *call, void *ctx)
{
    struct exec *e = ctx;
    if (e->relay)
        relay_resume(e->relay);
}

static void relay_on_end(void *ctx, const struct os_error *status)
{
    struct exec *e = ctx;
    e->relay = NULL;
    e->open = false;
    if (status->code != OS_OK)
        exec_finish_err(e, status);
    else
        exec_finish(e, OS_UNAVAILABLE, "exec relay closed before the command reported an exit status");
    exec_release(e);
}

/* --- input: client -> supervisor --- */

static void send_stdin(struct exec *e, const uint8_t *data, size_t n)
{
    for (size_t at = 0; at < n; at += OS_RELAY_FRAME) {
        relay_frame f = OPENSHELL__V1__RELAY_FRAME__INIT;
        f.payload_case = OPENSHELL__V1__RELAY_FRAME__PAYLOAD_DATA;
        f.data.data = (uint8_t *)data + at;
        f.data.len = n - at < OS_RELAY_FRAME ? n - at : OS_RELAY_FRAME;
        relay_send(e->relay, &f);
    }
}

static void send_eof(struct exec *e)
{
    relay_frame f = OPENSHELL__V1__RELAY_FRAME__INIT;
    f.stdin_eof = 1;
    relay_send(e->relay, &f);
}

static void on_timeout(uv_timer_t *t)
{
    struct exec *e = t->data;
    exec_exit(e, TIMEOUT_EXIT);
    if (e->relay) {
        relay_abort(e->relay);
        e->relay = NULL;
        e->open = false;
    }
}

static void relay_on_open(void *ctx)
{
    struct exec *e = ctx;
    e->open = true;
    if (e->req->timeout_seconds && !e->answered)
        uv_timer_start(&e->timer, on_timeout, (uint64_t)e->req->timeout_seconds * 1000, 0);
    if (!e->interactive) {
        send_stdin(e, e->req->stdin.data, e->req->stdin.len);
        send_eof(e);
    } else if (e->half_closed) {
        send_eof(e);
    } else {
        rpc_call_resume(e->call);
    }
}

static void relay_on_writable(void *ctx)
{
    struct exec *e = ctx;
    if (e->interactive && !e->done)
        rpc_call_resume(e->call);
}

static void input(struct exec *e, const Openshell__V1__ExecSandboxInput *in)
{
    if (in->payload_case == OPENSHELL__V1__EXEC_SANDBOX_INPUT__PAYLOAD_STDIN) {
        send_stdin(e, in->stdin.data, in->stdin.len);
    } else if (in->payload_case == OPENSHELL__V1__EXEC_SANDBOX_INPUT__PAYLOAD_RESIZE && e->req->tty) {
        relay_frame f = OPENSHELL__V1__RELAY_FRAME__INIT;
        f.resize = in->resize;
        relay_send(e->relay, &f);
    }
    if (relay_queued(e->relay) >= OS_RELAY_WINDOW)
        rpc_call_pause(e->call);
}

/* --- start --- */

static void open_relay(struct exec *e)
{
    static const struct relay_ops ops = {.on_open = relay_on_open,
                                         .on_frame = relay_on_frame,
                                         .on_writable = relay_on_writable,
                                         .on_end = relay_on_end};
    Openshell__V1__ExecRelayTarget t = OPENSHELL__V1__EXEC_RELAY_TARGET__INIT;
    Openshell__V1__RelayOpen open = OPENSHELL__V1__RELAY_OPEN__INIT;
    const exec_request *req = e->req;
    t.command = req->command;
    t.n_command = req->n_command;
    t.workdir = req->workdir;
    t.tty = req->tty;
    t.cols = req->cols ? req->cols : 80;
    t.rows = req->rows ? req->rows : 24;
    t.timeout_seconds = req->timeout_seconds;
    t.attach_main = req->attach_main;
    t.read_only = req->read_only;
    t.n_environment = req->n_environment;
    t.environment = os_arena_alloc(&e->arena, (req->n_environment + 1) * sizeof(*t.environment));
    for (size_t i = 0; i < req->n_environment; i++) {
        t.environment[i] = pb_new(&e->arena, openshell__v1__exec_relay_target__environment_entry);
        t.environment[i]->key = req->environment[i]->key;
        t.environment[i]->value = req->environment[i]->value;
    }
    open.exec = &t;
    e->relay = relay_open(e->gw->sessions, req->sandbox_id, RELAY_EXEC, &open, &ops, e);
}

static void load_work(void *arg)
{
    struct exec *e = arg;
    cleanup_arena struct os_arena a = {0};
    sandbox_row *row = sandbox_load(e->gw, e->req->sandbox_id, &a, &e->work_err);
    if (row && row->status->phase != OPENSHELL__V1__SANDBOX_PHASE__SANDBOX_PHASE_READY)
        os_error_set(&e->work_err, OS_FAILED_PRECONDITION, "sandbox is not ready");
}

static void load_done(void *arg)
{
    struct exec *e = arg;
    e->loading = false;
    if (e->work_err.code != OS_OK)
        exec_finish_err(e, &e->work_err);
    else if (!e->done)
        open_relay(e);
    exec_release(e);
}

static void exec_start(struct exec *e, exec_request *req)
{
    cleanup_error struct os_error err = {0};
    e->req = req;
    if (validate_exec(req, &err) < 0) {
        exec_finish_err(e, &err);
        return;
    }
    if (e->interactive)
        rpc_call_pause(e->call); /* input waits until the relay is open */
    e->loading = true;
    rpc_server_work(e->gw->rpc, load_work, load_done, e);
}

/* --- the call --- */

static void exec_message(struct rpc_call *call, void *ctx, const uint8_t *data, size_t n)
{
    struct exec *e = ctx;
    if (e->answered || e->req)
        return;
    exec_request *req =
        (exec_request *)rpc_unpack(&e->arena, &openshell__v1__exec_sandbox_request__descriptor, data, n);
    if (req)
        exec_start(e, req);
    else
        exec_finish(e, OS_INTERNAL, "failed to decode Protobuf message");
}

static void interactive_message(struct rpc_call *call, void *ctx, const uint8_t *data, size_t n)
{
    struct exec *e = ctx;
    if (e->answered)
        return;
    cleanup_arena struct os_arena scratch = {0};
    Openshell__V1__ExecSandboxInput *in = (Openshell__V1__ExecSandboxInput *)rpc_unpack(
        e->req ? &scratch : &e->arena, &openshell__v1__exec_sandbox_input__descriptor, data, n);
    if (!in)
        exec_finish(e, OS_INTERNAL, "failed to decode Protobuf message");
    else if (e->req && e->open)
        input(e, in);
    else if (e->req)
        return;
    else if (in->payload_case == OPENSHELL__V1__EXEC_SANDBOX_INPUT__PAYLOAD_START)
        exec_start(e, in->start);
    else
        exec_finish(e, OS_INVALID_ARGUMENT, "first message must be a start payload");
}

static void exec_half_close(struct rpc_call *call, void *ctx)
{
    struct exec *e = ctx;
    e->half_closed = true;
    if (!e->req)
        exec_finish(e, OS_INVALID_ARGUMENT, "empty stream: expected start message");
    else if (e->interactive && e->open)
        send_eof(e);
}

static void exec_done(struct rpc_call *call, void *ctx, const struct os_error *status)
{
    struct exec *e = ctx;
    e->done = true;
    e->answered = true;
    uv_timer_stop(&e->timer);
    if (e->relay) {
        relay_abort(e->relay);
        e->relay = NULL;
    }
    exec_release(e);
}

static void exec_begin(struct gateway *gw, struct rpc_call *call, bool interactive,
                       const struct rpc_call_ops *ops)
{
    struct exec *e = os_calloc(1, sizeof(*e));
    e->gw = gw;
    e->call = rpc_call_ref(call);
    e->interactive = interactive;
    uv_timer_init(gw->loop, &e->timer);
    e->timer.data = e;
    rpc_call_set_ops(call, ops, e);
}

void exec_rpc(void *ctx, struct rpc_call *call)
{
    static const struct rpc_call_ops ops = {.on_message = exec_message,
                                            .on_half_close = exec_half_close,
                                            .on_writable = call_writable,
                                            .on_done = exec_done};
    exec_begin(ctx, call, false, &ops);
}

void exec_interactive_rpc(void *ctx, struct rpc_call *call)
{
    static const struct rpc_call_ops ops = {.on_message = interactive_message,
                                            .on_half_close = exec_half_close,
                                            .on_writable = call_writable,
                                            .on_done = exec_done};
    exec_begin(ctx, call, true, &ops);
}
