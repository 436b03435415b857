/* openshell-driver-local: the local driver as a service of its own, for a gateway that reaches it over a UNIX
 * socket (spec/drivers.md 2.2, 9 R1). */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/log.h"
#include "core/str.h"
#include "drivers/local/local.h"
#include "drivers/serve.h"
#include "sys/file.h"

static const char usage[] =
    "Usage: openshell-driver-local --bind-socket PATH --state-dir DIR --gateway-endpoint URL [OPTIONS]\n"
    "Runs sandboxes on this machine for a gateway that calls over a UNIX socket.\n\n"
    "      --bind-socket PATH       [$OPENSHELL_COMPUTE_DRIVER_SOCKET]\n"
    "      --state-dir DIR          what the sandboxes leave on disk\n"
    "      --gateway-endpoint URL   what supervisors call\n"
    "      --tls-ca FILE, --tls-cert FILE, --tls-key FILE   client TLS of the supervisors\n"
    "      --extra-ca FILE          more upstream trust roots, PEM\n"
    "      --enable-bind-mounts     users may give directories of this machine to sandboxes\n"
    "      --log-level LEVEL        error, warn, info, debug, trace [$OPENSHELL_LOG_LEVEL, info]\n"
    "  -h, --help    -V, --version\n";

enum { SOCKET = 256, STATE, ENDPOINT, TLS_CA, TLS_CERT, TLS_KEY, EXTRA_CA, BIND_MOUNTS, LOG_LEVEL };

static const struct option flags[] = {{"bind-socket", required_argument, NULL, SOCKET},
                                      {"state-dir", required_argument, NULL, STATE},
                                      {"gateway-endpoint", required_argument, NULL, ENDPOINT},
                                      {"tls-ca", required_argument, NULL, TLS_CA},
                                      {"tls-cert", required_argument, NULL, TLS_CERT},
                                      {"tls-key", required_argument, NULL, TLS_KEY},
                                      {"extra-ca", required_argument, NULL, EXTRA_CA},
                                      {"enable-bind-mounts", no_argument, NULL, BIND_MOUNTS},
                                      {"log-level", required_argument, NULL, LOG_LEVEL},
                                      {"help", no_argument, NULL, 'h'},
                                      {"version", no_argument, NULL, 'V'},
                                      {0}};

/* Exit code, or -1 to go on. */
static int parse(int argc, char **argv, struct local_driver_config *cfg, const char **socket)
{
    for (int c; (c = getopt_long(argc, argv, "hV", flags, NULL)) != -1;) {
        const char **text = c == SOCKET     ? socket
                            : c == STATE    ? &cfg->state_dir
                            : c == ENDPOINT ? &cfg->gateway_endpoint
                            : c == TLS_CA   ? &cfg->tls_ca
                            : c == TLS_CERT ? &cfg->tls_cert
                            : c == TLS_KEY  ? &cfg->tls_key
                            : c == EXTRA_CA ? &cfg->extra_ca_file
                                            : NULL;
        if (text)
            *text = optarg;
        else if (c == LOG_LEVEL)
            cfg->log_level = optarg;
        else if (c == BIND_MOUNTS)
            cfg->enable_bind_mounts = true;
        else if (c == 'h')
            return fputs(usage, stdout) < 0;
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

int main(int argc, char **argv)
{
    cleanup_error struct os_error err = {0};
    const char *socket = getenv("OPENSHELL_COMPUTE_DRIVER_SOCKET"), *level = getenv("OPENSHELL_LOG_LEVEL");
    struct local_driver_config cfg = {.log_level = level && *level ? level : "info"};
    os_open_standard_fds();
    int code = parse(argc, argv, &cfg, &socket);
    if (code >= 0)
        return code;
    enum os_log_level parsed;
    if (!os_log_parse_level(cfg.log_level, &parsed)) {
        fprintf(stderr, "error: invalid log level '%s'\n", cfg.log_level);
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
