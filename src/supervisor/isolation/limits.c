/* No core file (it would hold what the process read), not dumpable, and no privilege through exec. */
#include <errno.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "supervisor/isolation/plan.h"

int isolation_limits(const struct isolation *i)
{
    (void)i;
    struct rlimit none = {0, 0};
    if (setrlimit(RLIMIT_CORE, &none) < 0)
        return errno;
    return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ? errno : 0;
}

int isolation_workdir(const struct isolation *i)
{
    return i->workdir && chdir(i->workdir) < 0 ? errno : 0;
}

int isolation_no_new_privs(const struct isolation *i)
{
    (void)i;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return errno;
    return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ? 0 : EPERM;
}
