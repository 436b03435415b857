/* `gateway start` and `gateway stop`: a gateway on this machine, in the background. The record of what was
 * started is <state>/gateway/started: pid and start time, so that a reused pid is never signalled. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/endpoint.h"
#include "cli/gateway_local.h"
#include "cli/output.h"
#include "core/cleanup.h"
#include "core/clock.h"
#include "core/limits.h"
#include "core/str.h"
#include "sys/file.h"
#include "sys/paths.h"

#define NAME GATEWAY_LOCAL_NAME
#define POLL_MS 10
#define PROBE_MS 2000
#define LOG_SHOWN 4096 /* bytes of the log shown when the start failed */
#define ARGV_MAX 64

struct started {
    pid_t pid;
    uint64_t start_time; /* clock ticks after boot, /proc/<pid>/stat field 22 */
};

static char *state_file(const char *name, struct os_error *err)
{
    cleanup_free char *state = os_state_dir(err);
    return state ? os_asprintf("%s/gateway/%s", state, name) : NULL;
}

/* --- the record --- */

static bool start_time(pid_t pid, uint64_t *out)
{
    cleanup_free char *path = os_asprintf("/proc/%d/stat", (int)pid);
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    char text[1024];
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    if (n <= 0)
        return false;
    text[n] = '\0';
    char *p = strrchr(text, ')'); /* the name may hold anything */
    for (int field = 2; p && field < 22; field++) {
        p = strchr(p + 1, ' ');
        if (field == 2 && p && (p[1] == 'Z' || p[1] == 'X'))
            return false;
    }
    return p && os_str_u64n(p + 1, strcspn(p + 1, " "), UINT64_MAX, out);
}

static bool read_started(struct started *out)
{
    cleanup_error struct os_error err = {0};
    cleanup_free char *path = state_file("started", &err);
    cleanup_buf struct os_buf text = {0};
    uint64_t pid;
    if (!path || os_file_read(path, 128, &text, &err) < 0)
        return false;
    size_t n = strcspn(os_buf_str(&text), "\t");
    if (n >= text.len || !os_str_u64n(text.data, n, INT32_MAX, &pid) || !pid ||
        !os_str_u64(text.data + n + 1, UINT64_MAX, &out->start_time))
        return false;
    out->pid = (pid_t)pid;
    return true;
}

static int write_started(pid_t pid, struct os_error *err)
{
    struct started s = {.pid = pid};
    cleanup_free char *path = state_file("started", err);
    if (!path)
        return -1;
    if (!start_time(pid, &s.start_time))
        return os_error_set(err, OS_INTERNAL, "the gateway (pid %d) ended at once", (int)pid);
    cleanup_free char *text = os_asprintf("%d\t%llu", (int)pid, (unsigned long long)s.start_time);
    return os_file_write_atomic(path, text, strlen(text), 0600, err);
}

static void forget_started(void)
{
    cleanup_error struct os_error err = {0};
    cleanup_free char *path = state_file("started", &err);
    if (path)
        unlink(path);
}

/* pidfd of the recorded gateway when it still runs; -1 otherwise. */
static int started_fd(struct started *s)
{
    uint64_t now;
    if (!read_started(s))
        return -1;
    int fd = (int)syscall(SYS_pidfd_open, s->pid, 0);
    if (fd >= 0 && start_time(s->pid, &now) && now == s->start_time)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

/* --- health --- */

static bool answers(struct cli *cli, const struct gateway_record *r)
{
    return config_tls_exists(r->name) && cli_gateway_answers(cli, r, PROBE_MS);
}

/* A registration of the name that points elsewhere is the user's own: not ours to overwrite. */
static int check_name_free(struct cli *cli, struct os_error *err)
{
    struct gateway_record old;
    cleanup_error struct os_error none = {0};
    if (!config_user_has(NAME) || config_load(&cli->arena, NAME, &old, &none) < 0 ||
        endpoint_is_loopback(old.endpoint))
        return 0;
    return os_error_set(err, OS_ALREADY_EXISTS,
                        "Gateway '" NAME
                        "' is already registered for %s.\nRemove it first with: openshell gateway "
                        "remove " NAME,
                        old.endpoint);
}

/* --- spawning --- */

/* Runs in the child: nothing but system calls. */
static void become_gateway(const char *program, char *const *argv, int log_fd)
{
    int null = open("/dev/null", O_RDONLY);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    if (setsid() < 0 || null < 0 || dup2(null, 0) < 0 || dup2(log_fd, 1) < 0 || dup2(log_fd, 2) < 0)
        _exit(126);
    syscall(SYS_close_range, 3U, ~0U, 0U);
    execv(program, argv);
    static const char text[] = "openshell: cannot execute openshell-gateway\n";
    if (write(2, text, sizeof(text) - 1) < 0)
        _exit(126);
    _exit(127);
}

/* The port of the last start, where running sandboxes look for their gateway; 0 = unknown. */
static unsigned last_port(struct cli *cli)
{
    struct gateway_record r;
    cleanup_error struct os_error none = {0};
    return config_load(&cli->arena, NAME, &r, &none) == 0 && os_str_starts(r.endpoint, "https://127.0.0.1:")
               ? endpoint_port(r.endpoint)
               : 0;
}

/* The port asked for, else that of a gateway that runs, else that of the last start. */
static const char *start_port(struct cli *cli, const struct gateway_start *opt)
{
    unsigned port = opt->port ? 0 : gateway_local_port();
    if (!port && !opt->port)
        port = last_port(cli);
    if (port)
        return os_arena_printf(&cli->arena, "%u", port);
    return opt->port ? opt->port : GATEWAY_LOCAL_PORT;
}

static pid_t spawn(const struct gateway_start *opt, const char *port, const char *log, struct os_error *err)
{
    cleanup_free char *dir = os_exe_dir();
    cleanup_free char *program = os_asprintf("%s/openshell-gateway", dir ? dir : ".");
    const char *argv[ARGV_MAX + 4] = {program};
    size_t n = 1;
    if (access(program, X_OK) < 0)
        return os_error_set(err, OS_NOT_FOUND,
                            "'%s' is missing or not executable; it is expected next to openshell", program);
    if (opt->n_args > ARGV_MAX)
        return os_error_set(err, OS_INVALID_ARGUMENT, "more than %d arguments for openshell-gateway",
                            ARGV_MAX);
    if (opt->port) {
        argv[n++] = "--port";
        argv[n++] = opt->port;
    }
    for (size_t i = 0; i < opt->n_args; i++)
        argv[n++] = opt->args[i];
    setenv("OPENSHELL_DEFAULT_PORT", port, 1); /* its configuration file may say another */
    cleanup_free char *log_dir = os_strdup(log);
    *strrchr(log_dir, '/') = '\0';
    if (os_dir_make(log_dir, 0700, err) < 0)
        return -1;
    cleanup_close int log_fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (log_fd < 0)
        return os_error_sys(err, errno, "cannot open the log file '%s'", log);
    pid_t pid = fork();
    if (pid < 0)
        return os_error_sys(err, errno, "cannot start openshell-gateway");
    if (pid == 0)
        become_gateway(program, (char *const *)argv, log_fd);
    return pid;
}

/* What the gateway wrote since `from`, at most the last LOG_SHOWN bytes. */
static void log_tail(const char *log, off_t from, struct os_buf *out)
{
    cleanup_close int fd = open(log, O_RDONLY | O_CLOEXEC);
    off_t end = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
    char text[LOG_SHOWN];
    if (end - from > LOG_SHOWN)
        from = end - LOG_SHOWN;
    ssize_t n = end > from ? pread(fd, text, sizeof(text), from) : 0;
    while (n > 0 && text[n - 1] == '\n')
        n--;
    if (n > 0)
        os_buf_add(out, text, (size_t)n);
}

static off_t size_of(const char *path)
{
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    off_t n = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
    return n > 0 ? n : 0;
}

static int start_failed(const char *what, const char *log, off_t from, struct os_error *err)
{
    cleanup_buf struct os_buf tail = {0};
    log_tail(log, from, &tail);
    bool taken = strstr(os_buf_str(&tail), "address already in use");
    return os_error_set(err, OS_UNAVAILABLE, "%s%s\nLog: %s" CAUSE "%s", what,
                        taken ? "\nAnother program has the port; take another one with: openshell gateway "
                                "start --port PORT"
                              : "",
                        log, tail.len ? os_buf_str(&tail) : "the log is empty");
}

/* Where the gateway listens is its own decision: flag, variable and configuration file have a say. */
static bool is_up(struct cli *cli, struct gateway_record *r)
{
    unsigned port = gateway_local_port();
    if (port)
        r->endpoint = os_arena_printf(&cli->arena, "https://127.0.0.1:%u", port);
    return answers(cli, r);
}

static int wait_healthy(struct cli *cli, struct gateway_record *r, pid_t pid, const char *log, off_t from,
                        struct os_error *err)
{
    int64_t limit = os_clock_mono_ms() + OS_GATEWAY_START_MS;
    while (!is_up(cli, r)) {
        int status;
        if (waitpid(pid, &status, WNOHANG) == pid) {
            forget_started();
            return start_failed("the gateway ended before it answered", log, from, err);
        }
        if (os_clock_mono_ms() >= limit)
            return start_failed("the gateway has been started but does not answer yet", log, from, err);
        nanosleep(&(struct timespec){.tv_nsec = POLL_MS * 1000000L}, NULL);
    }
    return 0;
}

/* --- commands --- */

static void say_running(const struct gateway_record *r, const char *what, pid_t pid)
{
    say(stderr, OK_MARK "✓" END " Gateway '%s' %s", r->name, what);
    if (pid > 0)
        say(stderr, " (pid %d)", (int)pid);
    say(stderr, "\n  " DIM "Endpoint:" END " %s\n", r->endpoint);
}

int gateway_start(struct cli *cli, const struct gateway_start *opt, struct os_error *err)
{
    struct gateway_record r = {.name = NAME, .auth_mode = "mtls"};
    struct started s = {0};
    const char *port = start_port(cli, opt);
    unsigned before = last_port(cli);
    r.endpoint = os_arena_printf(&cli->arena, "https://127.0.0.1:%s", port);
    cleanup_free char *log = state_file("gateway.log", err);
    if (!log || check_name_free(cli, err) < 0)
        return -1;
    /* The registration may be lost while gateway and keys are intact. */
    if (!config_tls_exists(NAME) && config_tls_import(NAME, err) < 0)
        return -1;
    cleanup_close int running = started_fd(&s);
    if (answers(cli, &r)) {
        if (config_use(&r, err) < 0)
            return -1;
        say_running(&r, "is already running", running >= 0 ? s.pid : 0);
        return 0;
    }
    if (running >= 0)
        return os_error_set(
            err, OS_FAILED_PRECONDITION,
            "a gateway that was started before (pid %d) runs but does not answer at %s.\nStop it "
            "first with: openshell gateway stop",
            (int)s.pid, r.endpoint);
    off_t from = size_of(log);
    pid_t pid = spawn(opt, port, log, err);
    if (pid < 0)
        return -1;
    if (write_started(pid, err) < 0 || wait_healthy(cli, &r, pid, log, from, err) < 0 ||
        config_use(&r, err) < 0)
        return -1;
    say_running(&r, "started and set as active", pid);
    say(stderr, "  " DIM "Log:" END " %s\n", log);
    if (before && before != endpoint_port(r.endpoint))
        say(stderr,
            YELLOW "!" END
                   " The port was %u before. Sandboxes that still run look for their gateway there; stop "
                   "and start them, or start the gateway with --port %u\n",
            before, before);
    return 0;
}

int gateway_start_run(struct cli *cli, struct os_error *err)
{
    const char *variable = getenv("OPENSHELL_SERVER_PORT");
    bool asked = args_given(cli->args, "port") || (variable && *variable);
    const struct gateway_start opt = {.port = asked ? args_get(cli->args, "port") : NULL,
                                      .args = cli->args->positional,
                                      .n_args = cli->args->n_positional};
    return gateway_start(cli, &opt, err);
}

int gateway_stop_run(struct cli *cli, struct os_error *err)
{
    struct started s;
    cleanup_close int fd = started_fd(&s);
    if (fd < 0) {
        say(stderr, YELLOW "!" END " No gateway started by `openshell gateway start` is running\n");
        return 0;
    }
    if (syscall(SYS_pidfd_send_signal, fd, SIGTERM, NULL, 0) < 0 && errno != ESRCH)
        return os_error_sys(err, errno, "cannot signal the gateway (pid %d)", (int)s.pid);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    if (poll(&p, 1, OS_GATEWAY_START_MS) != 1)
        return os_error_set(err, OS_DEADLINE_EXCEEDED, "the gateway (pid %d) is still shutting down",
                            (int)s.pid);
    forget_started();
    say(stderr, OK_MARK "✓" END " Gateway stopped (pid %d)\n", (int)s.pid);
    return 0;
}
