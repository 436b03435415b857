/* Doubling waits with jitter. */
#include "supervisor/session/backoff.h"

uint32_t backoff_next(struct backoff *b, uint32_t random)
{
    uint32_t step = b->next_ms ? b->next_ms : b->first_ms;
    if (step > b->max_ms)
        step = b->max_ms;
    b->next_ms = step > b->max_ms / 2 ? b->max_ms : step * 2;
    uint32_t spread = step / 5;
    return step - spread + random % (2 * spread + 1);
}

void backoff_reset(struct backoff *b)
{
    b->next_ms = 0;
}
