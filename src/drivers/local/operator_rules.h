/* The operator's own rules in Rego, which the supervisors get from this driver
 * (docs/guide/policies.md, "Rules of your own"). */
#ifndef DRIVERS_LOCAL_OPERATOR_RULES_H
#define DRIVERS_LOCAL_OPERATOR_RULES_H

#include "drivers/local/local.h"
#include "drivers/local/private.h"

/* What messages call the settings: keys of gateway.toml or options of openshell-driver-local. */
extern const struct local_rules_names operator_rules_keys;

/* Checks the files (text in UTF-8, at most OS_RULES_TEXT and OS_LIMIT_POLICY_YAML bytes) and the program,
 * which is looked for in /usr/local/bin and /usr/bin when none is given, and copies their paths into out. The
 * files are read again for each sandbox, so that they can be replaced. -1: OS_INVALID_ARGUMENT, OS_NOT_FOUND,
 * OS_PERMISSION_DENIED or what reading says, naming the setting and the path. */
int operator_rules_load(const struct local_driver_config *cfg, struct local_settings *out,
                        struct os_error *err);

#endif
