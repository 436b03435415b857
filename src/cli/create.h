/* `sandbox create`: its request. */
#ifndef CLI_CREATE_H
#define CLI_CREATE_H

#include "cli/cli.h"
#include "cli/forward.h"

typedef Openshell__V1__CreateSandboxRequest create_request;

/* What create does besides, once the sandbox is ready. */
struct create_extras {
    struct create_upload {
        const char *path, *dest; /* dest NULL = the workspace */
    } * uploads;
    size_t n_uploads;
    const char *forward_text; /* NULL = none */
    struct forward_spec forward;
    int listener; /* opened before anything is created */
};

/* Everything that the flags say, checked in the published order; chooses the gateway on the way and may offer
 * to start one. In the arena; NULL with *err. */
create_request *create_request_build(struct cli *cli, struct create_extras *extras, struct os_error *err);

#endif
