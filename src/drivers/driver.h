/* What the gateway asks of a compute driver: the published compute_driver protocol (spec/drivers.md 1) as C
 * functions, for drivers that run in process. Functions block and are called from worker threads, several at
 * once for different sandboxes, one at a time for the same sandbox. */
#ifndef DRIVERS_DRIVER_H
#define DRIVERS_DRIVER_H

#include <stdbool.h>

#include "compute.pb-c.h"
#include "core/arena.h"
#include "core/error.h"

typedef Openshell__Compute__V1__DriverSandbox driver_sandbox;
typedef Openshell__Compute__V1__WatchSandboxesEvent driver_event;

/* Any thread, must not block for long; the event is borrowed. */
typedef void driver_watch_fn(void *ctx, const driver_event *event);

struct driver {
    const struct driver_ops *ops;
    void *self;
};

struct driver_ops {
    const char *name; /* "local" */
    const char *version;
    const char *default_image;
    /* Events from now on; one watcher. Called once, before the others. */
    void (*watch)(void *self, driver_watch_fn *fn, void *ctx);
    int (*validate)(void *self, const driver_sandbox *s, struct os_error *err);
    int (*create)(void *self, const driver_sandbox *s, struct os_error *err);
    /* Idempotent (spec/gateway.md 5.6). OS_NOT_FOUND when there is no such sandbox. */
    int (*stop)(void *self, const char *id, struct os_error *err);
    int (*start)(void *self, const char *id, struct os_error *err);
    /* *deleted = false when it did not exist. Returns when nothing of the sandbox is left. */
    int (*remove)(void *self, const char *id, bool *deleted, struct os_error *err);
    /* Snapshot in the arena; NULL with OS_NOT_FOUND when absent. */
    driver_sandbox *(*get)(void *self, const char *id, struct os_arena *arena, struct os_error *err);
    int (*list)(void *self, struct os_arena *arena, driver_sandbox ***out, size_t *n, struct os_error *err);
    void (*free)(void *self);
};

#endif
