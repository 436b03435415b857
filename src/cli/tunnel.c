/* Bytes from a descriptor into a ForwardTcp call and back, with flow control in both directions. */
#include "cli/tunnel.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/limits.h"
#include "core/str.h"

#define CHUNK 65536 /* bytes per frame, spec/cli.md 7.3 */

typedef Openshell__V1__TcpForwardFrame forward_frame;

struct tunnel {
    struct cli *cli;
    struct rpc_call *call; /* NULL once on_done ran */
    int in, out;
    uv_poll_t reader, writer;
    uv_idle_t idle; /* reads where polling is impossible: a plain file */
    bool pollable;
    bool in_over;
    int refs;              /* open handles and the call */
    struct os_buf pending; /* for out */
    bool ended;
    struct os_error status;
    void (*on_end)(void *ctx, const struct os_error *status);
    void *ctx;
};

static void release(struct tunnel *t)
{
    if (--t->refs)
        return;
    os_buf_free(&t->pending);
    os_error_clear(&t->status);
    free(t);
}

static void on_closed(uv_handle_t *h)
{
    release(h->data);
}

/* The call is over and nothing is left to write. */
static void finish(struct tunnel *t)
{
    if (t->ended)
        return;
    t->ended = true;
    if (t->call)
        rpc_call_cancel(t->call);
    uv_handle_t *const handles[] = {(uv_handle_t *)&t->reader, (uv_handle_t *)&t->writer,
                                    (uv_handle_t *)&t->idle};
    for (size_t i = 0; i < OS_ARRAY_LEN(handles); i++)
        if (handles[i] != (uv_handle_t *)&t->reader || t->pollable)
            uv_close(handles[i], on_closed);
    close(t->in);
    close(t->out);
    t->on_end(t->ctx, &t->status);
}

/* --- out --- */

static void on_writable_out(uv_poll_t *h, int status, int events);

static void write_pending(struct tunnel *t)
{
    size_t done = 0;
    while (done < t->pending.len) {
        ssize_t n = write(t->out, t->pending.data + done, t->pending.len - done);
        if (n > 0) {
            done += (size_t)n;
        } else if (n < 0 && errno == EAGAIN) {
            break;
        } else if (n == 0 || errno != EINTR) { /* nobody reads: what the sandbox sends has nowhere to go */
            finish(t);
            return;
        }
    }
    os_buf_consume(&t->pending, done);
    if (t->pending.len) {
        uv_poll_start(&t->writer, UV_WRITABLE, on_writable_out);
        return;
    }
    uv_poll_stop(&t->writer);
    if (t->call)
        rpc_call_resume(t->call);
    else
        finish(t);
}

static void on_writable_out(uv_poll_t *h, int status, int events)
{
    write_pending(h->data);
}

static void on_message(struct rpc_call *call, void *ctx, const uint8_t *data, size_t n)
{
    struct tunnel *t = ctx;
    cleanup_arena struct os_arena a = {0};
    if (t->ended)
        return;
    t->cli->answered = true;
    const forward_frame *f =
        (const forward_frame *)rpc_unpack(&a, &openshell__v1__tcp_forward_frame__descriptor, data, n);
    if (!f) {
        os_error_set(&t->status, OS_DATA_LOSS, "the gateway sent a frame that cannot be read");
        finish(t);
        return;
    }
    if (f->payload_case != OPENSHELL__V1__TCP_FORWARD_FRAME__PAYLOAD_DATA)
        return;
    os_buf_add(&t->pending, f->data.data, f->data.len);
    if (t->pending.len >= OS_RELAY_WINDOW)
        rpc_call_pause(call);
    write_pending(t);
}

static void on_done(struct rpc_call *call, void *ctx, const struct os_error *status)
{
    struct tunnel *t = ctx;
    t->call = NULL;
    if (!t->ended && status->code != OS_OK && t->status.code == OS_OK)
        os_error_set(&t->status, status->code, "%s", os_error_text(status));
    if (!t->ended && !t->pending.len)
        finish(t);
    release(t);
}

/* --- in --- */

static void on_readable_in(uv_poll_t *h, int status, int events);
static void on_idle_in(uv_idle_t *h);

static void read_on(struct tunnel *t, bool on)
{
    if (t->pollable && on)
        uv_poll_start(&t->reader, UV_READABLE, on_readable_in);
    else if (t->pollable)
        uv_poll_stop(&t->reader);
    else if (on)
        uv_idle_start(&t->idle, on_idle_in);
    else
        uv_idle_stop(&t->idle);
}

static void read_in(struct tunnel *t)
{
    uint8_t data[CHUNK];
    forward_frame f = OPENSHELL__V1__TCP_FORWARD_FRAME__INIT;
    if (!t->call) {
        read_on(t, false);
        return;
    }
    ssize_t n = read(t->in, data, sizeof(data));
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        t->in_over = true;
        read_on(t, false);
        rpc_call_half_close(t->call);
        return;
    }
    f.payload_case = OPENSHELL__V1__TCP_FORWARD_FRAME__PAYLOAD_DATA;
    f.data = (ProtobufCBinaryData){.data = data, .len = (size_t)n};
    rpc_call_send(t->call, &f.base);
    if (rpc_call_queued(t->call) >= OS_RELAY_WINDOW)
        read_on(t, false);
}

static void on_readable_in(uv_poll_t *h, int status, int events)
{
    read_in(h->data);
}

static void on_idle_in(uv_idle_t *h)
{
    read_in(h->data);
}

static void call_writable(struct rpc_call *call, void *ctx)
{
    struct tunnel *t = ctx;
    if (!t->ended && !t->in_over)
        read_on(t, true);
}

/* --- start --- */

static void send_init(struct tunnel *t, const struct tunnel_target *target)
{
    Openshell__V1__TcpForwardInit init = OPENSHELL__V1__TCP_FORWARD_INIT__INIT;
    Openshell__V1__SshRelayTarget ssh = OPENSHELL__V1__SSH_RELAY_TARGET__INIT;
    Openshell__V1__TcpRelayTarget tcp = OPENSHELL__V1__TCP_RELAY_TARGET__INIT;
    forward_frame f = OPENSHELL__V1__TCP_FORWARD_FRAME__INIT;
    init.sandbox_id = (char *)target->sandbox_id;
    init.service_id = (char *)target->service_id;
    init.authorization_token = (char *)target->token;
    if (target->host) {
        init.target_case = OPENSHELL__V1__TCP_FORWARD_INIT__TARGET_TCP;
        tcp.host = (char *)target->host;
        tcp.port = target->port;
        init.tcp = &tcp;
    } else {
        init.target_case = OPENSHELL__V1__TCP_FORWARD_INIT__TARGET_SSH;
        init.ssh = &ssh;
    }
    f.payload_case = OPENSHELL__V1__TCP_FORWARD_FRAME__PAYLOAD_INIT;
    f.init = &init;
    rpc_call_send(t->call, &f.base);
}

struct tunnel *tunnel_start(struct cli *cli, const struct tunnel_target *target, int in, int out,
                            void (*on_end)(void *ctx, const struct os_error *status), void *ctx)
{
    static const struct rpc_call_ops ops = {
        .on_message = on_message, .on_writable = call_writable, .on_done = on_done};
    struct tunnel *t = os_calloc(1, sizeof(*t));
    t->cli = cli;
    t->in = in;
    t->out = out;
    t->on_end = on_end;
    t->ctx = ctx;
    t->pollable = uv_poll_init(&cli->loop, &t->reader, in) == 0;
    uv_poll_init(&cli->loop, &t->writer, out);
    uv_idle_init(&cli->loop, &t->idle);
    t->reader.data = t->writer.data = t->idle.data = t;
    t->refs = t->pollable ? 4 : 3;
    t->call = rpc_client_call(cli->rpc, RPC_OpenShell_ForwardTcp, &ops, t, 0);
    send_init(t, target);
    read_on(t, true);
    return t;
}

/* --- tokens --- */

static int check_text(const char *field, const char *value, size_t max, const char *others,
                      struct os_error *err)
{
    static const char prefix[] = "gateway returned invalid SSH session response";
    if (!*value)
        return os_error_set(err, OS_DATA_LOSS, "%s: %s is empty", prefix, field);
    if (strlen(value) > max)
        return os_error_set(err, OS_DATA_LOSS, "%s: %s exceeds maximum length of %zu bytes", prefix, field,
                            max);
    for (const char *c = value; *c; c++)
        if (!((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') ||
              strchr(others, *c)))
            return os_error_set(err, OS_DATA_LOSS, "%s: %s contains invalid characters", prefix, field);
    return 0;
}

int tunnel_session_check(const Openshell__V1__CreateSshSessionResponse *r, struct os_error *err)
{
    if (check_text("sandbox_id", r->sandbox_id, 128, "._-", err) < 0 ||
        check_text("token", r->token, 4096, "._~+/=-", err) < 0 ||
        check_text("gateway_host", r->gateway_host, 253, ".:[]-", err) < 0)
        return -1;
    if (strcmp(r->gateway_scheme, "http") != 0 && strcmp(r->gateway_scheme, "https") != 0)
        return os_error_set(
            err, OS_DATA_LOSS,
            "gateway returned invalid SSH session response: gateway_scheme must be http or https");
    if (!r->gateway_port || r->gateway_port > 65535)
        return os_error_set(
            err, OS_DATA_LOSS,
            "gateway returned invalid SSH session response: gateway_port must be between 1 and 65535");
    return *r->host_key_fingerprint
               ? check_text("host_key_fingerprint", r->host_key_fingerprint, 256, ":+/=-", err)
               : 0;
}

const char *tunnel_token(struct cli *cli, const char *sandbox_id, struct os_error *err)
{
    Openshell__V1__CreateSshSessionRequest req = OPENSHELL__V1__CREATE_SSH_SESSION_REQUEST__INIT;
    ProtobufCMessage *response;
    req.sandbox_id = (char *)sandbox_id;
    if (cli_call(cli, RPC_OpenShell_CreateSshSession, &req.base, CLI_READ_MS, &response, err) < 0)
        return NULL;
    const Openshell__V1__CreateSshSessionResponse *r =
        (const Openshell__V1__CreateSshSessionResponse *)response;
    if (tunnel_session_check(r, err) < 0)
        return NULL;
    if (strcmp(r->sandbox_id, sandbox_id) != 0) {
        os_error_set(err, OS_DATA_LOSS,
                     "gateway returned invalid SSH session response: it is for another sandbox");
        return NULL;
    }
    return r->token;
}
