/* A whole connection: the input is what one client sends (HTTP/2 with prior knowledge when it starts so), cut
 * into pieces; an echo handler answers. The server must survive, keep its sums right and end the connection.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/log.h"
#include "rpc/server_internal.h"

static uv_loop_t loop;
static struct rpc_server *server;
static struct sockaddr_un address = {.sun_family = AF_UNIX};

static void echo(struct rpc_call *call, void *ctx, const uint8_t *data, size_t n)
{
    if (n % 7 == 6)
        rpc_call_pause(call);
    if (n % 7 == 5)
        rpc_call_cancel(call);
    rpc_call_send_packed(call, data, n);
}

static void half_close(struct rpc_call *call, void *ctx)
{
    rpc_call_finish(call, OS_OK, NULL);
}

static void done(struct rpc_call *call, void *ctx, const struct os_error *status)
{
    unsigned *open = ctx;
    if (!(*open)--)
        abort();
}

static void start(void *ctx, struct rpc_call *call)
{
    static const struct rpc_call_ops ops = {.on_message = echo, .on_half_close = half_close, .on_done = done};
    ++*(unsigned *)ctx;
    rpc_call_set_ops(call, &ops, ctx);
}

static void http(void *ctx, const struct rpc_http_request *req, struct rpc_http_response *resp)
{
    resp->status = 200;
    resp->body = strdup(req->path);
}

static unsigned open_calls;

static void remove_socket(void)
{
    unlink(address.sun_path);
    *strrchr(address.sun_path, '/') = '\0';
    rmdir(address.sun_path);
}

static void set_up(void)
{
    char dir[] = "/tmp/fuzz-rpc-XXXXXX";
    os_log_set_level(OS_LOG_ERROR);
    if (!mkdtemp(dir) || uv_loop_init(&loop) != 0)
        abort();
    strcat(strcpy(address.sun_path, dir), "/s");
    struct rpc_server_options opt = {.loop = &loop, .workers = 1, .queue = 1, .http = http};
    server = rpc_server_new(&opt);
    rpc_server_stream(server, RPC_OpenShell_ForwardTcp, start, &open_calls);
    rpc_server_stream(server, RPC_OpenShell_ExecSandbox, start, &open_calls);
    if (rpc_server_listen_unix(server, address.sun_path, NULL) < 0)
        abort();
    atexit(remove_socket);
}

static void check_sums(void)
{
    for (struct rpc_conn *conn = server->conns; conn; conn = conn->next) {
        size_t headers = 0, partial = 0;
        unsigned n = 0;
        for (struct rpc_call *c = conn->calls; c; c = c->next, n++) {
            headers += c->header_bytes;
            partial += c->rx_partial;
        }
        if (headers != conn->header_bytes || partial != conn->partial || n != conn->ncalls)
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (!server)
        set_up();
    if (n < 1)
        return 0;
    size_t step = (size_t)data[0] * 8 + 1;
    data++;
    n--;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
        abort();
    for (size_t at = 0; at < n; at += step) {
        if (send(fd, data + at, n - at < step ? n - at : step, MSG_NOSIGNAL) < 0)
            break;
        uv_run(&loop, UV_RUN_NOWAIT);
        check_sums();
    }
    uv_run(&loop, UV_RUN_NOWAIT);
    close(fd);
    for (int i = 0; i < 100 && (server->conns || i < 3); i++)
        uv_run(&loop, UV_RUN_NOWAIT);
    if (server->conns || server->turn.live || open_calls)
        abort();
    return 0;
}
