/* Attaching to the main process of a sandbox, shared by `sandbox create` and `sandbox connect`. */
#ifndef CLI_ATTACH_H
#define CLI_ATTACH_H

#include "cli/cli.h"

/* Exit code of the main process (0 after detaching), or -1 with *err. The sandbox is Ready. */
int attach_main(struct cli *cli, const Openshell__V1__Sandbox *s, struct os_error *err);

#endif
