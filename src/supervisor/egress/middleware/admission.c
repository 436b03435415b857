/* Places in the middleware chain. */
#include "supervisor/egress/middleware/admission.h"

#include <time.h>

#define SLICE_MS 100 /* between two looks at whether the wait was cancelled */

void admission_init(struct admission *a, unsigned places, unsigned waiting)
{
    *a = (struct admission){.places = places, .waiting_max = waiting, .last = &a->first};
    pthread_mutex_init(&a->lock, NULL);
}

void admission_destroy(struct admission *a)
{
    pthread_mutex_destroy(&a->lock);
}

enum admission_state admission_ask(struct admission *a, struct admission_ticket *t)
{
    pthread_mutex_lock(&a->lock);
    t->next = NULL;
    if (a->taken < a->places) {
        a->taken++;
        t->state = ADMISSION_IN;
    } else if (a->waiting < a->waiting_max) {
        a->waiting++;
        t->state = ADMISSION_WAITING;
        *a->last = t;
        a->last = &t->next;
    } else {
        t->state = ADMISSION_OUT;
    }
    enum admission_state state = t->state;
    pthread_mutex_unlock(&a->lock);
    return state;
}

bool admission_full(struct admission *a)
{
    pthread_mutex_lock(&a->lock);
    bool full = a->taken >= a->places;
    pthread_mutex_unlock(&a->lock);
    return full;
}

enum admission_state admission_look(struct admission *a, struct admission_ticket *t)
{
    pthread_mutex_lock(&a->lock);
    enum admission_state state = t->state;
    pthread_mutex_unlock(&a->lock);
    return state;
}

static void take_out(struct admission *a, const struct admission_ticket *t)
{
    struct admission_ticket **at = &a->first;
    while (*at != t)
        at = &(*at)->next;
    *at = t->next;
    if (!*at)
        a->last = at;
    a->waiting--;
}

/* The place of one goes to the first that waits. */
static void hand_over(struct admission *a)
{
    struct admission_ticket *next = a->first;
    if (!next) {
        a->taken--;
        return;
    }
    take_out(a, next);
    next->state = ADMISSION_IN;
    if (next->granted)
        next->granted(next->ctx);
}

void admission_give(struct admission *a, struct admission_ticket *t)
{
    pthread_mutex_lock(&a->lock);
    if (t->state == ADMISSION_WAITING)
        take_out(a, t);
    else if (t->state == ADMISSION_IN)
        hand_over(a);
    t->state = ADMISSION_OUT;
    pthread_mutex_unlock(&a->lock);
}

static void signal_waiter(void *ctx)
{
    pthread_cond_signal(ctx);
}

bool admission_wait(struct admission *a, struct admission_ticket *t, const struct middleware_limit *limit)
{
    pthread_cond_t granted;
    pthread_condattr_t attr;
    int left;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&granted, &attr);
    pthread_condattr_destroy(&attr);
    t->granted = signal_waiter;
    t->ctx = &granted;
    admission_ask(a, t);
    pthread_mutex_lock(&a->lock);
    while (t->state == ADMISSION_WAITING && (left = middleware_left(limit)) > 0) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += (left < SLICE_MS ? left : SLICE_MS) * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000L;
        until.tv_nsec %= 1000000000L;
        pthread_cond_timedwait(&granted, &a->lock, &until);
    }
    enum admission_state state = t->state;
    if (state == ADMISSION_WAITING) {
        take_out(a, t);
        t->state = ADMISSION_OUT;
    }
    pthread_mutex_unlock(&a->lock);
    t->granted = NULL;
    pthread_cond_destroy(&granted);
    return state == ADMISSION_IN;
}
