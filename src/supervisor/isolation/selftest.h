/* Does the isolation hold? A child that went through the whole plan tries what it must not be able to do. It
 * is part of the supervisor's start: what the kernel accepted is not yet what it enforces. */
#ifndef SUPERVISOR_ISOLATION_SELFTEST_H
#define SUPERVISOR_ISOLATION_SELFTEST_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "supervisor/isolation/landlock.h"

/* SELFTEST(NAME, text): one thing to try; the text completes "... could" and "tried: ...". */
#define SELFTESTS                                                                                            \
    SELFTEST(WRITE, "writing outside the policy")                                                            \
    SELFTEST(READ, "reading outside the policy")                                                             \
    SELFTEST(NETWORK, "leaving the sandbox's network")                                                       \
    SELFTEST(SOCKET, "raw and netlink sockets")                                                              \
    SELFTEST(SYSCALL, "forbidden system calls")                                                              \
    SELFTEST(PRIVILEGE, "becoming root")

enum selftest {
#define SELFTEST(name, text) SELFTEST_##name,
    SELFTESTS
#undef SELFTEST
        SELFTEST_COUNT
};

struct selftest_plan {
    const char *write_path; /* anybody may write it but for Landlock; NULL = nothing to try */
    bool read_root;         /* the same of listing "/" */
    pid_t supervisor;       /* must not be reached by signals */
};

/* What the policy leaves to be tried; all of it resolved before the fork. Without a ruleset, no path. */
struct selftest_plan selftest_choose(const struct isolation_paths *paths,
                                     const struct isolation_ruleset *rules);
/* The tests that selftest_run() makes, as a set of 1 << enum selftest. */
uint32_t selftest_tried(const struct selftest_plan *p);
/* In the isolated child, direct system calls only: the set of those that went through. */
uint32_t selftest_run(const struct selftest_plan *p);
const char *selftest_text(enum selftest t);

#endif
