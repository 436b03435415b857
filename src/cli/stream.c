/* The exec stream. Output is written as it arrives, blocking: a slow reader stops the loop, the loop stops
 * crediting the gateway, and the command in the sandbox waits. */
#include "cli/stream.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/terminal.h"
#include "core/cleanup.h"
#include "core/limits.h"
#include "rpc/pb.h"

#define AHEAD_WAIT_MS 20 /* a producer that needs longer is streamed */
#define EXIT_PIPE (128 + SIGPIPE)

struct stream {
    struct cli *cli;
    struct rpc_call *call; /* NULL once on_done ran */
    enum stream_input input;
    const struct stream_io *io; /* NULL = the standard descriptors */
    bool finished, got_exit;
    int exit_code;
    struct os_error *err;
    int epoll_fd; /* holds stdin, so that stdin itself keeps its blocking mode; -1 for a plain file */
    uv_poll_t poll;
    uv_idle_t idle;
    uv_signal_t winch, ends[3];
    bool watching, input_over;
};

/* --- output --- */

/* All of it, also when somebody made the descriptor non-blocking. */
static bool write_out(int fd, const uint8_t *data, size_t n)
{
    while (n) {
        ssize_t k = write(fd, data, n);
        if (k > 0) {
            data += k;
            n -= (size_t)k;
        } else if (k < 0 && errno == EAGAIN) {
            struct pollfd p = {.fd = fd, .events = POLLOUT};
            poll(&p, 1, -1);
        } else if (k == 0 || errno != EINTR) {
            return false;
        }
    }
    return true;
}

static void finish(struct stream *s, int code)
{
    s->exit_code = code;
    s->finished = true;
}

static void on_message(struct rpc_call *call, void *ctx, const uint8_t *data, size_t n)
{
    struct stream *s = ctx;
    cleanup_arena struct os_arena a = {0};
    if (s->finished)
        return;
    s->cli->answered = true;
    Openshell__V1__ExecSandboxEvent *ev = (Openshell__V1__ExecSandboxEvent *)rpc_unpack(
        &a, &openshell__v1__exec_sandbox_event__descriptor, data, n);
    bool written = true, failed = false;
    if (!ev) {
        os_error_set(s->err, OS_DATA_LOSS, "the gateway sent an exec event that cannot be read");
        finish(s, -1);
    } else if (ev->payload_case == OPENSHELL__V1__EXEC_SANDBOX_EVENT__PAYLOAD_STDOUT) {
        if (s->io && s->io->write)
            failed = s->io->write(s->io->ctx, ev->stdout->data.data, ev->stdout->data.len, s->err) < 0;
        else
            written = write_out(STDOUT_FILENO, ev->stdout->data.data, ev->stdout->data.len);
    } else if (ev->payload_case == OPENSHELL__V1__EXEC_SANDBOX_EVENT__PAYLOAD_STDERR) {
        write_out(STDERR_FILENO, ev->stderr->data.data, ev->stderr->data.len);
    } else if (ev->payload_case == OPENSHELL__V1__EXEC_SANDBOX_EVENT__PAYLOAD_EXIT) {
        s->got_exit = true;
        finish(s, ev->exit->exit_code & 0xff);
    }
    if (!written || failed) {
        rpc_call_cancel(call);
        finish(s, failed ? -1 : EXIT_PIPE);
    }
}

static void on_done(struct rpc_call *call, void *ctx, const struct os_error *status)
{
    struct stream *s = ctx;
    s->call = NULL;
    if (s->finished)
        return;
    finish(s, -1);
    if (status->code == OS_OK)
        os_error_set(s->err, OS_UNAVAILABLE,
                     "the gateway ended the stream without an exit status of the command");
    else
        cli_call_failed(s->cli, status, s->err);
}

/* --- input --- */

static void watch_stop(struct stream *s)
{
    if (s->watching && s->epoll_fd >= 0)
        uv_poll_stop(&s->poll);
    else if (s->watching)
        uv_idle_stop(&s->idle);
    s->watching = false;
}

static void send_input(struct stream *s, const void *data, size_t n)
{
    Openshell__V1__ExecSandboxInput in = OPENSHELL__V1__EXEC_SANDBOX_INPUT__INIT;
    in.payload_case = OPENSHELL__V1__EXEC_SANDBOX_INPUT__PAYLOAD_STDIN;
    in.stdin.data = (uint8_t *)data;
    in.stdin.len = n;
    rpc_call_send(s->call, &in.base);
}

static void read_input(struct stream *s)
{
    uint8_t buf[OS_RELAY_FRAME];
    if (s->finished || !s->call) {
        watch_stop(s);
        return;
    }
    ssize_t n;
    if (s->io) {
        n = s->io->read(s->io->ctx, buf, sizeof(buf), s->err);
        if (n < 0) {
            watch_stop(s);
            rpc_call_cancel(s->call);
            finish(s, -1);
            return;
        }
    } else {
        n = read(STDIN_FILENO, buf, s->input == STREAM_RAW ? OS_STDIN_FRAME : sizeof(buf));
    }
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (n > 0) {
        send_input(s, buf, (size_t)n);
        if (rpc_call_queued(s->call) >= OS_RELAY_WINDOW)
            watch_stop(s);
        return;
    }
    watch_stop(s);
    s->input_over = true;
    rpc_call_half_close(s->call);
}

static void on_readable(uv_poll_t *h, int status, int events)
{
    read_input(h->data);
}

static void on_idle(uv_idle_t *h)
{
    read_input(h->data);
}

static void watch_start(struct stream *s)
{
    if (s->input == STREAM_NO_INPUT || s->input_over || s->watching || s->finished)
        return;
    if (s->epoll_fd >= 0)
        uv_poll_start(&s->poll, UV_READABLE, on_readable);
    else
        uv_idle_start(&s->idle, on_idle);
    s->watching = true;
}

static void on_writable(struct rpc_call *call, void *ctx)
{
    watch_start(ctx);
}

static void on_winch(uv_signal_t *h, int signum)
{
    struct stream *s = h->data;
    Openshell__V1__ExecSandboxWindowResize size = OPENSHELL__V1__EXEC_SANDBOX_WINDOW_RESIZE__INIT;
    Openshell__V1__ExecSandboxInput in = OPENSHELL__V1__EXEC_SANDBOX_INPUT__INIT;
    terminal_size(&size.cols, &size.rows);
    in.payload_case = OPENSHELL__V1__EXEC_SANDBOX_INPUT__PAYLOAD_RESIZE;
    in.resize = &size;
    if (s->call && !s->finished)
        rpc_call_send(s->call, &in.base);
}

static void on_signal(uv_signal_t *h, int signum)
{
    struct stream *s = h->data;
    if (s->finished)
        return;
    s->cli->caught = signum;
    finish(s, 128 + signum);
    if (s->call)
        rpc_call_cancel(s->call);
}

static void signals_init(struct stream *s)
{
    static const int signals[] = {SIGINT, SIGQUIT, SIGTERM};
    uv_signal_init(&s->cli->loop, &s->winch);
    s->winch.data = s;
    if (s->input == STREAM_RAW)
        uv_signal_start(&s->winch, on_winch, SIGWINCH);
    for (size_t i = 0; i < OS_ARRAY_LEN(s->ends); i++) {
        uv_signal_init(&s->cli->loop, &s->ends[i]);
        s->ends[i].data = s;
        if (s->cli->catch_signals)
            uv_signal_start(&s->ends[i], on_signal, signals[i]);
    }
}

/* A plain file cannot be watched and is always readable: the idle handle reads it. */
static void handles_init(struct stream *s)
{
    struct epoll_event ev = {.events = EPOLLIN};
    s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (s->io && s->epoll_fd >= 0) { /* input is not read from a descriptor */
        close(s->epoll_fd);
        s->epoll_fd = -1;
    } else if (s->epoll_fd >= 0 && epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, STDIN_FILENO, &ev) < 0) {
        close(s->epoll_fd);
        s->epoll_fd = -1;
    }
    s->poll.data = s->idle.data = s;
    if (s->epoll_fd >= 0)
        uv_poll_init(&s->cli->loop, &s->poll, s->epoll_fd);
    uv_idle_init(&s->cli->loop, &s->idle);
    signals_init(s);
}

/* The handles live in the arena of the run, which outlives the loop. */
static void handles_close(struct stream *s)
{
    watch_stop(s);
    uv_close((uv_handle_t *)&s->idle, NULL);
    uv_close((uv_handle_t *)&s->winch, NULL);
    for (size_t i = 0; i < OS_ARRAY_LEN(s->ends); i++)
        uv_close((uv_handle_t *)&s->ends[i], NULL);
    if (s->epoll_fd < 0)
        return;
    uv_close((uv_handle_t *)&s->poll, NULL);
    uv_run(&s->cli->loop, UV_RUN_NOWAIT);
    close(s->epoll_fd);
}

/* --- start --- */

static void start_streaming(struct stream *s, Openshell__V1__ExecSandboxRequest *req,
                            const struct os_buf *ahead)
{
    Openshell__V1__ExecSandboxInput in = OPENSHELL__V1__EXEC_SANDBOX_INPUT__INIT;
    in.payload_case = OPENSHELL__V1__EXEC_SANDBOX_INPUT__PAYLOAD_START;
    in.start = req;
    rpc_call_send(s->call, &in.base);
    for (size_t at = 0; ahead && at < ahead->len; at += OS_RELAY_FRAME)
        send_input(s, ahead->data + at, ahead->len - at < OS_RELAY_FRAME ? ahead->len - at : OS_RELAY_FRAME);
    if (rpc_call_queued(s->call) < OS_RELAY_WINDOW)
        watch_start(s);
}

static const struct rpc_call_ops stream_ops = {
    .on_message = on_message, .on_writable = on_writable, .on_done = on_done};

static int run(struct cli *cli, Openshell__V1__ExecSandboxRequest *req, enum stream_input input,
               const struct stream_io *io, const struct os_buf *ahead, struct os_error *err)
{
    struct stream *s = os_arena_alloc(&cli->arena, sizeof(*s));
    *s = (struct stream){.cli = cli, .input = input, .io = io, .err = err, .epoll_fd = -1};
    if (input == STREAM_RAW && terminal_raw(err) < 0)
        return -1;
    handles_init(s);
    s->call = rpc_client_call(
        cli->rpc, input == STREAM_NO_INPUT ? RPC_OpenShell_ExecSandbox : RPC_OpenShell_ExecSandboxInteractive,
        &stream_ops, s, 0);
    if (input == STREAM_NO_INPUT) {
        rpc_call_send(s->call, &req->base);
        rpc_call_half_close(s->call);
    } else {
        start_streaming(s, req, ahead);
    }
    while (!s->finished)
        uv_run(&cli->loop, UV_RUN_ONCE);
    terminal_restore();
    s->err = NULL; /* a late on_done has nobody to tell */
    handles_close(s);
    return s->exit_code;
}

int stream_run(struct cli *cli, Openshell__V1__ExecSandboxRequest *req, enum stream_input input,
               const struct os_buf *ahead, struct os_error *err)
{
    return run(cli, req, input, NULL, ahead, err);
}

int stream_run_command(struct cli *cli, const char *sandbox_id, const char *const *command, size_t n,
                       const struct stream_io *io, struct os_error *err)
{
    Openshell__V1__ExecSandboxRequest req = OPENSHELL__V1__EXEC_SANDBOX_REQUEST__INIT;
    req.sandbox_id = (char *)sandbox_id;
    req.command = (char **)command;
    req.n_command = n;
    int code = run(cli, &req, io->read ? STREAM_PIPE : STREAM_NO_INPUT, io, NULL, err);
    return cli->caught ? os_error_set(err, OS_CANCELLED, "interrupted") : code;
}

bool stream_read_ahead(struct os_buf *out, size_t max)
{
    if (isatty(STDIN_FILENO))
        return false;
    while (out->len < max) {
        char buf[OS_RELAY_FRAME];
        struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};
        int ready = poll(&p, 1, AHEAD_WAIT_MS);
        if (ready < 0 && errno == EINTR)
            continue;
        if (ready <= 0)
            return false;
        size_t room = max - out->len;
        ssize_t n = read(STDIN_FILENO, buf, room < sizeof(buf) ? room : sizeof(buf));
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (n <= 0)
            return true; /* the end, or no stdin at all */
        os_buf_add(out, buf, (size_t)n);
    }
    return false;
}
