/* What a sandbox leaves on disk, below <state_dir>/<id> (0700):
 *   spec       the packed DriverSandbox, token included (0600); written last, so a directory without it is a
 *              create that was cut short
 *   process    the supervisor that was last started
 *   ended      why it does not run: "stopped", or "exited <code>[ oom]"
 *   rootfs     what it runs over (rootfs.h)
 *   log        console output of the supervisor
 *   root root-work etc etc-work workspace   its file system (base.h)
 * A directory named .trash-<id> is a remove that was cut short. */
#ifndef DRIVERS_LOCAL_STATE_H
#define DRIVERS_LOCAL_STATE_H

#include <stdbool.h>

#include "drivers/local/private.h"

#define STATE_TRASH ".trash-"

struct state_ended {
    bool stopped;
    int status; /* exit code, 128+signal, -1 unknown */
    bool oom;
};

/* <state_dir>/<id>; caller frees. */
char *state_path(const struct local_settings *cfg, const char *id);
int state_make(const struct local_settings *cfg, const char *id, struct os_error *err);
/* Not on disk for certain until state_sync. */
int state_write_spec(const struct local_settings *cfg, const driver_sandbox *s, struct os_error *err);
int state_sync(const struct local_settings *cfg, const char *id, struct os_error *err);
/* Unpacked; free with openshell__compute__v1__driver_sandbox__free_unpacked. OS_NOT_FOUND when there is none.
 */
driver_sandbox *state_read_spec(const struct local_settings *cfg, const char *id, struct os_error *err);

int state_write_process(const struct local_settings *cfg, const char *id, const struct local_process *p,
                        struct os_error *err);
bool state_read_process(const struct local_settings *cfg, const char *id, struct local_process *p);
/* NULL removes the marker. */
int state_write_ended(const struct local_settings *cfg, const char *id, const struct state_ended *e,
                      struct os_error *err);
bool state_read_ended(const struct local_settings *cfg, const char *id, struct state_ended *e);

int state_write_rootfs(const struct local_settings *cfg, const char *id, const char *record,
                       struct os_error *err);
/* "" when there is none. Caller frees. */
char *state_read_rootfs(const struct local_settings *cfg, const char *id);
/* The digest of its image, "" when it has none. Caller frees. */
char *state_read_image(const struct local_settings *cfg, const char *id);

/* The console log, for appending; what is longer than OS_LOCAL_LOG is dropped first. */
int state_open_log(const struct local_settings *cfg, const char *id, struct os_error *err);
/* Last non-empty line of the console log, printable; "" when there is none. Caller frees. */
char *state_last_line(const struct local_settings *cfg, const char *id);

/* Ids with a state directory; removes what cut short creates and removes left. */
int state_scan(const struct local_settings *cfg, struct os_strv *ids, struct os_error *err);
/* Removes everything; a missing directory is fine. *existed tells whether there was something. */
int state_remove(const struct local_settings *cfg, const char *id, bool *existed, struct os_error *err);

/* Boot id of the running kernel; "" when it cannot be read. */
void state_boot_id(char out[OS_UUID_LEN]);
/* Clock ticks from boot to the start of the process; 0 when it does not run. */
uint64_t state_start_time(pid_t pid);

#endif
