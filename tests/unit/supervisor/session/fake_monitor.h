/* The monitor's client replaced by a double that forks and execs right here, without any isolation. */
#ifndef TESTS_FAKE_MONITOR_H
#define TESTS_FAKE_MONITOR_H

#include "supervisor/monitor/client.h"

/* Kills every process group that was spawned and waits for all children; frees the double. */
void fake_monitor_end(struct monitor_client *c);
/* As if SIGTERM had reached the supervisor: passed on to every child, then the event. */
void fake_monitor_terminate(struct monitor_client *c);
/* Children whose end has not been seen. */
unsigned fake_monitor_running(struct monitor_client *c);

#endif
