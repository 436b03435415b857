/* Raw mode and its undoing. */
#include "cli/terminal.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "core/cleanup.h"

static struct termios saved;
static volatile sig_atomic_t raw;

void terminal_restore(void)
{
    if (!raw)
        return;
    raw = 0;
    tcsetattr(STDIN_FILENO, TCSADRAIN, &saved);
}

/* SA_RESETHAND: raising again meets the default action, so that the status says which signal it was. */
static void on_fatal(int sig)
{
    terminal_restore();
    raise(sig);
}

int terminal_raw(struct os_error *err)
{
    static const int fatal[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL};
    struct termios t;
    if (tcgetattr(STDIN_FILENO, &saved) < 0)
        return os_error_sys(err, errno, "cannot read the terminal modes of stdin");
    t = saved;
    cfmakeraw(&t);
    for (size_t i = 0; i < OS_ARRAY_LEN(fatal); i++) {
        struct sigaction sa = {.sa_handler = on_fatal, .sa_flags = (int)(SA_RESETHAND | SA_NODEFER)};
        sigaction(fatal[i], &sa, NULL);
    }
    static bool registered;
    if (!registered)
        atexit(terminal_restore);
    registered = true;
    raw = 1;
    if (tcsetattr(STDIN_FILENO, TCSADRAIN, &t) == 0)
        return 0;
    int e = errno;
    raw = 0;
    return os_error_sys(err, e, "cannot switch stdin to raw mode");
}

void terminal_size(uint32_t *cols, uint32_t *rows)
{
    static const int fds[] = {STDIN_FILENO, STDOUT_FILENO};
    *cols = 80;
    *rows = 24;
    for (size_t i = 0; i < OS_ARRAY_LEN(fds); i++) {
        struct winsize w;
        if (ioctl(fds[i], TIOCGWINSZ, &w) == 0 && w.ws_col && w.ws_row) {
            *cols = w.ws_col;
            *rows = w.ws_row;
            return;
        }
    }
}
