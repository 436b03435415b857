/* Paths below the new root. The kernel resolves them with that directory as "/", so a symbolic link left by
 * the sandbox cannot lead to the host. */
#ifndef DRIVERS_LOCAL_LAUNCHER_INSIDE_H
#define DRIVERS_LOCAL_LAUNCHER_INSIDE_H

#include <sys/types.h>

#include "core/error.h"

/* openat2 with RESOLVE_IN_ROOT and O_CLOEXEC; -1 with errno. */
int inside_open(int root, const char *path, int flags);
/* An existing directory, or link to one within the root, is fine. */
int inside_dir(int root, const char *path, mode_t mode, uid_t uid, gid_t gid, struct os_error *err);
/* Makes a directory and its parents, modes 0755, owned by root; no link is followed anywhere. */
int inside_point(int root, const char *path, struct os_error *err);
int inside_file(int root, const char *path, mode_t mode, uid_t uid, gid_t gid, const char *content,
                struct os_error *err);
int inside_own(int root, const char *path, uid_t uid, gid_t gid, struct os_error *err);
/* Owners and modes of an image's entries, from a list of `size` bytes (image/unpack.h). Entries that are gone
 * and ids that the user namespace does not have are skipped. */
int inside_owners(int root, const char *list, size_t size, struct os_error *err);
int inside_link(int root, const char *path, const char *target, struct os_error *err);

#endif
