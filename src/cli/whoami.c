/* `whoami`: who the gateway takes the caller for (spec/cli.md 5.2). */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/sandbox.h"
#include "core/cleanup.h"
#include "core/str.h"

typedef Openshell__V1__GetCurrentUserResponse current_user;

static int failed(struct cli *cli, struct os_error *err)
{
    cleanup_free char *text = os_strdup(os_error_text(err));
    if (!cli->answered)
        return -1;
    if (err->code == OS_UNIMPLEMENTED)
        return os_error_set(err, OS_UNIMPLEMENTED, "whoami is not supported by this gateway version");
    if (err->code == OS_UNAUTHENTICATED)
        return os_error_set(err, OS_UNAUTHENTICATED, "whoami requires authentication: %s", text);
    return os_error_set(err, err->code, "get_current_user failed: %s", text);
}

static json_t *text_list(char *const *list, size_t n)
{
    json_t *j = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(j, json_text(list[i]));
    return j;
}

static void print_list(const char *title, char *const *list, size_t n)
{
    cleanup_strv struct os_strv all = {0};
    for (size_t i = 0; i < n; i++)
        os_strv_add(&all, list[i]);
    cleanup_free char *text = os_strv_join(&all, ", ");
    say(stdout, "  " DIM "%s:" END " %s\n", title, text);
}

int whoami_run(struct cli *cli, struct os_error *err)
{
    const char *format = args_get(cli->args, "output");
    Openshell__V1__GetCurrentUserRequest req = OPENSHELL__V1__GET_CURRENT_USER_REQUEST__INIT;
    ProtobufCMessage *response;
    if (cli_resolve(cli, err) < 0)
        return -1;
    if (cli_call(cli, RPC_OpenShell_GetCurrentUser, &req.base, CLI_READ_MS, &response, err) < 0)
        return failed(cli, err);
    const current_user *u = (const current_user *)response;
    if (strcmp(format, "table") != 0) {
        json_t *j = json_object();
        json_object_set_new(j, "display_name", *u->display_name ? json_text(u->display_name) : json_null());
        json_object_set_new(j, "identity_provider", json_text(u->identity_provider));
        json_object_set_new(j, "roles", text_list(u->roles, u->n_roles));
        json_object_set_new(j, "scopes", text_list(u->scopes, u->n_scopes));
        json_object_set_new(j, "subject", json_text(u->subject));
        document_print(j, format);
        return 0;
    }
    say(stdout, TITLE "Current User" END "\n\n  " DIM "Subject:" END " %s\n", u->subject);
    if (*u->display_name)
        say(stdout, "  " DIM "Name:" END " %s\n", u->display_name);
    say(stdout, "  " DIM "Provider:" END " %s\n", u->identity_provider);
    print_list("Roles", u->roles, u->n_roles);
    print_list("Scopes", u->scopes, u->n_scopes);
    return 0;
}
