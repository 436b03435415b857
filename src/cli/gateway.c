/* `gateway list`, `remove`, `info` (spec/cli.md 5.2). */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/gateway.h"
#include "cli/output.h"
#include "cli/sandbox.h"
#include "core/cleanup.h"
#include "core/str.h"
#include "rpc/pb.h"

/* --- list --- */

const char *gateway_auth_of(const struct gateway_record *r)
{
    if (r->auth_mode)
        return r->auth_mode;
    return os_str_starts(r->endpoint, "http://") ? "plaintext" : "mtls";
}

const char *gateway_type_of(const struct gateway_record *r)
{
    if (os_str_eq(r->auth_mode, "cloudflare_jwt"))
        return "cloud";
    return r->is_remote ? "remote" : "local";
}

static json_t *optional_text(const char *s)
{
    return s ? json_text(s) : json_null();
}

static json_t *record_json(const struct gateway_record *r, bool active)
{
    json_t *j = json_object();
    json_object_set_new(j, "active", json_boolean(active));
    json_object_set_new(j, "auth", json_text(gateway_auth_of(r)));
    json_object_set_new(j, "endpoint", json_text(r->endpoint));
    json_object_set_new(j, "is_remote", json_boolean(r->is_remote));
    json_object_set_new(j, "name", json_text(r->name));
    json_object_set_new(j, "remote_host", optional_text(r->remote_host));
    json_object_set_new(j, "resolved_host", optional_text(r->resolved_host));
    json_object_set_new(j, "source", json_string(r->system ? "system" : "user"));
    json_object_set_new(j, "type", json_string(gateway_type_of(r)));
    return j;
}

static const char *remote_of(struct os_arena *a, const struct gateway_record *r)
{
    if (!r->remote_host)
        return "-";
    if (!r->resolved_host || os_str_eq(r->remote_host, r->resolved_host))
        return r->remote_host;
    return os_arena_printf(a, "%s -> %s", r->remote_host, r->resolved_host);
}

static void list_table(struct cli *cli, const struct gateway_record *list, size_t n, const char *active)
{
    bool remotes = false;
    if (!n) {
        say(stdout, "No gateways found.\n\nRegister a gateway with: openshell gateway add <endpoint>\n"
                    "Or start one on this machine with: openshell gateway start\n");
        return;
    }
    for (size_t i = 0; i < n; i++)
        remotes |= list[i].remote_host != NULL;
    struct table t = {.arena = &cli->arena,
                      .columns = remotes ? 6 : 5,
                      .headers = {"  NAME", "ENDPOINT", "TYPE", "SOURCE", "AUTH", "REMOTE"}};
    for (size_t i = 0; i < n; i++) {
        bool is_active = os_str_eq(list[i].name, active);
        const char *style = is_active ? GREEN : NULL;
        table_add(&t, os_arena_printf(&cli->arena, "%s %s", is_active ? "*" : " ", list[i].name), style);
        table_add(&t, list[i].endpoint, style);
        table_add(&t, gateway_type_of(&list[i]), style);
        table_add(&t, list[i].system ? "system" : "user", style);
        table_add(&t, gateway_auth_of(&list[i]), style);
        if (remotes)
            table_add(&t, remote_of(&cli->arena, &list[i]), style);
    }
    table_print(&t, stdout);
}

int gateway_show_list(struct cli *cli, const char *format, struct os_error *err)
{
    struct gateway_record *list;
    size_t n;
    if (config_list(&cli->arena, &list, &n, err) < 0)
        return -1;
    const char *active = args_get(cli->args, "gateway");
    if (!active)
        active = config_active(&cli->arena);
    if (strcmp(format, "table") == 0) {
        list_table(cli, list, n, active);
        return 0;
    }
    json_t *all = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(all, record_json(&list[i], os_str_eq(list[i].name, active)));
    document_print(all, format);
    return 0;
}

int gateway_list_run(struct cli *cli, struct os_error *err)
{
    return gateway_show_list(cli, args_get(cli->args, "output"), err);
}

/* --- remove --- */

int gateway_remove_run(struct cli *cli, struct os_error *err)
{
    const char *name = args_positional(cli->args, 0), *active = config_active(&cli->arena);
    struct gateway_record r;
    if (!name)
        name = args_get(cli->args, "gateway");
    if (!name)
        name = active;
    if (!name)
        return os_error_set(
            err, OS_NOT_FOUND,
            "No active gateway.\nSpecify a gateway name: openshell gateway remove <name>\nOr list "
            "available gateways: openshell gateway select");
    if (config_name_check(name, err) < 0)
        return -1;
    if (!config_user_has(name)) {
        if (config_load(&cli->arena, name, &r, err) == 0)
            return os_error_set(
                err, OS_FAILED_PRECONDITION,
                "Gateway registration '%s' is installed by the system and cannot be removed from "
                "user config.\nSelect another gateway with: openshell gateway select <name>",
                name);
        return os_error_set(
            err, OS_NOT_FOUND,
            "No gateway metadata found for '%s'.\nList available gateways: openshell gateway select", name);
    }
    if (config_remove(name, err) < 0 || (os_str_eq(active, name) && config_clear_active(err) < 0))
        return -1;
    say(stderr, OK_MARK "✓" END " Gateway registration '%s' removed.\n", name);
    return 0;
}

/* --- info --- */

static const char *health_text(Openshell__V1__ServiceStatus s)
{
    switch (s) {
    case OPENSHELL__V1__SERVICE_STATUS__SERVICE_STATUS_HEALTHY:
        return "healthy";
    case OPENSHELL__V1__SERVICE_STATUS__SERVICE_STATUS_DEGRADED:
        return "degraded";
    case OPENSHELL__V1__SERVICE_STATUS__SERVICE_STATUS_UNHEALTHY:
        return "unhealthy";
    default:
        return "unknown";
    }
}

static int info_failed(struct cli *cli, struct os_error *err)
{
    cleanup_free char *text = os_strdup(os_error_text(err));
    if (err->code == OS_UNIMPLEMENTED && cli->answered)
        return os_error_set(err, OS_UNIMPLEMENTED, "gateway info is not supported by this gateway version");
    if (err->code == OS_PERMISSION_DENIED)
        return os_error_set(err, OS_PERMISSION_DENIED, "gateway info requires admin privileges: %s", text);
    return cli->answered ? os_error_set(err, err->code, "get_gateway_info failed: %s", text) : -1;
}

static void info_json(struct cli *cli, const Openshell__V1__GetGatewayInfoResponse *r, const char *format)
{
    json_t *j = json_object(), *drivers = json_array();
    for (size_t i = 0; i < r->n_compute_drivers; i++) {
        const Openshell__V1__ComputeDriverInfo *d = r->compute_drivers[i];
        json_t *item = json_object(), *cap = json_object();
        json_object_set_new(cap, "driver_name",
                            json_text(d->capabilities ? d->capabilities->driver_name : ""));
        json_object_set_new(cap, "driver_version",
                            json_text(d->capabilities ? d->capabilities->driver_version : ""));
        json_object_set_new(item, "name", json_text(d->name));
        json_object_set_new(item, "capabilities", cap);
        json_array_append_new(drivers, item);
    }
    json_object_set_new(j, "auth", os_str_eq(cli->auth, "oidc") ? json_string("bearer") : json_null());
    json_object_set_new(j, "compute_drivers", drivers);
    json_object_set_new(j, "gateway", json_text(cli->gateway));
    json_object_set_new(j, "server", json_text(cli->endpoint));
    json_object_set_new(j, "status", json_string(health_text(r->status)));
    json_object_set_new(j, "version", json_text(r->gateway_version));
    document_print(j, format);
}

static void info_text(struct cli *cli, const Openshell__V1__GetGatewayInfoResponse *r)
{
    say(stdout, TITLE "Gateway Info" END "\n\n");
    say(stdout, "  " DIM "Gateway:" END " %s\n  " DIM "Server:" END " %s\n", cli->gateway, cli->endpoint);
    if (os_str_eq(cli->auth, "oidc"))
        say(stdout, "  " DIM "Auth:" END " Edge (bearer token)\n");
    say(stdout, "  " DIM "Status:" END " %s\n  " DIM "Version:" END " %s\n", health_text(r->status),
        r->gateway_version);
    if (r->n_compute_drivers)
        say(stdout, "  " DIM "Compute drivers:" END "\n");
    for (size_t i = 0; i < r->n_compute_drivers; i++) {
        const Openshell__V1__ComputeDriverInfo *d = r->compute_drivers[i];
        say(stdout, "    %s\n", d->name);
        if (d->capabilities && strcmp(d->capabilities->driver_name, d->name) != 0)
            say(stdout, "      " DIM "Driver name:" END " %s\n", d->capabilities->driver_name);
        if (d->capabilities)
            say(stdout, "      " DIM "Driver version:" END " %s\n", d->capabilities->driver_version);
    }
}

int gateway_info_run(struct cli *cli, struct os_error *err)
{
    const char *format = args_get(cli->args, "output");
    Openshell__V1__GetGatewayInfoRequest req = OPENSHELL__V1__GET_GATEWAY_INFO_REQUEST__INIT;
    ProtobufCMessage *response;
    if (cli_resolve(cli, err) < 0) {
        if (err->code == OS_NOT_FOUND && !cli->gateway)
            os_error_set(
                err, OS_NOT_FOUND,
                "No gateway configured.\nRegister a gateway with: openshell gateway add <endpoint>\nOr "
                "start one on this machine with: openshell gateway start");
        return -1;
    }
    if (cli_call(cli, RPC_OpenShell_GetGatewayInfo, &req.base, CLI_READ_MS, &response, err) < 0)
        return info_failed(cli, err);
    if (strcmp(format, "table") == 0)
        info_text(cli, (const Openshell__V1__GetGatewayInfoResponse *)response);
    else
        info_json(cli, (const Openshell__V1__GetGatewayInfoResponse *)response, format);
    return 0;
}
