/* `ssh-proxy` and `sandbox ssh-config`: what existing SSH clients need to get into a sandbox (spec/cli.md 7.1
 * to 7.3). */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/endpoint.h"
#include "cli/output.h"
#include "cli/sandbox.h"
#include "cli/ssh.h"
#include "cli/tunnel.h"
#include "core/cleanup.h"
#include "core/str.h"

/* --- ssh-proxy --- */

struct proxy {
    bool ended;
    struct os_error status;
};

static void on_end(void *ctx, const struct os_error *status)
{
    struct proxy *p = ctx;
    p->ended = true;
    if (status->code != OS_OK)
        os_error_set(&p->status, status->code, "%s", os_error_text(status));
}

static int pump(struct cli *cli, const char *sandbox_id, const char *token, struct os_error *err)
{
    struct proxy p = {0};
    /* Copies: the standard descriptors stay what they are for messages. */
    int in = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3), out = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
    if (in < 0 || out < 0)
        return os_error_set(
            err, OS_FAILED_PRECONDITION,
            "ssh-proxy needs standard input and output: it is run by ssh as its ProxyCommand");
    const struct tunnel_target target = {.sandbox_id = sandbox_id,
                                         .token = token,
                                         .service_id =
                                             os_arena_printf(&cli->arena, "ssh-proxy:%s", sandbox_id)};
    tunnel_start(cli, &target, in, out, on_end, &p);
    while (!p.ended)
        uv_run(&cli->loop, UV_RUN_ONCE);
    if (p.status.code == OS_OK)
        return 0;
    cli_call_failed(cli, &p.status, err);
    os_error_clear(&p.status);
    return -1;
}

static int use_gateway(struct cli *cli, const char *name, const char *url, struct os_error *err)
{
    struct gateway_record *r = os_arena_alloc(&cli->arena, sizeof(*r));
    cli->workspace = args_get(cli->args, "workspace");
    cli->gateway = name;
    if (config_load(&cli->arena, name, r, err) == 0)
        cli->record = r;
    else if (err->code != OS_NOT_FOUND)
        return -1;
    else if (!url)
        return os_error_set(
            err, OS_NOT_FOUND,
            "Unknown gateway '%s'.\nRegister it first: openshell gateway add <endpoint> --name %s\nOr list "
            "available gateways: openshell gateway select",
            name, name);
    os_error_clear(err);
    cli->endpoint = url ? url : cli->record->endpoint;
    return 0;
}

/* With only a URL the credentials are those of the gateway a user means by it. */
static const char *name_of(struct cli *cli, const char *url)
{
    const char *name = args_get(cli->args, "gateway-name"), *env = getenv("OPENSHELL_GATEWAY");
    if (name)
        return name;
    if (env && *env)
        return env;
    char host[256];
    if (endpoint_is_loopback(url) || !endpoint_host(url, host, sizeof(host)))
        return "openshell";
    return os_arena_strdup(&cli->arena, host);
}

int ssh_proxy_run(struct cli *cli, struct os_error *err)
{
    const struct args *a = cli->args;
    const char *url = args_given(a, "gateway") ? args_get(a, "gateway") : NULL,
               *id = args_get(a, "sandbox-id"), *token = args_get(a, "token"),
               *server = args_get(a, "server"), *gateway = args_get(a, "gateway-name"),
               *name = args_get(a, "name");
    if (url && id && token) {
        if (use_gateway(cli, name_of(cli, url), url, err) < 0 || cli_connect(cli, err) < 0)
            return -1;
        return pump(cli, id, token, err);
    }
    if (!name || !(gateway || server))
        return os_error_set(err, OS_INVALID_ARGUMENT,
                            "provide either --gateway/--sandbox-id/--token or --gateway-name/--name (or "
                            "--server/--name)");
    if (use_gateway(cli, gateway ? gateway : name_of(cli, server), server, err) < 0)
        return -1;
    const Openshell__V1__Sandbox *s = cli_get_sandbox(cli, name, err);
    if (!s || sandbox_check_ready(s, err) < 0)
        return -1;
    token = tunnel_token(cli, s->metadata->id, err);
    return token ? pump(cli, s->metadata->id, token, err) : -1;
}

/* --- ssh-config --- */

static bool plain(const char *s)
{
    for (; *s; s++)
        if (!((*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') || (*s >= '0' && *s <= '9') ||
              strchr("./_-", *s)))
            return false;
    return true;
}

/* As one word of a shell, in a line in which ssh expands %. */
static const char *quoted(struct os_arena *a, const char *s)
{
    struct os_buf cleanup_buf b = {0};
    if (*s && plain(s))
        return s;
    os_buf_addc(&b, '\'');
    for (; *s; s++)
        if (*s == '\'')
            os_buf_adds(&b, "'\"'\"'");
        else if (*s == '%')
            os_buf_adds(&b, "%%");
        else
            os_buf_addc(&b, *s);
    os_buf_addc(&b, '\'');
    return os_arena_strdup(a, os_buf_str(&b));
}

int ssh_config_block(struct cli *cli, const char *name, struct os_buf *out, struct os_error *err)
{
    char exe[4096];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
    if (n < 0)
        return os_error_set(err, OS_INTERNAL, "cannot find this program's own path");
    exe[n] = '\0';
    struct os_arena *a = &cli->arena;
    say_buf(
        out, false,
        "Host openshell-%s.%s\n    User sandbox\n    StrictHostKeyChecking no\n    UserKnownHostsFile "
        "/dev/null\n    GlobalKnownHostsFile /dev/null\n    LogLevel ERROR\n    ServerAliveInterval 15\n"
        "    ServerAliveCountMax 3\n    ProxyCommand %s ssh-proxy --gateway-name %s --name %s --workspace "
        "%s\n",
        name, cli->workspace, quoted(a, exe), quoted(a, cli->gateway), quoted(a, name),
        quoted(a, cli->workspace));
    return 0;
}

int sandbox_ssh_config_run(struct cli *cli, struct os_error *err)
{
    cleanup_buf struct os_buf block = {0};
    const char *name = cli_sandbox_name(cli, args_positional(cli->args, 0), err);
    /* A configuration for a sandbox that does not exist helps nobody. */
    if (!name || !cli_get_sandbox(cli, name, err) || ssh_config_block(cli, name, &block, err) < 0)
        return -1;
    fwrite(os_buf_str(&block), 1, block.len, stdout);
    return 0;
}
