/* The keeper of the policy agent: gives everything up, then starts `opa` again whenever it ends. The monitor
 * could not do that later, for it has no privilege left to build the confinement with. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/limits.h"
#include "core/log.h"
#include "core/str.h"
#include "supervisor/monitor/monitor.h"
#include "supervisor/rules/internal.h"
#include "supervisor/session/backoff.h"

#define LOG_TARGET "supervisor::rules"
#define EXIT_FATAL 1

static void run_opa(const char *opa, char *address)
{
    char *const argv[] = {"opa",
                          "run",
                          "--server",
                          "--addr",
                          address,
                          "--unix-socket-perm",
                          "600",
                          "--disable-telemetry",
                          "--log-level",
                          "error",
                          "--shutdown-grace-period",
                          "0",
                          NULL};
    char *const environment[] = {"HOME=/nonexistent", "GOMAXPROCS=2", NULL};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    execve(opa, argv, environment);
    os_log_error(LOG_TARGET, "cannot run the policy agent '%s': %s", opa, strerror(errno));
    _exit(EXIT_FATAL);
}

/* Standard error stays, for what opa has to say. */
static void close_descriptors(void)
{
    int null = open("/dev/null", O_RDWR);
    dup2(null, STDIN_FILENO);
    dup2(null, STDOUT_FILENO);
    close_range(STDERR_FILENO + 1, ~0u, 0);
}

static void pause_ms(uint32_t ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    nanosleep(&t, NULL);
}

static void keep(const char *opa, const char *dir)
{
    cleanup_free char *address = os_asprintf("unix://%s/" RULES_SOCKET, dir);
    cleanup_free char *socket = os_asprintf("%s/" RULES_SOCKET, dir);
    struct backoff wait = {.first_ms = OS_RULES_RESTART_MS, .max_ms = OS_RULES_RESTART_MAX_MS};
    for (;;) {
        int64_t since = os_clock_mono_ms();
        unlink(socket);
        pid_t pid = fork();
        if (pid == 0)
            run_opa(opa, address);
        int status = 0;
        while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
            ;
        if (os_clock_mono_ms() - since > OS_RULES_RESTART_MAX_MS)
            backoff_reset(&wait);
        os_log_warn(LOG_TARGET, "the policy agent '%s' ended (status %d); it is started again", opa, status);
        pause_ms(backoff_next(&wait, (uint32_t)since));
    }
}

static void keeper_main(const char *opa, const char *dir, uid_t uid, gid_t gid)
{
    struct os_error cleanup_error err = {0};
    close_descriptors();
    if (unshare(CLONE_NEWNET) < 0)
        os_error_sys(&err, errno, "cannot make a network namespace for the policy agent");
    else if (monitor_confine_keeper(uid, gid, &err) == 0 && prctl(PR_SET_PDEATHSIG, SIGKILL) == 0)
        keep(opa, dir);
    os_log_error(LOG_TARGET, "%s", os_error_text(&err));
    _exit(EXIT_FATAL);
}

pid_t rules_keeper_start(const char *opa, const char *dir, uid_t uid, gid_t gid, void (*wipe)(void *ctx),
                         void *ctx, struct os_error *err)
{
    pid_t pid = fork();
    if (pid == 0) {
        wipe(ctx);
        keeper_main(opa, dir, uid, gid);
    }
    if (pid < 0)
        os_error_sys(err, errno, "cannot start the keeper of the policy agent");
    return pid;
}
