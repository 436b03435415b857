/* ExecSandbox and ExecSandboxInteractive (spec/gateway.md 4.8, 4.9): a client's call on one side, an exec
 * relay to the supervisor on the other, flow control passed through in both directions. Loop thread. */
#include <stdlib.h>
#include <string.h>

#include "core/limits.h"
#include "core/str.h"
#include "gateway/main_output.h"
#include "gateway/rpc/handlers.h"
#include "gateway/sandbox.h"
#include "gateway/session/sessions.h"
#include "gateway/validate.h"
#include "rpc/pb.h"

#define TIMEOUT_EXIT 124
#define PHASE(x) OPENSHELL__V1__SANDBOX_PHASE__SANDBOX_PHASE_##x

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
    /* attaching to a main process that is over */
    const Openshell__V1__ReportMainProcessExitRequest *kept; /* in arena; NULL when nothing is known */
    bool main_over;
    int32_t main_code;
    struct os_error lost;        /* why the relay to it broke */
    uint64_t sent_out, sent_err; /* bytes that the client has got of each stream */
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
    os_error_clear(&e->lost);
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
    e->sent_out += data->len;
}

static void send_stderr(struct exec *e, const ProtobufCBinaryData *data)
{
    Openshell__V1__ExecSandboxStderr out = OPENSHELL__V1__EXEC_SANDBOX_STDERR__INIT;
    exec_event ev = OPENSHELL__V1__EXEC_SANDBOX_EVENT__INIT;
    out.data = *data;
    ev.payload_case = OPENSHELL__V1__EXEC_SANDBOX_EVENT__PAYLOAD_STDERR;
    ev.stderr = &out;
    rpc_call_send(e->call, &ev.base);
    e->sent_err += data->len;
}

/* --- the end of a main process, seen too late --- */

static void load_work(void *arg);
static void load_done(void *arg);

/* The relay to the main process broke. When that is because the process is over, what it wrote is kept. */
static void attach_broke(struct exec *e, enum os_code code, const char *text)
{
    if (!e->req->attach_main || e->main_over || e->answered || e->done || e->loading) {
        exec_finish(e, code, text);
        return;
    }
    os_error_set(&e->lost, code, "%s", text);
    e->loading = true;
    rpc_server_work(e->gw->rpc, load_work, load_done, e);
}

static void send_kept(struct exec *e, const Openshell__V1__MainProcessOutput *o, uint64_t *skip)
{
    ProtobufCBinaryData data = o->data;
    uint64_t seen = *skip < data.len ? *skip : data.len;
    *skip -= seen;
    data.data += seen;
    data.len -= seen;
    if (data.len && o->is_stderr)
        send_stderr(e, &data);
    else if (data.len)
        send_stdout(e, &data);
}

static void send_dropped(struct exec *e, uint64_t n)
{
    const char *text = os_arena_printf(
        &e->arena, "openshell: %llu earlier bytes of output are no longer kept\n", (unsigned long long)n);
    send_stderr(e, &(ProtobufCBinaryData){.data = (uint8_t *)text, .len = strlen(text)});
}

static void replay(struct exec *e)
{
    uint64_t skip_out = e->sent_out, skip_err = e->sent_err;
    /* Which bytes are missing cannot be told once the oldest are gone. */
    if (e->kept && e->kept->output_dropped && (skip_out || skip_err)) {
        exec_finish_err(e, &e->lost);
        return;
    }
    if (e->kept && e->kept->output_dropped)
        send_dropped(e, e->kept->output_dropped);
    for (size_t i = 0; e->kept && i < e->kept->n_output; i++)
        send_kept(e, e->kept->output[i], e->kept->output[i]->is_stderr ? &skip_err : &skip_out);
    exec_exit(e, e->main_code);
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
        attach_broke(e, status->code, os_error_text(status));
    else
        attach_broke(e, OS_UNAVAILABLE, "exec relay closed before the command reported an exit status");
    exec_release(e);
}

/* --- input: client -> supervisor --- */

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
        relay_send_data(e->relay, e->req->stdin.data, e->req->stdin.len);
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
        relay_send_data(e->relay, in->stdin.data, in->stdin.len);
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

static bool main_is_over(const sandbox_row *row)
{
    return row->status->_exit_code_case == OPENSHELL__V1__SANDBOX_STATUS___EXIT_CODE_EXIT_CODE &&
           (row->status->phase == PHASE(STOPPED) || row->status->phase == PHASE(ERROR));
}

static void load_work(void *arg)
{
    struct exec *e = arg;
    cleanup_arena struct os_arena a = {0};
    sandbox_row *row = sandbox_load(e->gw, e->req->sandbox_id, &a, &e->work_err);
    if (row && e->req->attach_main && main_is_over(row)) {
        e->main_over = true;
        e->main_code = row->status->exit_code;
        e->kept = main_output_load(e->gw, row, &e->arena);
    } else if (row && e->lost.code != OS_OK) {
        os_error_set(&e->work_err, e->lost.code, "%s", os_error_text(&e->lost));
    } else if (row && row->status->phase != PHASE(READY)) {
        os_error_set(&e->work_err, OS_FAILED_PRECONDITION, "sandbox is not ready");
    }
}

static void load_done(void *arg)
{
    struct exec *e = arg;
    e->loading = false;
    if (e->work_err.code != OS_OK)
        exec_finish_err(e, &e->work_err);
    else if (!e->done && e->main_over)
        replay(e);
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
