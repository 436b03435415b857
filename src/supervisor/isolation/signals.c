/* Signals: what the supervisor ignores or blocks is not inherited. */
#include <errno.h>
#include <signal.h>
#include <stddef.h>

#include "supervisor/isolation/plan.h"

int isolation_signals(const struct isolation *i)
{
    (void)i;
    for (int sig = 1; sig < NSIG; sig++) {
        struct sigaction sa = {.sa_handler = SIG_DFL};
        if (sig == SIGKILL || sig == SIGSTOP)
            continue;
        if (sigaction(sig, &sa, NULL) < 0 && errno != EINVAL) /* EINVAL: kept by libc */
            return errno;
    }
    sigset_t none;
    sigemptyset(&none);
    return sigprocmask(SIG_SETMASK, &none, NULL) < 0 ? errno : 0;
}
