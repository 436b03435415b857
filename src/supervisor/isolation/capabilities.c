/* Capabilities: bounding set emptied while that is still allowed, then every other set. */
#include <errno.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "supervisor/isolation/plan.h"

#define CAP_END 64 /* width of the kernel's sets; the last capability it knows answers EINVAL earlier */

int isolation_bounding_set(const struct isolation *i)
{
    (void)i;
    for (int cap = 0; cap < CAP_END; cap++) {
        int in = prctl(PR_CAPBSET_READ, cap, 0, 0, 0);
        if (in < 0)
            break; /* past the last one */
        if (in && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
            return errno;
    }
    for (int cap = 0; cap < CAP_END; cap++)
        if (prctl(PR_CAPBSET_READ, cap, 0, 0, 0) > 0)
            return EPERM;
    return 0;
}

int isolation_capabilities(const struct isolation *i)
{
    (void)i;
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 && errno != EINVAL)
        return errno;
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = {0};
    if (syscall(SYS_capset, &head, sets) < 0)
        return errno;
    if (syscall(SYS_capget, &head, sets) < 0)
        return errno;
    for (int n = 0; n < _LINUX_CAPABILITY_U32S_3; n++)
        if (sets[n].effective | sets[n].permitted | sets[n].inheritable)
            return EPERM;
    return 0;
}
