/* Children of the agent: from spawn to the last byte of output. */
#include "supervisor/agent/child.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "core/log.h"
#include "core/str.h"
#include "supervisor/agent/io.h"

#define TIMEOUT_STATUS 124
#define KILL_AFTER_TERM_MS 100 /* of a time-out */
#define HANGUP_STEP_MS 1500    /* between SIGHUP, SIGTERM and SIGKILL of an abandoned child */
#define QUIET_MS 200           /* output silent for so long after the exit is taken as ended */
#define QUIET_TURNS 10         /* and after so many such periods in any case */

enum child_wait {
    WAIT_NOTHING,
    WAIT_TIMEOUT, /* running, with a time limit */
    WAIT_KILL,    /* SIGTERM was sent for the time limit */
    WAIT_QUIET,   /* exited, output not at its end */
    WAIT_TERM,    /* abandoned, SIGHUP was sent */
    WAIT_DEATH,   /* abandoned, SIGTERM was sent */
};

struct child {
    struct child_list *list;
    struct child *next;
    uv_timer_t timer;
    enum child_wait wait;
    uint32_t id;
    pid_t pid;
    bool tty;
    struct io *in, *out, *err; /* tty: one, in `in` and `out` */
    int open_outputs;
    bool reading;
    bool exited, timed_out, ended, released;
    bool heard; /* output arrived in this quiet period */
    int quiet_turns;
    int status;
    const struct child_ops *ops;
    void *ctx;
};

static void on_timer(uv_timer_t *t);

static void await(struct child *c, enum child_wait wait, uint64_t ms)
{
    c->wait = wait;
    uv_timer_start(&c->timer, on_timer, ms, 0);
}

void child_signal(struct child *c, int sig)
{
    cleanup_error struct os_error err = {0};
    if (monitor_client_signal(c->list->monitor, c->id, sig, &err) < 0)
        os_log_debug("agent", "signal %d to process %d: %s", sig, (int)c->pid, os_error_text(&err));
}

static void on_timer_closed(uv_handle_t *h)
{
    free(h->data);
}

static void child_free(struct child *c)
{
    struct child **at = &c->list->first;
    while (*at && *at != c)
        at = &(*at)->next;
    if (*at)
        *at = c->next;
    uv_close((uv_handle_t *)&c->timer, on_timer_closed);
}

static void close_pipes(struct child *c)
{
    io_close(c->in);
    if (c->out != c->in)
        io_close(c->out);
    io_close(c->err);
    c->in = c->out = c->err = NULL;
}

static void end(struct child *c)
{
    c->ended = true;
    c->wait = WAIT_NOTHING;
    uv_timer_stop(&c->timer);
    c->ops->on_end(c->ctx, c->timed_out ? TIMEOUT_STATUS : c->status);
}

static void check_end(struct child *c)
{
    if (c->exited && !c->open_outputs && !c->ended && !c->released)
        end(c);
}

static void on_timer(uv_timer_t *t)
{
    struct child *c = t->data;
    switch (c->wait) {
    case WAIT_NOTHING:
        return;
    case WAIT_TIMEOUT:
        c->timed_out = true;
        child_signal(c, SIGTERM);
        await(c, WAIT_KILL, KILL_AFTER_TERM_MS);
        return;
    case WAIT_KILL:
        child_signal(c, SIGKILL);
        c->wait = WAIT_NOTHING;
        return;
    case WAIT_QUIET:
        if (c->reading && (!c->heard || ++c->quiet_turns == QUIET_TURNS)) {
            end(c);
            return;
        }
        c->heard = false;
        await(c, WAIT_QUIET, QUIET_MS);
        return;
    case WAIT_TERM:
        child_signal(c, SIGTERM);
        await(c, WAIT_DEATH, HANGUP_STEP_MS);
        return;
    case WAIT_DEATH:
        child_signal(c, SIGKILL);
        c->wait = WAIT_NOTHING;
        if (c->exited)
            child_free(c);
        return;
    }
}

static void on_data(void *ctx, struct io *io, const uint8_t *data, size_t n)
{
    struct child *c = ctx;
    c->heard = true;
    c->ops->on_output(c->ctx, io == c->err, data, n);
}

static void on_eof(void *ctx, struct io *io)
{
    struct child *c = ctx;
    c->open_outputs--;
    check_end(c);
}

static void on_drained(void *ctx, struct io *io)
{
    struct child *c = ctx;
    if (!c->ended)
        c->ops->on_input_ready(c->ctx);
}

struct child *child_spawn(struct child_list *list, const struct monitor_spawn *spawn,
                          uint32_t timeout_seconds, const struct child_ops *ops, void *ctx,
                          struct os_error *err)
{
    static const struct io_ops io_ops = {on_data, on_eof, on_drained};
    struct monitor_child m = {0};
    if (monitor_client_spawn(list->monitor, spawn, &m, err) < 0)
        return NULL;
    struct child *c = os_calloc(1, sizeof(*c));
    c->list = list;
    c->next = list->first;
    list->first = c;
    c->id = m.id;
    c->pid = m.pid;
    c->tty = spawn->tty;
    c->ops = ops;
    c->ctx = ctx;
    uv_timer_init(list->loop, &c->timer);
    c->timer.data = c;
    c->in = io_new(list->loop, m.in, c->tty ? IO_PTY : IO_PIPE, &io_ops, c);
    c->out = c->tty ? c->in : io_new(list->loop, m.out, IO_PIPE, &io_ops, c);
    c->err = c->tty ? NULL : io_new(list->loop, m.err, IO_PIPE, &io_ops, c);
    c->open_outputs = c->tty ? 1 : 2;
    child_read(c, true);
    if (timeout_seconds)
        await(c, WAIT_TIMEOUT, (uint64_t)timeout_seconds * 1000);
    return c;
}

void child_exited(struct child_list *list, uint32_t id, int status)
{
    struct child *c = list->first;
    while (c && c->id != id)
        c = c->next;
    if (!c || c->exited)
        return;
    c->exited = true;
    c->status = status;
    if (c->timed_out)
        child_signal(c, SIGKILL); /* what its group left behind */
    if (c->released) {
        if (c->wait == WAIT_NOTHING)
            child_free(c);
        return;
    }
    await(c, WAIT_QUIET, QUIET_MS);
    check_end(c);
}

bool child_write(struct child *c, const uint8_t *data, size_t n)
{
    return c->in && io_write(c->in, data, n);
}

size_t child_queued(const struct child *c)
{
    return c->in ? io_queued(c->in) : 0;
}

void child_eof(struct child *c)
{
    if (c->in)
        io_finish(c->in);
}

void child_resize(struct child *c, uint16_t cols, uint16_t rows)
{
    struct winsize w = {.ws_col = cols ? cols : 1, .ws_row = rows ? rows : 1};
    if (c->tty && c->in && ioctl(io_fd(c->in), TIOCSWINSZ, &w) < 0)
        os_log_debug("agent", "cannot resize the terminal of process %d", (int)c->pid);
}

void child_read(struct child *c, bool on)
{
    c->reading = on;
    if (c->out)
        io_read(c->out, on);
    if (c->err)
        io_read(c->err, on);
}

pid_t child_pid(const struct child *c)
{
    return c->pid;
}

void child_release(struct child *c)
{
    if (c->released)
        return;
    c->released = true;
    close_pipes(c);
    if (c->exited) {
        child_free(c);
        return;
    }
    child_signal(c, SIGHUP);
    await(c, WAIT_TERM, HANGUP_STEP_MS);
}

void child_list_free(struct child_list *list)
{
    while (list->first) {
        close_pipes(list->first);
        child_free(list->first);
    }
}
