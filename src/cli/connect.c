/* From flags, variables and files to a client of one gateway (spec/cli.md 3). */
#include <openssl/crypto.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/endpoint.h"
#include "cli/gateway_local.h"
#include "cli/output.h"
#include "core/cleanup.h"
#include "core/str.h"
#include "rpc/pb.h"
#include "sys/paths.h"

/* --- which gateway --- */

static struct gateway_record *load(struct cli *cli, const char *name, struct os_error *err)
{
    struct gateway_record *r = os_arena_alloc(&cli->arena, sizeof(*r));
    return config_load(&cli->arena, name, r, err) == 0 ? r : NULL;
}

/* The name under which credentials for a bare endpoint are kept. */
static void name_for_endpoint(struct cli *cli)
{
    cleanup_error struct os_error err = {0};
    struct gateway_record *list;
    size_t n = 0;
    const char *wanted = args_get(cli->args, "gateway");
    const char *active = config_active(&cli->arena);
    struct gateway_record *r = active ? load(cli, active, &err) : NULL;
    if (wanted) {
        os_error_clear(&err);
        cli->gateway = wanted;
        cli->record = load(cli, wanted, &err);
        return;
    }
    if (r && endpoint_same(r->endpoint, cli->endpoint)) {
        cli->gateway = r->name;
        cli->record = r;
        return;
    }
    os_error_clear(&err);
    config_list(&cli->arena, &list, &n, &err);
    for (size_t i = 0; i < n; i++)
        if (endpoint_same(list[i].endpoint, cli->endpoint)) {
            cli->gateway = list[i].name;
            cli->record = &list[i];
            return;
        }
    cli->gateway = cli->endpoint;
}

/* A gateway whose registration is lost is found by its socket. */
static int no_gateway(struct os_error *err)
{
    static const char text[] =
        "No active gateway.\nSet one with: openshell gateway select <name>\nOr register "
        "one with: openshell gateway add <endpoint>";
    unsigned port = gateway_local_port();
    if (port)
        return os_error_set(
            err, OS_NOT_FOUND,
            "%s\nA gateway of yours runs on this machine. Register it with: openshell gateway "
            "add https://127.0.0.1:%u --local",
            text, port);
    return os_error_set(err, OS_NOT_FOUND, "%s\nOr start one on this machine with: openshell gateway start",
                        text);
}

static int unknown_gateway(const char *name, struct os_error *err)
{
    unsigned port = strcmp(name, GATEWAY_LOCAL_NAME) == 0 ? gateway_local_port() : 0;
    cleanup_free char *hint =
        port ? os_asprintf("\nA gateway of yours runs on this machine. Register it again with: openshell "
                           "gateway add https://127.0.0.1:%u --local",
                           port)
             : os_strdup("");
    return os_error_set(
        err, OS_NOT_FOUND,
        "Unknown gateway '%s'.\nRegister it first: openshell gateway add <endpoint> --name %s\nOr list "
        "available gateways: openshell gateway select%s",
        name, name, hint);
}

int cli_resolve(struct cli *cli, struct os_error *err)
{
    if (cli->endpoint)
        return 0;
    cli->workspace = args_get(cli->args, "workspace");
    cli->endpoint = args_get(cli->args, "gateway-endpoint");
    if (cli->endpoint) {
        name_for_endpoint(cli);
        return 0;
    }
    cli->gateway = args_get(cli->args, "gateway");
    if (!cli->gateway)
        cli->gateway = config_active(&cli->arena);
    if (!cli->gateway)
        return no_gateway(err);
    cli->record = load(cli, cli->gateway, err);
    if (!cli->record) {
        if (err->code == OS_NOT_FOUND)
            unknown_gateway(cli->gateway, err);
        return -1;
    }
    cli->endpoint = cli->record->endpoint;
    return 0;
}

/* --- credentials --- */

static bool insecure(const struct cli *cli, bool *out, struct os_error *err)
{
    static const char *const yes[] = {"true", "1", "yes"}, *const no[] = {"false", "0", "no"};
    const char *v = getenv("OPENSHELL_GATEWAY_INSECURE");
    *out = args_given(cli->args, "gateway-insecure");
    if (*out || !v || !*v)
        return true;
    for (size_t i = 0; i < OS_ARRAY_LEN(yes); i++) {
        if (os_str_eq_nocase(v, yes[i]))
            *out = true;
        if (*out || os_str_eq_nocase(v, no[i]))
            return true;
    }
    os_error_set(err, OS_INVALID_ARGUMENT, "OPENSHELL_GATEWAY_INSECURE must be true or false, not '%s'", v);
    return false;
}

static int oidc_credentials(struct cli *cli, struct rpc_client_options *opt)
{
    bool expired;
    opt->bearer = config_oidc_token(&cli->arena, cli->gateway, &expired);
    if (expired)
        say(stderr, "warning: the OIDC token of gateway '%s' has expired\n", cli->gateway);
    if (!opt->bearer)
        return 0;
    cli->auth = "oidc";
    struct config_tls tls;
    cleanup_error struct os_error missing = {0};
    if (config_tls_load(&cli->arena, cli->gateway, &tls, &missing) == 0) {
        opt->cert_pem = tls.cert;
        opt->key_pem = tls.key;
    }
    opt->ca_pem = tls.ca;
    return 0;
}

int cli_credentials(struct cli *cli, struct rpc_client_options *opt, struct os_error *err)
{
    const char *mode = cli->record ? cli->record->auth_mode : NULL;
    bool oidc = os_str_eq(mode, "oidc"), no_verify;
    opt->endpoint = cli->endpoint;
    if (!insecure(cli, &no_verify, err))
        return -1;
    if (os_str_eq(mode, "cloudflare_jwt"))
        return os_error_set(
            err, OS_UNIMPLEMENTED,
            "gateway '%s' is reached through an edge proxy (auth_mode cloudflare_jwt), which this "
            "version does not support",
            cli->gateway);
    if (os_str_starts(cli->endpoint, "http://")) {
        cli->auth = "plaintext";
        return oidc ? oidc_credentials(cli, opt) : 0;
    }
    if (!os_str_starts(cli->endpoint, "https://"))
        return os_error_set(err, OS_INVALID_ARGUMENT,
                            "gateway endpoint '%s' must start with https:// or http://", cli->endpoint);
    if (no_verify) {
        say(stderr, "warning: the certificate of the gateway is not verified (--gateway-insecure)\n");
        opt->insecure = true;
        cli->auth = "insecure";
        return oidc ? oidc_credentials(cli, opt) : 0;
    }
    if (oidc) {
        oidc_credentials(cli, opt);
        if (opt->bearer)
            return 0;
    }
    struct config_tls tls;
    if (config_tls_load(&cli->arena, cli->gateway, &tls, err) < 0)
        return -1;
    opt->ca_pem = tls.ca;
    opt->cert_pem = tls.cert;
    opt->key_pem = tls.key;
    cli->auth = "mtls";
    return 0;
}

static void on_disconnect(void *ctx, const struct os_error *why)
{
    struct cli *cli = ctx;
    cli->lost = true;
}

/* A gateway of this user on this machine is reached through its socket: no TLS, a third of the time. The file
 * is named after the port, so that it belongs to the registered gateway and no other. */
static bool local_socket(struct cli *cli, struct rpc_client_options *opt)
{
    cleanup_error struct os_error err = {0};
    unsigned port = endpoint_port(cli->endpoint);
    if (cli->tcp_only || !cli->record || !os_str_eq(cli->record->auth_mode, "mtls") || !port ||
        !endpoint_is_loopback(cli->endpoint))
        return false;
    cleanup_free char *state = os_state_dir(&err);
    if (!state)
        return false;
    const char *path = os_arena_printf(&cli->arena, "%s/gateway/api-%u.sock", state, port);
    if (!gateway_socket_listens(path))
        return false;
    opt->endpoint = os_arena_printf(&cli->arena, "unix://%s", path);
    cli->auth = "local";
    return true;
}

int cli_connect(struct cli *cli, struct os_error *err)
{
    if (cli->rpc)
        return 0;
    struct rpc_client_options opt = {.on_disconnect = on_disconnect, .ctx = cli, .loop = &cli->loop};
    if (cli_resolve(cli, err) < 0 || (!local_socket(cli, &opt) && cli_credentials(cli, &opt, err) < 0))
        return -1;
    signal(SIGPIPE, SIG_IGN);
    /* The process ends right after the command: tearing OpenSSL down first would only cost time. */
    OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, NULL);
    uv_loop_init(&cli->loop);
    cli->rpc = rpc_client_new(&opt, err);
    if (cli->rpc)
        return 0;
    uv_loop_close(&cli->loop);
    return os_error_wrap(err, "gateway '%s' at %s", cli->gateway, cli->endpoint);
}

void cli_close(struct cli *cli)
{
    if (cli->rpc) {
        rpc_client_free(cli->rpc);
        cli->rpc = NULL;
        uv_run(&cli->loop, UV_RUN_DEFAULT);
        uv_loop_close(&cli->loop);
    }
    os_arena_free(&cli->arena);
}

/* --- calls --- */

static void quote(struct os_buf *out, const char *s)
{
    for (; *s; s++)
        if (*s == '"')
            os_buf_adds(out, "\\\"");
        else if (*s == '\n')
            os_buf_adds(out, "\\n");
        else
            os_buf_addc(out, *s == *CAUSE ? ' ' : *s);
}

int cli_call_failed(struct cli *cli, const struct os_error *status, struct os_error *err)
{
    cleanup_buf struct os_buf text = {0};
    enum os_code code = status->code == OS_OK ? OS_UNKNOWN : status->code;
    cli->server_message = os_arena_strdup(&cli->arena, os_error_text(status));
    os_buf_addf(&text, "code: '%s', message: \"", os_code_text(code));
    quote(&text, cli->server_message);
    os_buf_adds(&text, "\"");
    if (!cli->lost || cli->answered || code != OS_UNAVAILABLE)
        return os_error_set(err, code, "%s", os_buf_str(&text));
    return os_error_set(
        err, code,
        "failed to connect to gateway '%s' at %s. Start the gateway service with the installed "
        "package manager, or register a different endpoint with `openshell gateway add "
        "<endpoint>`.%s" CAUSE "%s",
        cli->gateway, cli->endpoint,
        endpoint_is_loopback(cli->endpoint) ? "\nhint: `openshell gateway start` starts one on this machine"
                                            : "",
        os_buf_str(&text));
}

int cli_call(struct cli *cli, enum rpc_method_id id, const ProtobufCMessage *request, int64_t deadline_ms,
             ProtobufCMessage **response, struct os_error *err)
{
    cleanup_error struct os_error status = {0};
    if (cli_connect(cli, err) < 0)
        return -1;
    if (rpc_client_unary_wait(cli->rpc, id, request, deadline_ms, &cli->arena, response, &status) == 0) {
        cli->answered = true;
        return 0;
    }
    cli->answered |= !cli->lost;
    return cli_call_failed(cli, &status, err);
}

bool cli_gateway_answers(struct cli *cli, const struct gateway_record *r, int64_t ms)
{
    struct cli probe = {.args = cli->args, .gateway = r->name, .endpoint = r->endpoint, .record = r};
    Openshell__V1__HealthRequest req = OPENSHELL__V1__HEALTH_REQUEST__INIT;
    ProtobufCMessage *response;
    cleanup_error struct os_error err = {0};
    bool ok = cli_call(&probe, RPC_OpenShell_Health, &req.base, ms, &response, &err) == 0;
    cli_close(&probe);
    return ok;
}

/* --- sandboxes --- */

const char *cli_sandbox_name(struct cli *cli, const char *name, struct os_error *err)
{
    if (cli_resolve(cli, err) < 0)
        return NULL;
    if (name)
        return name;
    name = config_last_sandbox(&cli->arena, cli->gateway, cli->workspace);
    if (name)
        say(stderr, BOLD "→" END " Using sandbox '" BOLD "%s" END "' (last used)\n", name);
    else
        os_error_set(
            err, OS_INVALID_ARGUMENT,
            "No sandbox name provided and no last-used sandbox.\nSpecify a sandbox name or connect to one "
            "first: openshell sandbox connect <name>");
    return name;
}

int cli_sandbox_failed(struct cli *cli, const char *name, struct os_error *err)
{
    if (err->code != OS_NOT_FOUND || !os_str_eq(cli->server_message, "sandbox not found"))
        return -1;
    cleanup_free char *text = os_strdup(os_error_text(err));
    return os_error_set(
        err, OS_NOT_FOUND,
        "%s\nThere is no sandbox '%s' in workspace '%s'. List them with: openshell sandbox list", text, name,
        cli->workspace);
}

Openshell__V1__Sandbox *cli_get_sandbox(struct cli *cli, const char *name, struct os_error *err)
{
    Openshell__V1__GetSandboxRequest req = OPENSHELL__V1__GET_SANDBOX_REQUEST__INIT;
    ProtobufCMessage *response;
    req.name = (char *)name;
    req.workspace = (char *)cli->workspace;
    if (cli_call(cli, RPC_OpenShell_GetSandbox, &req.base, CLI_READ_MS, &response, err) < 0) {
        cli_sandbox_failed(cli, name, err);
        return NULL;
    }
    Openshell__V1__Sandbox *s = ((Openshell__V1__SandboxResponse *)response)->sandbox;
    if (!s || !s->metadata) {
        os_error_set(err, OS_DATA_LOSS, "the gateway answered without a sandbox");
        return NULL;
    }
    if (!s->spec)
        s->spec = pb_new(&cli->arena, openshell__v1__sandbox_spec);
    if (!s->status)
        s->status = pb_new(&cli->arena, openshell__v1__sandbox_status);
    return s;
}

Openshell__Sandbox__V1__GetSandboxConfigResponse *
cli_get_config(struct cli *cli, const Openshell__V1__Sandbox *s, struct os_error *err)
{
    Openshell__Sandbox__V1__GetSandboxConfigRequest req =
        OPENSHELL__SANDBOX__V1__GET_SANDBOX_CONFIG_REQUEST__INIT;
    ProtobufCMessage *response;
    req.sandbox_id = s->metadata->id;
    if (cli_call(cli, RPC_OpenShell_GetSandboxConfig, &req.base, CLI_READ_MS, &response, err) < 0)
        return NULL;
    return (Openshell__Sandbox__V1__GetSandboxConfigResponse *)response;
}

void cli_remember_sandbox(struct cli *cli, const char *name)
{
    config_set_last_sandbox(cli->gateway, cli->workspace, name);
}
