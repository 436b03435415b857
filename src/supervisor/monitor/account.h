/* The agent's identity in the image: the `sandbox` lines of /etc/passwd and /etc/group, read and rewritten
 * directly (spec/supervisor.md 7.1, 7.2), never through the name service. */
#ifndef SUPERVISOR_MONITOR_ACCOUNT_H
#define SUPERVISOR_MONITOR_ACCOUNT_H

#include <sys/types.h>

#include "core/buf.h"
#include "core/error.h"

#define ACCOUNT_NAME "sandbox"

/* Pure: the text of a passwd or group file with the `sandbox` line set to these numbers (gid of a passwd line
 * as well), or appended. */
void account_passwd_set(const char *text, uid_t uid, gid_t gid, struct os_buf *out);
void account_group_set(const char *text, gid_t gid, struct os_buf *out);
/* Pure: uid and gid of the `sandbox` line of a passwd text; OS_NOT_FOUND, or OS_INVALID_ARGUMENT when the
 * line is malformed, ambiguous or names root. */
int account_passwd_find(const char *text, uid_t *uid, gid_t *gid, struct os_error *err);

/* The two files of the running root. */
int account_install(uid_t uid, gid_t gid, struct os_error *err);
int account_lookup(uid_t *uid, gid_t *gid, struct os_error *err);

/* Gives a tree to the agent unless its root already is the agent's. Links, mounts and read-only parts are
 * skipped; a missing tree is fine, a link as its root is an error. */
int account_own_tree(const char *path, uid_t uid, gid_t gid, struct os_error *err);

#endif
