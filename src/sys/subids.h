/* The ids that an ordinary user's sandboxes are made of (subuid(5), subgid(5)); needs no driver, so that
 * `openshell doctor check` asks the same question. */
#ifndef OS_SYS_SUBIDS_H
#define OS_SYS_SUBIDS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/error.h"

/* Why they are needed: userns.h. */
struct local_userns {
    bool on; /* the gateway is not root */
    uid_t uid;
    gid_t gid;
    uint32_t sub_uid, sub_uids, sub_gid, sub_gids; /* first and number */
};

/* Fills *out for the user the gateway runs as; out->on is false for root. Says what to install or configure
 * when the ids are missing. */
int userns_find(struct local_userns *out, struct os_error *err);
/* First line of a subuid or subgid text for this user (by name or number) with at least `need` ids. */
bool userns_parse(const char *text, const char *name, uid_t uid, uint32_t need, uint32_t *start, uint32_t *n);
/* Path of newuidmap or newgidmap; caller frees. NULL when it is not installed. */
char *subids_helper(const char *name);

#endif
