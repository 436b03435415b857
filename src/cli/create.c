/* `sandbox create`: the run (spec/cli.md 6.1). */
#include <string.h>
#include <unistd.h>

#include "cli/attach.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/create.h"
#include "cli/editor.h"
#include "cli/output.h"
#include "cli/provision.h"
#include "cli/sandbox.h"
#include "cli/upload.h"
#include "core/cleanup.h"
#include "core/str.h"

static Openshell__V1__Sandbox *create(struct cli *cli, const create_request *req, struct os_error *err)
{
    ProtobufCMessage *response;
    if (cli_call(cli, RPC_OpenShell_CreateSandbox, &req->base, 0, &response, err) < 0) {
        if (err->code == OS_ALREADY_EXISTS)
            os_error_set(err, OS_ALREADY_EXISTS,
                         "%s\n\nhint: delete it first with: openshell sandbox delete %s\n      or use a "
                         "different name",
                         cli->server_message, req->name);
        else if (err->code == OS_INVALID_ARGUMENT && *req->name &&
                 os_str_starts(cli->server_message, "name "))
            os_error_set(err, OS_INVALID_ARGUMENT, "%s\n--name was '%s'",
                         os_arena_strdup(&cli->arena, os_error_text(err)), req->name);
        return NULL;
    }
    Openshell__V1__Sandbox *s = ((Openshell__V1__SandboxResponse *)response)->sandbox;
    if (s && s->metadata && s->spec)
        return s;
    os_error_set(err, OS_DATA_LOSS, "the gateway answered CreateSandbox without a sandbox");
    return NULL;
}

/* --no-keep: the sandbox goes whatever happened; its own failure is only told. */
static void remove_sandbox(struct cli *cli, const char *name)
{
    Openshell__V1__DeleteSandboxRequest req = OPENSHELL__V1__DELETE_SANDBOX_REQUEST__INIT;
    ProtobufCMessage *response;
    cleanup_error struct os_error err = {0};
    req.name = (char *)name;
    req.workspace = (char *)cli->workspace;
    if (cli_call(cli, RPC_OpenShell_DeleteSandbox, &req.base, 0, &response, &err) < 0 &&
        err.code != OS_NOT_FOUND)
        say(stderr, WARN_MARK "⚠" END " Sandbox %s could not be deleted: %s\n", name, cli->server_message);
    else
        say(stderr, OK_MARK "✓" END " Deleted sandbox %s\n", name);
    editor_forget(cli, name);
}

static int print_created(struct cli *cli, const char *name, const char *format, struct os_error *err)
{
    Openshell__V1__Sandbox *now = cli_get_sandbox(cli, name, err);
    if (!now)
        return -1;
    document_print(sandbox_json(now), format);
    return 0;
}

/* Of a main process that is over before anybody could attach; how it ended is the caller's to tell. */
static void show_output(struct cli *cli, const Openshell__V1__Sandbox *s)
{
    cleanup_error struct os_error err = {0};
    attach_main(cli, s, &err);
}

/* --approval-mode auto: the sandbox is there and works; not being able to set it is only told. */
static void set_approval(struct cli *cli, const char *name)
{
    const char *mode = args_get(cli->args, "approval-mode");
    Openshell__V1__UpdateConfigRequest req = OPENSHELL__V1__UPDATE_CONFIG_REQUEST__INIT;
    Openshell__Sandbox__V1__SettingValue value = OPENSHELL__SANDBOX__V1__SETTING_VALUE__INIT;
    ProtobufCMessage *response;
    cleanup_error struct os_error err = {0};
    if (strcmp(mode, "auto") != 0)
        return;
    value.value_case = OPENSHELL__SANDBOX__V1__SETTING_VALUE__VALUE_STRING_VALUE;
    value.string_value = (char *)mode;
    req.name = (char *)name;
    req.workspace = (char *)cli->workspace;
    req.setting_key = (char *)"proposal_approval_mode";
    req.setting_value = &value;
    if (cli_call(cli, RPC_OpenShell_UpdateConfig, &req.base, 0, &response, &err) < 0)
        say(stderr,
            "warning: failed to set approval mode '%s' on sandbox '%s': %s\n  retry with: openshell settings "
            "set %s --key proposal_approval_mode --value %s\n",
            mode, name, cli->server_message, name, mode);
    else
        settings_say_unused(req.setting_key);
}

static int upload_all(struct cli *cli, const Openshell__V1__Sandbox *s, const struct create_extras *x,
                      struct os_error *err)
{
    for (size_t i = 0; i < x->n_uploads; i++) {
        const struct create_upload *u = &x->uploads[i];
        cleanup_free char *count =
            x->n_uploads > 1 ? os_asprintf(" [%zu/%zu]", i + 1, x->n_uploads) : os_strdup("");
        say(stderr, "  " DIM "•" END " Uploading%s files to %s...\n", count, u->dest ? u->dest : "~");
        if (upload_path(cli, s->metadata->id, u->path, u->dest, err) < 0)
            return -1;
        say(stderr, "  " OK_MARK "✓" END " Files uploaded\n");
    }
    return 0;
}

/* What the flags ask for besides the sandbox itself. */
static int add_extras(struct cli *cli, const Openshell__V1__Sandbox *s, const struct create_extras *x,
                      struct os_error *err)
{
    const char *name = s->metadata->name;
    if (upload_all(cli, s, x, err) < 0)
        return -1;
    if (!x->forward_text)
        return 0;
    if (forward_background(cli, x->forward_text, name, s->metadata->id, &x->forward, x->listener, err) < 0)
        return -1;
    forward_say_background(&x->forward, name, true);
    return 0;
}

static void announce(struct cli *cli, const Openshell__V1__Sandbox *s, bool table)
{
    const char *name = s->metadata->name;
    if (args_given(cli->args, "keep") && !s->spec->keep)
        say(stderr,
            WARN_MARK "⚠" END
                      " This gateway cannot keep a sandbox beyond its main process: %s ends with it.\n",
            name);
    if (!table) {
        say(stderr, "Provisioning sandbox (structured output on stdout)...\n");
        return;
    }
    say(stdout, "\n" TITLE "Created sandbox:" END " " BOLD "%s" END "\n\n", name);
    fflush(stdout);
}

/* A sandbox that is not attached to: what its user can do next. */
static void say_background(const struct cli *cli, const char *name)
{
    if (cli->args->n_positional)
        say(stderr,
            "The main process runs in the background. See its output with: openshell sandbox connect %s\n",
            name);
    else
        say(stderr, "Connect with: openshell sandbox connect %s\n", name);
}

static int created(struct cli *cli, const Openshell__V1__Sandbox *s, const struct create_extras *x,
                   struct os_error *err)
{
    const struct args *args = cli->args;
    const char *format = args_get(args, "output"), *name = s->metadata->name;
    bool table = strcmp(format, "table") == 0, detach = args_given(args, "detach"), over;
    bool terminal = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
    bool attach = table && !detach && (terminal || args_given(args, "no-keep") || args_given(args, "attach"));
    announce(cli, s, table);
    set_approval(cli, name);
    if (provision_wait(cli, s, !table, &over, err) < 0) {
        if (over && attach) {
            os_error_clear(err);
            return attach_main(cli, s, err);
        }
        if (over && table && !detach)
            show_output(cli, s);
        return -1;
    }
    if (add_extras(cli, s, x, err) < 0)
        return -1;
    if (!table)
        return print_created(cli, name, format, err);
    if (args_given(args, "editor"))
        return editor_open(cli, s, args_get(args, "editor"), err);
    if (attach)
        return attach_main(cli, s, err);
    if (over && !detach)
        show_output(cli, s);
    else if (!detach)
        say_background(cli, name);
    return 0;
}

/* Usage errors that the tables cannot express; 0 when there are none. */
static int check_usage(struct cli *cli)
{
    static const char *const others[] = {"editor", "no-keep", "forward", "attach"};
    const struct args *args = cli->args;
    const char *gpu = args_given(args, "gpu") ? args_get(args, "gpu") : "";
    uint64_t count;
    if (*gpu && !os_str_u64(gpu, UINT32_MAX, &count))
        return cli_usage_error(
            cli, "invalid value '%s' for '--gpu [<COUNT>]': GPU count must be a positive integer", gpu);
    if (*gpu && !count)
        return cli_usage_error(
            cli, "invalid value '%s' for '--gpu [<COUNT>]': GPU count must be greater than 0", gpu);
    if (!args_given(args, "output") || strcmp(args_get(args, "output"), "table") == 0)
        return 0;
    for (size_t i = 0; i < OS_ARRAY_LEN(others); i++)
        if (args_given(args, others[i]))
            return cli_usage_error(cli, "the argument '--output <OUTPUT>' cannot be used with '--%s'",
                                   others[i]);
    return args->n_positional
               ? cli_usage_error(cli,
                                 "the argument '--output <OUTPUT>' cannot be used with '<COMMAND>...'\n\n"
                                 "  tip: create the sandbox with --detach -- <COMMAND>, then print it "
                                 "with: openshell sandbox get <NAME> --output %s",
                                 args_get(args, "output"))
               : 0;
}

int sandbox_create_run(struct cli *cli, struct os_error *err)
{
    struct create_extras x;
    bool keep = !args_given(cli->args, "no-keep");
    int usage = check_usage(cli);
    if (!usage && args_last_of(cli->args, "auto-providers", "no-auto-providers") > 0)
        say(stderr, YELLOW "!" END " --auto-providers has no effect: this version creates no providers\n");
    create_request *req = usage ? NULL : create_request_build(cli, &x, err);
    if (!req)
        return usage ? usage : -1;
    Openshell__V1__Sandbox *s = create(cli, req, err);
    if (!s)
        return -1;
    if (keep)
        cli_remember_sandbox(cli, s->metadata->name);
    cli->catch_signals = !keep; /* what is made here goes with this process */
    int code = created(cli, s, &x, err);
    if (!keep)
        remove_sandbox(cli, s->metadata->name);
    else if (code < 0)
        say(stderr,
            WARN_MARK "⚠" END
                      " Sandbox %s was created and stays. Delete it with: openshell sandbox delete %s\n",
            s->metadata->name, s->metadata->name);
    return code;
}
