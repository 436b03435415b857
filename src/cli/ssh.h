/* The Host block that leads SSH clients into a sandbox (spec/cli.md 7.2). */
#ifndef CLI_SSH_H
#define CLI_SSH_H

#include "cli/cli.h"

/* Its host alias is openshell-<name>.<workspace>. The gateway is resolved. */
int ssh_config_block(struct cli *cli, const char *name, struct os_buf *out, struct os_error *err);

#endif
