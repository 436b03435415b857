/* openshell-driver-local: the local driver as a service of its own, for a gateway that reaches it over a UNIX
 * socket (spec/drivers.md 2.2, 9 R1). */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/log.h"
#include "core/option.h"
#include "core/str.h"
#include "drivers/local/local.h"
#include "drivers/serve.h"
#include "sys/file.h"

enum {
    OPT_NONE = 255,
#define OPTION(id, letter, name, metavar, env, fallback, help) OPT_##id,
#include "drivers/local/tbl/options.h"
};

static const struct option flags[] = {
#define OPTION(id, letter, name, metavar, env, fallback, help)                                               \
    {name, sizeof(metavar) > 1 ? required_argument : no_argument, NULL, letter ? letter : OPT_##id},
#include "drivers/local/tbl/options.h"
    {0}};

static int show_help(void)
{
    static const struct os_option listed[] = {
#define OPTION(id, letter, name, metavar, env, fallback, help) {name, letter, metavar, env, fallback, help},
#include "drivers/local/tbl/options.h"
    };
    cleanup_buf struct os_buf text = {0};
    os_option_help(listed, OS_ARRAY_LEN(listed), &text);
    return printf(
               "Usage: openshell-driver-local --bind-socket PATH --state-dir DIR --gateway-endpoint URL "
               "[OPTIONS]\nRuns sandboxes on this machine for a gateway that calls over a UNIX socket.\n\n%s",
               os_buf_str(&text)) < 0;
}

/* Exit code, or -1 to go on. */
static int parse(int argc, char **argv, struct local_driver_config *cfg, const char **socket)
{
    for (int c; (c = getopt_long(argc, argv, "hV", flags, NULL)) != -1;) {
        const char **text = c == OPT_SOCKET         ? socket
                            : c == OPT_STATE        ? &cfg->state_dir
                            : c == OPT_ENDPOINT     ? &cfg->gateway_endpoint
                            : c == OPT_TLS_CA       ? &cfg->tls_ca
                            : c == OPT_TLS_CERT     ? &cfg->tls_cert
                            : c == OPT_TLS_KEY      ? &cfg->tls_key
                            : c == OPT_EXTRA_CA     ? &cfg->extra_ca_file
                            : c == OPT_PROXY        ? &cfg->proxy.url
                            : c == OPT_NO_PROXY     ? &cfg->proxy.no_proxy
                            : c == OPT_PROXY_AUTH   ? &cfg->proxy.auth_file
                            : c == OPT_POLICY_RULES ? &cfg->policy_rules_file
                            : c == OPT_POLICY_DATA  ? &cfg->policy_data_file
                            : c == OPT_OPA_PATH     ? &cfg->opa_path
                                                    : NULL;
        if (text)
            *text = optarg;
        else if (c == OPT_LOG_LEVEL)
            cfg->log_level = optarg;
        else if (c == OPT_BIND_MOUNTS)
            cfg->enable_bind_mounts = true;
        else if (c == OPT_PROXY_AUTH_INSECURE)
            cfg->proxy.auth_allow_insecure = true;
        else if (c == OPT_PROXY_BY_NAME)
            cfg->proxy.connect_by_hostname = true;
        else if (c == 'h')
            return show_help();
        else if (c == 'V')
            return printf("openshell-driver-local %s\n", OPENSHELL_VERSION) < 0;
        else
            return 2;
    }
    if (optind < argc || !*socket || !cfg->state_dir || !cfg->gateway_endpoint) {
        fprintf(stderr,
                "error: --bind-socket, --state-dir and --gateway-endpoint are required, and nothing else "
                "but options\n\nFor more information, try '--help'.\n");
        return 2;
    }
    return -1;
}

static const char *given(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

/* What the environment says of the sandboxes' proxy and rules. */
static void read_environment(struct local_driver_config *cfg)
{
    struct forward_proxy_given *proxy = &cfg->proxy;
    cfg->policy_rules_file = given("OPENSHELL_SANDBOX_POLICY_RULES");
    cfg->policy_data_file = given("OPENSHELL_SANDBOX_POLICY_DATA");
    cfg->opa_path = given("OPENSHELL_SANDBOX_OPA_PATH");
    proxy->url = getenv("OPENSHELL_SANDBOX_HTTPS_PROXY");
    proxy->no_proxy = getenv("OPENSHELL_SANDBOX_NO_PROXY");
    proxy->auth_file = getenv("OPENSHELL_SANDBOX_PROXY_AUTH_FILE");
    proxy->auth_allow_insecure = os_str_eq(getenv("OPENSHELL_SANDBOX_PROXY_AUTH_ALLOW_INSECURE"), "true");
    proxy->connect_by_hostname = os_str_eq(getenv("OPENSHELL_SANDBOX_PROXY_CONNECT_BY_HOSTNAME"), "true");
}

static const struct forward_proxy_names proxy_names = {
    .url = "--sandbox-https-proxy",
    .no_proxy = "--sandbox-no-proxy",
    .auth_file = "--sandbox-proxy-auth-file",
    .auth_allow_insecure = "--sandbox-proxy-auth-allow-insecure",
    .connect_by_hostname = "--sandbox-proxy-connect-by-hostname",
    .proxy = "--sandbox-https-proxy",
};

static const struct local_rules_names rules_names = {
    .rules = "--policy-rules", .data = "--policy-data", .opa = "--opa-path"};

int main(int argc, char **argv)
{
    cleanup_error struct os_error err = {0};
    const char *socket = getenv("OPENSHELL_COMPUTE_DRIVER_SOCKET"), *level = getenv("OPENSHELL_LOG_LEVEL");
    struct local_driver_config cfg = {.log_level = level && *level ? level : "info",
                                      .proxy_names = &proxy_names,
                                      .rules_names = &rules_names};
    read_environment(&cfg);
    os_open_standard_fds();
    int code = parse(argc, argv, &cfg, &socket);
    if (code >= 0)
        return code;
    enum os_log_level parsed;
    if (!os_log_parse_level(cfg.log_level, &parsed)) {
        fprintf(stderr, "error: invalid log level '%s': expected error, warn, info, debug or trace\n",
                cfg.log_level);
        return 2;
    }
    os_log_set_level(parsed);
    signal(SIGPIPE, SIG_IGN);
    cleanup_free char *supervisor = os_program_path("openshell-sandbox");
    cleanup_free char *launcher = os_program_path("openshell-local-launcher");
    cfg.supervisor = supervisor;
    cfg.launcher = launcher;
    struct driver *d = local_driver_new(&cfg, &err);
    int rc = d ? driver_serve(d, socket, &err) : -1;
    if (rc < 0)
        fprintf(stderr, "%s\n", os_error_text(&err));
    return rc < 0;
}
