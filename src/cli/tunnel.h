/* One ForwardTcp call between two local descriptors and an SSH server or port of a sandbox (spec/cli.md 7.3,
 * 8). Any number may run on the loop of a run of the program. */
#ifndef CLI_TUNNEL_H
#define CLI_TUNNEL_H

#include "cli/cli.h"

struct tunnel;

struct tunnel_target {
    const char *sandbox_id, *service_id, *token;
    const char *host; /* NULL = the SSH server */
    uint16_t port;
};

/* Takes both descriptors (they differ) and makes them non-blocking. on_end runs once, when everything the
 * sandbox sent was written or cannot be; status is borrowed. */
struct tunnel *tunnel_start(struct cli *cli, const struct tunnel_target *target, int in, int out,
                            void (*on_end)(void *ctx, const struct os_error *status), void *ctx);

/* CreateSshSession, its answer checked. The token is in the arena; NULL with *err. */
const char *tunnel_token(struct cli *cli, const char *sandbox_id, struct os_error *err);
/* Checks an answer of CreateSshSession (spec/cli.md 7.1). */
int tunnel_session_check(const Openshell__V1__CreateSshSessionResponse *r, struct os_error *err);

#endif
