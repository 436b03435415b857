/* Server, client and certificates for the tests of src/rpc. */
#include "fixture.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/tls.h"

typedef Openshell__V1__TcpForwardFrame frame;

/* --- certificates, made once --- */

static char *ca_pem, *other_ca_pem, *cert_pem, *key_pem, *client_pem, *client_key_pem;

static void make_certificates(void)
{
    static const char *const sans[] = {"127.0.0.1", "gateway.test", NULL};
    if (ca_pem)
        return;
    EVP_PKEY *ca_key = net_key_new_p256(), *key = net_key_new_p256();
    X509 *ca = net_cert_issue(&(struct net_cert_request){.cn = "test ca", .ca = true, .years = 1}, ca_key,
                              NULL, NULL, NULL);
    X509 *other = net_cert_issue(&(struct net_cert_request){.cn = "other", .ca = true, .years = 1}, key, NULL,
                                 NULL, NULL);
    X509 *server = net_cert_issue(
        &(struct net_cert_request){.cn = "gateway", .sans = sans, .server_auth = true, .years = 1}, key, ca,
        ca_key, NULL);
    X509 *client = net_cert_issue(
        &(struct net_cert_request){.cn = "alice", .ou = "admins", .client_auth = true, .years = 1}, key, ca,
        ca_key, NULL);
    assert_non_null(client);
    ca_pem = net_cert_pem(ca);
    other_ca_pem = net_cert_pem(other);
    cert_pem = net_cert_pem(server);
    client_pem = net_cert_pem(client);
    key_pem = net_key_pem(key);
    client_key_pem = net_key_pem(key);
    X509_free(ca);
    X509_free(other);
    X509_free(server);
    X509_free(client);
    EVP_PKEY_free(ca_key);
    EVP_PKEY_free(key);
}

__attribute__((destructor)) static void free_certificates(void)
{
    free(ca_pem);
    free(other_ca_pem);
    free(cert_pem);
    free(key_pem);
    free(client_pem);
    free(client_key_pem);
}

const char *fixture_ca(void)
{
    return ca_pem;
}

const char *fixture_other_ca(void)
{
    return other_ca_pem;
}

/* --- handlers --- */

static int health(void *ctx, struct rpc_call *call, const ProtobufCMessage *request, struct os_arena *arena,
                  ProtobufCMessage **response, struct os_error *err)
{
    Openshell__V1__HealthResponse *r = pb_new(arena, openshell__v1__health_response);
    struct fixture *f = ctx;
    r->version = os_arena_strdup(arena, "1.2.3");
    if (f->large) {
        r->version = os_arena_alloc(arena, f->large + 1);
        memset(r->version, 'v', f->large);
        r->version[f->large] = '\0';
    }
    *response = &r->base;
    return 0;
}

static int get_sandbox(void *ctx, struct rpc_call *call, const ProtobufCMessage *request,
                       struct os_arena *arena, ProtobufCMessage **response, struct os_error *err)
{
    struct fixture *f = ctx;
    if (f->gated)
        uv_sem_wait(&f->gate);
    const Openshell__V1__GetSandboxRequest *r = (const Openshell__V1__GetSandboxRequest *)request;
    return os_error_set(err, OS_NOT_FOUND, "sandbox '%s' not found: 100%% sure\nlook — again", r->name);
}

static void echo_message(struct rpc_call *call, void *ctx, const uint8_t *data, size_t n)
{
    rpc_call_send_packed(call, data, n);
}

static void echo_half_close(struct rpc_call *call, void *ctx)
{
    ((struct fixture *)ctx)->half_closes++;
    rpc_call_finish(call, OS_OK, NULL);
}

static void stream_done(struct rpc_call *call, void *ctx, const struct os_error *status)
{
    struct fixture *f = ctx;
    f->server_done++;
    f->server_status = status->code;
}

static void held_message(struct rpc_call *call, void *ctx, const uint8_t *data, size_t n)
{
}

static void held_half_close(struct rpc_call *call, void *ctx)
{
    ((struct fixture *)ctx)->half_closes++;
}

static void forward(void *ctx, struct rpc_call *call)
{
    static const struct rpc_call_ops echo = {
        .on_message = echo_message, .on_half_close = echo_half_close, .on_done = stream_done};
    static const struct rpc_call_ops held = {
        .on_message = held_message, .on_half_close = held_half_close, .on_done = stream_done};
    struct fixture *f = ctx;
    if (f->hold) {
        f->held = rpc_call_ref(call);
        rpc_call_pause(call);
    }
    rpc_call_set_ops(call, f->hold ? &held : &echo, f);
}

/* ExecSandbox: as many stdout events as the request has arguments, then "exit" as a status. */
static void exec_message(struct rpc_call *call, void *ctx, const uint8_t *data, size_t n)
{
    cleanup_arena struct os_arena a = {0};
    Openshell__V1__ExecSandboxRequest *r =
        (Openshell__V1__ExecSandboxRequest *)rpc_unpack(&a, rpc_call_method(call)->request, data, n);
    assert_non_null(r);
    for (size_t i = 0; i < r->n_command; i++) {
        Openshell__V1__ExecSandboxStdout out = OPENSHELL__V1__EXEC_SANDBOX_STDOUT__INIT;
        Openshell__V1__ExecSandboxEvent ev = OPENSHELL__V1__EXEC_SANDBOX_EVENT__INIT;
        out.data = (ProtobufCBinaryData){.data = (uint8_t *)r->command[i], .len = strlen(r->command[i])};
        ev.payload_case = OPENSHELL__V1__EXEC_SANDBOX_EVENT__PAYLOAD_STDOUT;
        ev.stdout = &out;
        rpc_call_send(call, &ev.base);
    }
}

static void exec_half_close(struct rpc_call *call, void *ctx)
{
    rpc_call_finish(call, OS_FAILED_PRECONDITION, "after the messages");
}

static void exec_rpc(void *ctx, struct rpc_call *call)
{
    static const struct rpc_call_ops ops = {
        .on_message = exec_message, .on_half_close = exec_half_close, .on_done = stream_done};
    rpc_call_set_ops(call, &ops, ctx);
}

/* PushSandboxLogs: counts batches; the answer comes at the end. */
static void push_message(struct rpc_call *call, void *ctx, const uint8_t *data, size_t n)
{
    ((struct fixture *)ctx)->half_closes += 100;
}

static void push_half_close(struct rpc_call *call, void *ctx)
{
    Openshell__V1__PushSandboxLogsResponse r = OPENSHELL__V1__PUSH_SANDBOX_LOGS_RESPONSE__INIT;
    ((struct fixture *)ctx)->half_closes++;
    rpc_call_send(call, &r.base);
    rpc_call_finish(call, OS_OK, NULL);
}

static void push_rpc(void *ctx, struct rpc_call *call)
{
    static const struct rpc_call_ops ops = {
        .on_message = push_message, .on_half_close = push_half_close, .on_done = stream_done};
    rpc_call_set_ops(call, &ops, ctx);
}

/* --- hooks --- */

static void free_principal(void *p)
{
    (*(unsigned *)p)++;
}

static char *copy(const char *s)
{
    return s ? os_strdup(s) : NULL;
}

static int authenticate(void *ctx, struct rpc_call *call, struct os_error *err)
{
    struct fixture *f = ctx;
    const struct rpc_peer *peer = rpc_call_peer(call);
    f->authenticated++;
    free(f->last_header);
    free(f->last_cn);
    free(f->last_ou);
    f->last_header = copy(rpc_call_header(call, "authorization"));
    f->last_cn = copy(peer->cert_cn);
    f->last_ou = copy(peer->cert_ou ? peer->cert_ou[0] : NULL);
    assert_int_equal(peer->tls, f->transport == TLS || f->transport == MTLS);
    assert_true(peer->loopback);
    if (f->refuse)
        return os_error_set(err, OS_UNAUTHENTICATED, "who are you?");
    rpc_call_set_principal(call, &f->principals_freed, free_principal);
    return 0;
}

static void http(void *ctx, const struct rpc_http_request *req, struct rpc_http_response *resp)
{
    resp->status = strcmp(req->path, "/healthz") == 0 ? 200 : 404;
    resp->content_type = "text/plain";
    resp->body = os_asprintf("%s %s at %s\n", req->method, req->path, req->host ? req->host : "-");
}

/* --- life --- */

void fixture_start(struct fixture *f, enum transport transport)
{
    *f = (struct fixture){.transport = transport};
    assert_int_equal(uv_loop_init(&f->loop), 0);
    uv_sem_init(&f->gate, 0);
    SSL_CTX *tls = NULL;
    if (transport == TLS || transport == MTLS) {
        static const char *const alpn[] = {"h2", "http/1.1", NULL};
        make_certificates();
        struct net_tls_pem pem = {.cert = cert_pem, .key = key_pem, .ca = transport == MTLS ? ca_pem : NULL};
        tls = net_tls_server(&pem, alpn, transport == MTLS, NULL);
        assert_non_null(tls);
    }
    struct rpc_server_options opt = {.loop = &f->loop,
                                     .tls = tls,
                                     .workers = 2,
                                     .queue = 4,
                                     .authenticate = authenticate,
                                     .http = http,
                                     .ctx = f};
    f->server = rpc_server_new(&opt);
    SSL_CTX_free(tls);
    rpc_server_unary(f->server, RPC_OpenShell_Health, health, f);
    rpc_server_unary(f->server, RPC_OpenShell_GetSandbox, get_sandbox, f);
    rpc_server_stream(f->server, RPC_OpenShell_ForwardTcp, forward, f);
    rpc_server_stream(f->server, RPC_OpenShell_ExecSandbox, exec_rpc, f);
    rpc_server_stream(f->server, RPC_OpenShell_PushSandboxLogs, push_rpc, f);
    cleanup_error struct os_error err = {0};
    if (transport == UNIX) {
        char path[] = "/tmp/rpc-test-XXXXXX";
        assert_non_null(mkdtemp(path));
        f->endpoint = os_asprintf("unix://%s/s", path);
        assert_int_equal(rpc_server_listen_unix(f->server, f->endpoint + 7, &err), 0);
        return;
    }
    f->port = rpc_server_listen(f->server, "127.0.0.1", 0, &err);
    assert_true(f->port > 0);
    f->endpoint = os_asprintf("%s://127.0.0.1:%d", tls ? "https" : "http", f->port);
}

static void on_shut(void *arg)
{
    ((struct fixture *)arg)->shut = true;
}

void fixture_stop(struct fixture *f)
{
    if (f->held)
        rpc_call_unref(f->held);
    if (f->server) {
        rpc_server_shutdown(f->server, 0, on_shut, f);
        while (!f->shut)
            uv_run(&f->loop, UV_RUN_ONCE);
        rpc_server_free(f->server);
    }
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    uv_sem_destroy(&f->gate);
    if (f->transport == UNIX) {
        *strrchr(f->endpoint, '/') = '\0';
        assert_int_equal(rmdir(f->endpoint + 7), 0);
    }
    free(f->endpoint);
    free(f->last_header);
    free(f->last_cn);
    free(f->last_ou);
}

struct rpc_client *fixture_client_with(struct fixture *f, struct rpc_client_options *opt)
{
    cleanup_error struct os_error err = {0};
    opt->loop = &f->loop;
    if (!opt->endpoint)
        opt->endpoint = f->endpoint;
    if (!opt->ca_pem)
        opt->ca_pem = ca_pem;
    struct rpc_client *c = rpc_client_new(opt, &err);
    if (!c)
        fail_msg("%s", os_error_text(&err));
    return c;
}

struct rpc_client *fixture_client(struct fixture *f)
{
    struct rpc_client_options opt = {0};
    if (f->transport == MTLS) {
        opt.cert_pem = client_pem;
        opt.key_pem = client_key_pem;
    }
    return fixture_client_with(f, &opt);
}

static void on_guard(uv_timer_t *t)
{
    *(bool *)t->data = true;
}

/* A guard ends a test that would hang; it decides nothing else. */
void run_until(struct fixture *f, const unsigned *counter, unsigned want)
{
    bool late = false;
    uv_timer_t guard;
    uv_timer_init(&f->loop, &guard);
    guard.data = &late;
    uv_timer_start(&guard, on_guard, 20000, 0);
    while (*counter < want && !late)
        uv_run(&f->loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&guard, NULL);
    uv_run(&f->loop, UV_RUN_NOWAIT);
    assert_false(late);
}

void run_turns(struct fixture *f, int n)
{
    while (n--)
        uv_run(&f->loop, UV_RUN_NOWAIT);
}

/* --- client side records --- */

static void seen_message(struct rpc_call *call, void *ctx, const uint8_t *data, size_t n)
{
    struct seen *s = ctx;
    assert_false(s->in_api);
    s->messages++;
    s->bytes += n;
    if (!s->keep)
        return;
    cleanup_arena struct os_arena a = {0};
    ProtobufCMessage *m = rpc_unpack(&a, rpc_call_method(call)->response, data, n);
    assert_non_null(m);
    if (m->descriptor == &openshell__v1__tcp_forward_frame__descriptor)
        os_buf_add(&s->data, ((frame *)m)->data.data, ((frame *)m)->data.len);
    else
        os_buf_adds(&s->data, "|");
}

static void seen_writable(struct rpc_call *call, void *ctx)
{
    struct seen *s = ctx;
    assert_false(s->in_api);
    s->writable++;
}

static void seen_done(struct rpc_call *call, void *ctx, const struct os_error *status)
{
    struct seen *s = ctx;
    assert_false(s->in_api);
    s->done++;
    s->code = status->code;
    free(s->message);
    s->message = os_strdup(os_error_text(status));
}

const struct rpc_call_ops seen_ops = {
    .on_message = seen_message, .on_writable = seen_writable, .on_done = seen_done};

void seen_clear(struct seen *s)
{
    os_buf_free(&s->data);
    free(s->message);
    *s = (struct seen){0};
}

void send_data(struct rpc_call *call, size_t n, int fill)
{
    frame m = OPENSHELL__V1__TCP_FORWARD_FRAME__INIT;
    uint8_t *data = malloc(n + 1);
    memset(data, fill, n);
    m.payload_case = OPENSHELL__V1__TCP_FORWARD_FRAME__PAYLOAD_DATA;
    m.data = (ProtobufCBinaryData){.data = data, .len = n};
    rpc_call_send(call, &m.base);
    free(data);
}

/* --- raw bytes --- */

SSL_CTX *fixture_client_tls(const char *alpn)
{
    const char *const list[] = {alpn, NULL};
    struct net_tls_pem pem = {.ca = ca_pem};
    SSL_CTX *ctx = net_tls_client(&pem, list, false, NULL);
    assert_non_null(ctx);
    return ctx;
}

int fixture_dial(struct fixture *f)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)f->port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

/* One step of writing and reading. False at the end of what the server says. */
static bool step(int fd, SSL *ssl, const char *data, size_t n, size_t *sent, struct os_buf *got)
{
    char buf[4096];
    if (*sent < n) {
        ssize_t w = ssl ? SSL_write(ssl, data + *sent, (int)(n - *sent))
                        : send(fd, data + *sent, n - *sent, MSG_NOSIGNAL);
        if (w > 0)
            *sent += (size_t)w;
    }
    ssize_t r = ssl ? SSL_read(ssl, buf, sizeof(buf)) : recv(fd, buf, sizeof(buf), 0);
    if (r > 0)
        os_buf_add(got, buf, (size_t)r);
    else if (ssl)
        return SSL_get_error(ssl, (int)r) == SSL_ERROR_WANT_READ;
    else if (r == 0 || errno != EAGAIN)
        return false;
    return true;
}

char *fixture_exchange(struct fixture *f, int fd, SSL *ssl, const void *data, size_t n, const char *until)
{
    struct os_buf got = {0};
    size_t sent = 0;
    for (int i = 0; i < 20000 && step(fd, ssl, data, n, &sent, &got); i++) {
        if (until && got.len && strstr(got.data, until))
            break;
        uv_run(&f->loop, UV_RUN_NOWAIT);
        struct pollfd p = {.fd = fd, .events = POLLIN};
        poll(&p, 1, 1);
    }
    os_buf_adds(&got, "");
    return os_buf_take(&got);
}
