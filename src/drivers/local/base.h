/* What all sandboxes of one driver have in common below their own layers, in <state_dir>.base/<uuid>:
 * `root`, the top of the file system with the directories that are not the host's, and one directory for
 * every shared directory of the host (tbl/shared.h) in which something is hidden (tbl/hidden.h) or added;
 * and `image`, what covers a root file system that is not the host's.
 * They are lower layers, so they never change once made: every driver makes one, and drops those that no
 * sandbox runs on. */
#ifndef DRIVERS_LOCAL_BASE_H
#define DRIVERS_LOCAL_BASE_H

#include "drivers/local/private.h"

/* Fills cfg->base. */
int base_make(struct local_settings *cfg, struct os_error *err);
/* <state_dir>.base/<uuid>/<name>; caller frees. */
char *base_path(const struct local_settings *cfg, const char *name);
/* Removes every base but those in keep (uuids). */
void base_collect(const struct local_settings *cfg, const struct os_strv *keep);
/* Directories at the top of a sandbox that are the host's. */
void base_shared(const struct local_settings *cfg, struct os_strv *tops);

/* Directories in the host's /opt, which an ordinary user's sandboxes get one by one. */
void base_opt(struct os_strv *names);

/* The writable layers of one sandbox, in its state directory: root, root-work, etc, etc-work and workspace.
 */
int layer_make(const char *dir, uid_t uid, gid_t gid, struct os_error *err);
/* Before every start but the first: drops overlayfs's notes of the last time, which say that the layers were
 * not synced when they were taken apart. */
int layer_renew(const struct local_settings *cfg, const char *dir, struct os_error *err);

#endif
