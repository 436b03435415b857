/* `sandbox create`: its request. */
#ifndef CLI_CREATE_H
#define CLI_CREATE_H

#include "cli/cli.h"

typedef Openshell__V1__CreateSandboxRequest create_request;

/* Everything that the flags say, checked in the published order; chooses the gateway on the way and may offer
 * to start one. In the arena; NULL with *err. */
create_request *create_request_build(struct cli *cli, struct os_error *err);

#endif
