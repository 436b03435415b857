/* Signals: what the supervisor ignores or blocks is not inherited. */
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "supervisor/isolation/plan.h"

int isolation_signals(const struct isolation *i)
{
    (void)i;
    /* The raw call: libc refuses the two signals that it keeps for itself, which may be ignored, too. */
    const unsigned char by_default[64] = {0}; /* no shorter than the kernel's struct sigaction */
    for (int sig = 1; sig < _NSIG; sig++) {
        if (sig == SIGKILL || sig == SIGSTOP)
            continue;
        if (syscall(SYS_rt_sigaction, sig, by_default, NULL, (_NSIG - 1) / 8) < 0)
            return errno;
    }
    sigset_t none;
    sigemptyset(&none);
    return sigprocmask(SIG_SETMASK, &none, NULL) < 0 ? errno : 0;
}
