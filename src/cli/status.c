/* `status`: does the gateway answer, and does it let this user in? (spec/cli.md 5.2) */
#include <string.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/sandbox.h"
#include "core/str.h"

struct verdict {
    const char *state; /* "authenticated", "not_required", "failed", "unverified" */
    const char *detail_key, *detail;
    const char *line; /* text form */
};

static const char *provider_text(const char *auth, bool json)
{
    if (os_str_eq(auth, "oidc"))
        return json ? "oidc" : "OIDC";
    if (os_str_eq(auth, "mtls"))
        return json ? "mtls" : "mTLS transport";
    return NULL;
}

/* What the answer to GetGatewayInfo says about the caller. */
static struct verdict judge(struct cli *cli, int rc, const struct os_error *err)
{
    struct os_arena *a = &cli->arena;
    const char *provider = provider_text(cli->auth, false);
    bool denied = rc < 0 && err->code == OS_PERMISSION_DENIED;
    if (rc < 0 && err->code == OS_UNAUTHENTICATED)
        return (struct verdict){"failed", "error", cli->server_message,
                                os_arena_printf(a, "Failed (%s)", cli->server_message)};
    if (rc < 0 && err->code == OS_UNIMPLEMENTED && os_str_eq(cli->auth, "oidc"))
        return (struct verdict){"unverified", "reason", "gateway does not support authentication checks",
                                "Unverified (gateway does not support authentication checks)"};
    if (rc < 0 && err->code != OS_UNIMPLEMENTED && !denied)
        return (struct verdict){"unverified", "reason", cli->server_message,
                                os_arena_printf(a, "Unverified (%s)", cli->server_message)};
    if (provider)
        return (struct verdict){
            "authenticated", "provider", provider_text(cli->auth, true),
            os_arena_printf(a, "Authenticated (%s%s)", provider, denied ? "; authorization denied" : "")};
    return (struct verdict){"not_required", "mode", "gateway", "Not required (gateway)"};
}

static int not_configured(const char *format)
{
    if (strcmp(format, "table") != 0) {
        json_t *j = json_object();
        json_object_set_new(j, "status", json_string("not_configured"));
        document_print(j, format);
        return 0;
    }
    say(stdout, TITLE "Gateway Status" END "\n\n  " DIM "Status:" END " No gateway configured.\n\n"
                      "Register a gateway with: openshell gateway add <endpoint>\n"
                      "Or start one on this machine with: openshell gateway start\n");
    return 0;
}

static void print_json(struct cli *cli, const char *status, const char *version, const char *error,
                       const struct verdict *v, const char *format)
{
    json_t *j = json_object(), *auth = json_object();
    json_object_set_new(j, "gateway", json_text(cli->gateway));
    json_object_set_new(j, "server", json_text(cli->endpoint));
    json_object_set_new(j, "status", json_string(status));
    json_object_set_new(auth, "status", json_string(v->state));
    json_object_set_new(auth, v->detail_key, json_text(v->detail));
    json_object_set_new(j, "authentication", auth);
    if (os_str_eq(cli->auth, "oidc"))
        json_object_set_new(j, "auth", json_string("edge_bearer"));
    if (version)
        json_object_set_new(j, "version", json_text(version));
    if (error)
        json_object_set_new(j, "error", json_text(error));
    document_print(j, format);
}

static void print_text(struct cli *cli, const char *status, const char *version, const char *error,
                       const struct verdict *v)
{
    say(stdout, TITLE "Server Status" END "\n\n");
    say(stdout, "  " DIM "Gateway:" END " %s\n  " DIM "Server:" END " %s\n", cli->gateway, cli->endpoint);
    if (strcmp(status, "connected") == 0)
        say(stdout, "  " DIM "Status:" END " " GREEN "Connected" END "\n");
    else
        say(stdout, "  " DIM "Status:" END " " RED "%s" END "\n",
            strcmp(status, "error") == 0 ? "Error" : "Disconnected");
    if (error)
        say(stdout, "  " DIM "Error:" END " %s\n", error);
    say(stdout, "  " DIM "Authentication:" END " %s\n", v->line);
    if (version)
        say(stdout, "  " DIM "Version:" END " %s\n", version);
}

int status_run(struct cli *cli, struct os_error *err)
{
    const char *format = args_get(cli->args, "output");
    if (cli_resolve(cli, err) < 0) {
        if (err->code == OS_NOT_FOUND && !cli->gateway) {
            os_error_clear(err);
            return not_configured(format);
        }
        return -1;
    }
    cli->tcp_only = true;
    if (cli_connect(cli, err) < 0)
        return -1;
    Openshell__V1__HealthRequest health = OPENSHELL__V1__HEALTH_REQUEST__INIT;
    Openshell__V1__GetGatewayInfoRequest info = OPENSHELL__V1__GET_GATEWAY_INFO_REQUEST__INIT;
    ProtobufCMessage *response, *ignored;
    const char *status = "connected", *version = NULL, *error = NULL;
    struct verdict v = {"unverified", "reason", "gateway not reached", "Unverified (gateway not reached)"};
    if (cli_call(cli, RPC_OpenShell_Health, &health.base, CLI_READ_MS, &response, err) == 0) {
        version = ((Openshell__V1__HealthResponse *)response)->version;
        int rc = cli_call(cli, RPC_OpenShell_GetGatewayInfo, &info.base, CLI_READ_MS, &ignored, err);
        v = judge(cli, rc, err);
        os_error_clear(err);
    } else {
        status = cli->answered ? "error" : "disconnected";
        error = cli->server_message;
    }
    if (strcmp(format, "table") != 0)
        print_json(cli, status, version, error, &v, format);
    else
        print_text(cli, status, version, error, &v);
    return strcmp(status, "disconnected") == 0;
}
