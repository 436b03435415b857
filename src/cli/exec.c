/* `sandbox exec` and `sandbox connect` (spec/cli.md 7.1, 7.4). */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/attach.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/editor.h"
#include "cli/output.h"
#include "cli/sandbox.h"
#include "cli/stream.h"
#include "cli/terminal.h"
#include "cli/values.h"
#include "core/cleanup.h"
#include "core/limits.h"
#include "rpc/pb.h"

#define EXIT_NOT_FOUND 127
#define PHASE(x) OPENSHELL__V1__SANDBOX_PHASE__SANDBOX_PHASE_##x

typedef Openshell__V1__ExecSandboxRequest exec_request;

static int environment(struct cli *cli, exec_request *req, struct os_error *err)
{
    size_t n = args_count(cli->args, "env");
    req->environment = os_arena_alloc(&cli->arena, (n + 1) * sizeof(*req->environment));
    for (size_t i = 0; i < n; i++) {
        const char *pair = args_nth(cli->args, "env", i), *value;
        size_t key_len;
        if (value_env(pair, &key_len, &value, err) < 0)
            return -1;
        req->environment[i] = pb_new(&cli->arena, openshell__v1__exec_sandbox_request__environment_entry);
        req->environment[i]->key = os_arena_strndup(&cli->arena, pair, key_len);
        req->environment[i]->value = (char *)value;
    }
    req->n_environment = n;
    return 0;
}

static bool wants_tty(const struct cli *cli)
{
    int flag = args_last_of(cli->args, "tty", "no-tty");
    return flag ? flag > 0 : isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
}

/* The stream broke because the sandbox went away beneath it: that is the news. */
static int explain_end(struct cli *cli, const char *name, int code, struct os_error *err)
{
    cleanup_error struct os_error none = {0};
    if (code >= 0 || err->code != OS_UNAVAILABLE || cli->lost)
        return code;
    const Openshell__V1__Sandbox *s = cli_get_sandbox(cli, name, &none);
    Openshell__V1__SandboxPhase phase = s ? s->status->phase : PHASE(UNSPECIFIED);
    if (phase == PHASE(DELETING) || (!s && none.code == OS_NOT_FOUND))
        return os_error_set(err, OS_ABORTED, "sandbox '%s' was deleted", name);
    if (phase == PHASE(STOPPING) || phase == PHASE(STOPPED))
        return os_error_set(err, OS_ABORTED,
                            "sandbox '%s' was stopped; start it again with: openshell sandbox start %s", name,
                            name);
    return code;
}

/* Input that is complete travels in the request; a slow, endless or large one is streamed. */
static int run(struct cli *cli, exec_request *req, struct os_error *err)
{
    if (isatty(STDIN_FILENO)) {
        if (!req->tty)
            return stream_run(cli, req, STREAM_NO_INPUT, NULL, err);
        terminal_size(&req->cols, &req->rows);
        return stream_run(cli, req, STREAM_RAW, NULL, err);
    }
    cleanup_buf struct os_buf ahead = {0};
    if (!stream_read_ahead(&ahead, OS_LIMIT_EXEC_STDIN_UNARY))
        return stream_run(cli, req, STREAM_PIPE, &ahead, err);
    req->stdin.data = (uint8_t *)ahead.data;
    req->stdin.len = ahead.len;
    return stream_run(cli, req, STREAM_NO_INPUT, NULL, err);
}

/* `exec NAME COMMAND` runs NAME in the last used sandbox: a slip that only the list of sandboxes can show. */
static void hint_name(struct cli *cli, const char *word)
{
    cleanup_error struct os_error none = {0};
    if (cli_get_sandbox(cli, word, &none))
        say(stderr,
            "hint: '%s' is a sandbox; name it with -n: openshell sandbox exec -n %s -- <COMMAND>...\n", word,
            word);
}

int sandbox_exec_run(struct cli *cli, struct os_error *err)
{
    exec_request req = OPENSHELL__V1__EXEC_SANDBOX_REQUEST__INIT;
    if (!*cli->args->positional[0])
        return os_error_set(err, OS_INVALID_ARGUMENT, "the command is empty; name a program to run");
    if (environment(cli, &req, err) < 0)
        return -1;
    const char *name = cli_sandbox_name(cli, args_get(cli->args, "name"), err);
    Openshell__V1__Sandbox *s = name ? cli_get_sandbox(cli, name, err) : NULL;
    if (!s || sandbox_check_ready(s, err) < 0)
        return -1;
    req.sandbox_id = s->metadata->id;
    req.command = (char **)cli->args->positional;
    req.n_command = cli->args->n_positional;
    if (args_given(cli->args, "workdir"))
        req.workdir = (char *)args_get(cli->args, "workdir");
    req.timeout_seconds = (uint32_t)args_number(cli->args, "timeout");
    req.tty = wants_tty(cli);
    int code = explain_end(cli, name, run(cli, &req, err), err);
    if (code >= 0)
        cli_remember_sandbox(cli, name);
    if (code == EXIT_NOT_FOUND && !args_given(cli->args, "name"))
        hint_name(cli, req.command[0]);
    return code;
}

int attach_main(struct cli *cli, const Openshell__V1__Sandbox *s, struct os_error *err)
{
    exec_request req = OPENSHELL__V1__EXEC_SANDBOX_REQUEST__INIT;
    bool raw = isatty(STDIN_FILENO) && s->spec->tty && !sandbox_main_over(s);
    req.sandbox_id = s->metadata->id;
    req.attach_main = true;
    req.tty = s->spec->tty;
    terminal_size(&req.cols, &req.rows);
    /* A terminal of ours without one on the other side keeps Ctrl-P and Ctrl-Q to itself. */
    if (isatty(STDIN_FILENO) && !s->spec->tty && !sandbox_main_over(s))
        say(stderr,
            DIM
            "Attached to the main process of sandbox %s, which has no terminal; Ctrl-C leaves and lets it go "
            "on." END "\n",
            s->metadata->name);
    int code = stream_run(cli, &req, raw ? STREAM_RAW : STREAM_PIPE, NULL, err);
    if (code < 0 && err->code == OS_INVALID_ARGUMENT && cli->server_message &&
        strstr(cli->server_message, "command is required"))
        return os_error_set(
            err, OS_UNIMPLEMENTED,
            "gateway '%s' cannot attach to a main process in this way; use `openshell sandbox exec "
            "-n %s --tty -- /bin/bash` instead",
            cli->gateway, s->metadata->name);
    return explain_end(cli, s->metadata->name, code, err);
}

int sandbox_connect_run(struct cli *cli, struct os_error *err)
{
    const char *name = cli_sandbox_name(cli, args_positional(cli->args, 0), err);
    Openshell__V1__Sandbox *s = name ? cli_get_sandbox(cli, name, err) : NULL;
    bool over = s && sandbox_main_over(s);
    if (!s || (!over && sandbox_check_ready(s, err) < 0))
        return -1;
    cli_remember_sandbox(cli, name);
    if (args_given(cli->args, "editor"))
        return sandbox_check_ready(s, err) < 0 ? -1 : editor_open(cli, s, args_get(cli->args, "editor"), err);
    if (over)
        say(stderr, DIM "The main process of sandbox %s is over (exit code %d); it wrote:" END "\n", name,
            (int)s->status->exit_code);
    return attach_main(cli, s, err);
}
