/* Where the gateway keeps its files (XDG base directories, spec/gateway.md 1.1). Callers free the results. */
#ifndef GATEWAY_PATHS_H
#define GATEWAY_PATHS_H

#include "core/error.h"

/* $XDG_CONFIG_HOME or $HOME/.config; NULL with "HOME is not set". */
char *gateway_config_home(struct os_error *err);
/* $XDG_STATE_HOME or $HOME/.local/state, followed by /openshell. */
char *gateway_state_dir(struct os_error *err);
/* $OPENSHELL_LOCAL_TLS_DIR or <state>/tls. */
char *gateway_tls_dir(struct os_error *err);

#endif
