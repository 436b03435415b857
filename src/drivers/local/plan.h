/* The launch plan of a sandbox (launcher/plan.h): everything between an empty namespace and the supervisor.
 */
#ifndef DRIVERS_LOCAL_PLAN_H
#define DRIVERS_LOCAL_PLAN_H

#include "core/buf.h"
#include "drivers/local/cgroup.h"
#include "drivers/local/private.h"
#include "drivers/local/rootfs.h"

/* leaves: the sandbox's control groups in the order of cgroups->h. The plan holds the sandbox's secrets. */
int plan_build(const struct local_settings *cfg, const driver_sandbox *s, const struct rootfs *rootfs,
               const struct cgroups *cgroups, const struct os_strv *leaves, struct os_buf *out,
               struct os_error *err);

#endif
