/* The unprivileged half of the supervisor (DESIGN 10): gateway session, egress, the agent's streams. */
#ifndef SUPERVISOR_WORKER_H
#define SUPERVISOR_WORKER_H

#include "supervisor/options.h"

/* Runs in the forked worker, still privileged at first: receives the sockets, gives up every privilege, then
 * brings the sandbox up (spec/supervisor.md 2). monitor: socket to the monitor. Returns the exit code when
 * there is nothing more to do. */
int worker_main(const struct supervisor_options *opt, int monitor);

#endif
