/* Streams: an exec is a child of its own, an attachment is a position in the main process's retained output.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/limits.h"
#include "supervisor/agent/internal.h"

#define CTRL_P 0x10
#define CTRL_Q 0x11

struct agent_stream {
    struct agent *agent;
    const struct agent_stream_ops *ops;
    void *ctx;
    bool paused, ended, closed;
    struct child *child; /* exec; NULL for an attachment */
    /* attachment */
    struct agent_stream *next;
    uint64_t pos;
    bool ctrl_p;        /* the last input byte was a Ctrl-P that has not been forwarded */
    bool detached;      /* on_end(0) is due */
    bool pumping;       /* callbacks of this stream are running: close only marks */
    const char *notice; /* goes to stderr first */
    char gone[96];      /* such a notice: output that is no longer retained */
};

static bool is_attachment(const struct agent_stream *s)
{
    return !s->child;
}

static struct agent_stream *stream_new(struct agent *a, const struct agent_stream_ops *ops, void *ctx)
{
    struct agent_stream *s = os_calloc(1, sizeof(*s));
    s->agent = a;
    s->ops = ops;
    s->ctx = ctx;
    return s;
}

/* --- exec --- */

static void exec_output(void *ctx, bool is_err, const uint8_t *data, size_t n)
{
    struct agent_stream *s = ctx;
    (is_err ? s->ops->on_stderr : s->ops->on_stdout)(s->ctx, data, n);
}

static void exec_input_ready(void *ctx)
{
    struct agent_stream *s = ctx;
    s->ops->on_input_ready(s->ctx);
}

static void exec_end(void *ctx, int status)
{
    struct agent_stream *s = ctx;
    s->ended = true;
    s->ops->on_end(s->ctx, status, NULL);
}

struct agent_stream *agent_exec(struct agent *a, const struct agent_command *cmd,
                                const struct agent_stream_ops *ops, void *ctx, struct os_error *err)
{
    static const struct child_ops child_ops = {exec_output, exec_input_ready, exec_end};
    cleanup_strv struct os_strv env = {0};
    if (agent_environment_of(a, cmd, false, &env, err) < 0)
        return NULL;
    const struct monitor_spawn spawn = agent_spawn_of(cmd, &env, false);
    struct agent_stream *s = stream_new(a, ops, ctx);
    s->child = child_spawn(&a->children, &spawn, cmd->timeout_seconds, &child_ops, s, err);
    if (!s->child) {
        free(s);
        return NULL;
    }
    return s;
}

/* --- attachments --- */

static void attachment_end(struct agent_stream *s, int status, const char *error)
{
    s->ended = true;
    if (s->agent->input_owner == s)
        s->agent->input_owner = NULL;
    s->ops->on_end(s->ctx, status, error);
}

static void attachment_step(struct agent_stream *s)
{
    struct agent *a = s->agent;
    if (s->notice) {
        const char *text = s->notice;
        s->notice = NULL;
        s->ops->on_stderr(s->ctx, (const uint8_t *)text, strlen(text));
        return;
    }
    if (s->detached) {
        attachment_end(s, 0, NULL);
        return;
    }
    if (s->pos < a->retain.head) {
        char text[128];
        snprintf(text, sizeof(text),
                 "attachment fell behind by %llu bytes of output; reconnect for buffered output",
                 (unsigned long long)(a->retain.head - s->pos));
        attachment_end(s, -1, text);
        return;
    }
    const uint8_t *data;
    bool is_err;
    size_t n = retain_at(&a->retain, s->pos, OS_RELAY_FRAME, &data, &is_err);
    s->pos += n;
    if (n)
        (is_err ? s->ops->on_stderr : s->ops->on_stdout)(s->ctx, data, n);
    else
        attachment_end(s, a->main_status, NULL);
}

static bool has_work(const struct agent_stream *s)
{
    const struct agent *a = s->agent;
    return !s->closed && !s->paused && !s->ended &&
           (s->notice || s->detached || s->pos != a->retain.tail || a->main_ended);
}

void attachments_pump(struct agent *a)
{
    for (struct agent_stream *s = a->attachments, *next; s; s = next) {
        s->pumping = true;
        while (has_work(s))
            attachment_step(s);
        s->pumping = false;
        next = s->next;
        if (s->closed)
            agent_stream_close(s);
    }
}

bool attachments_ended(const struct agent *a)
{
    for (const struct agent_stream *s = a->attachments; s; s = s->next)
        if (!s->ended)
            return false;
    return true;
}

void attachments_input_ready(struct agent *a)
{
    if (a->input_owner)
        a->input_owner->ops->on_input_ready(a->input_owner->ctx);
}

struct agent_stream *agent_attach(struct agent *a, bool read_only, uint16_t cols, uint16_t rows,
                                  const struct agent_stream_ops *ops, void *ctx, struct os_error *err)
{
    if (!a->main_pid) {
        os_error_set(err, OS_FAILED_PRECONDITION, "the main process has not been started yet");
        return NULL;
    }
    struct agent_stream *s = stream_new(a, ops, ctx);
    s->pos = a->retain.head;
    if (!read_only && !a->input_owner)
        a->input_owner = s;
    else if (!read_only)
        s->notice = "openshell: canonical main process already has an input owner; attached read-only\n";
    if (!s->notice && s->pos && !a->main_tty) { /* a terminal's past is of no use to a program */
        snprintf(s->gone, sizeof(s->gone), "openshell: %llu earlier bytes of output are no longer kept\n",
                 (unsigned long long)s->pos);
        s->notice = s->gone;
    }
    if (cols && rows && a->main)
        child_resize(a->main, cols, rows);
    s->next = a->attachments;
    a->attachments = s;
    uv_async_send(&a->wake);
    return s;
}

#define LEFT "\r\nopenshell: detached, the main process goes on\r\n"

static void attachment_detach(struct agent_stream *s, const char *notice)
{
    s->notice = notice;
    s->detached = true;
    if (s->agent->input_owner == s)
        s->agent->input_owner = NULL;
    uv_async_send(&s->agent->wake);
}

/* Input of one who only watches goes nowhere, but Ctrl-P Ctrl-Q lets them leave. */
static void attachment_watch(struct agent_stream *s, const uint8_t *data, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (s->ctrl_p && data[i] == CTRL_Q) {
            attachment_detach(s, LEFT);
            return;
        }
        s->ctrl_p = data[i] == CTRL_P;
    }
}

/* Ctrl-P Ctrl-Q, possibly split over two writes, detaches; what came before it is forwarded. */
static void attachment_write(struct agent_stream *s, const uint8_t *data, size_t n)
{
    struct agent *a = s->agent;
    if (!a->main)
        return;
    if (a->input_owner != s) {
        attachment_watch(s, data, n);
        return;
    }
    size_t from = 0;
    bool open = true;
    for (size_t i = 0; i < n && open; i++) {
        bool after_p = s->ctrl_p;
        s->ctrl_p = !after_p && data[i] == CTRL_P;
        if (s->ctrl_p) {
            open = i == from || child_write(a->main, data + from, i - from);
            from = i + 1;
        } else if (after_p && data[i] == CTRL_Q) {
            attachment_detach(s, LEFT);
            return;
        } else if (after_p) {
            static const uint8_t p = CTRL_P;
            open = child_write(a->main, &p, 1);
            s->ctrl_p = data[i] == CTRL_P;
            from = s->ctrl_p ? i + 1 : i;
        }
    }
    if (open && from < n)
        open = child_write(a->main, data + from, n - from);
    if (!open && !a->main_ended)
        attachment_detach(s, "openshell: canonical process stdin closed; closing attachment\n");
}

/* --- both --- */

void agent_stream_write(struct agent_stream *s, const uint8_t *data, size_t n)
{
    if (s->ended || !n)
        return;
    if (is_attachment(s))
        attachment_write(s, data, n);
    else
        child_write(s->child, data, n);
}

size_t agent_stream_queued(const struct agent_stream *s)
{
    if (!is_attachment(s))
        return child_queued(s->child);
    const struct agent *a = s->agent;
    return a->input_owner == s && a->main ? child_queued(a->main) : 0;
}

void agent_stream_eof(struct agent_stream *s)
{
    if (!is_attachment(s))
        child_eof(s->child);
    else if (s->agent->input_owner == s)
        s->agent->input_owner = NULL;
}

void agent_stream_resize(struct agent_stream *s, uint16_t cols, uint16_t rows)
{
    struct child *c = is_attachment(s) ? s->agent->main : s->child;
    if (c)
        child_resize(c, cols, rows);
}

void agent_stream_signal(struct agent_stream *s, int sig)
{
    struct child *c = is_attachment(s) ? s->agent->main : s->child;
    if (c && !s->ended)
        child_signal(c, sig);
}

void agent_stream_pause(struct agent_stream *s)
{
    s->paused = true;
    if (!is_attachment(s))
        child_read(s->child, false);
}

void agent_stream_resume(struct agent_stream *s)
{
    s->paused = false;
    if (is_attachment(s))
        uv_async_send(&s->agent->wake);
    else
        child_read(s->child, true);
}

void agent_stream_close(struct agent_stream *s)
{
    struct agent *a = s->agent;
    if (!is_attachment(s)) {
        child_release(s->child);
        free(s);
        return;
    }
    s->closed = true;
    if (a->input_owner == s)
        a->input_owner = NULL;
    if (s->pumping)
        return; /* attachments_pump() does the rest */
    struct agent_stream **at = &a->attachments;
    while (*at && *at != s)
        at = &(*at)->next;
    if (*at)
        *at = s->next;
    free(s);
    uv_async_send(&a->wake); /* the last one may have been waited for */
}
