/* Control groups of the sandboxes: one leaf per sandbox in every hierarchy that is writable, version 2 or 1
 * or both at once. They live at the top of what the gateway sees (version 2) or below its own group (version
 * 1), so that ending the gateway's service does not end the sandboxes. */
#ifndef DRIVERS_LOCAL_CGROUP_H
#define DRIVERS_LOCAL_CGROUP_H

#include <stdbool.h>

#include "core/str.h"
#include "drivers/local/private.h"

#define CGROUP_PIDS 1u
#define CGROUP_MEMORY 2u
#define CGROUP_CPU 4u
#define CGROUP_HIERARCHIES 8

struct cgroup_hierarchy {
    char *base;  /* host directory that holds the leaves' parent */
    char *label; /* "pids", "cpu,cpuacct", "unified" */
    bool v2;
    unsigned controllers; /* CGROUP_*, those that can be set in a leaf */
};

struct cgroups {
    struct cgroup_hierarchy h[CGROUP_HIERARCHIES];
    size_t n;
    unsigned controllers; /* of all hierarchies together */
};

/* Never fails: what is not there or not writable is left out. */
void cgroups_detect(struct cgroups *c);
void cgroups_clear(struct cgroups *c);
/* Makes the leaves with their limits; their host directories, in the order of c->h, go to dirs. */
int cgroups_make(const struct cgroups *c, const char *id, const struct local_limits *limits,
                 struct os_strv *dirs, struct os_error *err);
/* The version 2 leaf among dirs, NULL when there is none. */
const char *cgroups_v2(const struct cgroups *c, const struct os_strv *dirs);
/* Removes the leaves; they must be empty or about to be. A missing leaf is fine. */
int cgroups_remove(const struct cgroups *c, const char *id, struct os_error *err);
/* True when the kernel killed a process of the sandbox for want of memory. */
bool cgroups_oom_killed(const struct cgroups *c, const char *id);
/* Parses /proc/<pid>/mountinfo and /proc/<pid>/cgroup texts; for cgroups_detect and its tests. */
void cgroups_parse(struct cgroups *c, const char *mountinfo, const char *membership);

#endif
