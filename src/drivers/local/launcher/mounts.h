/* Mount operations of the launcher. All targets are resolved below the new root. Every function returns 0, or
 * -1 with the text in err. */
#ifndef DRIVERS_LOCAL_LAUNCHER_MOUNTS_H
#define DRIVERS_LOCAL_LAUNCHER_MOUNTS_H

#include <stdbool.h>

#include "core/error.h"

/* What follows is done as root of a user namespace: binds take along what is mounted below, which may not be
 * uncovered, the kernel's file systems are those of the machine, overlays keep their notes elsewhere. */
void mounts_in_user_namespace(void);
/* Mounts the overlay that becomes the new root, over its own lower directory, which hides what is in `below`
 * ("" = nothing); returns its descriptor. */
int mounts_root(const char *lower, const char *below, const char *upper, const char *work,
                struct os_error *err);
/* lower hides what is in `below`. upper and work are "" for a read-only overlay. */
int mounts_overlay(int root, const char *lower, const char *below, const char *upper, const char *work,
                   const char *target, struct os_error *err);
int mounts_bind(int root, const char *host, const char *target, bool read_only, struct os_error *err);
int mounts_share(int root, const char *host, const char *target, bool read_only, struct os_error *err);
int mounts_tmpfs(int root, const char *target, const char *mode, const char *size, struct os_error *err);
int mounts_proc(int root, const char *target, struct os_error *err);
int mounts_sysfs(int root, const char *target, struct os_error *err);
int mounts_dev(int root, const char *target, struct os_error *err);
int mounts_mask(int root, const char *target, struct os_error *err);
int mounts_readonly(int root, const char *target, struct os_error *err);
int mounts_pivot(int root, struct os_error *err);

#endif
