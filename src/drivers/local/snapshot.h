/* What the local driver tells the gateway: snapshots (spec/drivers.md 1.4, 4.6) and events (1.5, 4.7). */
#ifndef DRIVERS_LOCAL_SNAPSHOT_H
#define DRIVERS_LOCAL_SNAPSHOT_H

#include <stdint.h>

#include "core/arena.h"
#include "drivers/local/private.h"

enum local_phase { LOCAL_STARTING, LOCAL_RUNNING, LOCAL_EXITED, LOCAL_STOPPED, LOCAL_REMOVING };

/* The state of one sandbox as it is reported. */
struct snapshot {
    const char *id, *name, *workspace, *instance_id;
    enum local_phase phase;
    const char *reason, *message; /* of LOCAL_EXITED */
    int64_t since_ms;
};

driver_sandbox *snapshot_message(struct os_arena *a, const struct snapshot *s);

/* Events are built on the stack of the caller's arena and handed to fn. */
void snapshot_emit(driver_watch_fn *fn, void *ctx, const struct snapshot *s);
void snapshot_emit_deleted(driver_watch_fn *fn, void *ctx, const char *id);

/* Progress of a create; what: the image reference for the first two, the sandbox's name for the others. */
enum local_progress { PROGRESS_SCHEDULED, PROGRESS_IMAGE, PROGRESS_CREATED, PROGRESS_STARTED };
void snapshot_emit_progress(driver_watch_fn *fn, void *ctx, const char *id, const char *what,
                            enum local_progress step);
void snapshot_emit_warning(driver_watch_fn *fn, void *ctx, const char *id, const char *reason,
                           const char *message);

#endif
