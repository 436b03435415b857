/* Where a user's programs keep their files (XDG base directories, spec/gateway.md 1.1, spec/cli.md 2).
 * Callers free the results; NULL with "HOME is not set" when neither variable is. */
#ifndef OS_SYS_PATHS_H
#define OS_SYS_PATHS_H

#include "core/error.h"

/* $XDG_CONFIG_HOME or $HOME/.config, followed by /openshell. */
char *os_config_dir(struct os_error *err);
/* $XDG_STATE_HOME or $HOME/.local/state, followed by /openshell. */
char *os_state_dir(struct os_error *err);
/* $OPENSHELL_LOCAL_TLS_DIR or <state>/tls: certificates and keys of the gateway on this machine. */
char *os_tls_dir(struct os_error *err);

#endif
