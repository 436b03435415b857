/* The isolation of one child, as data: an ordered array of steps that run between fork and exec. Everything
 * a step needs was resolved before the fork; a step makes direct system calls only (no allocation, no name
 * service, no logging) and says which one failed by errno. Order: spec/supervisor.md 7.3. */
#ifndef SUPERVISOR_ISOLATION_PLAN_H
#define SUPERVISOR_ISOLATION_PLAN_H

#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Filled before the fork; borrowed by the steps. */
struct isolation {
    uid_t uid;                 /* never 0 */
    gid_t gid;                 /* never 0 */
    int in, out, err;          /* become descriptors 0, 1, 2; with tty all are the PTY's slave side */
    bool tty;                  /* in becomes the controlling terminal */
    int keep;                  /* descriptor that stays open until exec: the error pipe */
    const char *workdir;       /* NULL = leave */
    int landlock;              /* ruleset descriptor, -1 = none */
    bool landlock_required;    /* failing to enforce fails the child */
    struct sock_fprog seccomp; /* len 0 = none (refused by the step) */
};

/* 0 or an errno. */
typedef int isolation_step_fn(const struct isolation *i);

struct isolation_step {
    const char *name; /* for messages: "isolation step 'capabilities' failed: ..." */
    isolation_step_fn *run;
};

/* The steps in order, ended by a NULL name. */
extern const struct isolation_step isolation_plan[];

/* Runs all steps. Returns -1 when everything is in force, else the index of the step that failed, with its
 * errno in *error. */
int isolation_apply(const struct isolation *i, int *error);

/* One per file. */
isolation_step_fn isolation_session, isolation_stdio, isolation_descriptors, isolation_signals,
    isolation_groups, isolation_bounding_set, isolation_user, isolation_capabilities, isolation_limits,
    isolation_workdir, isolation_no_new_privs, isolation_landlock, isolation_seccomp;

#endif
