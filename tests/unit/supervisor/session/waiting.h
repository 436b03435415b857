/* The loop of a test, and how it is run until something is true. A test in which nothing happens any more is
 * ended. */
#ifndef TESTS_SESSION_WAITING_H
#define TESTS_SESSION_WAITING_H

#include <stdbool.h>
#include <uv.h>

static uv_loop_t loop;

#define TICK_MS 20 /* a condition that a timer makes true is seen no later */
#define TICKS 1500

static void on_tick(uv_timer_t *t)
{
    if (++*(unsigned *)t->data == TICKS)
        fail_msg("nothing happened for too long");
}

static void guard_start(uv_timer_t *guard, unsigned *ticks)
{
    uv_timer_init(&loop, guard);
    guard->data = ticks;
    uv_timer_start(guard, on_tick, TICK_MS, TICK_MS);
}

#define RUN_UNTIL(condition)                                                                                 \
    do {                                                                                                     \
        unsigned ticks_ = 0;                                                                                 \
        uv_timer_t guard_;                                                                                   \
        guard_start(&guard_, &ticks_);                                                                       \
        while (!(condition))                                                                                 \
            uv_run(&loop, UV_RUN_ONCE);                                                                      \
        uv_close((uv_handle_t *)&guard_, NULL);                                                              \
        uv_run(&loop, UV_RUN_NOWAIT);                                                                        \
    } while (0)

static void on_pause(uv_timer_t *t)
{
    *(bool *)t->data = true;
}

static void run_for(unsigned ms)
{
    bool over = false;
    uv_timer_t t;
    uv_timer_init(&loop, &t);
    t.data = &over;
    uv_timer_start(&t, on_pause, ms, 0);
    RUN_UNTIL(over);
    uv_close((uv_handle_t *)&t, NULL);
    uv_run(&loop, UV_RUN_NOWAIT);
}

#endif
