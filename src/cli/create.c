/* `sandbox create`: the run (spec/cli.md 6.1). */
#include <string.h>
#include <unistd.h>

#include "cli/attach.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/create.h"
#include "cli/output.h"
#include "cli/provision.h"
#include "cli/sandbox.h"
#include "core/cleanup.h"

static Openshell__V1__Sandbox *create(struct cli *cli, const create_request *req, struct os_error *err)
{
    ProtobufCMessage *response;
    if (cli_call(cli, RPC_OpenShell_CreateSandbox, &req->base, 0, &response, err) < 0) {
        if (err->code == OS_ALREADY_EXISTS)
            os_error_set(err, OS_ALREADY_EXISTS,
                         "%s\n\nhint: delete it first with: openshell sandbox delete %s\n      or use a "
                         "different name",
                         cli->server_message, req->name);
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

static int created(struct cli *cli, const Openshell__V1__Sandbox *s, bool keep, struct os_error *err)
{
    const char *format = args_get(cli->args, "output"), *name = s->metadata->name;
    bool table = strcmp(format, "table") == 0, ended;
    if (args_given(cli->args, "keep") && !s->spec->keep)
        say(stderr,
            WARN_MARK "⚠" END
                      " This gateway cannot keep a sandbox beyond its main process: %s ends with it.\n",
            name);
    if (table) {
        say(stdout, "\n" TITLE "Created sandbox:" END " " BOLD "%s" END "\n\n", name);
        fflush(stdout);
    } else {
        say(stderr, "Provisioning sandbox (structured output on stdout)...\n");
    }
    enum provision_show show = !table              ? PROVISION_QUIET
                               : colour_on(stderr) ? PROVISION_LIVE
                                                   : PROVISION_LINES;
    bool terminal = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO), detach = args_given(cli->args, "detach");
    bool attach = table && !detach && (!keep || terminal);
    if (provision_wait(cli, s, show, &ended, err) < 0) {
        if (ended && attach) {
            os_error_clear(err);
            return attach_main(cli, s, err);
        }
        if (ended && table && !detach)
            show_output(cli, s);
        return -1;
    }
    if (!table)
        return print_created(cli, name, format, err);
    if (attach)
        return attach_main(cli, s, err);
    if (ended && !detach)
        show_output(cli, s);
    else if (!detach)
        say(stderr,
            "The main process runs in the background. Attach to it with: openshell sandbox connect %s\n",
            name);
    return 0;
}

int sandbox_create_run(struct cli *cli, struct os_error *err)
{
    const struct args *args = cli->args;
    bool keep = !args_given(args, "no-keep"), structured = strcmp(args_get(args, "output"), "table") != 0;
    if (structured && args_given(args, "output") && (!keep || args->n_positional))
        return cli_usage_error(cli, "the argument '--output <OUTPUT>' cannot be used with '%s'",
                               keep ? "<COMMAND>..." : "--no-keep");
    create_request *req = create_request_build(cli, err);
    Openshell__V1__Sandbox *s = req ? create(cli, req, err) : NULL;
    if (!s)
        return -1;
    if (keep)
        cli_remember_sandbox(cli, s->metadata->name);
    int code = created(cli, s, keep, err);
    if (!keep)
        remove_sandbox(cli, s->metadata->name);
    return code;
}
