/* Log push (spec/supervisor.md 12.3): any thread queues lines, the loop sends them in batches. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/limits.h"
#include "core/log.h"
#include "core/str.h"
#include "supervisor/session/internal.h"

#define TARGET_MAX 128
#define MESSAGE_MAX 8192

/* --- queue, any thread --- */

/* Copies at most max bytes; what is not UTF-8 would make the peer refuse the whole batch. */
static size_t put_text(char *to, const char *from, size_t n)
{
    memcpy(to, from, n);
    to[n] = '\0';
    if (!os_utf8_valid(to, n))
        for (size_t i = 0; i < n; i++)
            if ((unsigned char)to[i] >= 0x80)
                to[i] = '?';
    return n + 1;
}

static struct log_line *line_new(int64_t time_ms, const char *level, const char *target, const char *message)
{
    size_t nt = strnlen(target, TARGET_MAX), nm = strnlen(message, MESSAGE_MAX);
    struct log_line *l = os_calloc(1, sizeof(*l) + nt + nm + 2);
    l->time_ms = time_ms;
    snprintf(l->level, sizeof(l->level), "%s", level);
    l->target = l->text;
    l->message = l->text + put_text(l->text, target, nt);
    put_text(l->text + nt + 1, message, nm);
    return l;
}

void session_log(struct session *s, int64_t time_ms, const char *level, const char *target,
                 const char *message)
{
    struct log_push *p = &s->logs;
    struct log_line *l = line_new(time_ms, level, target, message);
    bool wake = false;
    pthread_mutex_lock(&p->lock);
    if (p->n < OS_LOG_QUEUE) {
        *p->tail = l;
        p->tail = &l->next;
        p->n++;
        wake = p->n == 1 || p->n == OS_LOG_BATCH;
        l = NULL;
    } else {
        p->dropped++;
    }
    pthread_mutex_unlock(&p->lock);
    free(l);
    if (wake)
        uv_async_send(&p->wake);
}

/* Takes up to a batch off the queue, and the count of lines that found it full. */
static unsigned take(struct log_push *p, struct log_line **out, unsigned *dropped)
{
    unsigned n = 0;
    pthread_mutex_lock(&p->lock);
    while (p->queue && n < OS_LOG_BATCH) {
        out[n] = p->queue;
        p->queue = out[n++]->next;
    }
    if (!p->queue)
        p->tail = &p->queue;
    p->n -= n;
    *dropped = p->dropped;
    p->dropped = 0;
    pthread_mutex_unlock(&p->lock);
    return n;
}

static unsigned waiting(struct log_push *p)
{
    pthread_mutex_lock(&p->lock);
    unsigned n = p->n;
    pthread_mutex_unlock(&p->lock);
    return n;
}

/* --- stream, loop thread --- */

static void on_message(struct rpc_call *call, void *ctx, const uint8_t *data, size_t n)
{
    /* the empty response */
}

static void on_writable(struct rpc_call *call, void *ctx)
{
    logs_flush(ctx, true);
}

static void on_done(struct rpc_call *call, void *ctx, const struct os_error *status)
{
    struct session *s = ctx;
    s->logs.call = NULL;
    if (!session_drop(s) || s->stopping)
        return;
    if (status->code == OS_UNAUTHENTICATED || status->code == OS_UNIMPLEMENTED) {
        s->logs.refused = true;
        os_log_warn("session", "the gateway refuses log lines: %s", os_error_text(status));
        return;
    }
    s->logs.waiting = true;
    session_timer(s, TIMER_LOGS, backoff_next(&s->logs.backoff, session_random()));
}

static void open_stream(struct session *s)
{
    static const struct rpc_call_ops ops = {
        .on_message = on_message, .on_writable = on_writable, .on_done = on_done};
    session_hold(s);
    s->logs.call = rpc_client_call(s->client, RPC_OpenShell_PushSandboxLogs, &ops, s, 0);
}

static void fill(Openshell__V1__SandboxLogLine *to, const struct session *s, const struct log_line *l)
{
    openshell__v1__sandbox_log_line__init(to);
    to->sandbox_id = (char *)s->opt.sandbox_id;
    to->timestamp_ms = l->time_ms;
    to->level = (char *)l->level;
    to->target = (char *)l->target;
    to->message = (char *)l->message;
    to->source = (char *)"sandbox";
}

static void send_batch(struct session *s)
{
    struct log_line *lines[OS_LOG_BATCH + 1];
    Openshell__V1__SandboxLogLine wire[OS_LOG_BATCH + 1], *list[OS_LOG_BATCH + 1];
    Openshell__V1__PushSandboxLogsRequest req = OPENSHELL__V1__PUSH_SANDBOX_LOGS_REQUEST__INIT;
    unsigned dropped, n = take(&s->logs, lines, &dropped);
    if (dropped) {
        char text[96];
        snprintf(text, sizeof(text),
                 "%u log lines were dropped here: they came faster than they could be sent", dropped);
        lines[n++] = line_new(os_clock_ms(), "WARN", "session", text);
    }
    for (unsigned i = 0; i < n; i++) {
        fill(&wire[i], s, lines[i]);
        list[i] = &wire[i];
    }
    req.sandbox_id = (char *)s->opt.sandbox_id;
    req.logs = list;
    req.n_logs = n;
    rpc_call_send(s->logs.call, &req.base);
    s->logs.sent_ms = uv_now(s->opt.loop);
    for (unsigned i = 0; i < n; i++)
        free(lines[i]);
}

static bool may_send(const struct session *s)
{
    return s->link_up && !s->logs.refused && !s->logs.waiting && !s->logs.ending;
}

/* The first line after a silence goes out at once, so that who asks for the log right after an event sees it;
 * lines that follow are batched. */
static uint64_t pause_before(const struct session *s)
{
    uint64_t silence = uv_now(s->opt.loop) - s->logs.sent_ms;
    return silence >= OS_LOG_BATCH_MS ? OS_LOG_SETTLE_MS : OS_LOG_BATCH_MS - silence;
}

void logs_flush(struct session *s, bool all)
{
    struct log_push *p = &s->logs;
    if (!may_send(s))
        return;
    unsigned least = all ? 1 : OS_LOG_BATCH;
    while (waiting(p) >= least) {
        if (!p->call)
            open_stream(s);
        if (rpc_call_queued(p->call) > OS_RELAY_WINDOW)
            return; /* on_writable goes on */
        send_batch(s);
    }
    if (!all && waiting(p) && !uv_is_active((uv_handle_t *)&s->timers[TIMER_LOGS]))
        session_timer(s, TIMER_LOGS, pause_before(s));
}

static void on_wake(uv_async_t *h)
{
    logs_flush(h->data, false);
}

void logs_init(struct session *s)
{
    pthread_mutex_init(&s->logs.lock, NULL);
    s->logs.tail = &s->logs.queue;
    s->logs.backoff = (struct backoff){.first_ms = 1000, .max_ms = 30000};
    uv_async_init(s->opt.loop, &s->logs.wake, on_wake);
    s->logs.wake.data = s;
    session_hold(s);
}

void logs_finish(struct session *s)
{
    logs_flush(s, true);
    if (s->logs.ending || !s->logs.call || waiting(&s->logs))
        return;
    s->logs.ending = true;
    rpc_call_half_close(s->logs.call);
}

bool logs_drained(const struct session *s)
{
    return !s->logs.call;
}

void logs_free(struct session *s)
{
    while (s->logs.queue) {
        struct log_line *l = s->logs.queue;
        s->logs.queue = l->next;
        free(l);
    }
    pthread_mutex_destroy(&s->logs.lock);
}
