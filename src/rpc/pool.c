/* Worker threads: one queue in, one queue back through uv_async. */
#include "rpc/pool.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "core/str.h"

struct job {
    struct job *next;
    rpc_pool_fn *work; /* NULL for a post */
    rpc_pool_fn *done;
    void *arg;
};

struct queue {
    struct job *head, **tail;
};

struct rpc_pool {
    uv_async_t async;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct queue in, back; /* under lock */
    unsigned waiting;      /* under lock */
    bool stop;             /* under lock */
    unsigned busy;         /* loop thread */
    rpc_pool_fn *idle;
    void *idle_arg;
    unsigned nthreads;
    pthread_t threads[];
};

static void push(struct queue *q, struct job *j)
{
    j->next = NULL;
    *q->tail = j;
    q->tail = &j->next;
}

static struct job *pop(struct queue *q)
{
    struct job *j = q->head;
    if (!j)
        return NULL;
    q->head = j->next;
    if (!q->head)
        q->tail = &q->head;
    return j;
}

static void give_back(struct rpc_pool *p, struct job *j)
{
    pthread_mutex_lock(&p->lock);
    push(&p->back, j);
    pthread_mutex_unlock(&p->lock);
    uv_async_send(&p->async);
}

static void *worker(void *arg)
{
    struct rpc_pool *p = arg;
    for (;;) {
        pthread_mutex_lock(&p->lock);
        while (!p->in.head && !p->stop)
            pthread_cond_wait(&p->wake, &p->lock);
        struct job *j = pop(&p->in);
        if (j)
            p->waiting--;
        pthread_mutex_unlock(&p->lock);
        if (!j)
            return NULL;
        j->work(j->arg);
        give_back(p, j);
    }
}

static void run_back(struct rpc_pool *p)
{
    for (;;) {
        pthread_mutex_lock(&p->lock);
        struct job *j = pop(&p->back);
        pthread_mutex_unlock(&p->lock);
        if (!j)
            return;
        bool last = j->work && --p->busy == 0;
        j->done(j->arg);
        free(j);
        if (last)
            p->idle(p->idle_arg);
    }
}

static void on_async(uv_async_t *h)
{
    run_back(h->data);
}

struct rpc_pool *rpc_pool_new(uv_loop_t *loop, unsigned threads, rpc_pool_fn *idle, void *arg)
{
    struct rpc_pool *p = os_calloc(1, sizeof(*p) + threads * sizeof(p->threads[0]));
    p->idle = idle;
    p->idle_arg = arg;
    p->in.tail = &p->in.head;
    p->back.tail = &p->back.head;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->wake, NULL);
    if (uv_async_init(loop, &p->async, on_async) != 0)
        abort();
    p->async.data = p;
    uv_unref((uv_handle_t *)&p->async);
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are for the loop thread */
    for (; p->nthreads < threads; p->nthreads++) {
        if (pthread_create(&p->threads[p->nthreads], NULL, worker, p) != 0)
            break;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!p->nthreads)
        abort();
    return p;
}

static struct job *job_new(rpc_pool_fn *work, rpc_pool_fn *done, void *arg)
{
    struct job *j = os_calloc(1, sizeof(*j));
    *j = (struct job){.work = work, .done = done, .arg = arg};
    return j;
}

bool rpc_pool_work(struct rpc_pool *p, rpc_pool_fn *work, rpc_pool_fn *done, void *arg, unsigned limit)
{
    struct job *j = job_new(work, done, arg);
    pthread_mutex_lock(&p->lock);
    bool room = !limit || p->waiting < limit;
    if (room) {
        push(&p->in, j);
        p->waiting++;
        pthread_cond_signal(&p->wake);
    }
    pthread_mutex_unlock(&p->lock);
    if (room)
        p->busy++;
    else
        free(j);
    return room;
}

void rpc_pool_post(struct rpc_pool *p, rpc_pool_fn *fn, void *arg)
{
    give_back(p, job_new(NULL, fn, arg));
}

unsigned rpc_pool_busy(const struct rpc_pool *p)
{
    return p->busy;
}

static void on_closed(uv_handle_t *h)
{
    struct rpc_pool *p = h->data;
    pthread_cond_destroy(&p->wake);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

void rpc_pool_free(struct rpc_pool *p)
{
    pthread_mutex_lock(&p->lock);
    p->stop = true;
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->lock);
    for (unsigned i = 0; i < p->nthreads; i++)
        pthread_join(p->threads[i], NULL);
    run_back(p);
    uv_close((uv_handle_t *)&p->async, on_closed);
}
