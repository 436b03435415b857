/* WatchSandbox streams. Everything here runs on the loop thread, but for the two entry points that post. */
#include "gateway/watch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/id.h"
#include "core/limits.h"
#include "core/str.h"
#include "gateway/logbus.h"
#include "gateway/sandbox.h"
#include "rpc/pb.h"

#define LOG_TAIL_DEFAULT 200
#define PULL 64 /* entries read at a time */

typedef Openshell__V1__SandboxStreamEvent stream_event;

struct watch {
    struct watch *next;
    struct watches *all;
    struct rpc_call *call;
    char id[64];
    Openshell__V1__WatchSandboxRequest *req; /* in arena */
    struct os_arena arena;
    uint64_t line_seq, event_seq;
    bool started; /* the first snapshot was sent */
    bool dirty;   /* the row changed since it was read */
    bool reading; /* a worker reads the row */
    bool ended;   /* on_done ran: free when the worker is back */
    /* result of the read */
    struct os_arena read_arena;
    sandbox_row *row;
    struct os_error read_err;
};

struct watches {
    struct gateway *gw;
    struct watch *head;
};

static void watch_read(struct watch *w);
static void watch_pull(struct watch *w);

struct watches *watches_new(struct gateway *gw)
{
    struct watches *w = os_calloc(1, sizeof(*w));
    w->gw = gw;
    return w;
}

void watches_free(struct watches *w)
{
    free(w);
}

static void watch_free(struct watch *w)
{
    struct watch **at = &w->all->head;
    while (*at && *at != w)
        at = &(*at)->next;
    if (*at)
        *at = w->next;
    os_arena_free(&w->arena);
    os_arena_free(&w->read_arena);
    os_error_clear(&w->read_err);
    rpc_call_unref(w->call);
    free(w);
}

/* --- posting --- */

struct poke {
    struct watches *all;
    bool status;
    char id[64];
};

static void on_poke(void *arg)
{
    struct poke *p = arg;
    for (struct watch *w = p->all->head; w; w = w->next) {
        if (w->ended || strcmp(w->id, p->id) != 0)
            continue;
        if (p->status && w->req && w->req->follow_status) {
            w->dirty = true;
            watch_read(w);
        } else if (p->status && w->started) {
            w->dirty = true; /* removal must end any watch */
            watch_read(w);
        } else if (w->started) {
            watch_pull(w);
        }
    }
    free(p);
}

static void post(struct watches *all, const char *id, bool status)
{
    struct poke *p = os_calloc(1, sizeof(*p));
    p->all = all;
    p->status = status;
    strncpy(p->id, id, sizeof(p->id) - 1);
    rpc_server_post(all->gw->rpc, on_poke, p);
}

void watches_status(struct watches *w, const char *id)
{
    post(w, id, true);
}

void watches_poke(struct watches *w, const char *id)
{
    post(w, id, false);
}

/* --- sending --- */

static void send_event(struct watch *w, stream_event *ev)
{
    rpc_call_send(w->call, &ev->base);
}

static void send_sandbox(struct watch *w, sandbox_row *row)
{
    stream_event ev = OPENSHELL__V1__SANDBOX_STREAM_EVENT__INIT;
    ev.payload_case = OPENSHELL__V1__SANDBOX_STREAM_EVENT__PAYLOAD_SANDBOX;
    ev.sandbox = row;
    send_event(w, &ev);
}

static void lagged(struct watch *w, uint64_t lost)
{
    char text[80];
    snprintf(text, sizeof(text), "watch stream lagged; dropped %llu messages", (unsigned long long)lost);
    rpc_call_finish(w->call, OS_RESOURCE_EXHAUSTED, text);
}

/* live: entries that came after the watch began; the tail applies since_ms as well. */
static bool pull_kind(struct watch *w, enum logbus_kind kind, uint64_t *seq, uint64_t until, bool live)
{
    const struct logbus_filter f = {w->req->log_sources, w->req->n_log_sources, w->req->log_min_level,
                                    live ? 0 : w->req->log_since_ms};
    while (*seq < until && rpc_call_queued(w->call) < OS_RELAY_WINDOW) {
        cleanup_arena struct os_arena a = {0};
        ProtobufCMessage *list[PULL];
        uint64_t lost, want = until - *seq;
        size_t n = logbus_read(w->all->gw->logs, w->id, kind, seq, want < PULL ? (size_t)want : PULL, &a,
                               list, &lost);
        if (lost && live) {
            lagged(w, lost);
            return false;
        }
        for (size_t i = 0; i < n; i++) {
            stream_event ev = OPENSHELL__V1__SANDBOX_STREAM_EVENT__INIT;
            if (kind == LOGBUS_LINES) {
                ev.payload_case = OPENSHELL__V1__SANDBOX_STREAM_EVENT__PAYLOAD_LOG;
                ev.log = (Openshell__V1__SandboxLogLine *)list[i];
                if (!logbus_passes(&f, ev.log))
                    continue;
            } else {
                ev.payload_case = OPENSHELL__V1__SANDBOX_STREAM_EVENT__PAYLOAD_EVENT;
                ev.event = (Openshell__V1__PlatformEvent *)list[i];
            }
            send_event(w, &ev);
        }
        if (!n && !lost)
            break;
    }
    return true;
}

static void watch_pull(struct watch *w)
{
    struct logbus *logs = w->all->gw->logs;
    if (w->req->follow_logs &&
        !pull_kind(w, LOGBUS_LINES, &w->line_seq, logbus_head(logs, w->id, LOGBUS_LINES), true))
        return;
    if (w->req->follow_events)
        pull_kind(w, LOGBUS_EVENTS, &w->event_seq, logbus_head(logs, w->id, LOGBUS_EVENTS), true);
}

/* Where the tail starts, given how many entries the client wants of what there is. */
static uint64_t tail_start(uint64_t head, uint64_t want)
{
    return head > want ? head - want : 0;
}

static void send_tails(struct watch *w)
{
    struct logbus *logs = w->all->gw->logs;
    if (w->req->follow_logs) {
        uint64_t head = logbus_head(logs, w->id, LOGBUS_LINES);
        w->line_seq = tail_start(head, w->req->log_tail_lines ? w->req->log_tail_lines : LOG_TAIL_DEFAULT);
        pull_kind(w, LOGBUS_LINES, &w->line_seq, head, false);
    }
    if (w->req->follow_events) {
        uint64_t head = logbus_head(logs, w->id, LOGBUS_EVENTS);
        w->event_seq = tail_start(head, w->req->event_tail);
        pull_kind(w, LOGBUS_EVENTS, &w->event_seq, head, false);
    }
}

/* --- reading the row --- */

static void read_work(void *arg)
{
    struct watch *w = arg;
    w->row = sandbox_load(w->all->gw, w->id, &w->read_arena, &w->read_err);
}

static void read_done(void *arg)
{
    struct watch *w = arg;
    w->reading = false;
    if (w->ended) {
        watch_free(w);
        return;
    }
    sandbox_row *row = w->row;
    if (!row) {
        /* Gone: the end of a watch that had begun, an error of one that had not. */
        bool vanished = w->started && w->read_err.code == OS_NOT_FOUND;
        rpc_call_finish(w->call, vanished ? OS_OK : w->read_err.code,
                        vanished ? NULL : os_error_text(&w->read_err));
        return;
    }
    bool first = !w->started;
    w->started = true;
    if (first || w->req->follow_status)
        send_sandbox(w, row);
    bool ready = row->status->phase == OPENSHELL__V1__SANDBOX_PHASE__SANDBOX_PHASE_READY;
    if (w->req->stop_on_terminal && ready && (first || w->req->follow_status)) {
        rpc_call_finish(w->call, OS_OK, NULL);
        return;
    }
    os_arena_free(&w->read_arena);
    if (first)
        send_tails(w);
    watch_pull(w);
    if (w->dirty)
        watch_read(w);
}

static void watch_read(struct watch *w)
{
    if (w->reading || (w->started && rpc_call_queued(w->call) >= OS_RELAY_WINDOW))
        return;
    w->dirty = false;
    w->reading = true;
    os_arena_free(&w->read_arena);
    os_error_clear(&w->read_err);
    rpc_server_work(w->all->gw->rpc, read_work, read_done, w);
}

/* --- call --- */

static void on_message(struct rpc_call *call, void *ctx, const uint8_t *data, size_t n)
{
    struct watch *w = ctx;
    if (w->req)
        return;
    w->req = (Openshell__V1__WatchSandboxRequest *)rpc_unpack(
        &w->arena, &openshell__v1__watch_sandbox_request__descriptor, data, n);
    if (!w->req)
        rpc_call_finish(call, OS_INTERNAL, "failed to decode Protobuf message");
    else if (!*w->req->id)
        rpc_call_finish(call, OS_INVALID_ARGUMENT, "id is required");
    else if (strlen(w->req->id) >= sizeof(w->id))
        rpc_call_finish(call, OS_NOT_FOUND, "sandbox not found");
    else {
        memcpy(w->id, w->req->id, strlen(w->req->id) + 1);
        watch_read(w);
    }
}

static void on_writable(struct rpc_call *call, void *ctx)
{
    struct watch *w = ctx;
    if (!w->started)
        return;
    if (w->dirty)
        watch_read(w);
    watch_pull(w);
}

static void on_done(struct rpc_call *call, void *ctx, const struct os_error *status)
{
    struct watch *w = ctx;
    w->ended = true;
    if (!w->reading)
        watch_free(w);
}

void watch_rpc(void *ctx, struct rpc_call *call)
{
    static const struct rpc_call_ops ops = {
        .on_message = on_message, .on_writable = on_writable, .on_done = on_done};
    struct gateway *gw = ctx;
    struct watch *w = os_calloc(1, sizeof(*w));
    w->all = gw->watches;
    w->call = rpc_call_ref(call);
    w->next = gw->watches->head;
    gw->watches->head = w;
    rpc_call_set_ops(call, &ops, w);
}
