/* The local driver as an ordinary user: its sandboxes live in user namespaces, in which that user is root and
 * the agent and the worker are two of the user's subordinate ids (subuid(5)). Without those ids all three
 * would be the same user, and neither the agent nor a broken parser would be kept from the supervisor:
 * refused. */
#ifndef DRIVERS_LOCAL_USERNS_H
#define DRIVERS_LOCAL_USERNS_H

#include "drivers/local/private.h"
#include "sys/subids.h"

/* Gives a process that has just made its user namespace its ids. */
int userns_map(const struct local_userns *u, pid_t pid, struct os_error *err);
/* One operation of the launcher that ends it (launcher/plan.h), as root of a user namespace: its name, its
 * arguments, NULL. */
int userns_run(const struct local_settings *cfg, const char *const *words, struct os_error *err);
/* As tree_remove, for what sandboxes filled: under the ids they had. */
int userns_remove(const struct local_settings *cfg, const char *dir, const char *name, struct os_error *err);

#endif
