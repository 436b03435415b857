/* `gateway add` (spec/cli.md 5.1). */
#include <string.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/endpoint.h"
#include "cli/output.h"
#include "cli/program.h"
#include "core/cleanup.h"
#include "core/str.h"

#define SSH_CONFIG_MAX 65536 /* bytes that `ssh -G` may print */
#define REACHABLE_MS 5000

static int refuse_taken(const char *name, struct os_error *err)
{
    if (!config_user_has(name))
        return 0;
    return os_error_set(
        err, OS_ALREADY_EXISTS,
        "Gateway '%s' already exists.\nRemove it first with: openshell gateway remove %s\nOr choose "
        "a different name with: --name <name>",
        name, name);
}

static void added(const struct gateway_record *r)
{
    say(stderr, OK_MARK "✓" END " Gateway '%s' added and set as active\n  " DIM "Endpoint:" END " %s\n",
        r->name, r->endpoint);
    say(stderr, "  " DIM "Type:" END " %s\n", r->is_remote ? "remote" : "local");
}

static int add_plaintext(struct cli *cli, struct gateway_record *r, bool local, struct os_error *err)
{
    bool certificates = config_tls_exists(r->name);
    r->auth_mode = "plaintext";
    r->is_remote = !local && (r->remote_host || !endpoint_is_loopback(r->endpoint));
    if (config_use(r, err) < 0)
        return -1;
    if (certificates)
        say(stderr,
            WARN_MARK "⚠" END " mTLS certificates found for gateway '%s'. Did you mean to use https?\n"
                      "  Try: openshell gateway add %shttps://%s\n",
            r->name, endpoint_is_loopback(r->endpoint) ? "--local " : "", r->endpoint + strlen("http://"));
    if (!cli_gateway_answers(cli, r, REACHABLE_MS)) {
        say(stderr, WARN_MARK "⚠" END " Gateway is not reachable at %s\n", r->endpoint);
        if (!certificates)
            say(stderr, "  Verify the gateway is running and the endpoint is correct.\n");
    }
    added(r);
    say(stderr, "  " DIM "Auth:" END " plaintext\n");
    return 0;
}

static int add_mtls(struct cli *cli, struct gateway_record *r, bool local, struct os_error *err)
{
    r->auth_mode = "mtls";
    r->is_remote = !local;
    if (local && config_tls_import(r->name, err) < 0)
        return -1;
    if (!config_tls_exists(r->name))
        return os_error_set(
            err, OS_FAILED_PRECONDITION,
            "mTLS certificates for gateway '%s' were not found.\nExpected them under the default "
            "gateway config directory.\nStart the gateway package first so it provisions client TLS "
            "material, then retry: openshell gateway add %s%s",
            r->name, r->endpoint, local ? " --local" : "");
    if (config_use(r, err) < 0)
        return -1;
    if (!cli_gateway_answers(cli, r, REACHABLE_MS))
        say(stderr, WARN_MARK "⚠" END " Gateway is not reachable at %s. Verify the gateway is running.\n",
            r->endpoint);
    added(r);
    say(stderr, OK_MARK "✓" END " TLS certificates present\n");
    return 0;
}

/* What ssh makes of a destination: the host behind an alias of ~/.ssh/config, else the host as given. */
static const char *resolve_host(struct cli *cli, const char *destination)
{
    static const char key[] = "hostname ";
    cleanup_buf struct os_buf text = {.max = SSH_CONFIG_MAX};
    const char *host = os_str_starts(destination, "ssh://") ? destination + strlen("ssh://") : destination;
    const char *at = strchr(host, '@');
    const char *const argv[] = {"ssh", "-G", "--", destination, NULL};
    host = os_arena_strndup(&cli->arena, at ? at + 1 : host, strcspn(at ? at + 1 : host, ":/"));
    if (program_output(argv, NULL, &text) < 0)
        return host;
    for (const char *line = os_buf_str(&text); *line; line += strcspn(line, "\n"), line += *line == '\n')
        if (os_str_starts(line, key))
            return os_arena_strndup(&cli->arena, line + strlen(key), strcspn(line + strlen(key), "\n"));
    return host;
}

/* ssh://[user@]host:port: a gateway at that port of the machine that ssh knows by this name. */
static int from_ssh(struct cli *cli, struct gateway_record *r, const char *text, struct os_error *err)
{
    const char *rest = text + strlen("ssh://"), *colon = strrchr(rest, ':');
    uint64_t port;
    if (args_given(cli->args, "local"))
        return os_error_set(err, OS_INVALID_ARGUMENT,
                            "Cannot use --local with an ssh:// endpoint.\nssh:// implies a remote gateway.");
    if (args_given(cli->args, "remote"))
        return os_error_set(err, OS_INVALID_ARGUMENT,
                            "Cannot use --remote with an ssh:// endpoint.\nThe SSH destination is already "
                            "embedded in the URL.");
    if (!colon || colon == rest || !os_str_u64n(colon + 1, strcspn(colon + 1, "/"), UINT16_MAX, &port) ||
        !port)
        return os_error_set(err, OS_INVALID_ARGUMENT, "ssh:// URL must include a port: %s", text);
    r->remote_host = os_arena_strndup(&cli->arena, rest, (size_t)(colon - rest));
    r->resolved_host = resolve_host(cli, r->remote_host);
    bool v6 = strchr(r->resolved_host, ':');
    r->endpoint = os_arena_printf(&cli->arena, "https://%s%s%s:%u", v6 ? "[" : "", r->resolved_host,
                                  v6 ? "]" : "", (unsigned)port);
    return 0;
}

/* The endpoint with a scheme; NULL with *err for forms that are not taken. */
static const char *full_endpoint(struct cli *cli, const char *text, struct os_error *err)
{
    if (!strstr(text, "://"))
        text = os_arena_printf(&cli->arena, "https://%s", text);
    char host[256];
    if ((!os_str_starts(text, "https://") && !os_str_starts(text, "http://")) ||
        !endpoint_host(text, host, sizeof(host))) {
        os_error_set(err, OS_INVALID_ARGUMENT,
                     "gateway endpoint '%s' must be https://<host>[:port], http://<host>[:port] or "
                     "ssh://[user@]<host>:<port>",
                     text);
        return NULL;
    }
    return text;
}

int gateway_add_run(struct cli *cli, struct os_error *err)
{
    const struct args *args = cli->args;
    struct gateway_record r = {.remote_host = args_get(args, "remote")};
    bool local = args_given(args, "local");
    char host[256];
    const char *text = args_positional(args, 0);
    if (os_str_starts(text, "ssh://")) {
        if (from_ssh(cli, &r, text, err) < 0)
            return -1;
    } else {
        r.endpoint = full_endpoint(cli, text, err);
        if (!r.endpoint)
            return -1;
    }
    if (r.remote_host && !r.resolved_host)
        r.resolved_host = resolve_host(cli, r.remote_host);
    endpoint_host(r.endpoint, host, sizeof(host));
    r.name = args_get(args, "name");
    if (!r.name)
        r.name = endpoint_is_loopback(r.endpoint) ? "openshell" : host;
    if (config_name_check(r.name, err) < 0 || refuse_taken(r.name, err) < 0)
        return -1;
    if (os_str_starts(r.endpoint, "http://"))
        return add_plaintext(cli, &r, local, err);
    if (local || r.remote_host)
        return add_mtls(cli, &r, local, err);
    return os_error_set(
        err, OS_UNIMPLEMENTED,
        "a plain https endpoint means a login through an edge proxy, which this version does not "
        "support.\nFor client certificates use: openshell gateway add %s --local\nor, on another "
        "machine: openshell gateway add %s --remote <user@host>",
        r.endpoint, r.endpoint);
}
