/* The worker's side of the monitor protocol: requests from any thread, answers matched by id, events called
 * back from one reader thread. */
#include "supervisor/monitor/client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/limits.h"
#include "core/str.h"
#include "supervisor/monitor/integrity.h"
#include "supervisor/monitor/protocol.h"

#define READER_STACK 262144

struct pending {
    struct pending *next;
    uint32_t id;
    bool done;
    struct protocol_message msg; /* the answer, once done */
};

struct monitor_client {
    int fd;
    monitor_exit_fn *on_exit;
    monitor_terminate_fn *on_terminate;
    void *ctx;
    struct integrity *integrity;
    pthread_mutex_t identifying; /* one such request at a time: others wait for one at most, not for the
                                  * backlog that an agent with many connections makes */
    pthread_mutex_t sending;     /* one message at a time on the wire */
    pthread_mutex_t lock;        /* guards the three below */
    pthread_cond_t answered;
    struct pending *waiting;
    uint32_t last_id;
    bool lost;
};

/* An answer nobody waits for is dropped with its descriptors. */
static void deliver(struct monitor_client *c, struct protocol_message *msg)
{
    pthread_mutex_lock(&c->lock);
    for (struct pending *p = c->waiting; p; p = p->next) {
        if (p->id == msg->id && !p->done) {
            p->msg = *msg;
            p->done = true;
            *msg = (struct protocol_message){0};
            pthread_cond_broadcast(&c->answered);
            break;
        }
    }
    pthread_mutex_unlock(&c->lock);
}

static void handle_event(struct monitor_client *c, const struct protocol_message *msg)
{
    struct protocol_reader r = {.p = (const uint8_t *)msg->body.data, .n = msg->body.len};
    if (msg->type == PROTOCOL_TERMINATE) {
        c->on_terminate(c->ctx);
    } else if (msg->type == PROTOCOL_EXIT) {
        uint32_t child = protocol_get_u32(&r);
        int32_t status = (int32_t)protocol_get_u32(&r);
        if (!r.failed)
            c->on_exit(c->ctx, child, status);
    }
}

static void *reader(void *arg)
{
    struct monitor_client *c = arg;
    struct protocol_message msg = {0};
    int r;
    while ((r = protocol_receive(c->fd, &msg, true)) >= 0) {
        if (r == 0)
            continue;
        if (msg.type == PROTOCOL_REPLY)
            deliver(c, &msg);
        else
            handle_event(c, &msg);
        protocol_message_clear(&msg);
    }
    protocol_message_clear(&msg);
    pthread_mutex_lock(&c->lock);
    c->lost = true;
    pthread_cond_broadcast(&c->answered);
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

struct monitor_client *monitor_client_new(int fd, monitor_exit_fn *on_exit,
                                          monitor_terminate_fn *on_terminate, void *ctx)
{
    struct monitor_client *c = os_calloc(1, sizeof(*c));
    *c = (struct monitor_client){.fd = fd, .on_exit = on_exit, .on_terminate = on_terminate, .ctx = ctx};
    c->integrity = integrity_new();
    pthread_mutex_init(&c->identifying, NULL);
    pthread_mutex_init(&c->sending, NULL);
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->answered, NULL);
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, READER_STACK);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_t thread;
    int bad = pthread_create(&thread, &attr, reader, c);
    pthread_attr_destroy(&attr);
    if (bad) {
        integrity_free(c->integrity);
        free(c);
        return NULL;
    }
    return c;
}

static int send_request(struct monitor_client *c, const struct protocol_request *r, uint32_t id,
                        struct os_error *err)
{
    struct os_buf cleanup_buf body = {.max = OS_MONITOR_MESSAGE};
    protocol_encode(r, &body);
    if (body.failed)
        return os_error_set(err, OS_RESOURCE_EXHAUSTED, "the request exceeds %d bytes", OS_MONITOR_MESSAGE);
    pthread_mutex_lock(&c->sending);
    int sent = protocol_send(c->fd, r->type, id, body.data, body.len, NULL, 0);
    int bad = errno;
    pthread_mutex_unlock(&c->sending);
    return sent < 0 ? os_error_sys(err, bad, "cannot reach the monitor") : 0;
}

static void unlink_pending(struct monitor_client *c, const struct pending *p)
{
    struct pending **at = &c->waiting;
    while (*at && *at != p)
        at = &(*at)->next;
    if (*at)
        *at = p->next;
}

/* Sends and waits. On 0 the answer's body stands behind its code and the caller clears msg. */
static int call(struct monitor_client *c, const struct protocol_request *r, struct protocol_message *msg,
                struct protocol_reader *body, struct os_error *err)
{
    struct pending p = {0};
    pthread_mutex_lock(&c->lock);
    p.id = ++c->last_id ? c->last_id : ++c->last_id; /* 0 names events */
    p.next = c->waiting;
    c->waiting = &p;
    pthread_mutex_unlock(&c->lock);

    int sent = send_request(c, r, p.id, err);
    pthread_mutex_lock(&c->lock);
    while (sent == 0 && !p.done && !c->lost)
        pthread_cond_wait(&c->answered, &c->lock);
    unlink_pending(c, &p);
    pthread_mutex_unlock(&c->lock);
    if (sent < 0)
        return -1;
    if (!p.done)
        return os_error_set(err, OS_UNAVAILABLE, "the monitor is gone");

    *msg = p.msg;
    *body = (struct protocol_reader){.p = (const uint8_t *)msg->body.data, .n = msg->body.len};
    uint32_t code = protocol_get_u32(body);
    if (code == OS_OK && !body->failed)
        return 0;
    struct os_arena cleanup_arena arena = {0};
    const char *text = protocol_get_text(body, &arena);
    os_error_set(err, code == OS_OK ? OS_INTERNAL : (enum os_code)code, "%s",
                 text ? text : "malformed answer of the monitor");
    protocol_message_clear(msg);
    return -1;
}

static int malformed(struct protocol_message *msg, struct os_error *err)
{
    protocol_message_clear(msg);
    return os_error_set(err, OS_INTERNAL, "malformed answer of the monitor");
}

int monitor_client_isolate(struct monitor_client *c, const struct monitor_plan *plan,
                           struct monitor_isolation *out, struct os_error *err)
{
    struct protocol_request r = {.type = PROTOCOL_ISOLATE};
    r.isolate.read_only = (struct protocol_list){plan->read_only, plan->n_read_only};
    r.isolate.read_write = (struct protocol_list){plan->read_write, plan->n_read_write};
    r.isolate.hard_requirement = plan->hard_requirement;
    r.isolate.workdir = plan->workdir;
    struct protocol_message msg;
    struct protocol_reader body;
    if (call(c, &r, &msg, &body, err) < 0)
        return -1;
    struct os_arena cleanup_arena arena = {0};
    out->landlock_abi = (int)protocol_get_u32(&body);
    const char *why = protocol_get_text(&body, &arena);
    out->rules = protocol_get_u32(&body);
    out->skipped = protocol_get_u32(&body);
    out->tried = protocol_get_u32(&body);
    if (body.failed || !why)
        return malformed(&msg, err);
    out->landlock_error[0] = '\0';
    strncat(out->landlock_error, why, sizeof(out->landlock_error) - 1);
    protocol_message_clear(&msg);
    return 0;
}

static struct protocol_list list_of(const char *const *v)
{
    size_t n = 0;
    while (v[n])
        n++;
    return (struct protocol_list){v, n};
}

int monitor_client_spawn(struct monitor_client *c, const struct monitor_spawn *s, struct monitor_child *out,
                         struct os_error *err)
{
    struct protocol_request r = {.type = PROTOCOL_SPAWN};
    r.spawn.argv = list_of(s->argv);
    r.spawn.env = list_of(s->env);
    r.spawn.workdir = s->workdir && s->workdir[0] ? s->workdir : NULL;
    r.spawn.tty = s->tty;
    r.spawn.main = s->main;
    r.spawn.cols = s->cols;
    r.spawn.rows = s->rows;
    if (r.spawn.argv.n == 0 || r.spawn.argv.v[0][0] == '\0')
        return os_error_set(err, OS_INVALID_ARGUMENT, "No command specified");
    if (r.spawn.argv.n > OS_MONITOR_LIST || r.spawn.env.n > OS_MONITOR_LIST)
        return os_error_set(err, OS_INVALID_ARGUMENT, "more than %d arguments or environment variables",
                            OS_MONITOR_LIST);
    struct protocol_message msg;
    struct protocol_reader body;
    if (call(c, &r, &msg, &body, err) < 0)
        return -1;
    *out = (struct monitor_child){.id = protocol_get_u32(&body), .pid = (pid_t)protocol_get_u32(&body)};
    bool tty = protocol_get_u8(&body);
    if (body.failed || msg.n_fds != (tty ? 1u : 3u))
        return malformed(&msg, err);
    out->in = protocol_take_fd(&msg, 0);
    out->out = protocol_take_fd(&msg, 1);
    out->err = protocol_take_fd(&msg, 2);
    protocol_message_clear(&msg);
    return 0;
}

int monitor_client_signal(struct monitor_client *c, uint32_t child, int sig, struct os_error *err)
{
    struct protocol_request r = {.type = PROTOCOL_SIGNAL, .signal = {child, sig}};
    struct protocol_message msg;
    struct protocol_reader body;
    if (call(c, &r, &msg, &body, err) < 0)
        return -1;
    protocol_message_clear(&msg);
    return 0;
}

static int wait_connected(int fd, const char *ip, uint16_t port, struct os_error *err)
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    int ready;
    do
        ready = poll(&p, 1, OS_DIAL_TIMEOUT_MS);
    while (ready < 0 && errno == EINTR);
    int bad = ETIMEDOUT;
    socklen_t n = sizeof(bad);
    if (ready > 0 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &bad, &n) < 0)
        bad = errno;
    if (!bad)
        return 0;
    os_error_set(err, OS_UNAVAILABLE, "cannot connect to %s port %u in the sandbox: %s", ip, port,
                 strerror(bad));
    if (err)
        err->sys_errno = bad;
    return -1;
}

/* The monitor makes the socket, inside; connecting it needs no privilege and may take time, so that is done
 * here. */
int monitor_client_dial(struct monitor_client *c, const char *ip, uint16_t port, struct os_error *err)
{
    struct sockaddr_storage sa = {0};
    struct sockaddr_in *v4 = (struct sockaddr_in *)&sa;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&sa;
    socklen_t len = sizeof(*v4);
    if (inet_pton(AF_INET, ip, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
    } else if (inet_pton(AF_INET6, ip, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
        len = sizeof(*v6);
    } else {
        return os_error_set(err, OS_INVALID_ARGUMENT, "'%s' is not an IP address", ip);
    }
    struct protocol_request r = {.type = PROTOCOL_SOCKET, .family = sa.ss_family};
    struct protocol_message msg;
    struct protocol_reader body;
    if (call(c, &r, &msg, &body, err) < 0)
        return -1;
    cleanup_close int fd = protocol_take_fd(&msg, 0);
    protocol_message_clear(&msg);
    if (fd < 0)
        return os_error_set(err, OS_INTERNAL, "malformed answer of the monitor");
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (connect(fd, (struct sockaddr *)&sa, len) < 0 && errno != EINPROGRESS)
        return os_error_sys(err, errno, "cannot connect to %s port %u in the sandbox", ip, port);
    if (wait_connected(fd, ip, port, err) < 0)
        return -1;
    return os_steal_fd(fd);
}

/* Every executable that the decision rests on must be the one first seen under its path. */
static int check_executables(struct monitor_client *c, const struct protocol_list *exes,
                             struct protocol_message *msg, struct os_error *err)
{
    for (size_t i = 0; i < exes->n; i++) {
        cleanup_close int fd = protocol_take_fd(msg, i);
        if (fd < 0)
            return os_error_set(err, OS_INTERNAL, "malformed answer of the monitor");
        if (integrity_check(c->integrity, exes->v[i], fd, err) < 0)
            return i == 0 ? os_error_wrap(err, "binary integrity check failed")
                          : os_error_wrap(err, "ancestor integrity check failed for %s", exes->v[i]);
    }
    return 0;
}

int monitor_client_identify(void *ctx, const struct sockaddr_storage *agent,
                            const struct sockaddr_storage *local, struct os_arena *arena,
                            struct egress_identity *out, struct os_error *err)
{
    struct monitor_client *c = ctx;
    struct protocol_request r = {.type = PROTOCOL_IDENTIFY, .identify = {*agent, *local}};
    struct protocol_message msg;
    struct protocol_reader body;
    pthread_mutex_lock(&c->identifying);
    int answered = call(c, &r, &msg, &body, err);
    pthread_mutex_unlock(&c->identifying);
    if (answered < 0)
        return -1;
    int32_t pid = (int32_t)protocol_get_u32(&body);
    struct protocol_list exes = protocol_get_list(&body, arena);
    struct protocol_list cmdline = protocol_get_list(&body, arena);
    if (body.failed || exes.n == 0)
        return malformed(&msg, err);
    int checked = check_executables(c, &exes, &msg, err);
    protocol_message_clear(&msg);
    if (checked < 0)
        return -1;
    *out = (struct egress_identity){
        .pid = pid,
        .process = {.exe = exes.v[0],
                    .ancestors = exes.v + 1,
                    .n_ancestors = exes.n - 1,
                    .cmdline = cmdline.v,
                    .n_cmdline = cmdline.n},
    };
    return 0;
}

void monitor_client_quit(struct monitor_client *c, int status)
{
    struct protocol_request r = {.type = PROTOCOL_QUIT, .status = status};
    struct os_error cleanup_error err = {0};
    /* If it cannot be told, the end of this process tells it. */
    if (send_request(c, &r, 0, &err) < 0)
        _exit(status & 0xff);
}
