/* The gateway of this user on this machine: finding it without a registration, starting it, and offering to
 * do so where a command needs one and there is none. */
#ifndef CLI_GATEWAY_LOCAL_H
#define CLI_GATEWAY_LOCAL_H

#include "cli/cli.h"

#define GATEWAY_LOCAL_NAME "openshell"
#define GATEWAY_LOCAL_PORT "17670"

/* True when something listens on the socket file, and it is a socket of this user. */
bool gateway_socket_listens(const char *path);
/* Port of a gateway that listens on <state>/gateway/api-<port>.sock; 0 when none does. */
unsigned gateway_local_port(void);

struct gateway_start {
    const char *port; /* NULL = where it ran last, or GATEWAY_LOCAL_PORT */
    const char *const *args;
    size_t n_args; /* more arguments for openshell-gateway */
};

/* What `gateway start` does: starts it unless it runs, waits for its answer, registers and selects it. */
int gateway_start(struct cli *cli, const struct gateway_start *opt, struct os_error *err);

/* cli_resolve() for a command that a newcomer may well begin with. When no gateway is configured, or the
 * local one does not run, it is started: at once with --start-gateway, on a terminal after a question. */
int gateway_resolve_or_start(struct cli *cli, struct os_error *err);

#endif
