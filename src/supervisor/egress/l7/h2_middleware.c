/* The middleware chain for streams of an HTTP/2 tunnel. A tunnel is one thread, so a stage that takes its
 * time must not run on it: the stream's body is collected as for a judgement, then a thread of its own takes
 * the request through the chain and wakes the tunnel when it is done. There are never more of those threads
 * than places in the chain. While it runs, nothing of the stream's request is touched here. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/str.h"
#include "supervisor/egress/credentials/guard.h"
#include "supervisor/egress/l7/h2.h"

struct h2_chain {
    struct h2_stream *st;
    struct middleware_job job;
    struct admission_ticket ticket;
    bool ready;   /* the request is complete */
    bool running; /* the thread is; its results are for after the join */
    pthread_t thread;
    atomic_bool done, cancelled;
    enum middleware_outcome outcome;
    struct deny_answer answer;
    struct os_error err;
};

static void wake_tunnel(void *ctx)
{
    const struct h2_relay *h = ctx;
    /* Only a counter at its maximum can fail, and that is awake. */
    if (eventfd_write(h->wake, 1) < 0)
        return;
}

static bool is_cancelled(void *ctx)
{
    struct h2_chain *x = ctx;
    return atomic_load(&x->cancelled) || conn_ending(x->st->h->t->c);
}

static void *thread_main(void *arg)
{
    struct h2_chain *x = arg;
    x->outcome = middleware_run(&x->job, &x->answer, &x->err);
    atomic_store(&x->done, true);
    wake_tunnel(x->st->h);
    return NULL;
}

static bool start_thread(struct h2_chain *x)
{
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, OS_PROXY_STACK);
    x->running = pthread_create(&x->thread, &attr, thread_main, x) == 0;
    pthread_attr_destroy(&attr);
    return x->running;
}

static struct admission *places(const struct h2_chain *x)
{
    return &x->st->h->t->c->egress->middleware.requests;
}

void h2_chain_drop(struct h2_stream *st)
{
    struct h2_chain *x = st->chain;
    if (!x)
        return;
    atomic_store(&x->cancelled, true);
    if (x->running)
        pthread_join(x->thread, NULL);
    admission_give(places(x), &x->ticket);
    deny_answer_free(&x->answer);
    os_error_clear(&x->err);
    st->chain = NULL;
    free(x);
}

bool h2_chain_outlives(struct h2_stream *st)
{
    if (!st->chain || !st->chain->running)
        return false;
    atomic_store(&st->chain->cancelled, true);
    return true;
}

/* --- the end of a chain --- */

static void answer(struct h2_stream *st, const struct deny_answer *a)
{
    st->h->t->answer(st->h->t, &st->r, a);
}

static void go_on(struct h2_stream *st)
{
    h2_chain_drop(st);
    if (conn_stale(st->h->t->c)) {
        st->phase = H2_CLOSED;
        h2_stream_reset(st, H2_AGENT, NGHTTP2_REFUSED_STREAM);
    } else if (guard_admit(st->h->t, &st->r)) {
        h2_stream_forward(st);
    }
}

static void refuse_place(struct h2_stream *st)
{
    struct deny_answer a cleanup_answer = {0};
    middleware_refuse_admission(&st->chain->job, &a);
    answer(st, &a);
    h2_chain_drop(st);
}

/* Its body, or its place, did not come in time. */
static void give_up(struct h2_stream *st)
{
    struct deny_answer a cleanup_answer = {0};
    if (st->chain->ready) {
        refuse_place(st);
        return;
    }
    middleware_body_too_late(&st->chain->job, &a);
    answer(st, &a);
    h2_chain_drop(st);
}

static void finish(struct h2_stream *st)
{
    struct h2_chain *x = st->chain;
    pthread_join(x->thread, NULL);
    x->running = false;
    if (!st->agent) { /* nobody waits for it any more */
        h2_stream_free(st);
        return;
    }
    switch (x->outcome) {
    case MIDDLEWARE_PASSED:
        go_on(st);
        break;
    case MIDDLEWARE_ANSWER:
        answer(st, &x->answer);
        break;
    case MIDDLEWARE_MALFORMED:
        gate_refuse_malformed(st->h->t, &st->r, &x->err);
        break;
    }
    h2_chain_drop(st);
    if (st->phase == H2_CLOSED)
        h2_stream_forget(st);
}

/* A complete request whose place in the chain is free begins. */
static void try_start(struct h2_stream *st)
{
    struct h2_chain *x = st->chain;
    if (!x->ready || x->running || admission_look(places(x), &x->ticket) != ADMISSION_IN)
        return;
    x->job.limit.end_ms = os_clock_mono_ms() + OS_MIDDLEWARE_CHAIN_MS;
    if (!start_thread(x))
        refuse_place(st);
}

bool h2_chains_turn(struct h2_relay *h, int *patience)
{
    struct h2_stream *next;
    bool moved = false;
    eventfd_t count;
    if (h->wake < 0)
        return false;
    while (eventfd_read(h->wake, &count) == 0)
        ;
    for (struct h2_stream *st = h->streams; st; st = next) {
        struct h2_chain *x = st->chain;
        next = st->next;
        if (!x)
            continue;
        *patience = 1000;
        if (x->running && atomic_load(&x->done)) {
            finish(st);
            moved = true;
            continue;
        }
        if (!x->running && os_clock_mono_ms() > x->job.limit.end_ms)
            give_up(st);
        else
            try_start(st);
        moved = moved || st->phase == H2_CLOSED;
        if (st->phase == H2_CLOSED)
            h2_stream_forget(st);
    }
    return moved;
}

/* --- its beginning --- */

void h2_chain_ready(struct h2_stream *st)
{
    st->phase = H2_CHAIN;
    st->chain->ready = true;
    try_start(st);
}

void h2_chain_too_long(struct h2_stream *st)
{
    struct deny_answer a cleanup_answer = {0};
    middleware_body_too_long(&st->chain->job, &a);
    answer(st, &a);
    h2_chain_drop(st);
}

static struct h2_chain *chain_new(struct h2_stream *st, const struct middleware_job *job)
{
    struct h2_chain *x = os_calloc(1, sizeof(*x));
    x->st = st;
    x->job = *job;
    x->job.limit.cancelled = is_cancelled;
    x->job.limit.ctx = x;
    x->ticket.granted = wake_tunnel;
    x->ticket.ctx = st->h;
    return x;
}

bool h2_chain_begin(struct h2_stream *st, bool *collect)
{
    struct deny_answer a cleanup_answer = {0};
    struct middleware_job job;
    struct h2_relay *h = st->h;
    struct egress_request *r = &st->r;
    bool unseen = false;
    *collect = false;
    if (!middleware_job_init(&job, r, h->t->scheme, false))
        return false;
    if (h->wake < 0)
        h->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    st->chain = chain_new(st, &job);
    if (admission_full(places(st->chain)))
        middleware_saturated(h->t->c);
    if (h->wake < 0 || admission_ask(places(st->chain), &st->chain->ticket) == ADMISSION_OUT) {
        refuse_place(st);
        return true;
    }
    if (middleware_before_body(&st->chain->job, &unseen, &a) == MIDDLEWARE_ANSWER) {
        answer(st, &a);
        h2_chain_drop(st);
        return true;
    }
    if (unseen) {
        h2_chain_drop(st);
        return false;
    }
    if (r->body_read || r->head->framing == HTTP1_NO_BODY) {
        h2_chain_ready(st);
        return true;
    }
    r->body_read = *collect = true;
    r->body.max = job.chain.max_payload;
    return true;
}
