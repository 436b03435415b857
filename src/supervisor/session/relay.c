/* Relays: RelayStream to the gateway on one side; an exec, an attachment, a loopback connection of the
 * sandbox or our SSH server on the other. What one side does not take stays with the other
 * (spec/supervisor.md 12.2; exec is our extension). */
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "core/cleanup.h"
#include "core/limits.h"
#include "core/log.h"
#include "core/str.h"
#include "supervisor/agent/io.h"
#include "supervisor/agent/target.h"
#include "supervisor/session/internal.h"

#define CHANNEL_ID_MAX 128
#define EXIT_NOT_FOUND 127 /* as a shell answers */
#define EXIT_NOT_EXECUTABLE 126

typedef Openshell__V1__RelayFrame relay_frame;
typedef Openshell__V1__ExecRelayTarget exec_target;

struct relay {
    struct session *session;
    struct relay *next;
    char channel_id[CHANNEL_ID_MAX + 1];
    struct rpc_call *call;       /* RelayStream; NULL before the dial is done */
    struct agent_stream *stream; /* exec and attachment, until closed */
    struct io *sock;             /* tcp and ssh */
    bool finished;               /* our direction was ended; what comes in is dropped */
    bool cancelled;
    /* tcp, while a worker dials */
    uv_work_t dial;
    char ip[TARGET_IP_LEN];
    uint16_t port;
    int fd;
    struct os_error dial_err;
};

/* --- list --- */

static struct relay *relay_new(struct session *s, const char *channel_id)
{
    struct relay *r = os_calloc(1, sizeof(*r));
    r->session = s;
    r->fd = -1;
    strcpy(r->channel_id, channel_id); /* length was checked */
    r->next = s->relays;
    s->relays = r;
    s->n_relays++;
    session_hold(s);
    return r;
}

static void relay_free(struct relay *r)
{
    struct session *s = r->session;
    struct relay **at = &s->relays;
    while (*at && *at != r)
        at = &(*at)->next;
    if (*at) {
        *at = r->next;
        s->n_relays--;
    }
    if (r->stream)
        agent_stream_close(r->stream);
    io_close(r->sock);
    if (r->fd >= 0)
        close(r->fd);
    os_error_clear(&r->dial_err);
    free(r);
    session_drop(s);
}

bool relays_drained(const struct session *s)
{
    for (const struct relay *r = s->relays; r; r = r->next)
        if (r->finished && r->call)
            return false;
    return true;
}

void relays_free(struct session *s)
{
    for (struct relay *r = s->relays; r; r = r->next) {
        if (r->stream)
            agent_stream_close(r->stream);
        io_close(r->sock);
        r->stream = NULL;
        r->sock = NULL;
        r->finished = true; /* the struct goes with its call */
    }
}

/* --- towards the gateway --- */

static void send_frame(struct relay *r, const relay_frame *f)
{
    if (r->call && !r->finished)
        rpc_call_send(r->call, &f->base);
}

static bool full(const struct relay *r)
{
    return rpc_call_queued(r->call) > OS_RELAY_WINDOW;
}

static void send_data(struct relay *r, const uint8_t *data, size_t n)
{
    relay_frame f = OPENSHELL__V1__RELAY_FRAME__INIT;
    f.payload_case = OPENSHELL__V1__RELAY_FRAME__PAYLOAD_DATA;
    f.data = (ProtobufCBinaryData){.data = (uint8_t *)data, .len = n};
    send_frame(r, &f);
}

static void send_stderr(struct relay *r, const uint8_t *data, size_t n)
{
    relay_frame f = OPENSHELL__V1__RELAY_FRAME__INIT;
    f.stderr = (ProtobufCBinaryData){.data = (uint8_t *)data, .len = n};
    send_frame(r, &f);
}

static void send_init(struct relay *r)
{
    Openshell__V1__RelayInit init = OPENSHELL__V1__RELAY_INIT__INIT;
    relay_frame f = OPENSHELL__V1__RELAY_FRAME__INIT;
    init.channel_id = r->channel_id;
    f.payload_case = OPENSHELL__V1__RELAY_FRAME__PAYLOAD_INIT;
    f.init = &init;
    send_frame(r, &f);
}

/* Ends our direction; input that still comes is read and dropped so that the stream can end. */
static void finish(struct relay *r)
{
    if (r->finished)
        return;
    r->finished = true;
    rpc_call_half_close(r->call);
    rpc_call_resume(r->call);
}

static void send_exit(struct relay *r, int status)
{
    Openshell__V1__ExecSandboxExit e = OPENSHELL__V1__EXEC_SANDBOX_EXIT__INIT;
    relay_frame f = OPENSHELL__V1__RELAY_FRAME__INIT;
    e.exit_code = status;
    f.exit = &e;
    send_frame(r, &f);
    finish(r);
}

static void send_error(struct relay *r, const char *text)
{
    relay_frame f = OPENSHELL__V1__RELAY_FRAME__INIT;
    f.error = (char *)text;
    send_frame(r, &f);
    finish(r);
}

static void cancel(struct relay *r, const char *why)
{
    if (r->cancelled)
        return;
    r->cancelled = true;
    os_log_debug("session", "relay %s: %s", r->channel_id, why);
    rpc_call_cancel(r->call);
}

/* --- exec and attachment --- */

static void on_stdout(void *ctx, const uint8_t *data, size_t n)
{
    struct relay *r = ctx;
    send_data(r, data, n);
    if (full(r))
        agent_stream_pause(r->stream);
}

static void on_stderr(void *ctx, const uint8_t *data, size_t n)
{
    struct relay *r = ctx;
    send_stderr(r, data, n);
    if (full(r))
        agent_stream_pause(r->stream);
}

static void on_input_ready(void *ctx)
{
    struct relay *r = ctx;
    rpc_call_resume(r->call);
}

static void on_end(void *ctx, int status, const char *error)
{
    struct relay *r = ctx;
    if (error)
        send_error(r, error);
    else
        send_exit(r, status);
    agent_stream_close(r->stream);
    r->stream = NULL;
}

static void stream_frame(struct relay *r, const relay_frame *f)
{
    if (f->payload_case == OPENSHELL__V1__RELAY_FRAME__PAYLOAD_DATA && f->data.len)
        agent_stream_write(r->stream, f->data.data, f->data.len);
    if (f->resize && f->resize->cols && f->resize->rows)
        agent_stream_resize(r->stream, (uint16_t)(f->resize->cols & 0xffff),
                            (uint16_t)(f->resize->rows & 0xffff));
    if (f->stdin_eof)
        agent_stream_eof(r->stream);
    if (agent_stream_queued(r->stream) > OS_RELAY_WINDOW)
        rpc_call_pause(r->call);
}

/* --- tcp and ssh --- */

static void sock_data(void *ctx, struct io *io, const uint8_t *data, size_t n)
{
    struct relay *r = ctx;
    send_data(r, data, n);
    if (full(r))
        io_read(io, false);
}

static void sock_eof(void *ctx, struct io *io)
{
    finish(ctx);
}

static void sock_drained(void *ctx, struct io *io)
{
    struct relay *r = ctx;
    rpc_call_resume(r->call);
}

static void sock_frame(struct relay *r, const relay_frame *f)
{
    if (f->payload_case == OPENSHELL__V1__RELAY_FRAME__PAYLOAD_DATA && f->data.len)
        io_write(r->sock, f->data.data, f->data.len);
    if (f->stdin_eof)
        io_finish(r->sock);
    if (io_queued(r->sock) > OS_RELAY_WINDOW)
        rpc_call_pause(r->call);
}

/* --- RelayStream --- */

static void call_message(struct rpc_call *call, void *ctx, const uint8_t *data, size_t n)
{
    struct relay *r = ctx;
    if (r->finished || r->cancelled)
        return;
    cleanup_arena struct os_arena a = {0};
    const relay_frame *f =
        (const relay_frame *)rpc_unpack(&a, &openshell__v1__relay_frame__descriptor, data, n);
    if (!f)
        cancel(r, "the gateway sent a frame that cannot be decoded");
    else if (f->payload_case == OPENSHELL__V1__RELAY_FRAME__PAYLOAD_INIT)
        cancel(r, "the gateway sent an init frame");
    else if (r->stream)
        stream_frame(r, f);
    else if (r->sock)
        sock_frame(r, f);
}

static void call_writable(struct rpc_call *call, void *ctx)
{
    struct relay *r = ctx;
    if (r->stream)
        agent_stream_resume(r->stream);
    if (r->sock)
        io_read(r->sock, true);
}

static void call_done(struct rpc_call *call, void *ctx, const struct os_error *status)
{
    struct relay *r = ctx;
    if (!r->finished)
        os_log_debug("session", "relay %s ended by the gateway: %s", r->channel_id, os_error_text(status));
    relay_free(r);
}

static void open_stream(struct relay *r)
{
    static const struct rpc_call_ops ops = {
        .on_message = call_message, .on_writable = call_writable, .on_done = call_done};
    session_send_open_result(r->session, r->channel_id, NULL);
    r->call = rpc_client_call(r->session->client, RPC_OpenShell_RelayStream, &ops, r, 0);
    send_init(r);
}

/* --- opening --- */

static uint16_t dimension(uint32_t v)
{
    return v > UINT16_MAX ? UINT16_MAX : (uint16_t)v;
}

/* A command that cannot be started ends as a shell would end it, so that clients see text and status. */
static void not_started(struct relay *r, const struct os_error *err)
{
    if (err->code != OS_NOT_FOUND && err->code != OS_PERMISSION_DENIED) {
        send_error(r, os_error_text(err));
        return;
    }
    cleanup_free char *line = os_asprintf("openshell: %s\n", os_error_text(err));
    send_stderr(r, (const uint8_t *)line, strlen(line));
    send_exit(r, err->code == OS_NOT_FOUND ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE);
}

static struct agent_stream *start_exec(struct relay *r, const exec_target *t, struct os_error *err)
{
    static const struct agent_stream_ops ops = {on_stdout, on_stderr, on_input_ready, on_end};
    struct agent *agent = r->session->opt.agent;
    if (t->attach_main)
        return agent_attach(agent, t->read_only, dimension(t->cols), dimension(t->rows), &ops, r, err);
    cleanup_arena struct os_arena a = {0};
    const char **argv = os_arena_alloc(&a, (t->n_command + 1) * sizeof(*argv));
    struct agent_variable *env = os_arena_alloc(&a, (t->n_environment + 1) * sizeof(*env));
    for (size_t i = 0; i < t->n_command; i++)
        argv[i] = t->command[i];
    for (size_t i = 0; i < t->n_environment; i++)
        env[i] = (struct agent_variable){t->environment[i]->key, t->environment[i]->value};
    const struct agent_command cmd = {.argv = argv,
                                      .workdir = t->workdir,
                                      .tty = t->tty,
                                      .cols = dimension(t->cols),
                                      .rows = dimension(t->rows),
                                      .timeout_seconds = t->timeout_seconds,
                                      .env = env,
                                      .n_env = t->n_environment};
    return agent_exec(agent, &cmd, &ops, r, err);
}

static void begin_exec(struct session *s, const char *channel_id, const exec_target *t)
{
    cleanup_error struct os_error err = {0};
    struct relay *r = relay_new(s, channel_id);
    open_stream(r);
    r->stream = start_exec(r, t, &err);
    if (!r->stream)
        not_started(r, &err);
}

static void bridge(struct relay *r, int fd)
{
    static const struct io_ops ops = {sock_data, sock_eof, sock_drained};
    open_stream(r);
    r->sock = io_new(r->session->opt.loop, fd, IO_SOCKET, &ops, r);
    io_read(r->sock, true);
}

/* Our own SSH server is the other end. */
static void begin_ssh(struct session *s, const char *channel_id)
{
    cleanup_error struct os_error err = {0};
    int ends[2];
    if (!s->opt.on_ssh)
        os_error_set(&err, OS_UNIMPLEMENTED, "this supervisor offers exec and tcp relays, not ssh");
    else if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0)
        os_error_sys(&err, errno, "cannot make the socket of an ssh relay");
    else if (s->opt.on_ssh(s->opt.ctx, ends[1], &err) < 0)
        close(ends[0]);
    if (err.code != OS_OK) {
        session_send_open_result(s, channel_id, os_error_text(&err));
        return;
    }
    bridge(relay_new(s, channel_id), ends[0]);
}

static void dial_work(uv_work_t *w)
{
    struct relay *r = w->data;
    r->fd = monitor_client_dial(agent_monitor(r->session->opt.agent), r->ip, r->port, &r->dial_err);
}

static void dial_done(uv_work_t *w, int status)
{
    struct relay *r = w->data;
    struct session *s = r->session;
    if (r->fd < 0 || r->cancelled || s->stopping) {
        if (!s->stopping)
            session_send_open_result(s, r->channel_id,
                                     r->fd < 0 ? os_error_text(&r->dial_err) : "relay closed");
        relay_free(r);
        return;
    }
    int one = 1;
    setsockopt(r->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    bridge(r, os_steal_fd(r->fd));
}

static void begin_tcp(struct session *s, const char *channel_id, const Openshell__V1__TcpRelayTarget *t)
{
    cleanup_error struct os_error err = {0};
    char ip[TARGET_IP_LEN];
    if (target_resolve(t->host, t->port, ip, &err) < 0) {
        session_send_open_result(s, channel_id, os_error_text(&err));
        return;
    }
    struct relay *r = relay_new(s, channel_id);
    strcpy(r->ip, ip);
    r->port = (uint16_t)t->port;
    r->dial.data = r;
    uv_queue_work(s->opt.loop, &r->dial, dial_work, dial_done);
}

void relay_begin(struct session *s, const Openshell__V1__RelayOpen *open)
{
    if (!*open->channel_id || strlen(open->channel_id) > CHANNEL_ID_MAX)
        os_log_warn("session", "relay request without a usable channel id");
    else if (s->n_relays >= OS_RELAYS_OPEN_SANDBOX)
        session_send_open_result(s, open->channel_id, "too many relays are open in this sandbox");
    else if (open->exec)
        begin_exec(s, open->channel_id, open->exec);
    else if (open->target_case == OPENSHELL__V1__RELAY_OPEN__TARGET_TCP)
        begin_tcp(s, open->channel_id, open->tcp);
    else
        begin_ssh(s, open->channel_id);
}

void relay_close(struct session *s, const char *channel_id)
{
    for (struct relay *r = s->relays; r; r = r->next) {
        if (strcmp(r->channel_id, channel_id) != 0)
            continue;
        if (r->call)
            cancel(r, "closed by the gateway");
        else
            r->cancelled = true;
        return;
    }
}
