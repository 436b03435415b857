/* Landlock: the ruleset is prepared once, before the first child exists, and inherited by descriptor
 * (spec/supervisor.md 5). Preparing it again for a later child would follow whatever links the agent made in
 * the meantime, so it is not done. */
#ifndef SUPERVISOR_ISOLATION_LANDLOCK_H
#define SUPERVISOR_ISOLATION_LANDLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/error.h"

struct isolation_paths {
    const char *const *read_only;
    size_t n_read_only;
    const char *const *read_write;
    size_t n_read_write;
    bool hard_requirement;
    const char *program; /* may be executed and read besides; NULL = none */
    uid_t agent; /* a symlink this user owns is not followed: a restarted sandbox finds its own old ones */
};

struct isolation_ruleset {
    int fd;        /* -1 = no restriction (best effort only, or no paths) */
    int abi;       /* of the kernel; 0 = unavailable */
    char why[128]; /* why there is no restriction, "" otherwise */
    uint32_t rules, skipped;
};

/* -1 only in hard_requirement mode. The caller closes fd. */
int isolation_landlock_prepare(const struct isolation_paths *p, struct isolation_ruleset *out,
                               struct os_error *err);

#endif
