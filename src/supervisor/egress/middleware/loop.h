/* The thread that talks to middleware services: one libuv loop on which all their gRPC clients live. The
 * threads of connections post work to it and wait for answers. */
#ifndef SUPERVISOR_EGRESS_MIDDLEWARE_LOOP_H
#define SUPERVISOR_EGRESS_MIDDLEWARE_LOOP_H

#include <uv.h>

struct middleware_loop;

/* NULL when the thread cannot be started. */
struct middleware_loop *middleware_loop_new(void);
/* For clients; only functions that run on the loop may touch it. */
uv_loop_t *middleware_loop_uv(struct middleware_loop *l);
/* Any thread: fn(arg) on the loop, in order of posting. */
void middleware_loop_post(struct middleware_loop *l, void (*fn)(void *arg), void *arg);
/* Any other thread: the same, and waits until it has run. */
void middleware_loop_run(struct middleware_loop *l, void (*fn)(void *arg), void *arg);
/* Something lives on it that still has to post; any thread. */
void middleware_loop_hold(struct middleware_loop *l);
void middleware_loop_drop(struct middleware_loop *l);
/* Runs what was posted until nothing lives on it any more, ends the thread. */
void middleware_loop_free(struct middleware_loop *l);

#endif
