/* Seccomp filters as BPF programs, compiled before any fork (spec/supervisor.md 6). The wrong architecture
 * (x32 numbers included) kills the process; everything not listed is allowed. */
#ifndef SUPERVISOR_ISOLATION_FILTER_H
#define SUPERVISOR_ISOLATION_FILTER_H

#include <linux/filter.h>

#include "core/error.h"

enum isolation_profile {
    PROFILE_AGENT,   /* every child of the sandbox */
    PROFILE_WORKER,  /* the worker: no exec, no namespaces, no tracing, no unusual sockets */
    PROFILE_MONITOR, /* the monitor after start-up: no mounts, no modules, no bpf */
};

/* out->filter is malloc'ed. */
int isolation_filter_compile(enum isolation_profile profile, struct sock_fprog *out, struct os_error *err);
/* Loads a program into the calling thread; needs no_new_privs or CAP_SYS_ADMIN. 0 or an errno. */
int isolation_filter_load(const struct sock_fprog *program);

#endif
