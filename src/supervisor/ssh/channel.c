/* One SSH channel: bytes in both directions with flow control, and its orderly end. The client's window
 * limits what is written; what a process does not take stays in the library's buffer, whose window then
 * closes. */
#include <stdlib.h>
#include <string.h>

#include "core/limits.h"
#include "core/log.h"
#include "core/str.h"
#include "supervisor/ssh/internal.h"

/* --- input --- */

static size_t take_input(struct ssh_chan *ch, const uint8_t *data, size_t n)
{
    if (ch->closing || ch->ended || !(ch->stream || ch->sock || ch->dialing || !ch->begun))
        return n; /* nobody will read it */
    if (ch->sock && io_queued(ch->sock) <= OS_RELAY_WINDOW) {
        io_write(ch->sock, data, n);
        return n;
    }
    return ch->stream ? run_input(ch, data, n) : 0;
}

static int on_data(ssh_session session, ssh_channel channel, void *data, uint32_t len, int is_stderr,
                   void *ctx)
{
    struct ssh_chan *ch = ctx;
    if (len > OS_SSH_BUFFER) { /* a client that sends past its window */
        ch->conn->over = true;
        conn_wake(ch->conn);
        return (int)len;
    }
    return is_stderr ? (int)len : (int)take_input(ch, data, len);
}

static bool takes_input(const struct ssh_chan *ch)
{
    if (ch->sock)
        return io_queued(ch->sock) <= OS_RELAY_WINDOW;
    return ch->stream && agent_stream_queued(ch->stream) <= OS_RELAY_WINDOW;
}

/* What waited in the library while the process did not read; reading it opens the window again. */
static void drain_input(struct ssh_chan *ch)
{
    char data[OS_RELAY_FRAME];
    while (takes_input(ch)) {
        int n = ssh_channel_read_nonblocking(ch->channel, data, sizeof(data), 0);
        if (n <= 0)
            break;
        take_input(ch, (const uint8_t *)data, (size_t)n);
    }
    if (!ch->eof_in || ch->eof_delivered || !takes_input(ch))
        return;
    ch->eof_delivered = true;
    if (ch->sock)
        io_finish(ch->sock);
    else
        run_input_eof(ch);
}

static void on_eof(ssh_session session, ssh_channel channel, void *ctx)
{
    struct ssh_chan *ch = ctx;
    ch->eof_in = true;
    conn_wake(ch->conn);
}

static void on_close(ssh_session session, ssh_channel channel, void *ctx)
{
    struct ssh_chan *ch = ctx;
    ch->closed = true;
    conn_wake(ch->conn);
}

/* --- output --- */

/* Bytes the client and the transport take now. */
static size_t put(struct ssh_chan *ch, bool is_err, const uint8_t *data, size_t n)
{
    size_t done = 0;
    while (done < n && !ch->closed && !conn_congested(ch->conn)) {
        uint32_t window = ssh_channel_window_size(ch->channel);
        size_t part = n - done < window ? n - done : window;
        if (!part)
            break;
        int r = is_err ? ssh_channel_write_stderr(ch->channel, data + done, (uint32_t)part)
                       : ssh_channel_write(ch->channel, data + done, (uint32_t)part);
        if (r <= 0)
            break;
        done += (size_t)r;
    }
    return done;
}

static void producer(struct ssh_chan *ch, bool on)
{
    if (ch->sock)
        io_read(ch->sock, on);
    else if (ch->stream && on)
        agent_stream_resume(ch->stream);
    else if (ch->stream)
        agent_stream_pause(ch->stream);
}

void chan_output(struct ssh_chan *ch, bool is_err, const uint8_t *data, size_t n)
{
    size_t done = ch->out.len ? 0 : put(ch, is_err, data, n);
    if (done < n && !ch->closed) {
        /* A paused producer is silent, so what waits is of one kind. */
        ch->out_stderr = is_err;
        os_buf_add(&ch->out, data + done, n - done);
        producer(ch, false);
    }
    conn_wake(ch->conn);
}

static void flush(struct ssh_chan *ch)
{
    if (!ch->out.len)
        return;
    os_buf_consume(&ch->out, put(ch, ch->out_stderr, (const uint8_t *)ch->out.data, ch->out.len));
    if (!ch->out.len)
        producer(ch, true);
}

void chan_end(struct ssh_chan *ch, int status)
{
    ch->ended = true;
    ch->status = status;
    conn_wake(ch->conn);
}

static void finish(struct ssh_chan *ch)
{
    if (!ch->ended || ch->out.len || ch->closing || ch->closed)
        return;
    ch->closing = true;
    ssh_channel_send_eof(ch->channel);
    if (ch->status >= 0)
        ssh_channel_request_send_exit_status(ch->channel, ch->status);
    ssh_channel_close(ch->channel);
}

/* --- life --- */

struct ssh_chan *chan_new(struct ssh_conn *c, ssh_channel channel)
{
    struct ssh_chan *ch = os_calloc(1, sizeof(*ch));
    ch->conn = c;
    ch->channel = channel;
    ch->status = -1;
    ch->fd = -1;
    ch->out.max = OS_SSH_BUFFER;
    ch->callbacks = (struct ssh_channel_callbacks_struct){
        .userdata = ch,
        .channel_data_function = on_data,
        .channel_eof_function = on_eof,
        .channel_close_function = on_close,
    };
    ch->next = c->chans;
    c->chans = ch;
    c->n_chans++;
    return ch;
}

ssh_channel chan_open_session(ssh_session session, void *conn)
{
    struct ssh_conn *c = conn;
    if (c->n_chans >= OS_SSH_CHANNELS)
        return NULL;
    ssh_channel channel = ssh_channel_new(session);
    if (!channel)
        return NULL;
    struct ssh_chan *ch = chan_new(c, channel);
    run_install(ch);
    ssh_callbacks_init(&ch->callbacks);
    ssh_set_channel_callbacks(channel, &ch->callbacks);
    return channel;
}

static void let_go(struct ssh_chan *ch)
{
    if (ch->stream)
        agent_stream_close(ch->stream);
    io_close(ch->sock);
    ch->stream = NULL;
    ch->sock = NULL;
}

void chan_free(struct ssh_chan *ch)
{
    let_go(ch);
    ch->closed = true;
    if (ch->dialing)
        return; /* the end of the dial comes back here */
    struct ssh_chan **at = &ch->conn->chans;
    while (*at && *at != ch)
        at = &(*at)->next;
    if (*at) {
        *at = ch->next;
        ch->conn->n_chans--;
    }
    os_strv_free(&ch->env);
    os_buf_free(&ch->out);
    os_error_clear(&ch->dial_err);
    free(ch->term);
    free(ch);
}

bool chan_turn(struct ssh_chan *ch)
{
    if (ch->closed) {
        if (ch->dialing)
            return false;
        ssh_channel channel = ch->channel;
        ssh_remove_channel_callbacks(channel, &ch->callbacks);
        chan_free(ch);
        ssh_channel_free(channel);
        return true;
    }
    flush(ch);
    drain_input(ch);
    finish(ch);
    return false;
}
