/* Own session and process group: a signal to the child's group reaches the child's processes only, and no
 * terminal of ours is theirs. */
#include <errno.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "supervisor/isolation/plan.h"

int isolation_session(const struct isolation *i)
{
    if (setsid() < 0)
        return errno;
    if (i->tty && ioctl(i->in, TIOCSCTTY, 0) < 0)
        return errno;
    return 0;
}
