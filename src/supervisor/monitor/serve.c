/* The monitor's loop: requests of the worker, ends of children, SIGTERM. As pid 1 of the sandbox it reaps
 * every orphan, and when the worker is gone it ends everything: without the worker there is no enforcement.
 */
#include <errno.h>
#include <linux/netlink.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/log.h"
#include "net/netlink/message.h"
#include "supervisor/isolation/filter.h"
#include "supervisor/monitor/internal.h"

#define LOG_TARGET "supervisor::monitor"
#define EXIT_FATAL 1
#define SIGNAL_BASE 128

static struct monitor_process *find_child(struct monitor *m, uint32_t id, pid_t pid)
{
    for (size_t i = 0; i < OS_CHILDREN; i++)
        if (m->children[i].id && (m->children[i].id == id || m->children[i].pid == pid))
            return &m->children[i];
    return NULL;
}

static struct monitor_process *free_slot(struct monitor *m)
{
    for (size_t i = 0; i < OS_CHILDREN; i++)
        if (!m->children[i].id)
            return &m->children[i];
    return NULL;
}

/* The worker must read; one that does not is as good as gone. One that has ended is found out when its last
 * messages, which may say how to end, have been read. */
static void send_message(struct monitor *m, enum protocol_type type, uint32_t id, const struct os_buf *body,
                         const int *fds, size_t n_fds)
{
    if (m->quit)
        return;
    bool failed = body->failed || protocol_send(m->fd, type, id, body->data, body->len, fds, n_fds) < 0;
    if (failed && (body->failed || (errno != EPIPE && errno != ECONNRESET))) {
        os_log_error(LOG_TARGET, "cannot answer the worker: %s", strerror(errno));
        m->quit = true;
        m->status = EXIT_FATAL;
    }
}

static void reply_error(struct monitor *m, uint32_t id, const struct os_error *err)
{
    struct os_buf cleanup_buf body = {.max = OS_MONITOR_MESSAGE};
    protocol_put_u32(&body, err->code);
    protocol_put_text(&body, os_error_text(err));
    send_message(m, PROTOCOL_REPLY, id, &body, NULL, 0);
}

static int serve_isolate(struct monitor *m, const struct protocol_request *r, struct os_buf *body,
                         struct os_error *err)
{
    if (monitor_prepare(m, r, err) < 0)
        return -1;
    protocol_put_u32(body, (uint32_t)m->landlock.abi);
    protocol_put_text(body, m->landlock.why);
    protocol_put_u32(body, m->landlock.rules);
    protocol_put_u32(body, m->landlock.skipped);
    protocol_put_u32(body, m->tried);
    return 0;
}

static int serve_spawn(struct monitor *m, const struct protocol_request *r, struct os_buf *body, int *fds,
                       size_t *n_fds, struct os_error *err)
{
    struct monitor_process *slot = free_slot(m);
    struct monitor_streams s;
    pid_t pid;
    if (!m->isolated)
        return os_error_set(err, OS_FAILED_PRECONDITION, "no policy is in force yet: nothing may run");
    if (!slot)
        return os_error_set(err, OS_RESOURCE_EXHAUSTED, "%d processes run already; end one first",
                            OS_CHILDREN);
    if (r->spawn.main ? m->main_pid != 0 : m->main_pid != 0 && !m->main_running && !m->cfg->keep)
        return os_error_set(err, OS_FAILED_PRECONDITION,
                            r->spawn.main ? "the main process was already started"
                                          : "the main process has ended");
    if (monitor_spawn(m, r, &s, &pid, err) < 0)
        return -1;
    *slot = (struct monitor_process){.id = ++m->last_id, .pid = pid};
    if (r->spawn.main) {
        m->main_id = slot->id;
        m->main_pid = pid;
        m->main_running = true;
        m->settle_at = os_clock_mono_ms() + OS_SETTLE_MS;
    }
    protocol_put_u32(body, slot->id);
    protocol_put_u32(body, (uint32_t)pid);
    protocol_put_u8(body, r->spawn.tty);
    const int ends[] = {s.in, s.out, s.err};
    for (size_t i = 0; i < OS_ARRAY_LEN(ends); i++)
        if (ends[i] >= 0)
            fds[(*n_fds)++] = ends[i];
    return 0;
}

static int serve_signal(struct monitor *m, const struct protocol_request *r, struct os_error *err)
{
    struct monitor_process *c = find_child(m, r->signal.child, -1);
    if (!c)
        return os_error_set(err, OS_NOT_FOUND, "no process %u was started here", r->signal.child);
    if (kill(-c->pid, r->signal.sig) < 0)
        return os_error_sys(err, errno, "cannot signal process %u", r->signal.child);
    c->ending |= r->signal.sig == SIGHUP || r->signal.sig == SIGTERM || r->signal.sig == SIGKILL;
    return 0;
}

static int serve_socket(const struct protocol_request *r, int *fds, size_t *n_fds, struct os_error *err)
{
    int fd = socket(r->family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return os_error_sys(err, errno, "cannot make a socket in the sandbox network");
    fds[(*n_fds)++] = fd;
    return 0;
}

static void serve_request(struct monitor *m, const struct protocol_message *msg)
{
    struct os_arena cleanup_arena arena = {0};
    struct os_error cleanup_error err = {0};
    struct protocol_request r;
    if (protocol_decode(msg->type, msg->body.data, msg->body.len, &arena, &r) < 0) {
        os_log_error(LOG_TARGET, "malformed request %d from the worker", msg->type);
        m->quit = true;
        m->status = EXIT_FATAL;
        return;
    }
    struct os_buf cleanup_buf body = {.max = OS_MONITOR_MESSAGE};
    int fds[PROTOCOL_FDS_MAX], result = 0;
    size_t n_fds = 0;
    protocol_put_u32(&body, OS_OK);
    switch (r.type) {
    case PROTOCOL_ISOLATE:
        result = serve_isolate(m, &r, &body, &err);
        break;
    case PROTOCOL_SPAWN:
        result = serve_spawn(m, &r, &body, fds, &n_fds, &err);
        break;
    case PROTOCOL_SIGNAL:
        result = serve_signal(m, &r, &err);
        break;
    case PROTOCOL_SOCKET:
        result = serve_socket(&r, fds, &n_fds, &err);
        break;
    case PROTOCOL_IDENTIFY:
        result = monitor_identify(m, &r, &body, fds, &n_fds, &err);
        break;
    default: /* PROTOCOL_QUIT: the decoder knows no other */
        m->quit = true;
        m->status = r.status;
        return;
    }
    if (result < 0)
        reply_error(m, msg->id, &err);
    else
        send_message(m, PROTOCOL_REPLY, msg->id, &body, fds, n_fds);
    for (size_t i = 0; i < n_fds; i++)
        close(fds[i]);
}

static int status_of(int wait_status)
{
    if (WIFEXITED(wait_status))
        return WEXITSTATUS(wait_status);
    return WIFSIGNALED(wait_status) ? SIGNAL_BASE + WTERMSIG(wait_status) : -1;
}

static void child_ended(struct monitor *m, struct monitor_process *c, int status)
{
    struct os_buf cleanup_buf body = {0};
    protocol_put_u32(&body, c->id);
    protocol_put_u32(&body, (uint32_t)status);
    if (c->id == m->main_id) {
        m->main_running = false;
        m->kill_at = 0;
    }
    *c = (struct monitor_process){0};
    send_message(m, PROTOCOL_EXIT, 0, &body, NULL, 0);
}

static void reap(struct monitor *m)
{
    siginfo_t info = {0};
    /* Looked at before it is reaped: as long as the leader is there, the number of its group is ours. */
    while (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid > 0) {
        pid_t pid = info.si_pid;
        int wait_status = 0;
        struct monitor_process *c = find_child(m, 0, pid);
        if (c && c->ending)
            kill(-pid, SIGKILL);
        waitpid(pid, &wait_status, 0);
        info = (siginfo_t){0};
        if (c) {
            child_ended(m, c, status_of(wait_status));
        } else if (pid == m->worker) {
            os_log_error(LOG_TARGET, "the worker ended with status %d; ending the sandbox",
                         status_of(wait_status));
            m->worker = 0;
            m->quit = true;
            m->status = EXIT_FATAL;
        }
    }
}

static void terminate(struct monitor *m)
{
    struct os_buf cleanup_buf body = {0};
    if (m->main_running) {
        kill(-m->main_pid, SIGTERM);
        if (!m->kill_at)
            m->kill_at = os_clock_mono_ms() + OS_TERMINATE_GRACE_MS;
    }
    send_message(m, PROTOCOL_TERMINATE, 0, &body, NULL, 0);
}

static void read_signals(struct monitor *m, int fd)
{
    struct signalfd_siginfo info;
    while (read(fd, &info, sizeof(info)) == sizeof(info))
        if (info.ssi_signo == SIGTERM)
            terminate(m);
    reap(m);
}

static void read_worker(struct monitor *m, struct protocol_message *msg)
{
    int r = protocol_receive(m->fd, msg, false);
    if (r == 0)
        return;
    if (r > 0) {
        serve_request(m, msg);
    } else {
        reap(m);
        os_log_error(LOG_TARGET, "the worker is gone (status %d); ending the sandbox", m->worker_status);
        m->quit = true;
        m->status = EXIT_FATAL;
    }
    protocol_message_clear(msg);
}

static int wait_ms(const struct monitor *m)
{
    int64_t due = m->kill_at ? m->kill_at : m->settle_at;
    if (!due)
        return -1;
    int64_t left = due - os_clock_mono_ms();
    return left > 0 ? (int)left : 0;
}

static void time_is_up(struct monitor *m)
{
    if (m->kill_at) {
        if (m->main_running)
            kill(-m->main_pid, SIGKILL);
        m->kill_at = 0;
    } else if (m->settle_at) {
        m->settle_at = 0;
        monitor_settle();
    }
}

static void loop(struct monitor *m, int signals)
{
    struct protocol_message msg = {0};
    while (!m->quit) {
        struct pollfd p[] = {{.fd = signals, .events = POLLIN}, {.fd = m->fd, .events = POLLIN}};
        int ready = poll(p, OS_ARRAY_LEN(p), wait_ms(m));
        if (ready < 0 && errno != EINTR) {
            m->quit = true;
            m->status = EXIT_FATAL;
        } else if (ready == 0) {
            time_is_up(m);
        } else if (ready > 0) {
            if (p[0].revents)
                read_signals(m, signals);
            if (!m->quit && p[1].revents)
                read_worker(m, &msg);
        }
    }
    protocol_message_clear(&msg);
}

/* Nothing of the sandbox outlives the monitor. As pid 1 the kernel sees to it; otherwise (a namespace shared
 * with others) only our own children are ours to kill. */
static void end_everything(const struct monitor *m)
{
    if (getpid() == 1) {
        kill(-1, SIGKILL);
    } else {
        for (size_t i = 0; i < OS_CHILDREN; i++)
            if (m->children[i].id)
                kill(-m->children[i].pid, SIGKILL);
        if (m->worker)
            kill(m->worker, SIGKILL);
        if (m->cfg->rules_keeper > 0)
            kill(m->cfg->rules_keeper, SIGKILL);
    }
    while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
        ;
}

int monitor_serve(const struct monitor_config *cfg, int fd, pid_t worker)
{
    struct os_error cleanup_error err = {0};
    struct monitor *m = calloc(1, sizeof(*m));
    if (!m)
        return EXIT_FATAL;
    *m = (struct monitor){.cfg = cfg, .fd = fd, .worker = worker, .landlock = {.fd = -1}, .diag = -1};
    sigset_t watched;
    sigemptyset(&watched);
    sigaddset(&watched, SIGCHLD);
    sigaddset(&watched, SIGTERM);
    sigprocmask(SIG_BLOCK, &watched, NULL);
    cleanup_close int signals = signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK);
    m->diag = netlink_socket(NETLINK_SOCK_DIAG, &err);
    if (signals < 0 || m->diag < 0 || isolation_filter_compile(PROFILE_AGENT, &m->filter, &err) < 0 ||
        monitor_confine(&err) < 0) {
        os_log_error(LOG_TARGET, "cannot start: %s", err.code ? os_error_text(&err) : strerror(errno));
        m->status = EXIT_FATAL;
    } else {
        loop(m, signals);
    }
    end_everything(m);
    int status = m->status;
    if (m->diag >= 0)
        close(m->diag);
    if (m->landlock.fd >= 0)
        close(m->landlock.fd);
    free(m->filter.filter);
    free(m->workdir);
    free(m);
    return status & 0xff;
}
