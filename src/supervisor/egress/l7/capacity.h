/* A bounded number of places for work that needs memory, and of threads that wait for one. Any thread. */
#ifndef SUPERVISOR_EGRESS_CAPACITY_H
#define SUPERVISOR_EGRESS_CAPACITY_H

#include <pthread.h>
#include <stdbool.h>

struct capacity {
    pthread_mutex_t lock;
    pthread_cond_t free;
    unsigned places, taken, waiting, waiting_max;
};

void capacity_init(struct capacity *c, unsigned places, unsigned waiting);
void capacity_destroy(struct capacity *c);
/* Takes a place, waiting for one at most timeout_ms; false when there is none or too many wait already. The
 * wait ends early when over(ctx), which is asked after every capacity_wake(). */
bool capacity_take(struct capacity *c, int timeout_ms, bool (*over)(const void *ctx), const void *ctx);
void capacity_wake(struct capacity *c);
void capacity_give(struct capacity *c);

#endif
