/* Starts a supervisor in namespaces of its own: see launch.h. The gateway is a large threaded process, so the
 * child shares its memory until it executes the launcher (as vfork does) and makes nothing but system calls.
 */
#include "drivers/local/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/limits.h"
#include "core/str.h"
#include "drivers/local/launcher/plan.h"
#include "drivers/local/userns.h"
#include "sys/file.h"

#define FIRST_FREE_FD 10 /* above every descriptor the launcher is given */

/* What the child needs, prepared by the parent; error comes back through the shared memory. */
struct child {
    const char *launcher;
    int null, output, plan, control; /* all >= FIRST_FREE_FD */
    int cgroup;                      /* -1 = that of the gateway */
    bool user_namespace;
    volatile int error;
};

/* An exec by somebody who is not root yet takes the capabilities away, but for those that are ambient. */
__attribute__((no_sanitize("address", "undefined"))) static int keep_capabilities(void)
{
    struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct sets[2];
    if (syscall(SYS_capget, &head, sets) < 0)
        return -1;
    sets[0].inheritable = sets[0].permitted;
    sets[1].inheritable = sets[1].permitted;
    if (syscall(SYS_capset, &head, sets) < 0)
        return -1;
    for (unsigned long c = 0; c < 64; c++)
        if (sets[c / 32].permitted >> c % 32 & 1)
            prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, c, 0, 0);
    return 0;
}

__attribute__((no_sanitize("address", "undefined"))) static void child_main(struct child *c)
{
    char *const argv[] = {(char *)"openshell-local-launcher", NULL};
    char *const env[] = {NULL};
    if ((!c->user_namespace || keep_capabilities() == 0) && setsid() >= 0 && dup2(c->null, 0) >= 0 &&
        dup2(c->output, 1) >= 0 && dup2(c->output, 2) >= 0 && dup2(c->plan, LAUNCH_PLAN_FD) >= 0 &&
        dup2(c->control, LAUNCH_CONTROL_FD) >= 0 &&
        syscall(SYS_close_range, LAUNCH_CONTROL_FD + 1, ~0u, 0) == 0)
        execve(c->launcher, argv, env);
    c->error = errno;
}

/* clone3 in the manner of vfork: the child runs on this stack, below this frame, while the parent waits. That
 * rules out the C library's syscall(), whose return address the child would overwrite. */
__attribute__((noinline, no_sanitize("address", "undefined"))) static long
clone_vfork(struct clone_args *args, struct child *c)
{
#if defined(__x86_64__)
    long rc = SYS_clone3;
    __asm__ volatile("syscall" : "+a"(rc) : "D"(args), "S"(sizeof(*args)) : "rcx", "r11", "memory");
#elif defined(__aarch64__)
    register long number __asm__("x8") = SYS_clone3;
    register long rc __asm__("x0") = (long)args;
    register long size __asm__("x1") = sizeof(*args);
    __asm__ volatile("svc 0" : "+r"(rc) : "r"(number), "r"(size) : "memory");
#else
#error "add the system call sequence of this architecture"
#endif
    if (rc == 0) {
        child_main(c);
        _exit(127);
    }
    return rc;
}

static const char *clone_hint(int e, bool user_namespace)
{
    if (user_namespace && e != EAGAIN)
        return "; the kernel must let ordinary users make user namespaces: see the sysctls "
               "user.max_user_namespaces (above 0), kernel.unprivileged_userns_clone (1) and "
               "kernel.apparmor_restrict_unprivileged_userns (0), or run the gateway as root";
    switch (e) {
    case EPERM:
        return "; the gateway needs CAP_SYS_ADMIN in the initial user namespace: run it as root, outside of "
               "unprivileged containers";
    case ENOSPC:
    case EUSERS:
        return "; raise the user.max_*_namespaces sysctls of this machine";
    case EAGAIN:
        return "; a process limit is reached: see kernel.pid_max, ulimit -u and pids.max of the gateway's "
               "control "
               "group";
    case EINVAL:
        return "; the kernel lacks pid, mount, ipc or uts namespaces (CONFIG_PID_NS, CONFIG_IPC_NS, "
               "CONFIG_UTS_NS)";
    default:
        return "";
    }
}

/* No signal handler of the gateway may run in the child that shares its memory. */
static int spawn(struct child *c, struct launch *out, struct os_error *err)
{
    sigset_t all, old;
    struct clone_args args = {.flags = CLONE_VM | CLONE_VFORK | CLONE_PIDFD | CLONE_NEWPID | CLONE_NEWNS |
                                       CLONE_NEWIPC | CLONE_NEWUTS |
                                       (c->cgroup >= 0 ? CLONE_INTO_CGROUP : 0) |
                                       (c->user_namespace ? CLONE_NEWUSER : 0),
                              .pidfd = (uintptr_t)&out->pidfd,
                              .exit_signal = SIGCHLD,
                              .cgroup = c->cgroup >= 0 ? (uint64_t)c->cgroup : 0};
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &old);
    long pid = clone_vfork(&args, c);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (pid < 0)
        return os_error_sys(err, (int)-pid, "cannot make the namespaces of a sandbox%s",
                            clone_hint((int)-pid, c->user_namespace));
    out->pid = (pid_t)pid;
    if (!c->error)
        return 0;
    launch_abort(out);
    return os_error_sys(err, c->error, "cannot execute the launcher '%s'", c->launcher);
}

static int above(int fd)
{
    return fcntl(fd, F_DUPFD_CLOEXEC, FIRST_FREE_FD);
}

/* The launcher waits for its ids before it does anything. */
static int map_ids(const struct local_settings *cfg, struct launch *l, struct os_error *err)
{
    if (!cfg->userns.on)
        return 0;
    if (userns_map(&cfg->userns, l->pid, err) < 0)
        return -1;
    if (send(l->control, LAUNCH_MAPPED, strlen(LAUNCH_MAPPED), MSG_NOSIGNAL) < 0)
        return os_error_sys(err, errno, "cannot talk to the launcher");
    return 0;
}

int launch_begin(const struct local_settings *cfg, const struct os_buf *plan, int output, const char *cgroup,
                 struct launch *out, struct os_error *err)
{
    int pair[2] = {-1, -1};
    *out = (struct launch){.pid = -1, .pidfd = -1, .control = -1};
    cleanup_close int null = open("/dev/null", O_RDWR | O_CLOEXEC),
                      memory = memfd_create("launch-plan", MFD_CLOEXEC);
    if (null < 0 || memory < 0 || os_write_all(memory, plan->data, plan->len) < 0 ||
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return os_error_sys(err, errno, "cannot start the launcher");
    cleanup_close int theirs = pair[1], high_null = above(null), high_output = above(output);
    cleanup_close int high_plan = above(memory), high_control = above(theirs);
    out->control = pair[0];
    cleanup_close int group = cgroup ? open(cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    struct child c = {cfg->launcher, high_null, high_output,    high_plan,
                      high_control,  group,     cfg->userns.on, 0};
    if (cgroup && group < 0)
        os_error_sys(err, errno, "cannot open control group '%s'", cgroup);
    else if (high_null < 0 || high_output < 0 || high_plan < 0 || high_control < 0)
        os_error_sys(err, errno, "cannot start the launcher");
    else if (spawn(&c, out, err) == 0 && map_ids(cfg, out, err) == 0)
        return 0;
    launch_abort(out);
    return -1;
}

/* One message, or 0 at the end of the socket; -1 with errno. */
static ssize_t receive(int fd, char *text, size_t n, int64_t deadline)
{
    for (;;) {
        int64_t left = deadline - os_clock_mono_ms();
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int ready = poll(&p, 1, left > 0 ? (int)left : 0);
        if (ready == 0) {
            errno = ETIMEDOUT;
            return -1;
        }
        ssize_t got = ready < 0 ? -1 : recv(fd, text, n, 0);
        if (got < 0 && errno == EINTR)
            continue;
        return got < 0 && errno == ECONNRESET ? 0 : got;
    }
}

static int follow(struct launch *l, struct os_error *err)
{
    int64_t deadline = os_clock_mono_ms() + OS_LOCAL_LAUNCH_MS;
    bool executing = false;
    char text[LAUNCH_ERROR_MAX + 1];
    /* A launcher that failed already is found out by what it says, below. */
    send(l->control, LAUNCH_GO, strlen(LAUNCH_GO), MSG_NOSIGNAL);
    for (;;) {
        ssize_t n = receive(l->control, text, sizeof(text) - 1, deadline);
        if (n < 0)
            return os_error_sys(err, errno, "the launcher of the sandbox does not answer");
        if (n == 0)
            return executing
                       ? 0
                       : os_error_set(err, OS_INTERNAL, "the launcher of the sandbox ended unexpectedly");
        text[n] = '\0';
        if (strcmp(text, LAUNCH_EXEC) != 0)
            return os_error_set(err, OS_INTERNAL, "%s", text);
        executing = true;
    }
}

int launch_go(struct launch *l, struct os_error *err)
{
    if (follow(l, err) < 0) {
        launch_abort(l);
        return -1;
    }
    close(l->control);
    l->control = -1;
    return 0;
}

void launch_abort(struct launch *l)
{
    if (l->pidfd >= 0) {
        pidfd_send_signal(l->pidfd, SIGKILL, NULL, 0);
        launch_wait_end(l->pidfd, OS_LOCAL_KILL_MS);
        launch_collect(l->pidfd);
        close(l->pidfd);
    }
    if (l->control >= 0)
        close(l->control);
    *l = (struct launch){.pid = -1, .pidfd = -1, .control = -1};
}

bool launch_wait_end(int pidfd, int ms)
{
    int64_t end = os_clock_mono_ms() + ms;
    for (;;) {
        int64_t left = ms < 0 ? -1 : end - os_clock_mono_ms();
        struct pollfd p = {.fd = pidfd, .events = POLLIN};
        int ready = poll(&p, 1, ms < 0 ? -1 : left > 0 ? (int)left : 0);
        if (ready >= 0 || errno != EINTR)
            return ready > 0;
    }
}

int launch_collect(int pidfd)
{
    siginfo_t info = {0};
    int rc;
    do
        rc = waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED | WNOHANG);
    while (rc < 0 && errno == EINTR);
    if (rc < 0 || info.si_pid == 0)
        return -1;
    return info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
}
