/* The driver itself, and the life of a sandbox's supervisor process: launched, watched, ended, adopted. For a
 * sandbox the caller has taken out of the table, unless said otherwise. */
#ifndef DRIVERS_LOCAL_RUN_H
#define DRIVERS_LOCAL_RUN_H

#include "drivers/local/cgroup.h"
#include "drivers/local/exits.h"
#include "drivers/local/image/store.h"
#include "drivers/local/private.h"
#include "drivers/local/rootfs.h"
#include "drivers/local/state.h"
#include "drivers/local/table.h"

struct local_driver {
    struct local_settings cfg;
    struct cgroups cgroups;
    struct images *images;
    struct table table;
    struct exits *exits;
    driver_watch_fn *fn; /* set once, before the other operations */
    void *fn_ctx;
    struct driver driver;
};

/* Tells the gateway how the sandbox is now. */
void run_emit(struct local_driver *d, const struct sandbox *s);
/* Launches the supervisor; created: for the first time, which brings the sandbox's files to the disk. On
 * error nothing of it runs. */
int run_start(struct local_driver *d, struct sandbox *s, const driver_sandbox *spec,
              const struct rootfs *rootfs, bool created, struct os_error *err);
/* Ends the process, if there is one; grace in milliseconds before it is killed. */
int run_end(struct local_driver *d, struct sandbox *s, int grace, struct state_ended *e,
            struct os_error *err);
/* Watches a process that runs already; pidfd becomes the sandbox's. */
int run_watch(struct local_driver *d, struct sandbox *s, int pidfd, const char *instance_id,
              struct os_error *err);
/* Puts down how a process ended that no longer is. */
void run_report_exit(struct local_driver *d, struct sandbox *s, const struct state_ended *e);
/* Called on the thread of exits. */
void run_on_exit(void *ctx, uint64_t run);

/* Everything another driver left in the state directory: its sandboxes, their images and, below those that
 * run, its lower layers. */
int adopt_all(struct local_driver *d, struct os_error *err);

#endif
