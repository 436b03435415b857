/* One child: everything is resolved before the fork, direct system calls after it, the outcome over a
 * close-on-exec pipe that ends when the program runs. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/str.h"
#include "supervisor/isolation/plan.h"
#include "supervisor/monitor/internal.h"

#define STEP_EXEC (-2) /* failure report: not an isolation step but exec itself */
#define DEFAULT_PATH "/usr/local/bin:/usr/bin:/bin"
#define DEFAULT_COLS 80
#define DEFAULT_ROWS 24

struct failure {
    int step, error;
};

/* A descriptor above 2, so that the child's standard ones can be laid over without loss. */
static int high_fd(int fd)
{
    if (fd < 0 || fd > 2)
        return fd;
    int high = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    int held = errno;
    close(fd);
    errno = held;
    return high;
}

int monitor_pipe(int *reader, int *writer)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return -1;
    *reader = high_fd(ends[0]);
    *writer = high_fd(ends[1]);
    return *reader < 0 || *writer < 0 ? -1 : 0;
}

/* The agent owns its standard streams, so that it can open /dev/stdout and the like. */
static int agent_pipe(const struct monitor *m, int *reader, int *writer)
{
    return monitor_pipe(reader, writer) < 0 ? -1 : fchown(*reader, m->cfg->agent_uid, m->cfg->agent_gid);
}

static int make_terminal(struct monitor *m, const struct protocol_request *r, int *master, int *slave)
{
    int opened = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (opened < 0) /* a /dev without the link to the private instance */
        opened = open("/dev/pts/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
    *master = high_fd(opened);
    int unlocked = 0;
    if (*master < 0 || ioctl(*master, TIOCSPTLCK, &unlocked) < 0)
        return -1;
    *slave = high_fd(ioctl(*master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC));
    if (*slave < 0)
        return -1;
    struct winsize size = {
        .ws_col = r->spawn.cols ? r->spawn.cols : DEFAULT_COLS,
        .ws_row = r->spawn.rows ? r->spawn.rows : DEFAULT_ROWS,
    };
    if (ioctl(*master, TIOCSWINSZ, &size) < 0 || fchown(*slave, m->cfg->agent_uid, (gid_t)-1) < 0)
        return -1;
    return 0;
}

/* Where argv[0] may be: itself when it holds a slash, else every directory of PATH. */
static void find_candidates(const struct protocol_request *r, struct os_strv *out)
{
    const char *name = r->spawn.argv.v[0];
    if (strchr(name, '/')) {
        os_strv_add(out, name);
        return;
    }
    const char *path = DEFAULT_PATH;
    for (size_t i = 0; i < r->spawn.env.n; i++)
        if (os_str_starts(r->spawn.env.v[i], "PATH="))
            path = r->spawn.env.v[i] + strlen("PATH=");
    struct os_strv cleanup_strv dirs = {0};
    os_strv_split(&dirs, path, ':');
    for (size_t i = 0; i < dirs.n; i++)
        if (dirs.v[i][0] == '/') /* relative entries mean "wherever I happen to be": not for us */
            os_strv_addf(out, "%s/%s", dirs.v[i], name);
}

/* In the child. Direct system calls only. */
static _Noreturn void become(const struct isolation *i, const struct os_strv *candidates,
                             const struct protocol_request *r)
{
    struct failure f = {.step = STEP_EXEC, .error = ENOENT};
    int error = 0;
    int step = isolation_apply(i, &error);
    if (step >= 0) {
        f = (struct failure){.step = step, .error = error};
    } else {
        for (size_t n = 0; n < candidates->n; n++) {
            execve(candidates->v[n], (char *const *)r->spawn.argv.v, (char *const *)r->spawn.env.v);
            /* As execvp: go on where the file is not there, remember that one was but may not be run. */
            if (errno == EACCES)
                f.error = EACCES;
            else if (errno != ENOENT && errno != ENOTDIR) {
                f.error = errno;
                break;
            }
        }
    }
    ssize_t written = write(i->keep, &f, sizeof(f));
    _exit(written == sizeof(f) ? 127 : 126);
}

/* Somebody may execute it, so what keeps the agent from it is most likely the policy. */
static const char *executable(const struct os_strv *candidates)
{
    struct stat st;
    for (size_t i = 0; i < candidates->n; i++)
        if (stat(candidates->v[i], &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & S_IXOTH))
            return candidates->v[i];
    return NULL;
}

static int exec_denied(const char *name, const struct os_strv *candidates, struct os_error *err)
{
    const char *path = executable(candidates);
    if (!path)
        return os_error_set(err, OS_PERMISSION_DENIED,
                            "cannot run '%s': the file is not executable for the agent", name);
    return os_error_set(err, OS_PERMISSION_DENIED,
                        "cannot run '%s': the policy does not grant '%s'; list it, or its directory, in "
                        "filesystem_policy.read_only",
                        name, path);
}

static int exec_failed(const struct protocol_request *r, const struct isolation *i,
                       const struct os_strv *candidates, const struct failure *f, struct os_error *err)
{
    if (f->step == STEP_EXEC) {
        const char *name = r->spawn.argv.v[0];
        switch (f->error) {
        case ENOENT:
        case ENOTDIR:
            return os_error_set(err, OS_NOT_FOUND, "cannot run '%s': no such program in the sandbox", name);
        case EACCES:
        case EPERM:
            return exec_denied(name, candidates, err);
        case ENOEXEC:
            return os_error_set(
                err, OS_INVALID_ARGUMENT,
                "cannot run '%s': neither a program for this machine nor a script with a #! line", name);
        case E2BIG:
            return os_error_set(err, OS_INVALID_ARGUMENT,
                                "cannot run '%s': arguments and environment are too long", name);
        default:
            return os_error_sys(err, f->error, "cannot run '%s'", name);
        }
    }
    const char *step = isolation_plan[f->step].name;
    if (strcmp(step, "workdir") == 0)
        return os_error_set(err,
                            f->error == ENOENT || f->error == ENOTDIR ? OS_NOT_FOUND : OS_PERMISSION_DENIED,
                            "cannot enter the working directory '%s': %s", i->workdir, strerror(f->error));
    return os_error_sys(err, f->error, "isolation step '%s' failed, the process was not started", step);
}

ssize_t monitor_report_read(int report, void *out, size_t n)
{
    int64_t deadline = os_clock_mono_ms() + OS_SPAWN_TIMEOUT_MS;
    for (;;) {
        int64_t left = deadline - os_clock_mono_ms();
        struct pollfd p = {.fd = report, .events = POLLIN};
        int ready = left > 0 ? poll(&p, 1, (int)left) : 0;
        if (ready > 0)
            return read(report, out, n);
        if (ready < 0 && errno == EINTR)
            continue;
        errno = ready < 0 ? errno : ETIMEDOUT;
        return -1;
    }
}

void monitor_kill(pid_t child)
{
    kill(child, SIGKILL);
    while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
        ;
}

/* Waits until the pipe ends (the program runs) or carries a failure. */
static int await_exec(int report, const struct protocol_request *r, const struct isolation *i,
                      const struct os_strv *candidates, struct os_error *err)
{
    struct failure f;
    ssize_t n = monitor_report_read(report, &f, sizeof(f));
    if (n == 0)
        return 0;
    if (n == sizeof(f) && (f.step == STEP_EXEC || f.step >= 0))
        return exec_failed(r, i, candidates, &f, err);
    if (n < 0 && errno == ETIMEDOUT)
        return os_error_set(err, OS_DEADLINE_EXCEEDED, "'%s' did not start within %d s", r->spawn.argv.v[0],
                            OS_SPAWN_TIMEOUT_MS / 1000);
    return os_error_set(err, OS_INTERNAL, "'%s' could not be started", r->spawn.argv.v[0]);
}

int monitor_spawn(struct monitor *m, const struct protocol_request *r, struct monitor_streams *out,
                  pid_t *pid, struct os_error *err)
{
    cleanup_close int our_in = -1, our_out = -1, our_err = -1, in = -1, outw = -1, errw = -1, report = -1,
                      keep = -1;
    struct os_strv cleanup_strv candidates = {0};
    find_candidates(r, &candidates);

    bool ok = monitor_pipe(&report, &keep) == 0;
    if (r->spawn.tty)
        ok = ok && make_terminal(m, r, &our_in, &in) == 0;
    else
        ok = ok && agent_pipe(m, &in, &our_in) == 0 && agent_pipe(m, &our_out, &outw) == 0 &&
             agent_pipe(m, &our_err, &errw) == 0;
    if (!ok)
        return os_error_sys(err, errno, "cannot make the %s of '%s'", r->spawn.tty ? "terminal" : "pipes",
                            r->spawn.argv.v[0]);
    struct isolation i = {
        .uid = m->cfg->agent_uid,
        .gid = m->cfg->agent_gid,
        .in = in,
        .out = r->spawn.tty ? in : outw,
        .err = r->spawn.tty ? in : errw,
        .tty = r->spawn.tty,
        .keep = keep,
        .workdir = r->spawn.workdir ? r->spawn.workdir : m->workdir,
        .landlock = m->landlock.fd,
        .landlock_required = m->landlock_required,
        .seccomp = m->filter,
    };
    pid_t child = fork();
    if (child < 0)
        return os_error_sys(err, errno, "cannot fork for '%s'", r->spawn.argv.v[0]);
    if (child == 0)
        become(&i, &candidates, r);
    close(os_steal_fd(keep));
    if (await_exec(report, r, &i, &candidates, err) < 0) {
        monitor_kill(child);
        return -1;
    }
    *pid = child;
    *out = (struct monitor_streams){os_steal_fd(our_in), os_steal_fd(our_out), os_steal_fd(our_err)};
    return 0;
}
