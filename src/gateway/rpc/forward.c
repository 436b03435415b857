/* ForwardTcp (spec/gateway.md 4.11): a client's byte stream on one side, an ssh or tcp relay to the
 * supervisor on the other, flow control passed through in both directions. Loop thread. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/limits.h"
#include "core/str.h"
#include "gateway/rpc/handlers.h"
#include "gateway/sandbox.h"
#include "gateway/session/sessions.h"
#include "gateway/ssh_session.h"
#include "rpc/pb.h"

typedef Openshell__V1__TcpForwardInit forward_init;
typedef Openshell__V1__TcpForwardFrame forward_frame;
typedef Openshell__V1__RelayFrame relay_frame;

struct forward {
    struct forward *next; /* in gateway->forwards while counted */
    struct gateway *gw;
    struct rpc_call *call;
    struct relay *relay; /* from relay_open until its end */
    struct os_arena arena;
    forward_init *init; /* in arena, NULL before the first message */
    char session[SSH_SESSION_ID_LEN];
    struct os_error work_err;
    bool counted;
    bool loading;     /* a worker checks sandbox and token */
    bool open;        /* frames may be sent */
    bool half_closed; /* the client will send no more */
    bool answered;    /* the final status was queued */
    bool done;        /* on_done ran */
};

static void forward_uncount(struct forward *f)
{
    if (!f->counted)
        return;
    struct forward **at = &f->gw->forwards;
    while (*at && *at != f)
        at = &(*at)->next;
    if (*at)
        *at = f->next;
    f->counted = false;
}

/* Frees when neither the call, nor the relay, nor a worker refers to it any more. */
static void forward_release(struct forward *f)
{
    if (!f->done || f->relay || f->loading)
        return;
    forward_uncount(f);
    os_arena_free(&f->arena);
    os_error_clear(&f->work_err);
    rpc_call_unref(f->call);
    free(f);
}

static void forward_finish(struct forward *f, enum os_code code, const char *text)
{
    if (f->answered)
        return;
    f->answered = true;
    rpc_call_finish(f->call, code, text);
}

/* --- sandbox -> client --- */

static void relay_on_frame(void *ctx, const relay_frame *r)
{
    struct forward *f = ctx;
    forward_frame out = OPENSHELL__V1__TCP_FORWARD_FRAME__INIT;
    if (f->answered || r->payload_case != OPENSHELL__V1__RELAY_FRAME__PAYLOAD_DATA || !r->data.len)
        return;
    out.payload_case = OPENSHELL__V1__TCP_FORWARD_FRAME__PAYLOAD_DATA;
    out.data = r->data;
    rpc_call_send(f->call, &out.base);
    if (rpc_call_queued(f->call) >= OS_RELAY_WINDOW)
        relay_pause(f->relay);
}

static void call_writable(struct rpc_call *call, void *ctx)
{
    struct forward *f = ctx;
    if (f->relay)
        relay_resume(f->relay);
}

static void relay_on_end(void *ctx, const struct os_error *status)
{
    struct forward *f = ctx;
    bool was_open = f->open;
    f->relay = NULL;
    f->open = false;
    if (status->code == OS_OK) {
        forward_finish(f, OS_OK, NULL);
    } else if (was_open) {
        cleanup_free char *text = os_asprintf("relay read failed: %s", os_error_text(status));
        forward_finish(f, OS_UNAVAILABLE, text);
    } else {
        forward_finish(f, status->code, os_error_text(status));
    }
    forward_release(f);
}

/* --- client -> sandbox --- */

static void send_data(struct forward *f, const uint8_t *data, size_t n)
{
    relay_send_data(f->relay, data, n);
    if (relay_queued(f->relay) >= OS_RELAY_WINDOW)
        rpc_call_pause(f->call);
}

/* An empty data frame for supervisors that do not know the extension. */
static void send_eof(struct forward *f)
{
    relay_frame r = OPENSHELL__V1__RELAY_FRAME__INIT;
    r.payload_case = OPENSHELL__V1__RELAY_FRAME__PAYLOAD_DATA;
    r.stdin_eof = 1;
    relay_send(f->relay, &r);
}

static void relay_on_open(void *ctx)
{
    struct forward *f = ctx;
    f->open = true;
    if (f->half_closed)
        send_eof(f);
    else
        rpc_call_resume(f->call);
}

static void relay_on_writable(void *ctx)
{
    struct forward *f = ctx;
    if (!f->done)
        rpc_call_resume(f->call);
}

/* --- start --- */

/* The numeric text to dial, in the arena; NULL with *err. */
static char *loopback(struct os_arena *a, const char *text, struct os_error *err)
{
    struct in_addr v4;
    struct in6_addr v6;
    char canonical[INET6_ADDRSTRLEN], *host = os_str_trim(os_arena_strdup(a, text));
    if (!*host) {
        os_error_set(err, OS_INVALID_ARGUMENT, "tcp target host is required");
        return NULL;
    }
    if (os_str_eq_nocase(host, "localhost"))
        host = (char *)"127.0.0.1";
    if (inet_pton(AF_INET, host, &v4) == 1 && ntohl(v4.s_addr) >> 24 == 127)
        return os_arena_strdup(a, inet_ntop(AF_INET, &v4, canonical, sizeof(canonical)));
    if (inet_pton(AF_INET6, host, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6))
        return os_arena_strdup(a, "::1");
    os_error_set(err, OS_INVALID_ARGUMENT, "tcp target host must be loopback");
    return NULL;
}

static int check_init(forward_init *init, struct os_arena *a, struct os_error *err)
{
    if (!*init->sandbox_id)
        return os_error_set(err, OS_INVALID_ARGUMENT, "sandbox_id is required");
    if (init->target_case == OPENSHELL__V1__TCP_FORWARD_INIT__TARGET__NOT_SET)
        return os_error_set(err, OS_INVALID_ARGUMENT, "tcp forward target is required");
    if (init->target_case != OPENSHELL__V1__TCP_FORWARD_INIT__TARGET_TCP)
        return 0;
    if (!init->tcp->port || init->tcp->port > 65535)
        return os_error_set(err, OS_INVALID_ARGUMENT, "tcp target port must be between 1 and 65535");
    char *host = loopback(a, init->tcp->host, err);
    if (!host)
        return -1;
    init->tcp->host = host;
    return 0;
}

static void load_work(void *arg)
{
    struct forward *f = arg;
    cleanup_arena struct os_arena a = {0};
    struct os_error *err = &f->work_err;
    const sandbox_row *row = sandbox_load(f->gw, f->init->sandbox_id, &a, err);
    if (!row)
        return;
    const char *token = os_str_trim(f->init->authorization_token);
    if (row->status->phase != OPENSHELL__V1__SANDBOX_PHASE__SANDBOX_PHASE_READY)
        os_error_set(err, OS_FAILED_PRECONDITION, "sandbox is not ready");
    else if (!*token)
        os_error_set(err, OS_UNAUTHENTICATED, "authorization_token is required for ForwardTcp");
    else
        ssh_session_check(f->gw, token, f->init->sandbox_id, f->session, err);
}

static int count(struct forward *f, struct os_error *err)
{
    unsigned of_token = 0, of_sandbox = 0;
    for (const struct forward *o = f->gw->forwards; o; o = o->next) {
        of_token += strcmp(o->session, f->session) == 0;
        of_sandbox += strcmp(o->init->sandbox_id, f->init->sandbox_id) == 0;
    }
    if (of_token >= OS_FORWARDS_TOKEN)
        return os_error_set(err, OS_RESOURCE_EXHAUSTED, "SSH session connection limit reached");
    if (of_sandbox >= OS_FORWARDS_SANDBOX)
        return os_error_set(err, OS_RESOURCE_EXHAUSTED, "sandbox SSH connection limit reached");
    f->counted = true;
    f->next = f->gw->forwards;
    f->gw->forwards = f;
    return 0;
}

static void open_relay(struct forward *f)
{
    static const struct relay_ops ops = {.on_open = relay_on_open,
                                         .on_frame = relay_on_frame,
                                         .on_writable = relay_on_writable,
                                         .on_end = relay_on_end};
    Openshell__V1__RelayOpen open = OPENSHELL__V1__RELAY_OPEN__INIT;
    Openshell__V1__SshRelayTarget ssh = OPENSHELL__V1__SSH_RELAY_TARGET__INIT;
    enum relay_target target = RELAY_SSH;
    open.service_id = f->init->service_id;
    if (f->init->target_case == OPENSHELL__V1__TCP_FORWARD_INIT__TARGET_TCP) {
        target = RELAY_TCP;
        open.target_case = OPENSHELL__V1__RELAY_OPEN__TARGET_TCP;
        open.tcp = f->init->tcp;
    } else {
        open.target_case = OPENSHELL__V1__RELAY_OPEN__TARGET_SSH;
        open.ssh = &ssh;
    }
    f->relay = relay_open(f->gw->sessions, f->init->sandbox_id, target, &open, &ops, f);
}

static void load_done(void *arg)
{
    struct forward *f = arg;
    f->loading = false;
    if (!f->done && f->work_err.code == OS_OK && count(f, &f->work_err) == 0)
        open_relay(f);
    if (f->work_err.code != OS_OK)
        forward_finish(f, f->work_err.code, os_error_text(&f->work_err));
    forward_release(f);
}

/* --- the call --- */

static void begin(struct forward *f, forward_frame *first)
{
    cleanup_error struct os_error err = {0};
    if (first->payload_case != OPENSHELL__V1__TCP_FORWARD_FRAME__PAYLOAD_INIT) {
        forward_finish(f, OS_INVALID_ARGUMENT, "first TcpForwardFrame must be init");
        return;
    }
    f->init = first->init;
    if (check_init(f->init, &f->arena, &err) < 0) {
        forward_finish(f, err.code, os_error_text(&err));
        return;
    }
    rpc_call_pause(f->call); /* data waits until the relay is open */
    f->loading = true;
    rpc_server_work(f->gw->rpc, load_work, load_done, f);
}

static void on_message(struct rpc_call *call, void *ctx, const uint8_t *data, size_t n)
{
    struct forward *f = ctx;
    if (f->answered || f->half_closed)
        return;
    cleanup_arena struct os_arena scratch = {0};
    forward_frame *frame = (forward_frame *)rpc_unpack(
        f->init ? &scratch : &f->arena, &openshell__v1__tcp_forward_frame__descriptor, data, n);
    if (!frame)
        forward_finish(f, OS_INTERNAL, "failed to decode Protobuf message");
    else if (!f->init)
        begin(f, frame);
    else if (!f->open)
        return;
    else if (frame->payload_case == OPENSHELL__V1__TCP_FORWARD_FRAME__PAYLOAD_DATA)
        send_data(f, frame->data.data, frame->data.len);
    else {
        f->half_closed = true;
        send_eof(f);
    }
}

static void on_half_close(struct rpc_call *call, void *ctx)
{
    struct forward *f = ctx;
    if (!f->init)
        forward_finish(f, OS_INVALID_ARGUMENT, "empty ForwardTcp stream");
    else if (f->open && !f->half_closed)
        send_eof(f);
    f->half_closed = true;
}

static void on_done(struct rpc_call *call, void *ctx, const struct os_error *status)
{
    struct forward *f = ctx;
    f->done = true;
    f->answered = true;
    if (f->relay) {
        relay_abort(f->relay);
        f->relay = NULL;
    }
    forward_release(f);
}

void forward_tcp_rpc(void *ctx, struct rpc_call *call)
{
    static const struct rpc_call_ops ops = {.on_message = on_message,
                                            .on_half_close = on_half_close,
                                            .on_writable = call_writable,
                                            .on_done = on_done};
    struct forward *f = os_calloc(1, sizeof(*f));
    f->gw = ctx;
    f->call = rpc_call_ref(call);
    rpc_call_set_ops(call, &ops, f);
}
