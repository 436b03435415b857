/* The order of the isolation steps. What takes a privilege stands before what gives it up; the filters that
 * forbid the system calls of earlier steps stand last. The network needs no step: the monitor itself lives in
 * the agent's namespace and every child inherits it. */
#include "supervisor/isolation/plan.h"

const struct isolation_step isolation_plan[] = {
    {"session", isolation_session},           /* own session; controlling terminal */
    {"stdio", isolation_stdio},               /* 0, 1, 2 */
    {"descriptors", isolation_descriptors},   /* nothing else survives exec */
    {"signals", isolation_signals},           /* default actions, empty mask */
    {"groups", isolation_groups},             /* needs CAP_SETGID */
    {"bounding set", isolation_bounding_set}, /* needs CAP_SETPCAP */
    {"user", isolation_user},                 /* needs CAP_SETUID; no way back */
    {"capabilities", isolation_capabilities}, /* all five sets empty */
    {"limits", isolation_limits},             /* no core, not dumpable */
    {"workdir", isolation_workdir},           /* as the agent: its permissions count */
    {"no new privileges", isolation_no_new_privs},
    {"landlock", isolation_landlock},
    {"seccomp", isolation_seccomp},
    {0},
};

int isolation_apply(const struct isolation *i, int *error)
{
    for (int step = 0; isolation_plan[step].name; step++) {
        *error = isolation_plan[step].run(i);
        if (*error)
            return step;
    }
    return -1;
}
