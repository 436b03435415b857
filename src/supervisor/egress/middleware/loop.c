/* The loop of the middleware clients. */
#include "supervisor/egress/middleware/loop.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>

#include "core/str.h"

struct task {
    struct task *next;
    void (*fn)(void *arg);
    void *arg;
};

struct middleware_loop {
    uv_loop_t uv;
    uv_async_t wake;
    pthread_t thread;
    pthread_mutex_t lock; /* guards what follows */
    struct task *first, **last;
    unsigned held;
    bool ending;
};

static struct task *take(struct middleware_loop *l, bool *ending)
{
    pthread_mutex_lock(&l->lock);
    struct task *t = l->first;
    if (t && !(l->first = t->next))
        l->last = &l->first;
    *ending = l->ending && !l->held;
    pthread_mutex_unlock(&l->lock);
    return t;
}

static void on_wake(uv_async_t *wake)
{
    struct middleware_loop *l = wake->data;
    bool ending;
    struct task *t;
    while ((t = take(l, &ending))) {
        t->fn(t->arg);
        free(t);
    }
    if (ending && !uv_is_closing((uv_handle_t *)wake))
        uv_close((uv_handle_t *)wake, NULL);
}

static void *thread_main(void *arg)
{
    struct middleware_loop *l = arg;
    uv_run(&l->uv, UV_RUN_DEFAULT);
    return NULL;
}

struct middleware_loop *middleware_loop_new(void)
{
    struct middleware_loop *l = os_calloc(1, sizeof(*l));
    sigset_t all, before;
    l->last = &l->first;
    if (uv_loop_init(&l->uv) != 0) {
        free(l);
        return NULL;
    }
    pthread_mutex_init(&l->lock, NULL);
    uv_async_init(&l->uv, &l->wake, on_wake);
    l->wake.data = l;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the main thread's business */
    int rc = pthread_create(&l->thread, NULL, thread_main, l);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc == 0)
        return l;
    uv_close((uv_handle_t *)&l->wake, NULL);
    uv_run(&l->uv, UV_RUN_DEFAULT);
    uv_loop_close(&l->uv);
    pthread_mutex_destroy(&l->lock);
    free(l);
    return NULL;
}

uv_loop_t *middleware_loop_uv(struct middleware_loop *l)
{
    return &l->uv;
}

void middleware_loop_post(struct middleware_loop *l, void (*fn)(void *arg), void *arg)
{
    struct task *t = os_calloc(1, sizeof(*t));
    *t = (struct task){.fn = fn, .arg = arg};
    pthread_mutex_lock(&l->lock);
    *l->last = t;
    l->last = &t->next;
    uv_async_send(&l->wake);
    pthread_mutex_unlock(&l->lock);
}

void middleware_loop_hold(struct middleware_loop *l)
{
    pthread_mutex_lock(&l->lock);
    l->held++;
    pthread_mutex_unlock(&l->lock);
}

void middleware_loop_drop(struct middleware_loop *l)
{
    pthread_mutex_lock(&l->lock);
    l->held--;
    uv_async_send(&l->wake);
    pthread_mutex_unlock(&l->lock);
}

struct waiting {
    void (*fn)(void *arg);
    void *arg;
    pthread_mutex_t lock;
    pthread_cond_t ran;
    bool done;
};

static void run_waiting(void *arg)
{
    struct waiting *w = arg;
    w->fn(w->arg);
    pthread_mutex_lock(&w->lock);
    w->done = true;
    pthread_cond_signal(&w->ran);
    pthread_mutex_unlock(&w->lock);
}

void middleware_loop_run(struct middleware_loop *l, void (*fn)(void *arg), void *arg)
{
    struct waiting w = {
        .fn = fn, .arg = arg, .lock = PTHREAD_MUTEX_INITIALIZER, .ran = PTHREAD_COND_INITIALIZER};
    middleware_loop_post(l, run_waiting, &w);
    pthread_mutex_lock(&w.lock);
    while (!w.done)
        pthread_cond_wait(&w.ran, &w.lock);
    pthread_mutex_unlock(&w.lock);
}

void middleware_loop_free(struct middleware_loop *l)
{
    if (!l)
        return;
    pthread_mutex_lock(&l->lock);
    l->ending = true;
    uv_async_send(&l->wake);
    pthread_mutex_unlock(&l->lock);
    pthread_join(l->thread, NULL);
    uv_loop_close(&l->uv);
    pthread_mutex_destroy(&l->lock);
    free(l);
}
