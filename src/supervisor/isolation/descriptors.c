/* Descriptors: the three standard ones, and nothing else past exec. */
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "supervisor/isolation/plan.h"

int isolation_stdio(const struct isolation *i)
{
    /* Callers keep all sources above 2, so no dup2 can overwrite a later source. */
    if (i->in <= 2 || i->out <= 2 || i->err <= 2 || i->keep <= 2)
        return EBADF;
    if (dup2(i->in, 0) < 0 || dup2(i->out, 1) < 0 || dup2(i->err, 2) < 0)
        return errno;
    return 0;
}

int isolation_descriptors(const struct isolation *i)
{
    if (syscall(SYS_close_range, 3u, ~0u, CLOSE_RANGE_CLOEXEC) == 0)
        return 0;
    if (errno != ENOSYS && errno != EINVAL)
        return errno;
    /* Before Linux 5.11: the table is at most as long as the limit on it. */
    long end = sysconf(_SC_OPEN_MAX);
    for (int fd = 3; fd < end; fd++)
        if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 && errno != EBADF)
            return errno;
    return 0;
}
