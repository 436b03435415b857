/* `completions` and `__complete`: the script for a shell, and what the script asks for at each TAB. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/complete.h"
#include "cli/output.h"
#include "cli_scripts.h"
#include "core/cleanup.h"
#include "core/limits.h"
#include "core/str.h"

int completions_run(struct cli *cli, struct os_error *err)
{
    static const struct {
        const char *shell, *script;
    } scripts[] = {{"bash", script_bash}, {"zsh", script_zsh}, {"fish", script_fish}};
    const char *shell = args_positional(cli->args, 0);
    for (size_t i = 0; i < OS_ARRAY_LEN(scripts); i++)
        if (strcmp(scripts[i].shell, shell) == 0)
            return fputs(scripts[i].script, stdout) < 0;
    return cli_usage_error(cli, "invalid value '%s' for '<SHELL>'\n  [possible values: bash, fish, zsh]",
                           shell);
}

/* --- names that only the configuration or the gateway knows --- */

static void show(struct completion *c)
{
    fwrite(os_buf_str(&c->out), 1, c->out.len, stdout);
    fflush(stdout);
    os_buf_clear(&c->out);
}

static void add_gateways(struct cli *cli, struct completion *c, struct os_error *err)
{
    struct gateway_record *list;
    size_t n;
    if (config_list(&cli->arena, &list, &n, err) < 0)
        return;
    for (size_t i = 0; i < n; i++)
        complete_add(c, list[i].name, list[i].endpoint);
}

static void add_sandboxes(struct cli *cli, struct completion *c, struct os_error *err)
{
    Openshell__V1__ListSandboxesRequest req = OPENSHELL__V1__LIST_SANDBOXES_REQUEST__INIT;
    ProtobufCMessage *response;
    if (cli_resolve(cli, err) < 0)
        return;
    req.limit = OS_COMPLETE_NAMES;
    req.workspace = (char *)cli->workspace;
    if (cli_call(cli, RPC_OpenShell_ListSandboxes, &req.base, OS_COMPLETE_MS, &response, err) < 0)
        return;
    const Openshell__V1__ListSandboxesResponse *r = (Openshell__V1__ListSandboxesResponse *)response;
    for (size_t i = 0; i < r->n_sandboxes; i++)
        if (r->sandboxes[i]->metadata)
            complete_add(c, r->sandboxes[i]->metadata->name, NULL);
}

static void add_workspaces(struct cli *cli, struct completion *c, struct os_error *err)
{
    Openshell__V1__ListWorkspacesRequest req = OPENSHELL__V1__LIST_WORKSPACES_REQUEST__INIT;
    ProtobufCMessage *response;
    req.limit = OS_COMPLETE_NAMES;
    if (cli_call(cli, RPC_OpenShell_ListWorkspaces, &req.base, OS_COMPLETE_MS, &response, err) < 0)
        return;
    const Openshell__V1__ListWorkspacesResponse *r = (Openshell__V1__ListWorkspacesResponse *)response;
    for (size_t i = 0; i < r->n_workspaces; i++)
        if (r->workspaces[i]->metadata)
            complete_add(c, r->workspaces[i]->metadata->name, NULL);
}

/* Nobody waits for a TAB: what is late is left out, without a word. */
static void give_up(int signal)
{
    _exit(0);
}

static void limit_time(void)
{
    const struct itimerval limit = {
        .it_value = {.tv_sec = OS_COMPLETE_MS / 1000, .tv_usec = OS_COMPLETE_MS % 1000 * 1000}};
    signal(SIGALRM, give_up);
    setitimer(ITIMER_REAL, &limit, NULL);
}

/* Another run of the program with the words before as its command line: their gateway is the one to ask. */
static void add_names(struct completion *c)
{
    struct cli cli = {.args = &c->args};
    cleanup_error struct os_error unsaid = {0};
    limit_time();
    if (c->kind == COMPLETE_GATEWAYS)
        add_gateways(&cli, c, &unsaid);
    else if (c->kind == COMPLETE_SANDBOXES)
        add_sandboxes(&cli, c, &unsaid);
    else if (c->kind == COMPLETE_WORKSPACES)
        add_workspaces(&cli, c, &unsaid);
    show(c);
    cli_close(&cli);
}

int complete_run(struct cli *cli, struct os_error *err)
{
    struct completion c;
    if (cli->args->n_positional == 0)
        return 0;
    complete_words(&commands_root, commands_globals, cli->args->positional, cli->args->n_positional, &c);
    show(&c);
    if (c.kind == COMPLETE_FILES)
        puts(":files");
    else if (c.kind != COMPLETE_NOTHING)
        add_names(&c);
    complete_free(&c);
    return 0;
}
