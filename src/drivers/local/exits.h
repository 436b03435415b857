/* One thread that waits for the ends of all supervisors. */
#ifndef DRIVERS_LOCAL_EXITS_H
#define DRIVERS_LOCAL_EXITS_H

#include <stdint.h>

#include "core/error.h"

struct exits;

/* Called on the thread, once for every process that ended. */
typedef void exits_fn(void *ctx, uint64_t run);

struct exits *exits_new(exits_fn *fn, void *ctx, struct os_error *err);
/* `run` names the process in the call; the descriptor stays the caller's and must be open until exits_remove.
 */
int exits_add(struct exits *e, int pidfd, uint64_t run, struct os_error *err);
/* A call that is under way may still come afterwards. */
void exits_remove(struct exits *e, int pidfd);
/* Ends the thread. */
void exits_free(struct exits *e);

#endif
