/* `logs` (spec/cli.md 10). */
#include <ctype.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/log_line.h"
#include "cli/output.h"
#include "cli/values.h"
#include "core/cleanup.h"
#include "core/clock.h"
#include "core/limits.h"
#include "core/str.h"

#define LOOK_MS 500

typedef Openshell__V1__SandboxLogLine log_line;

static bool print_line(const log_line *line)
{
    cleanup_buf struct os_buf b = {0};
    log_line_format(line, &b);
    return fwrite(os_buf_str(&b), 1, b.len, stdout) == b.len;
}

/* --- filters --- */

struct filter {
    char **sources;
    size_t n_sources;
    char *level;
    int64_t since_ms;
};

static int read_filter(struct cli *cli, struct filter *f, struct os_error *err)
{
    const char *since = args_get(cli->args, "since"), *level = args_get(cli->args, "level");
    size_t n = args_count(cli->args, "source");
    int64_t span;
    f->sources = os_arena_alloc(&cli->arena, (n + 1) * sizeof(*f->sources));
    for (size_t i = 0; i < n; i++)
        if (strcmp(args_nth(cli->args, "source", i), "all") != 0)
            f->sources[f->n_sources++] = (char *)args_nth(cli->args, "source", i);
    for (size_t i = 0; i < f->n_sources; i++)
        if (strcmp(f->sources[i], "gateway") != 0 && strcmp(f->sources[i], "sandbox") != 0)
            return os_error_set(err, OS_INVALID_ARGUMENT,
                                "invalid --source '%s': expected gateway, sandbox or all", f->sources[i]);
    f->level = os_arena_strdup(&cli->arena, level ? level : "");
    for (char *c = f->level; *c; c++)
        *c = (char)toupper((unsigned char)*c);
    static const char *const levels[] = {"", "ERROR", "WARN", "INFO", "OCSF", "DEBUG", "TRACE"};
    bool known = false;
    for (size_t i = 0; i < OS_ARRAY_LEN(levels); i++)
        known |= strcmp(f->level, levels[i]) == 0;
    if (!known)
        return os_error_set(err, OS_INVALID_ARGUMENT,
                            "invalid --level '%s': expected error, warn, info, debug or trace", level);
    if (since && value_duration(since, &span, err) < 0)
        return -1;
    if (since)
        f->since_ms = os_clock_ms() > span ? os_clock_ms() - span : 0;
    return 0;
}

/* --- tail --- */

struct tail {
    struct cli *cli;
    struct os_error *err;
    struct rpc_call *call;
    uv_timer_t look;
    bool over, failed;
};

static void on_message(struct rpc_call *call, void *ctx, const uint8_t *data, size_t n)
{
    struct tail *t = ctx;
    cleanup_arena struct os_arena a = {0};
    Openshell__V1__SandboxStreamEvent *ev = (Openshell__V1__SandboxStreamEvent *)rpc_unpack(
        &a, &openshell__v1__sandbox_stream_event__descriptor, data, n);
    t->cli->answered = true;
    if (t->over || !ev || ev->payload_case != OPENSHELL__V1__SANDBOX_STREAM_EVENT__PAYLOAD_LOG)
        return;
    if (!print_line(ev->log) || fflush(stdout) != 0) {
        t->over = true; /* the reader went away */
        rpc_call_cancel(call);
    }
}

static void on_done(struct rpc_call *call, void *ctx, const struct os_error *status)
{
    struct tail *t = ctx;
    if (t->over)
        return;
    t->over = true;
    t->failed = status->code != OS_OK;
    if (t->failed)
        cli_call_failed(t->cli, status, t->err);
}

/* A log may be silent for long: whether anybody reads is not left to the next write. */
static void on_look(uv_timer_t *h)
{
    struct tail *t = h->data;
    struct pollfd p = {.fd = STDOUT_FILENO};
    if (t->over || poll(&p, 1, 0) <= 0 || !(p.revents & POLLERR))
        return;
    t->over = true;
    rpc_call_cancel(t->call);
}

static int tail(struct cli *cli, const char *id, const struct filter *f, struct os_error *err)
{
    static const struct rpc_call_ops ops = {.on_message = on_message, .on_done = on_done};
    struct tail *t = os_arena_alloc(&cli->arena, sizeof(*t));
    *t = (struct tail){.cli = cli, .err = err};
    Openshell__V1__WatchSandboxRequest req = OPENSHELL__V1__WATCH_SANDBOX_REQUEST__INIT;
    req.id = (char *)id;
    req.follow_logs = true;
    req.log_tail_lines = (uint32_t)args_number(cli->args, "lines");
    req.log_since_ms = req.log_tail_lines ? f->since_ms : INT64_MAX; /* 0 would be 200 of what is there */
    req.log_sources = f->sources;
    req.n_log_sources = f->n_sources;
    req.log_min_level = f->level;
    t->call = rpc_client_call(cli->rpc, RPC_OpenShell_WatchSandbox, &ops, t, 0);
    rpc_call_send(t->call, &req.base);
    rpc_call_half_close(t->call);
    t->look.data = t;
    uv_timer_init(&cli->loop, &t->look);
    uv_timer_start(&t->look, on_look, LOOK_MS, LOOK_MS);
    while (!t->over)
        uv_run(&cli->loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&t->look, NULL);
    return t->failed ? -1 : 0;
}

/* --- command --- */

/* Lines of the time that was asked for may be missing: as many as were wanted came, and none of them was
 * left out as too old, as far as that can be seen behind other filters. */
static bool may_be_cut(const struct filter *f, uint32_t wanted,
                       const Openshell__V1__GetSandboxLogsResponse *r)
{
    bool only_time = !f->n_sources && !*f->level;
    return f->since_ms && r->buffer_total >= wanted && !(only_time && r->n_logs < r->buffer_total);
}

static int show(struct cli *cli, const char *id, const struct filter *f, struct os_error *err)
{
    Openshell__V1__GetSandboxLogsRequest req = OPENSHELL__V1__GET_SANDBOX_LOGS_REQUEST__INIT;
    ProtobufCMessage *response;
    if (!args_number(cli->args, "lines"))
        return 0;
    req.sandbox_id = (char *)id;
    req.lines = (uint32_t)args_number(cli->args, "lines");
    req.since_ms = f->since_ms;
    req.sources = f->sources;
    req.n_sources = f->n_sources;
    req.min_level = f->level;
    req.workspace = (char *)cli->workspace;
    if (cli_call(cli, RPC_OpenShell_GetSandboxLogs, &req.base, CLI_READ_MS, &response, err) < 0)
        return -1;
    const Openshell__V1__GetSandboxLogsResponse *r = (const Openshell__V1__GetSandboxLogsResponse *)response;
    if (may_be_cut(f, req.lines < OS_LOG_RING ? req.lines : OS_LOG_RING, r))
        say(stderr,
            YELLOW "Warning:" END
                   " log buffer contains only the last %u lines; --since results may be incomplete.\n",
            r->buffer_total);
    for (size_t i = 0; i < r->n_logs; i++)
        print_line(r->logs[i]);
    return 0;
}

int logs_run(struct cli *cli, struct os_error *err)
{
    struct filter f = {0};
    if (read_filter(cli, &f, err) < 0)
        return -1;
    const char *name = cli_sandbox_name(cli, args_positional(cli->args, 0), err);
    Openshell__V1__Sandbox *s = name ? cli_get_sandbox(cli, name, err) : NULL;
    if (!s)
        return -1;
    bool follow = args_given(cli->args, "tail") || args_given(cli->args, "follow");
    return follow ? tail(cli, s->metadata->id, &f, err) : show(cli, s->metadata->id, &f, err);
}
