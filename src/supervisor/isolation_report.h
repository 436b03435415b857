/* What isolation a sandbox got, as operators see it: audit events at its start and a text for its status. */
#ifndef SUPERVISOR_ISOLATION_REPORT_H
#define SUPERVISOR_ISOLATION_REPORT_H

#include <stdbool.h>

#include "supervisor/audit/audit.h"
#include "supervisor/monitor/client.h"

/* Emits the events. True when everything the policy asks for is in force; *detail (the caller's) says what
 * the self-test tried in vain and what is missing. */
bool isolation_report(struct audit *audit, const struct monitor_plan *plan,
                      const struct monitor_isolation *got, char **detail);

#endif
