/* A bounded number of places for work that needs memory, and of threads that wait for one. */
#include "supervisor/egress/l7/capacity.h"

#include <time.h>

void capacity_init(struct capacity *c, unsigned places, unsigned waiting)
{
    *c = (struct capacity){.places = places, .waiting_max = waiting};
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->free, &attr);
    pthread_condattr_destroy(&attr);
}

void capacity_destroy(struct capacity *c)
{
    pthread_cond_destroy(&c->free);
    pthread_mutex_destroy(&c->lock);
}

bool capacity_take(struct capacity *c, int timeout_ms, bool (*over)(const void *ctx), const void *ctx)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += timeout_ms / 1000;
    pthread_mutex_lock(&c->lock);
    bool waits = c->taken >= c->places;
    bool ok = !waits || c->waiting < c->waiting_max;
    if (waits && ok) {
        c->waiting++;
        while (c->taken >= c->places && !over(ctx) && pthread_cond_timedwait(&c->free, &c->lock, &until) == 0)
            ;
        c->waiting--;
        ok = c->taken < c->places;
    }
    if (ok)
        c->taken++;
    pthread_mutex_unlock(&c->lock);
    return ok;
}

void capacity_wake(struct capacity *c)
{
    pthread_mutex_lock(&c->lock);
    pthread_cond_broadcast(&c->free);
    pthread_mutex_unlock(&c->lock);
}

void capacity_give(struct capacity *c)
{
    pthread_mutex_lock(&c->lock);
    c->taken--;
    pthread_cond_signal(&c->free);
    pthread_mutex_unlock(&c->lock);
}
