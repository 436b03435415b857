/* The environment a driver gives to the supervisor (spec/drivers.md 3.2). */
#ifndef DRIVERS_LOCAL_ENVIRON_H
#define DRIVERS_LOCAL_ENVIRON_H

#include "core/str.h"
#include "drivers/local/private.h"
#include "drivers/local/rootfs.h"

#define INSIDE_SUPERVISOR "/opt/openshell/bin/openshell-sandbox"
#define INSIDE_OPA "/opt/openshell/bin/opa"
#define INSIDE_TOKEN "/etc/openshell/auth/sandbox.jwt"
#define INSIDE_PROXY_AUTH "/etc/openshell/auth/upstream-proxy"
#define INSIDE_TLS "/etc/openshell/tls/client"
#define INSIDE_EXTRA_CA "/etc/openshell/operator/extra-ca.pem"
#define INSIDE_EXTRA_HOSTS "/etc/openshell/operator/extra-hosts"
#define INSIDE_POLICY_RULES "/etc/openshell/operator/rules.rego"
#define INSIDE_POLICY_DATA "/etc/openshell/operator/policy-data.yaml"
#define INSIDE_RESOLV_CONF "/etc/openshell/operator/resolv.conf"
#define INSIDE_SSH_SOCKET "/run/openshell/ssh.sock"
#define INSIDE_WORKSPACE "/sandbox"

/* "NAME=value" entries, names unique. The image's variables come first and PATH is its own; the user's
 * variables all go into OPENSHELL_USER_ENVIRONMENT; directly only those that cannot steer the supervisor,
 * which runs with privileges. */
int environ_build(const struct local_settings *cfg, const driver_sandbox *s, const struct rootfs *rootfs,
                  struct os_strv *env, struct os_error *err);
/* False for a user variable that must not reach the supervisor's own environment. */
bool environ_harmless(const char *name);

#endif
