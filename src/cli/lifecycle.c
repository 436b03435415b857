/* `sandbox stop` and `start` (spec/cli.md 6.5): one call, then watching until the phase is there. */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/forward.h"
#include "cli/output.h"
#include "cli/sandbox.h"
#include "core/str.h"
#include "rpc/pb.h"

#define PHASE(x) OPENSHELL__V1__SANDBOX_PHASE__SANDBOX_PHASE_##x
#define TIMEOUT_DEFAULT_S 300

struct waiting {
    struct cli *cli;
    struct rpc_call *call; /* NULL once on_done ran */
    struct os_error *err;
    Openshell__V1__SandboxPhase want;
    uint64_t timeout_s;
    bool over;
};

static uint64_t timeout_seconds(void)
{
    const char *set = getenv("OPENSHELL_LIFECYCLE_TIMEOUT");
    uint64_t n;
    return set && os_str_u64(set, UINT32_MAX, &n) && n ? n : TIMEOUT_DEFAULT_S;
}

static void on_sandbox(struct waiting *w, const Openshell__V1__Sandbox *s)
{
    Openshell__V1__SandboxPhase phase = s->status ? s->status->phase : PHASE(UNSPECIFIED);
    bool done = phase == PHASE(STOPPED) &&
                s->status->_exit_code_case == OPENSHELL__V1__SANDBOX_STATUS___EXIT_CODE_EXIT_CODE;
    if (phase == w->want || done) { /* a job may have ended well before it was seen running */
        w->over = true;
    } else if (phase == PHASE(ERROR)) {
        const char *reason = sandbox_reason(s, &w->cli->arena);
        w->over = true;
        os_error_set(w->err, OS_FAILED_PRECONDITION, "%s", reason ? reason : "sandbox entered Error");
    } else if (phase == PHASE(STOPPING) || phase == PHASE(STOPPED) || phase == PHASE(DELETING)) {
        /* Somebody else has asked for something else meanwhile. */
        w->over = true;
        os_error_set(w->err, OS_ABORTED, "sandbox entered %s while waiting for %s", sandbox_phase_name(phase),
                     sandbox_phase_name(w->want));
    }
}

static void on_message(struct rpc_call *call, void *ctx, const uint8_t *data, size_t n)
{
    struct waiting *w = ctx;
    cleanup_arena struct os_arena a = {0};
    if (w->over)
        return;
    Openshell__V1__SandboxStreamEvent *ev = (Openshell__V1__SandboxStreamEvent *)rpc_unpack(
        &a, &openshell__v1__sandbox_stream_event__descriptor, data, n);
    if (!ev) {
        w->over = true;
        os_error_set(w->err, OS_DATA_LOSS, "the gateway sent a watch event that cannot be read");
    } else if (ev->payload_case == OPENSHELL__V1__SANDBOX_STREAM_EVENT__PAYLOAD_SANDBOX) {
        on_sandbox(w, ev->sandbox);
    }
}

static void on_done(struct rpc_call *call, void *ctx, const struct os_error *status)
{
    struct waiting *w = ctx;
    w->call = NULL;
    if (w->over)
        return;
    w->over = true;
    if (status->code == OS_OK)
        os_error_set(w->err, OS_UNAVAILABLE, "sandbox watch ended before reaching %s",
                     sandbox_phase_name(w->want));
    else
        cli_call_failed(w->cli, status, w->err);
}

static void on_timeout(uv_timer_t *t)
{
    struct waiting *w = t->data;
    w->over = true;
    os_error_set(w->err, OS_DEADLINE_EXCEEDED, "timed out after %llus waiting for sandbox to reach %s",
                 (unsigned long long)w->timeout_s, sandbox_phase_name(w->want));
}

static int wait_phase(struct cli *cli, const Openshell__V1__Sandbox *s, Openshell__V1__SandboxPhase want,
                      struct os_error *err)
{
    static const struct rpc_call_ops ops = {.on_message = on_message, .on_done = on_done};
    Openshell__V1__SandboxPhase now = s->status ? s->status->phase : PHASE(UNSPECIFIED);
    if (now == want)
        return 0;
    if (now == PHASE(ERROR))
        return os_error_set(err, OS_FAILED_PRECONDITION, "sandbox entered Error while waiting for %s",
                            sandbox_phase_name(want));
    struct waiting *w = os_arena_alloc(&cli->arena, sizeof(*w));
    *w = (struct waiting){.cli = cli, .err = err, .want = want, .timeout_s = timeout_seconds()};
    uv_timer_t *limit = os_arena_alloc(&cli->arena, sizeof(*limit));
    uv_timer_init(&cli->loop, limit);
    limit->data = w;
    uv_timer_start(limit, on_timeout, w->timeout_s * 1000, 0);
    Openshell__V1__WatchSandboxRequest req = OPENSHELL__V1__WATCH_SANDBOX_REQUEST__INIT;
    req.id = s->metadata->id;
    req.follow_status = true;
    w->call = rpc_client_call(cli->rpc, RPC_OpenShell_WatchSandbox, &ops, w, 0);
    rpc_call_send(w->call, &req.base);
    rpc_call_half_close(w->call);
    while (!w->over)
        uv_run(&cli->loop, UV_RUN_ONCE);
    w->err = NULL;
    if (w->call)
        rpc_call_cancel(w->call);
    uv_close((uv_handle_t *)limit, NULL);
    return err->code == OS_OK ? 0 : -1;
}

static int move(struct cli *cli, const char *name, enum rpc_method_id method, const ProtobufCMessage *request,
                Openshell__V1__SandboxPhase want, struct os_error *err)
{
    ProtobufCMessage *response;
    if (cli_call(cli, method, request, 0, &response, err) < 0)
        return cli_sandbox_failed(cli, name, err);
    const Openshell__V1__Sandbox *s = ((const Openshell__V1__SandboxResponse *)response)->sandbox;
    if (!s || !s->metadata)
        return os_error_set(err, OS_DATA_LOSS, "the gateway answered without a sandbox");
    return wait_phase(cli, s, want, err);
}

int sandbox_stop_run(struct cli *cli, struct os_error *err)
{
    Openshell__V1__StopSandboxRequest req = OPENSHELL__V1__STOP_SANDBOX_REQUEST__INIT;
    req.name = (char *)cli_sandbox_name(cli, args_positional(cli->args, 0), err);
    req.workspace = (char *)cli->workspace;
    if (!req.name)
        return -1;
    forward_stop_sandbox(cli, req.name);
    if (move(cli, req.name, RPC_OpenShell_StopSandbox, &req.base, PHASE(STOPPED), err) < 0)
        return -1;
    say(stdout, OK_MARK "✓" END " Stopped sandbox %s\n", req.name);
    return 0;
}

int sandbox_start_run(struct cli *cli, struct os_error *err)
{
    Openshell__V1__StartSandboxRequest req = OPENSHELL__V1__START_SANDBOX_REQUEST__INIT;
    req.name = (char *)cli_sandbox_name(cli, args_positional(cli->args, 0), err);
    req.workspace = (char *)cli->workspace;
    if (!req.name || move(cli, req.name, RPC_OpenShell_StartSandbox, &req.base, PHASE(READY), err) < 0)
        return -1;
    say(stdout, OK_MARK "✓" END " Started sandbox %s\n", req.name);
    return 0;
}
