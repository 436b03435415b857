/* What happens once per loop iteration: owners of calls are told what is new, then every connection with
 * something to say writes it in one go. Runs before the loop polls (what timers and outside code queued) and
 * right after (what sockets and workers brought). */
#include <signal.h>
#include <stdlib.h>

#include "core/clock.h"
#include "core/str.h"
#include "rpc/internal.h"

static void keep_alive(struct rpc_turn *t)
{
    if (!t->closing)
        uv_ref((uv_handle_t *)&t->prepare);
}

void rpc_turn_ready(struct rpc_turn *t, struct rpc_call *call)
{
    if (call->ready || t->closing)
        return;
    call->ready = true;
    call->ready_next = NULL;
    rpc_call_ref(call);
    if (t->ready_tail)
        t->ready_tail->ready_next = call;
    else
        t->ready_head = call;
    t->ready_tail = call;
    keep_alive(t);
}

void rpc_turn_dirty(struct rpc_turn *t, struct rpc_conn *conn)
{
    if (conn->dirty || conn->closed || t->closing)
        return;
    conn->dirty = true;
    conn->dirty_next = t->dirty;
    t->dirty = conn;
    keep_alive(t);
}

static void process_ready(struct rpc_turn *t)
{
    struct rpc_call *call = t->ready_head;
    t->ready_head = call->ready_next;
    if (!t->ready_head)
        t->ready_tail = NULL;
    call->ready = false;
    rpc_call_process(call);
    rpc_call_unref(call);
}

static void turn_run(struct rpc_turn *t)
{
    while (t->ready_head || t->dirty) {
        if (t->ready_head) {
            process_ready(t);
            continue;
        }
        struct rpc_conn *conn = t->dirty;
        t->dirty = conn->dirty_next;
        conn->dirty = false;
        rpc_conn_flush(conn);
    }
    if (!t->closing)
        uv_unref((uv_handle_t *)&t->prepare);
}

static void on_prepare(uv_prepare_t *h)
{
    turn_run(h->data);
}

static void on_check(uv_check_t *h)
{
    turn_run(h->data);
}

/* --- deadlines: one timer for the earliest; it stays armed when that call ends before, since most do --- */

static void arm(struct rpc_turn *t, int64_t at_ms, int64_t now_ms)
{
    if (t->armed_ms && t->armed_ms <= at_ms)
        return;
    t->armed_ms = at_ms;
    uv_update_time(t->loop);
    uv_timer_start(&t->deadline, t->deadline.timer_cb, (uint64_t)(at_ms > now_ms ? at_ms - now_ms : 0), 0);
}

static void on_deadline(uv_timer_t *h)
{
    struct rpc_turn *t = h->data;
    int64_t now = os_clock_mono_ms(), next = 0;
    t->armed_ms = 0;
    for (struct rpc_call *c = t->live; c; c = c->live_next) {
        if (!c->has_deadline)
            continue;
        if (c->deadline_ms <= now) {
            c->has_deadline = false;
            rpc_call_expire(c);
        } else if (!next || c->deadline_ms < next) {
            next = c->deadline_ms;
        }
    }
    if (next)
        arm(t, next, now);
}

void rpc_turn_watch_deadline(struct rpc_turn *t, const struct rpc_call *call)
{
    arm(t, call->deadline_ms, os_clock_mono_ms());
}

void rpc_turn_add(struct rpc_turn *t, struct rpc_call *call)
{
    call->live_prev = NULL;
    call->live_next = t->live;
    if (t->live)
        t->live->live_prev = call;
    t->live = call;
}

void rpc_turn_remove(struct rpc_turn *t, struct rpc_call *call)
{
    if (call->live_prev)
        call->live_prev->live_next = call->live_next;
    else
        t->live = call->live_next;
    if (call->live_next)
        call->live_next->live_prev = call->live_prev;
}

/* libuv writes without MSG_NOSIGNAL: a peer that left must not end the process. A handler that the program
 * installed itself stays. */
static void ignore_sigpipe(void)
{
    struct sigaction now;
    if (sigaction(SIGPIPE, NULL, &now) == 0 && now.sa_handler == SIG_DFL)
        signal(SIGPIPE, SIG_IGN);
}

void rpc_turn_init(struct rpc_turn *t, uv_loop_t *loop)
{
    ignore_sigpipe();
    t->loop = loop;
    t->in = os_calloc(1, RPC_READ_BUFFER);
    uv_prepare_init(loop, &t->prepare);
    uv_check_init(loop, &t->check);
    uv_timer_init(loop, &t->deadline);
    t->prepare.data = t->check.data = t->deadline.data = t;
    t->handles = 3;
    uv_prepare_start(&t->prepare, on_prepare);
    uv_check_start(&t->check, on_check);
    t->deadline.timer_cb = on_deadline;
    uv_unref((uv_handle_t *)&t->prepare);
    uv_unref((uv_handle_t *)&t->check);
    uv_unref((uv_handle_t *)&t->deadline);
}

static void on_handle_closed(uv_handle_t *h)
{
    struct rpc_turn *t = h->data;
    if (--t->handles)
        return;
    free(t->in);
    t->on_closed(t->owner);
}

void rpc_turn_close(struct rpc_turn *t, void (*on_closed)(void *), void *owner)
{
    while (t->ready_head)
        process_ready(t);
    t->closing = true;
    t->on_closed = on_closed;
    t->owner = owner;
    uv_close((uv_handle_t *)&t->prepare, on_handle_closed);
    uv_close((uv_handle_t *)&t->check, on_handle_closed);
    uv_close((uv_handle_t *)&t->deadline, on_handle_closed);
}
