/* Who may have requests or messages in the middleware chain: a bounded number of places and, behind them, a
 * bounded queue in order of arrival (spec/proxy.md 13.3 step 2). Any thread. Survives changes of the policy.
 */
#ifndef SUPERVISOR_EGRESS_MIDDLEWARE_ADMISSION_H
#define SUPERVISOR_EGRESS_MIDDLEWARE_ADMISSION_H

#include <pthread.h>
#include <stdbool.h>

#include "supervisor/egress/middleware/service.h"

struct admission_ticket;

struct admission {
    pthread_mutex_t lock;
    unsigned places, taken, waiting, waiting_max;
    struct admission_ticket *first, **last;
};

enum admission_state { ADMISSION_OUT, ADMISSION_WAITING, ADMISSION_IN };

/* Of one request; zero-initialised. Must be given back before it goes away. */
struct admission_ticket {
    enum admission_state state; /* guarded by the lock while WAITING */
    struct admission_ticket *next;
    /* Called when a waiting ticket gets its place, by whoever gave it back: wake somebody, nothing more. */
    void (*granted)(void *ctx);
    void *ctx;
};

void admission_init(struct admission *a, unsigned places, unsigned waiting);
void admission_destroy(struct admission *a);
/* Asks for a place: IN at once, WAITING, or OUT when too many wait already. Never blocks. */
enum admission_state admission_ask(struct admission *a, struct admission_ticket *t);
/* Who asks now has to wait, or is refused. */
bool admission_full(struct admission *a);
/* The state now. */
enum admission_state admission_look(struct admission *a, struct admission_ticket *t);
/* Gives the place back or leaves the queue; nothing when it is OUT. */
void admission_give(struct admission *a, struct admission_ticket *t);
/* Asks and waits for the place; false when there is none within the limit. */
bool admission_wait(struct admission *a, struct admission_ticket *t, const struct middleware_limit *limit);

#endif
