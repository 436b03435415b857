/* A monitor in the test process: real processes, no confinement. */
#include "fake_monitor.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <pty.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/str.h"

#define CHILDREN 64

struct fake_child {
    struct monitor_client *owner;
    uint32_t id;
    pid_t pid;
    pthread_t reaper;
};

struct monitor_client {
    monitor_exit_fn *on_exit;
    monitor_terminate_fn *on_terminate;
    void *ctx;
    pthread_mutex_t lock;
    unsigned running, n;
    struct fake_child children[CHILDREN];
};

struct monitor_client *monitor_client_new(int fd, monitor_exit_fn *on_exit,
                                          monitor_terminate_fn *on_terminate, void *ctx)
{
    struct monitor_client *c = os_calloc(1, sizeof(*c));
    c->on_exit = on_exit;
    c->on_terminate = on_terminate;
    c->ctx = ctx;
    pthread_mutex_init(&c->lock, NULL);
    return c;
}

static void *reap(void *arg)
{
    struct fake_child *f = arg;
    int w;
    while (waitpid(f->pid, &w, 0) < 0 && errno == EINTR)
        ;
    f->owner->on_exit(f->owner->ctx, f->id, WIFEXITED(w) ? WEXITSTATUS(w) : 128 + WTERMSIG(w));
    pthread_mutex_lock(&f->owner->lock);
    f->owner->running--;
    pthread_mutex_unlock(&f->owner->lock);
    return NULL;
}

static void child(const struct monitor_spawn *s, int in, int out, int err, int report)
{
    setsid();
    if (s->tty)
        ioctl(in, TIOCSCTTY, 0);
    dup2(in, 0);
    dup2(out, 1);
    dup2(err, 2);
    signal(SIGPIPE, SIG_DFL);
    if (!s->workdir || chdir(s->workdir) == 0) {
        for (int fd = 3; fd < 1024; fd++)
            if (fd != report)
                close(fd);
        execvpe(s->argv[0], (char *const *)s->argv, (char *const *)s->env);
    }
    int e = errno;
    if (write(report, &e, sizeof(e)) < 0)
        _exit(126);
    _exit(127);
}

int monitor_client_spawn(struct monitor_client *c, const struct monitor_spawn *s, struct monitor_child *out,
                         struct os_error *err)
{
    int in[2] = {-1, -1}, o[2] = {-1, -1}, e[2] = {-1, -1}, report[2];
    struct winsize w = {.ws_col = s->cols, .ws_row = s->rows};
    if (c->n == CHILDREN || pipe2(report, O_CLOEXEC) < 0)
        return os_error_set(err, OS_RESOURCE_EXHAUSTED, "the double is full");
    if (s->tty ? openpty(&in[1], &in[0], NULL, NULL, &w) < 0
               : pipe2(in, O_CLOEXEC) < 0 || pipe2(o, O_CLOEXEC) < 0 || pipe2(e, O_CLOEXEC) < 0)
        return os_error_sys(err, errno, "pipes");
    pid_t pid = fork();
    if (pid == 0)
        child(s, in[0], s->tty ? in[0] : o[1], s->tty ? in[0] : e[1], report[1]);
    close(in[0]);
    if (!s->tty) {
        close(o[1]);
        close(e[1]);
    }
    close(report[1]);
    int failed = 0;
    ssize_t got = read(report[0], &failed, sizeof(failed));
    close(report[0]);
    if (got > 0) {
        waitpid(pid, NULL, 0);
        close(in[1]);
        if (!s->tty) {
            close(o[0]);
            close(e[0]);
        }
        return os_error_set(err, failed == ENOENT ? OS_NOT_FOUND : OS_PERMISSION_DENIED,
                            "cannot run '%s': %s", s->argv[0], strerror(failed));
    }
    struct fake_child *f = &c->children[c->n++];
    *f = (struct fake_child){.owner = c, .id = c->n, .pid = pid};
    *out = (struct monitor_child){.id = f->id, .pid = pid, .in = in[1], .out = o[0], .err = e[0]};
    pthread_mutex_lock(&c->lock);
    c->running++;
    pthread_mutex_unlock(&c->lock);
    pthread_create(&f->reaper, NULL, reap, f);
    return 0;
}

int monitor_client_signal(struct monitor_client *c, uint32_t id, int sig, struct os_error *err)
{
    for (unsigned i = 0; i < c->n; i++)
        if (c->children[i].id == id && kill(-c->children[i].pid, sig) == 0)
            return 0;
    return os_error_set(err, OS_NOT_FOUND, "no such child");
}

int monitor_client_dial(struct monitor_client *c, const char *ip, uint16_t port, struct os_error *err)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    inet_pton(AF_INET, ip, &a.sin_addr);
    if (connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0)
        return fd;
    int e = errno;
    close(fd);
    return os_error_sys(err, e, "cannot connect to %s:%u", ip, port);
}

void fake_monitor_terminate(struct monitor_client *c)
{
    for (unsigned i = 0; i < c->n; i++)
        kill(-c->children[i].pid, SIGTERM);
    c->on_terminate(c->ctx);
}

unsigned fake_monitor_running(struct monitor_client *c)
{
    pthread_mutex_lock(&c->lock);
    unsigned n = c->running;
    pthread_mutex_unlock(&c->lock);
    return n;
}

void fake_monitor_end(struct monitor_client *c)
{
    for (unsigned i = 0; i < c->n; i++) {
        kill(-c->children[i].pid, SIGKILL);
        pthread_join(c->children[i].reaper, NULL);
        kill(-c->children[i].pid, SIGKILL); /* what the leader left behind */
    }
    pthread_mutex_destroy(&c->lock);
    free(c);
}
