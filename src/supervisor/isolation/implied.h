/* What a policy grants without naming it, because programs take it for granted and nothing of the machine is
 * reached through it: the standard devices (null(4), random(4), tty(4), pts(4), shm_overview(7)), and with
 * /usr the directories that are links into it on a merged system. */
#ifndef SUPERVISOR_ISOLATION_IMPLIED_H
#define SUPERVISOR_ISOLATION_IMPLIED_H

#include <stdint.h>

#include "supervisor/isolation/landlock.h"

/* Adds rules with these rights to a Landlock ruleset. Only to what is of the expected kind: a device by its
 * number, /dev/pts and /dev/shm by their file system, a directory that is the agent's by neither owner nor
 * link. What is not there is left out. */
void isolation_implied(int ruleset, const struct isolation_paths *p, uint64_t read, uint64_t write);

#endif
