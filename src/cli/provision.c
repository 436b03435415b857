/* Watching a sandbox become Ready. */
#include "cli/provision.h"

#include <stdlib.h>
#include <string.h>

#include "cli/progress.h"
#include "cli/sandbox.h"
#include "core/cleanup.h"
#include "core/str.h"
#include "rpc/pb.h"

#define PHASE(x) OPENSHELL__V1__SANDBOX_PHASE__SANDBOX_PHASE_##x
#define EVENT(x) OPENSHELL__V1__SANDBOX_STREAM_EVENT__PAYLOAD_##x
#define TIMEOUT_DEFAULT_S 300

struct provision {
    struct cli *cli;
    struct rpc_call *call; /* NULL once on_done ran */
    struct progress *show;
    struct os_error *err;
    uv_timer_t idle;
    uint64_t timeout_s;
    const char *last; /* last reported reason */
    bool over, failed, ended;
};

static const struct {
    const char *step, *active, *done;
} steps[] = {{"requesting_sandbox", "Requesting sandbox...", "Sandbox allocated"},
             {"pulling_image", "Pulling image...", "Image pulled"},
             {"starting_sandbox", "Starting sandbox...", "Sandbox ready"}};

static void finish(struct provision *p, bool failed)
{
    p->over = true;
    p->failed = failed;
    progress_clear(p->show);
}

/* --- events --- */

static const char *metadata(const Openshell__V1__PlatformEvent *ev, const char *key)
{
    for (size_t i = 0; i < ev->n_metadata; i++)
        if (os_str_starts(ev->metadata[i]->key, "openshell.progress.") &&
            strcmp(ev->metadata[i]->key + strlen("openshell.progress."), key) == 0)
            return ev->metadata[i]->value;
    return NULL;
}

static const char *step_text(const char *step, bool done)
{
    for (size_t i = 0; i < OS_ARRAY_LEN(steps); i++)
        if (strcmp(steps[i].step, step) == 0)
            return done ? steps[i].done : steps[i].active;
    return step;
}

static bool vm_progress(const Openshell__V1__PlatformEvent *ev)
{
    static const char *const reasons[] = {
        "PullingLayer",    "ResolvingImage",   "AuthenticatingRegistry",   "FetchingManifest",
        "CacheHit",        "CacheMiss",        "WaitingForImageCacheLock", "ExportingRootfs",
        "PreparingRootfs", "CreatingRootDisk", "PreparingOverlay",         "Started"};
    for (size_t i = 0; strcmp(ev->source, "vm") == 0 && i < OS_ARRAY_LEN(reasons); i++)
        if (strcmp(ev->reason, reasons[i]) == 0)
            return true;
    return false;
}

static void on_event(struct provision *p, const Openshell__V1__PlatformEvent *ev)
{
    const char *complete = metadata(ev, "complete_step"), *label = metadata(ev, "complete_label");
    const char *active = metadata(ev, "active_step"), *detail = metadata(ev, "active_detail");
    p->last = os_arena_printf(&p->cli->arena, "%s: %s", ev->reason, ev->message);
    if (complete || label)
        progress_done(p->show, complete, label ? label : step_text(complete, true));
    if (active || detail)
        progress_active(p->show, active ? step_text(active, false) : NULL, detail ? detail : "");
    if (complete || label || active || detail || vm_progress(ev))
        uv_timer_again(&p->idle);
    else
        progress_active(p->show, NULL, *ev->message ? ev->message : ev->reason);
}

static void on_sandbox(struct provision *p, const Openshell__V1__Sandbox *s)
{
    struct os_arena *a = &p->cli->arena;
    if (!s->status)
        return;
    const char *reason = sandbox_reason(s, a);
    if (reason)
        p->last = reason;
    if (s->status->phase == PHASE(READY)) {
        finish(p, false);
        return;
    }
    bool exited = s->status->_exit_code_case == OPENSHELL__V1__SANDBOX_STATUS___EXIT_CODE_EXIT_CODE;
    bool over = s->status->phase == PHASE(STOPPED) || s->status->phase == PHASE(ERROR);
    if (over && exited) /* a job that is done already */
        p->ended = true;
    if (p->ended && s->status->exit_code == 0) {
        finish(p, false);
        return;
    }
    if (s->status->phase != PHASE(ERROR))
        return;
    finish(p, true);
    if (!p->ended) /* of a command that failed, its output and exit code are the news */
        progress_failed(reason ? os_arena_printf(a, "Error: %s", reason) : "Sandbox entered error phase");
    os_error_set(p->err, OS_FAILED_PRECONDITION, "sandbox entered error phase while provisioning%s%s%s",
                 reason ? ": " : "", reason ? reason : "",
                 exited ? os_arena_printf(a, " (exit code %d)", (int)s->status->exit_code) : "");
}

static void on_message(struct rpc_call *call, void *ctx, const uint8_t *data, size_t n)
{
    struct provision *p = ctx;
    cleanup_arena struct os_arena a = {0};
    if (p->over)
        return;
    p->cli->answered = true;
    Openshell__V1__SandboxStreamEvent *ev = (Openshell__V1__SandboxStreamEvent *)rpc_unpack(
        &a, &openshell__v1__sandbox_stream_event__descriptor, data, n);
    if (!ev) {
        finish(p, true);
        os_error_set(p->err, OS_DATA_LOSS, "the gateway sent a watch event that cannot be read");
    } else if (ev->payload_case == EVENT(SANDBOX)) {
        on_sandbox(p, ev->sandbox);
    } else if (ev->payload_case == EVENT(EVENT)) {
        on_event(p, ev->event);
    } else if (ev->payload_case == EVENT(WARNING)) {
        progress_warn(p->show, ev->warning->message);
    }
}

static void on_done(struct rpc_call *call, void *ctx, const struct os_error *status)
{
    struct provision *p = ctx;
    p->call = NULL;
    if (p->over)
        return;
    finish(p, true);
    progress_failed("Provisioning stream ended unexpectedly");
    if (status->code == OS_OK)
        os_error_set(p->err, OS_UNAVAILABLE,
                     "sandbox provisioning stream ended before reaching terminal phase");
    else
        cli_call_failed(p->cli, status, p->err);
}

static void on_idle(uv_timer_t *t)
{
    struct provision *p = t->data;
    finish(p, true);
    os_error_set(p->err, OS_DEADLINE_EXCEEDED, "sandbox provisioning timed out after %llus%s%s%s",
                 (unsigned long long)p->timeout_s, p->last ? ". Last reported status: " : "",
                 p->last ? p->last : "",
                 args_given(p->cli->args, "gpu")
                     ? ". Hint: this may be because the available GPU is already in use by another sandbox."
                     : "");
}

static uint64_t timeout_seconds(void)
{
    const char *set = getenv("OPENSHELL_PROVISION_TIMEOUT");
    uint64_t n;
    return set && os_str_u64(set, UINT32_MAX, &n) && n ? n : TIMEOUT_DEFAULT_S;
}

static const struct rpc_call_ops watch_ops = {.on_message = on_message, .on_done = on_done};

int provision_wait(struct cli *cli, const Openshell__V1__Sandbox *created, bool quiet, bool *ended,
                   struct os_error *err)
{
    struct provision *p = os_arena_alloc(&cli->arena, sizeof(*p));
    *p = (struct provision){.cli = cli, .err = err, .timeout_s = timeout_seconds()};
    *ended = false;
    if (created->status && created->status->phase == PHASE(READY))
        return 0;
    Openshell__V1__WatchSandboxRequest req = OPENSHELL__V1__WATCH_SANDBOX_REQUEST__INIT;
    char *sources[] = {(char *)"gateway"};
    req.id = created->metadata->id;
    req.follow_status = req.follow_logs = req.follow_events = true;
    req.log_tail_lines = 200;
    req.event_tail = 50;
    req.log_sources = sources;
    req.n_log_sources = 1;
    uv_timer_init(&cli->loop, &p->idle);
    p->idle.data = p;
    uv_timer_start(&p->idle, on_idle, p->timeout_s * 1000, p->timeout_s * 1000);
    p->call = rpc_client_call(cli->rpc, RPC_OpenShell_WatchSandbox, &watch_ops, p, 0);
    rpc_call_send(p->call, &req.base);
    rpc_call_half_close(p->call);
    p->show = progress_begin(cli, quiet);
    while (!p->over)
        uv_run(&cli->loop, UV_RUN_ONCE);
    if (p->call)
        rpc_call_cancel(p->call);
    uv_close((uv_handle_t *)&p->idle, NULL);
    progress_end(p->show);
    p->err = NULL;
    *ended = p->ended;
    return p->failed ? -1 : 0;
}
