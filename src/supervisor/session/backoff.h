/* Waiting times between attempts: doubling up to a maximum, with jitter so that many sandboxes do not return
 * to a restarted gateway at the same instant. */
#ifndef SUPERVISOR_SESSION_BACKOFF_H
#define SUPERVISOR_SESSION_BACKOFF_H

#include <stdint.h>

struct backoff {
    uint32_t first_ms, max_ms;
    uint32_t next_ms; /* 0 = first_ms */
};

/* max_ms may change in between.
 * Milliseconds to wait before the next attempt: the current step, plus or minus a fifth by `random`. */
uint32_t backoff_next(struct backoff *b, uint32_t random);
/* After a success. */
void backoff_reset(struct backoff *b);

#endif
