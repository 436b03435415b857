/* Waiting for a new sandbox: WatchSandbox until Ready or Error, with progress on stderr (spec/cli.md 6.1). */
#ifndef CLI_PROVISION_H
#define CLI_PROVISION_H

#include "cli/cli.h"

/* 0 when Ready; -1 with *err. *ended: the main process is over already, 0 when its exit code was 0.
 * quiet: nothing but errors. */
int provision_wait(struct cli *cli, const Openshell__V1__Sandbox *created, bool quiet, bool *ended,
                   struct os_error *err);

#endif
