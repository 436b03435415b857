/* The `local` compute driver: sandboxes on this machine with nothing but Linux (spec/drivers.md 9). A sandbox
 * is the supervisor as pid 1 of its own mount, pid, ipc, uts and cgroup namespaces over an overlay of the
 * host's root. State lives in one directory per sandbox, so that a restarted gateway adopts what still runs.
 */
#ifndef DRIVERS_LOCAL_H
#define DRIVERS_LOCAL_H

#include <sys/types.h>

#include "drivers/driver.h"
#include "net/forward_proxy.h"

/* What messages call the settings of the operator's rules. */
struct local_rules_names {
    const char *rules, *data, *opa;
};

struct local_driver_config {
    const char *state_dir;                         /* per-sandbox directories are made below; 0700 */
    const char *supervisor;                        /* path of openshell-sandbox (static) */
    const char *launcher;                          /* path of openshell-local-launcher (static) */
    const char *gateway_endpoint;                  /* "https://127.0.0.1:17670" */
    const char *tls_ca, *tls_cert, *tls_key;       /* files; NULL with a plaintext gateway */
    const char *log_level;                         /* of the supervisor */
    uid_t agent_uid, worker_uid;                   /* 0 = defaults; gids are equal to the uids */
    const char *extra_ca_file;                     /* operator: extra upstream trust roots, NULL = none */
    const char *extra_hosts;                       /* operator: hosts-file text, NULL = none */
    struct forward_proxy_given proxy;              /* operator: the sandboxes' way out */
    const struct forward_proxy_names *proxy_names; /* for messages; NULL = the keys of gateway.toml */
    const char *policy_rules_file; /* operator: rules in Rego that narrow policies, NULL = none */
    const char *policy_data_file;  /* operator: policy that they decide over alone, NULL = none */
    const char *opa_path;          /* what runs them, NULL = looked for */
    const struct local_rules_names *rules_names; /* for messages; NULL = the keys of gateway.toml */
    bool enable_bind_mounts;                     /* users may give directories of this machine to sandboxes */
    const char *image_dirs;  /* dir: and oci: images only below these, ':' between; NULL = anywhere */
    const char *const *mask; /* more host paths to hide, NULL-terminated; NULL = none */
};

/* Every text is copied. Re-adopts the sandboxes found in state_dir. */
struct driver *local_driver_new(const struct local_driver_config *cfg, struct os_error *err);

#endif
