/* The forwarder: accepts, gets a token, and tunnels, once per connection. It keeps its listener whatever
 * happens to the gateway; a connection that comes while the gateway is away waits for it a while. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli/forward.h"
#include "cli/output.h"
#include "cli/sandbox.h"
#include "cli/tunnel.h"
#include "core/cleanup.h"
#include "core/clock.h"
#include "core/limits.h"
#include "core/str.h"

#define CONNECTIONS 16 /* at once; the gateway allows a sandbox OS_FORWARDS_SANDBOX */
#define RETRY_FIRST_MS 100
#define RETRY_MAX_MS 2000
#define RETRY_FOR_MS 10000 /* then the connection is closed */
#define WATCH_MS 2000

struct forwarder {
    struct cli *cli;
    const struct forwarder_options *opt;
    int listener;
    uv_poll_t poll;
    uv_timer_t watch;
    uv_signal_t sigint, sigterm;
    unsigned connections;
    bool over, failed;
    struct os_error *err;
    char *service_id;
};

struct connection {
    struct forwarder *f;
    int fd; /* until the tunnel has it */
    char *token;
    uv_timer_t retry;
    uint64_t wait_ms;
    int64_t give_up_ms;
};

static void accept_some(uv_poll_t *h, int status, int events);

static void fail(struct forwarder *f, enum os_code code, const char *text)
{
    if (f->over)
        return;
    os_error_set(f->err, code, "%s", text);
    f->failed = f->over = true;
}

/* --- one connection --- */

static void on_retry_closed(uv_handle_t *h)
{
    struct connection *c = h->data;
    free(c->token);
    free(c);
}

static void ignore(void *ctx, const struct os_error *status, const ProtobufCMessage *response)
{
}

static void close_connection(struct connection *c)
{
    struct forwarder *f = c->f;
    if (c->fd >= 0)
        close(c->fd);
    if (c->token && !f->over) {
        Openshell__V1__RevokeSshSessionRequest req = OPENSHELL__V1__REVOKE_SSH_SESSION_REQUEST__INIT;
        req.token = c->token;
        rpc_client_unary(f->cli->rpc, RPC_OpenShell_RevokeSshSession, &req.base, CLI_READ_MS, ignore, NULL);
    }
    uv_close((uv_handle_t *)&c->retry, on_retry_closed);
    if (f->connections-- == CONNECTIONS && !f->over)
        uv_poll_start(&f->poll, UV_READABLE, accept_some);
}

static void complain(const struct forwarder *f, const struct os_error *status)
{
    if (f->over)
        return;
    say(stderr, "forward to sandbox %s: %s\n", f->opt->sandbox, os_error_text(status));
}

static void on_tunnel_end(void *ctx, const struct os_error *status)
{
    struct connection *c = ctx;
    if (status->code == OS_NOT_FOUND || (status->code == OS_FAILED_PRECONDITION && c->f->opt->watch))
        fail(c->f, status->code, os_error_text(status));
    else if (status->code != OS_OK)
        complain(c->f, status);
    close_connection(c);
}

static void begin_tunnel(struct connection *c)
{
    struct forwarder *f = c->f;
    const struct tunnel_target target = {.sandbox_id = f->opt->sandbox_id,
                                         .service_id = f->service_id,
                                         .token = c->token,
                                         .host = f->opt->host,
                                         .port = f->opt->port};
    int out = dup(c->fd);
    if (out < 0) {
        close_connection(c);
        return;
    }
    int in = os_steal_fd(c->fd);
    tunnel_start(f->cli, &target, in, out, on_tunnel_end, c);
}

static void ask_token(struct connection *c);

static void on_retry(uv_timer_t *t)
{
    struct connection *c = t->data;
    if (c->f->over)
        close_connection(c);
    else
        ask_token(c);
}

static void on_token(void *ctx, const struct os_error *status, const ProtobufCMessage *response)
{
    struct connection *c = ctx;
    struct forwarder *f = c->f;
    struct os_error cleanup_error bad = {0};
    const Openshell__V1__CreateSshSessionResponse *r =
        (const Openshell__V1__CreateSshSessionResponse *)response;
    if (status->code == OS_OK && tunnel_session_check(r, &bad) == 0) {
        c->token = os_strdup(r->token);
        begin_tunnel(c);
        return;
    }
    if (status->code == OS_UNAVAILABLE && !f->over && os_clock_mono_ms() < c->give_up_ms) {
        uv_timer_start(&c->retry, on_retry, c->wait_ms, 0);
        c->wait_ms = c->wait_ms * 2 < RETRY_MAX_MS ? c->wait_ms * 2 : RETRY_MAX_MS;
        return;
    }
    if (status->code == OS_NOT_FOUND || (status->code == OS_FAILED_PRECONDITION && f->opt->watch))
        fail(f, status->code, os_error_text(status));
    else
        complain(f, status->code == OS_OK ? &bad : status);
    close_connection(c);
}

static void ask_token(struct connection *c)
{
    Openshell__V1__CreateSshSessionRequest req = OPENSHELL__V1__CREATE_SSH_SESSION_REQUEST__INIT;
    req.sandbox_id = (char *)c->f->opt->sandbox_id;
    rpc_client_unary(c->f->cli->rpc, RPC_OpenShell_CreateSshSession, &req.base, CLI_READ_MS, on_token, c);
}

static void accept_some(uv_poll_t *h, int status, int events)
{
    struct forwarder *f = h->data;
    while (f->connections < CONNECTIONS) {
        int fd = accept4(f->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK), one = 1;
        if (fd < 0)
            return; /* none left, or one that is gone already */
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        struct connection *c = os_calloc(1, sizeof(*c));
        c->f = f;
        c->fd = fd;
        c->wait_ms = RETRY_FIRST_MS;
        c->give_up_ms = os_clock_mono_ms() + RETRY_FOR_MS;
        uv_timer_init(&f->cli->loop, &c->retry);
        c->retry.data = c;
        f->connections++;
        ask_token(c);
    }
    uv_poll_stop(&f->poll);
}

/* --- the sandbox --- */

static void on_watched(void *ctx, const struct os_error *status, const ProtobufCMessage *response)
{
    struct forwarder *f = ctx;
    const Openshell__V1__Sandbox *s =
        response ? ((const Openshell__V1__SandboxResponse *)response)->sandbox : NULL;
    char text[512];
    if (status->code == OS_NOT_FOUND) {
        snprintf(text, sizeof(text), "sandbox '%s' no longer exists; stopping service forward",
                 f->opt->sandbox);
        fail(f, OS_NOT_FOUND, text);
    } else if (s && s->status && s->status->phase != OPENSHELL__V1__SANDBOX_PHASE__SANDBOX_PHASE_READY) {
        snprintf(text, sizeof(text), "sandbox '%s' is no longer ready (phase: %s); stopping service forward",
                 f->opt->sandbox, sandbox_phase_name(s->status->phase));
        fail(f, OS_FAILED_PRECONDITION, text);
    }
}

static void on_watch(uv_timer_t *t)
{
    struct forwarder *f = t->data;
    Openshell__V1__GetSandboxRequest req = OPENSHELL__V1__GET_SANDBOX_REQUEST__INIT;
    req.name = (char *)f->opt->sandbox;
    req.workspace = (char *)f->cli->workspace;
    rpc_client_unary(f->cli->rpc, RPC_OpenShell_GetSandbox, &req.base, CLI_READ_MS, on_watched, f);
}

/* --- life --- */

static void on_signal(uv_signal_t *s, int number)
{
    struct forwarder *f = s->data;
    f->over = true;
}

/* Connections under way end with the client, in cli_close(). */
int forwarder_run(struct cli *cli, int listener, const struct forwarder_options *opt, struct os_error *err)
{
    struct forwarder *f = os_arena_alloc(&cli->arena, sizeof(*f));
    *f = (struct forwarder){.cli = cli, .opt = opt, .listener = listener, .err = err};
    f->service_id =
        os_arena_printf(&cli->arena, "service-forward:%s:%s:%u", opt->sandbox, opt->host, opt->port);
    if (uv_poll_init(&cli->loop, &f->poll, listener) != 0)
        return os_error_set(err, OS_INTERNAL, "cannot wait for connections on the forwarded port");
    uv_timer_init(&cli->loop, &f->watch);
    uv_signal_init(&cli->loop, &f->sigint);
    uv_signal_init(&cli->loop, &f->sigterm);
    f->poll.data = f->watch.data = f->sigint.data = f->sigterm.data = f;
    uv_poll_start(&f->poll, UV_READABLE, accept_some);
    uv_signal_start(&f->sigint, on_signal, SIGINT);
    uv_signal_start(&f->sigterm, on_signal, SIGTERM);
    if (opt->watch)
        uv_timer_start(&f->watch, on_watch, WATCH_MS, WATCH_MS);
    while (!f->over)
        uv_run(&cli->loop, UV_RUN_ONCE);
    uv_handle_t *const handles[] = {(uv_handle_t *)&f->poll, (uv_handle_t *)&f->watch,
                                    (uv_handle_t *)&f->sigint, (uv_handle_t *)&f->sigterm};
    for (size_t i = 0; i < OS_ARRAY_LEN(handles); i++)
        uv_close(handles[i], NULL);
    uv_run(&cli->loop, UV_RUN_NOWAIT);
    close(listener);
    return f->failed ? -1 : 0;
}
