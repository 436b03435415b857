/* Command line and environment of openshell-sandbox (spec/supervisor.md 1), and the files they name, all read
 * while the process still may. Plain values afterwards. */
#ifndef SUPERVISOR_OPTIONS_H
#define SUPERVISOR_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/buf.h"
#include "core/error.h"
#include "core/log.h"
#include "core/str.h"
#include "net/forward_proxy.h"
#include "supervisor/monitor/monitor.h"

struct supervisor_options {
    const char *sandbox_id, *sandbox_name, *endpoint, *server_name; /* NULL = not given */
    const char *workdir;                                            /* NULL = none */
    const char *ca_dir;                                             /* where the agent finds the proxy's CA */
    const char *extra_ca_file;           /* operator: more upstream trust roots; NULL = none */
    const char *resolv_conf;             /* names the supervisor's name servers; NULL = /etc/resolv.conf */
    struct os_buf extra_hosts;           /* operator: hosts-file text; empty = none */
    struct forward_proxy upstream_proxy; /* operator: the way out; no host = none */
    struct os_buf rules;                 /* operator: rules in Rego; empty = none */
    struct os_buf data;                  /* operator: the policy as a YAML data file; empty = the gateway's */
    const char *opa;                     /* the program that runs them; NULL without rules */
    struct os_buf token, tls_ca, tls_cert, tls_key;
    struct os_strv command; /* of the main process */
    bool tty;
    bool keep; /* stay when the main process has ended */
    uint32_t timeout_seconds, poll_seconds;
    bool binary_identity;
    bool driver_identity; /* uid and gid were given by the driver */
    enum os_log_level log_level, push_level;
    struct monitor_config identity;
};

enum options_result {
    OPTIONS_RUN,
    OPTIONS_SHOWN, /* help or version printed: exit 0 */
    OPTIONS_USAGE, /* *err says why: exit 2 */
    OPTIONS_FAILED /* *err says why: exit 1 */
};

/* Texts of argv and environ are borrowed. */
enum options_result options_read(int argc, char **argv, struct supervisor_options *out, struct os_error *err);
/* Overwrites the secrets (token, private key, credential of the upstream proxy). */
void options_wipe(struct supervisor_options *o);
/* Pure: OPENSHELL_MAIN_PROCESS_SPEC, JSON or base64url: of it. */
int options_main_process(const char *text, struct os_strv *command, bool *tty, struct os_error *err);

#endif
