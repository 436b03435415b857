/* One thread that waits for the ends of all supervisors: see exits.h. */
#include "drivers/local/exits.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/str.h"

#define EXITS_BATCH 64
#define EXITS_STACK ((size_t)256 << 10)
#define EXITS_END 0 /* no run has this name */

struct exits {
    int epoll, end;
    pthread_t thread;
    exits_fn *fn;
    void *ctx;
};

static void *serve(void *arg)
{
    struct exits *e = arg;
    for (;;) {
        struct epoll_event ev[EXITS_BATCH];
        int n = epoll_wait(e->epoll, ev, EXITS_BATCH, -1);
        for (int i = 0; i < n; i++) {
            if (ev[i].data.u64 == EXITS_END)
                return NULL;
            e->fn(e->ctx, ev[i].data.u64);
        }
    }
}

static void close_all(struct exits *e)
{
    if (e->end >= 0)
        close(e->end);
    if (e->epoll >= 0)
        close(e->epoll);
    free(e);
}

/* Signals belong to the gateway's main thread. */
static int start(struct exits *e)
{
    sigset_t all, old;
    pthread_attr_t attr;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &old);
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, EXITS_STACK);
    int rc = pthread_create(&e->thread, &attr, serve, e);
    pthread_attr_destroy(&attr);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return rc;
}

struct exits *exits_new(exits_fn *fn, void *ctx, struct os_error *err)
{
    struct exits *e = os_calloc(1, sizeof(*e));
    struct epoll_event ev = {.events = EPOLLIN, .data.u64 = EXITS_END};
    *e = (struct exits){.fn = fn, .ctx = ctx};
    e->epoll = epoll_create1(EPOLL_CLOEXEC);
    e->end = eventfd(0, EFD_CLOEXEC);
    if (e->epoll < 0 || e->end < 0 || epoll_ctl(e->epoll, EPOLL_CTL_ADD, e->end, &ev) < 0) {
        os_error_sys(err, errno, "cannot watch for the ends of sandboxes");
        close_all(e);
        return NULL;
    }
    int rc = start(e);
    if (rc) {
        os_error_sys(err, rc, "cannot start the thread that watches sandboxes");
        close_all(e);
        return NULL;
    }
    return e;
}

/* One shot: the end of a process stays readable for ever. */
int exits_add(struct exits *e, int pidfd, uint64_t run, struct os_error *err)
{
    struct epoll_event ev = {.events = EPOLLIN | EPOLLONESHOT, .data.u64 = run};
    if (epoll_ctl(e->epoll, EPOLL_CTL_ADD, pidfd, &ev) < 0)
        return os_error_sys(err, errno, "cannot watch for the end of a sandbox");
    return 0;
}

void exits_remove(struct exits *e, int pidfd)
{
    epoll_ctl(e->epoll, EPOLL_CTL_DEL, pidfd, NULL);
}

void exits_free(struct exits *e)
{
    if (!e)
        return;
    eventfd_write(e->end, 1);
    pthread_join(e->thread, NULL);
    close_all(e);
}
