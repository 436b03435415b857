/* User and groups. setresuid through the raw system call: the libc wrapper broadcasts to threads. */
#include <errno.h>
#include <grp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "supervisor/isolation/plan.h"

int isolation_groups(const struct isolation *i)
{
    if (i->gid == 0 || i->gid == (gid_t)-1)
        return EINVAL;
    if (syscall(SYS_setgroups, 0, NULL) < 0)
        return errno;
    if (syscall(SYS_setresgid, i->gid, i->gid, i->gid) < 0)
        return errno;
    return getegid() == i->gid && getgid() == i->gid ? 0 : EPERM;
}

int isolation_user(const struct isolation *i)
{
    if (i->uid == 0 || i->uid == (uid_t)-1)
        return EINVAL;
    if (syscall(SYS_setresuid, i->uid, i->uid, i->uid) < 0)
        return errno;
    if (geteuid() != i->uid || getuid() != i->uid)
        return EPERM;
    if (syscall(SYS_setresuid, 0, 0, 0) == 0) /* must not be possible any more */
        return EPERM;
    return 0;
}
