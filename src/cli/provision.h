/* Waiting for a new sandbox: WatchSandbox until Ready or Error, with progress on stderr (spec/cli.md 6.1). */
#ifndef CLI_PROVISION_H
#define CLI_PROVISION_H

#include "cli/cli.h"

enum provision_show {
    PROVISION_QUIET, /* structured output on stdout: nothing but errors */
    PROVISION_LINES, /* one line per step */
    PROVISION_LIVE,  /* one line, rewritten; cleared at the end */
};

/* 0 when Ready; -1 with *err. *ended: the main process is over already, 0 when its exit code was 0. */
int provision_wait(struct cli *cli, const Openshell__V1__Sandbox *created, enum provision_show show,
                   bool *ended, struct os_error *err);

#endif
