/* A supervisor reduced to its isolation: real namespaces, real monitor, real unprivileged worker, one child.
 * The isolation suite (tests/e2e/isolation) runs commands in it and looks at what they can do.
 *
 *   isolation_host [--ro PATH]... [--rw PATH]... [--workdir PATH] [--hard] [--tty] [--exec] -- COMMAND...
 *
 * Output and exit code are the command's. --exec runs it as a second child beside a sleeping main process.
 * What reaches the listeners goes to descriptor 3 if that is open, one line each. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netfilter_ipv4.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "supervisor/monitor/client.h"
#include "supervisor/monitor/monitor.h"

#define AGENT 64998
#define WORKER 64999
#define EVENTS 3
#define LIFETIME_S 60
#define IP6T_SO_ORIGINAL_DST 80

/* The worker waits to be killed; a coverage build (scripts/coverage.sh) has its counters written before. */
#ifdef COVERAGE
void __gcov_dump(void);
#else
#define __gcov_dump()
#endif

static _Noreturn void wait_for_the_end(void)
{
    __gcov_dump();
    for (;;)
        pause();
}

struct options {
    const char *ro[32], *rw[32];
    size_t n_ro, n_rw;
    const char *workdir;
    bool hard, tty, exec;
    char **argv;
};

struct host {
    struct monitor_sockets sockets;
    struct monitor_client *client;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint32_t ended;
    int status;
};

static void fail(const char *what, const struct os_error *err)
{
    fprintf(stderr, "isolation_host: %s: %s\n", what, err ? os_error_text(err) : strerror(errno));
    _exit(99);
}

static void on_exit_event(void *ctx, uint32_t child, int status)
{
    struct host *h = ctx;
    pthread_mutex_lock(&h->lock);
    h->ended = child;
    h->status = status;
    pthread_cond_broadcast(&h->changed);
    pthread_mutex_unlock(&h->lock);
}

static void on_terminate(void *ctx)
{
    (void)ctx;
    dprintf(EVENTS, "terminate\n");
}

static const char *address_text(const struct sockaddr_storage *sa, char out[80])
{
    char ip[INET6_ADDRSTRLEN] = "?";
    if (sa->ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)sa;
        inet_ntop(AF_INET, &v4->sin_addr, ip, sizeof(ip));
        snprintf(out, 80, "%s:%u", ip, ntohs(v4->sin_port));
    } else {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)sa;
        inet_ntop(AF_INET6, &v6->sin6_addr, ip, sizeof(ip));
        snprintf(out, 80, "[%s]:%u", ip, ntohs(v6->sin6_port));
    }
    return out;
}

static void describe_owner(struct host *h, const char *kind, const struct sockaddr_storage *peer,
                           const struct sockaddr_storage *target)
{
    struct os_arena cleanup_arena arena = {0};
    struct os_error cleanup_error err = {0};
    struct egress_identity id = {0};
    char text[80];
    if (monitor_client_identify(h->client, peer, target, &arena, &id, &err) < 0) {
        dprintf(EVENTS, "%s %s unknown: %s\n", kind, address_text(target, text), os_error_text(&err));
        return;
    }
    char ancestors[4096] = "";
    for (size_t i = 0; i < id.process.n_ancestors; i++) {
        strncat(ancestors, " ", sizeof(ancestors) - strlen(ancestors) - 1);
        strncat(ancestors, id.process.ancestors[i], sizeof(ancestors) - strlen(ancestors) - 1);
    }
    dprintf(EVENTS, "%s %s exe=%s ancestors=%s cmdline=%zu\n", kind, address_text(target, text),
            id.process.exe, ancestors, id.process.n_cmdline);
}

static void *serve_proxy(void *arg)
{
    struct host *h = arg;
    for (;;) {
        struct sockaddr_storage peer, local;
        socklen_t n = sizeof(peer), m = sizeof(local);
        cleanup_close int fd = accept4(h->sockets.proxy, (struct sockaddr *)&peer, &n, SOCK_CLOEXEC);
        if (fd < 0)
            return NULL;
        getsockname(fd, (struct sockaddr *)&local, &m);
        describe_owner(h, "proxy", &peer, &local);
    }
}

static void *serve_trap(void *arg)
{
    struct host *h = arg;
    for (;;) {
        struct sockaddr_storage peer, target = {0};
        socklen_t n = sizeof(peer), m = sizeof(target);
        cleanup_close int fd = accept4(h->sockets.trap, (struct sockaddr *)&peer, &n, SOCK_CLOEXEC);
        if (fd < 0)
            return NULL;
        if (getsockopt(fd, IPPROTO_IPV6, IP6T_SO_ORIGINAL_DST, &target, &m) < 0 &&
            getsockopt(fd, IPPROTO_IP, SO_ORIGINAL_DST, &target, &m) < 0)
            dprintf(EVENTS, "trap without destination: %s\n", strerror(errno));
        else
            describe_owner(h, "trap", &peer, &target);
    }
}

static void *serve_udp(void *arg)
{
    struct host *h = arg;
    for (;;) {
        char data[512], control[256], text[80];
        struct iovec iov = {data, sizeof(data)};
        struct msghdr msg = {
            .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
        if (recvmsg(h->sockets.udp_trap, &msg, 0) < 0)
            return NULL;
        for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
            struct sockaddr_storage target = {0};
            memcpy(&target, CMSG_DATA(c), c->cmsg_len - CMSG_LEN(0));
            dprintf(EVENTS, "udp %s\n", address_text(&target, text));
        }
    }
}

static void start(void *(*fn)(void *), struct host *h)
{
    pthread_t t;
    if (pthread_create(&t, NULL, fn, h) != 0)
        fail("thread", NULL);
}

/* Copies the child's output until it ends. */
static void copy_output(const struct monitor_child *c)
{
    struct pollfd p[] = {{.fd = c->out >= 0 ? c->out : c->in, .events = POLLIN},
                         {.fd = c->err, .events = POLLIN}};
    while (p[0].fd >= 0 || p[1].fd >= 0) {
        if (poll(p, 2, -1) < 0)
            return;
        for (int i = 0; i < 2; i++) {
            char data[4096];
            if (p[i].fd < 0 || !p[i].revents)
                continue;
            ssize_t n = read(p[i].fd, data, sizeof(data));
            if (n <= 0 || write(i + 1, data, (size_t)n) != n)
                p[i].fd = -1;
        }
    }
}

static struct monitor_child spawn(struct host *h, char **argv, bool tty, bool is_main)
{
    static const char *const env[] = {"PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "LANG=C.UTF-8",
                                      NULL};
    struct os_error err = {0};
    struct monitor_child c;
    struct monitor_spawn s = {.argv = (const char *const *)argv, .env = env, .tty = tty, .main = is_main};
    if (monitor_client_spawn(h->client, &s, &c, &err) < 0) {
        fprintf(stderr, "isolation_host: spawn: %d %s\n", err.code, os_error_text(&err));
        monitor_client_quit(h->client, err.code == OS_NOT_FOUND ? 127 : 126);
        wait_for_the_end();
    }
    return c;
}

static void worker(const struct options *o, int fd)
{
    struct host h = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    struct os_error err = {0};
    struct monitor_isolation got;
    struct monitor_plan plan = {o->ro, o->n_ro, o->rw, o->n_rw, o->hard, o->workdir};
    if (monitor_receive_sockets(fd, &h.sockets, &err) < 0 || monitor_confine_worker(WORKER, WORKER, &err) < 0)
        fail("worker", &err);
    h.client = monitor_client_new(fd, on_exit_event, on_terminate, &h);
    if (!h.client || monitor_client_isolate(h.client, &plan, &got, &err) < 0) {
        fprintf(stderr, "isolation_host: isolate: %s\n", os_error_text(&err));
        monitor_client_quit(h.client, 98);
        wait_for_the_end();
    }
    dprintf(EVENTS, "isolated abi=%d rules=%u skipped=%u tried=%x why=%s\n", got.landlock_abi, got.rules,
            got.skipped, got.tried, got.landlock_error);
    start(serve_proxy, &h);
    start(serve_trap, &h);
    start(serve_udp, &h);
    char *sleeper[] = {"sleep", "100", NULL};
    struct monitor_child c = {0};
    if (o->exec)
        c = spawn(&h, sleeper, false, true);
    c = spawn(&h, o->argv, o->tty, !o->exec);
    if (!o->tty)
        close(c.in);
    copy_output(&c);
    pthread_mutex_lock(&h.lock);
    while (h.ended != c.id)
        pthread_cond_wait(&h.changed, &h.lock);
    int status = h.status;
    pthread_mutex_unlock(&h.lock);
    usleep(20000); /* events of the last connections */
    monitor_client_quit(h.client, status);
    wait_for_the_end();
}

static int supervise(const struct options *o)
{
    struct monitor_config cfg = {AGENT, AGENT, WORKER, WORKER, o->workdir, false, 0};
    struct os_error err = {0};
    int pair[2];
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0 ||
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        fail("set-up", NULL);
    pid_t child = fork();
    if (child == 0) {
        close(pair[0]);
        worker(o, pair[1]);
    }
    close(pair[1]);
    struct monitor_sockets sockets;
    if (child < 0 || monitor_network_setup(&sockets, &err) < 0 ||
        monitor_send_sockets(pair[0], &sockets, &err) < 0)
        fail("network", &err);
    return monitor_serve(&cfg, pair[0], child);
}

static void parse(int argc, char **argv, struct options *o)
{
    *o = (struct options){.workdir = ""};
    int i = 1;
    for (; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (!strcmp(argv[i], "--ro") && i + 1 < argc && o->n_ro < 31)
            o->ro[o->n_ro++] = argv[++i];
        else if (!strcmp(argv[i], "--rw") && i + 1 < argc && o->n_rw < 31)
            o->rw[o->n_rw++] = argv[++i];
        else if (!strcmp(argv[i], "--workdir") && i + 1 < argc)
            o->workdir = argv[++i];
        else if (!strcmp(argv[i], "--hard"))
            o->hard = true;
        else if (!strcmp(argv[i], "--tty"))
            o->tty = true;
        else if (!strcmp(argv[i], "--exec"))
            o->exec = true;
        else
            fail("unknown option", NULL);
    }
    o->argv = argv + i + 1;
    if (i >= argc - 1)
        fail("no command", NULL);
}

static pid_t supervisor;

static void pass_on(int sig)
{
    kill(supervisor, sig == SIGALRM ? SIGKILL : sig);
}

int main(int argc, char **argv)
{
    struct options o;
    parse(argc, argv, &o);
    if (fcntl(EVENTS, F_GETFD) < 0 && dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), EVENTS) < 0)
        fail("descriptor 3", NULL);
    if (unshare(CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS) < 0)
        fail("unshare", NULL);
    supervisor = fork();
    if (supervisor == 0)
        exit(supervise(&o));
    signal(SIGTERM, pass_on);
    signal(SIGALRM, pass_on);
    alarm(LIFETIME_S);
    int status;
    while (waitpid(supervisor, &status, 0) < 0)
        if (errno != EINTR)
            fail("wait", NULL);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
