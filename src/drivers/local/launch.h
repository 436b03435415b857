/* Starts a supervisor in namespaces of its own, through openshell-local-launcher. Any thread. */
#ifndef DRIVERS_LOCAL_LAUNCH_H
#define DRIVERS_LOCAL_LAUNCH_H

#include <sys/types.h>

#include "core/buf.h"
#include "core/error.h"
#include "drivers/local/private.h"

struct launch {
    pid_t pid;
    int pidfd;
    int control; /* to the launcher until it is the supervisor */
};

/* With user namespaces (userns.h) the plan begins with `user`. The launcher works on the plan when this
 * returns 0, and waits for launch_go before it executes. output: its standard output and error. cgroup:
 * version 2 control group it is born in, NULL = the gateway's. */
int launch_begin(const struct local_settings *cfg, const struct os_buf *plan, int output, const char *cgroup,
                 struct launch *out, struct os_error *err);
/* Returns 0 when the supervisor is executed; pid and pidfd stay the caller's. On error nothing of the sandbox
 * runs any more, and launch is cleared as by launch_abort. */
int launch_go(struct launch *l, struct os_error *err);
/* Kills it and waits until it is gone. */
void launch_abort(struct launch *l);

/* Waits at most ms (-1 = for ever) for the process behind pidfd to end; true when it did. */
bool launch_wait_end(int pidfd, int ms);
/* Collects an ended child: exit code or 128+signal; -1 when it is not ours to collect. */
int launch_collect(int pidfd);

#endif
