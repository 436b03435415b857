/* `forward start`, `stop`, `list` and `service` (spec/cli.md 8). */
#include "cli/forward.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/output.h"
#include "cli/sandbox.h"
#include "core/cleanup.h"
#include "core/limits.h"
#include "core/str.h"
#include "net/dns.h"
#include "sys/file.h"
#include "sys/paths.h"

#define LISTENER_FD 3 /* of a background forwarder */
#define READY_FD 4
#define BACKLOG 64
#define READY_MS 10000
#define LOG_SHOWN 2048

/* --- the port --- */

int forward_spec_parse(struct os_arena *a, const char *text, bool any_port, struct forward_spec *out,
                       struct os_error *err)
{
    const char *colon = strrchr(text, ':'), *port = colon ? colon + 1 : text;
    char *bind = colon ? os_arena_strndup(a, text, (size_t)(colon - text)) : os_arena_strdup(a, "127.0.0.1");
    struct net_addr address;
    uint64_t n;
    size_t k = strlen(bind);
    if (k > 1 && bind[0] == '[' && bind[k - 1] == ']') {
        bind[k - 1] = '\0';
        bind++;
    }
    if (strcmp(bind, "localhost") == 0)
        bind = os_arena_strdup(a, "127.0.0.1");
    if (net_addr_parse(bind, &address) < 0 || !*port || port[strspn(port, "0123456789")])
        return os_error_set(err, OS_INVALID_ARGUMENT,
                            "invalid forward spec '%s': expected [bind_address:]port", text);
    if (!os_str_u64(port, UINT16_MAX, &n) || (!n && !any_port))
        return os_error_set(err, OS_INVALID_ARGUMENT, "port must be between 1 and 65535");
    *out = (struct forward_spec){bind, (uint16_t)n};
    return 0;
}

int forward_listen(struct forward_spec *spec, struct os_error *err)
{
    struct sockaddr_storage at;
    struct net_addr address;
    int one = 1;
    if (net_addr_parse(spec->bind, &address) < 0)
        return os_error_set(err, OS_INVALID_ARGUMENT, "'%s' is not an IP address", spec->bind);
    socklen_t n = net_addr_sockaddr(&address, spec->port, &at);
    cleanup_close int fd = socket(at.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return os_error_sys(err, errno, "cannot make a socket for %s port %u", spec->bind, spec->port);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(fd, (struct sockaddr *)&at, n) < 0 || listen(fd, BACKLOG) < 0) {
        if (errno == EADDRINUSE)
            return os_error_set(err, OS_ALREADY_EXISTS,
                                "Port %u is already in use by another process.\nFind it with: ss -ltnp "
                                "'sport = :%u'",
                                spec->port, spec->port);
        return os_error_sys(err, errno, "cannot listen on %s port %u", spec->bind, spec->port);
    }
    n = sizeof(at);
    if (getsockname(fd, (struct sockaddr *)&at, &n) == 0)
        spec->port = ntohs(at.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&at)->sin6_port
                                                    : ((struct sockaddr_in *)&at)->sin_port);
    return os_steal_fd(fd);
}

/* The background forward that has the port, if it is one of ours. */
static const struct forward_record *holder(struct cli *cli, uint16_t port)
{
    cleanup_error struct os_error err = {0};
    struct forward_record *list;
    size_t n;
    forward_records(&cli->arena, &list, &n, &err);
    for (size_t i = 0; i < n; i++)
        if (list[i].running && list[i].port == port)
            return &list[i];
    return NULL;
}

int forward_listen_or_explain(struct cli *cli, struct forward_spec *spec, struct os_error *err)
{
    int fd = forward_listen(spec, err);
    const struct forward_record *r =
        fd < 0 && err->code == OS_ALREADY_EXISTS ? holder(cli, spec->port) : NULL;
    if (r)
        return os_error_set(
            err, OS_ALREADY_EXISTS,
            "Port %u is already forwarded to sandbox '%s'.\nStop it with: openshell forward stop "
            "%u %s",
            spec->port, r->sandbox, spec->port, r->sandbox);
    return fd;
}

static const char *shown_host(const char *bind)
{
    return strcmp(bind, "0.0.0.0") == 0 || strcmp(bind, "::") == 0 ? "localhost" : bind;
}

static void say_access(const struct forward_spec *spec)
{
    const char *host = shown_host(spec->bind);
    bool v6 = strchr(host, ':');
    say(stderr, "  Access at: http://%s%s%s:%u/\n", v6 ? "[" : "", host, v6 ? "]" : "", spec->port);
}

/* --- background --- */

static char *log_path(const char *sandbox, uint16_t port, struct os_error *err)
{
    cleanup_free char *state = os_state_dir(err);
    cleanup_free char *dir = state ? os_asprintf("%s/forwards", state) : NULL;
    if (!dir || os_dir_make(dir, 0700, err) < 0)
        return NULL;
    return os_asprintf("%s/%s-%u.log", dir, sandbox, port);
}

/* Runs in the child: nothing but system calls. */
static void become_forwarder(char *const *argv, int null, int log, int listener, int ready)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    /* From above the places they go to, so that none is laid over another. */
    listener = fcntl(listener, F_DUPFD, 16);
    ready = fcntl(ready, F_DUPFD, 16);
    if (setsid() >= 0 && dup2(null, 0) >= 0 && dup2(log, 1) >= 0 && dup2(log, 2) >= 0 &&
        dup2(listener, LISTENER_FD) >= 0 && dup2(ready, READY_FD) >= 0) {
        syscall(SYS_close_range, READY_FD + 1, ~0U, 0U);
        execv("/proc/self/exe", argv);
    }
    _exit(126);
}

static const char *const *forwarder_argv(struct cli *cli, const char *port, const char *name, const char *id)
{
    static const char *const passed[] = {"gateway", "gateway-endpoint", "workspace"};
    const char **argv = os_arena_alloc(&cli->arena, 24 * sizeof(*argv));
    size_t n = 0;
    argv[n++] = "openshell";
    for (size_t i = 0; i < OS_ARRAY_LEN(passed); i++)
        if (args_given(cli->args, passed[i])) {
            argv[n++] = os_arena_printf(&cli->arena, "--%s", passed[i]);
            argv[n++] = args_get(cli->args, passed[i]);
        }
    if (args_given(cli->args, "gateway-insecure"))
        argv[n++] = "--gateway-insecure";
    const char *const words[] = {"forward", "start", "--forwarder", id, "--", port, name};
    for (size_t i = 0; i < OS_ARRAY_LEN(words); i++)
        argv[n++] = words[i];
    return argv;
}

/* Its first byte says that it serves; the end of the pipe says that it has ended. */
static bool await_ready(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    char byte;
    int n;
    do
        n = poll(&p, 1, READY_MS);
    while (n < 0 && errno == EINTR);
    return n == 1 && read(fd, &byte, 1) == 1;
}

static int not_started(pid_t pid, const struct forward_spec *spec, const char *log, struct os_error *err)
{
    struct os_buf cleanup_buf text = {0};
    kill(pid, SIGKILL);
    os_file_read(log, LOG_SHOWN, &text, NULL);
    return os_error_set(err, OS_UNAVAILABLE, "the forwarder ended before it served %s:%u\nLog: %s" CAUSE "%s",
                        spec->bind, spec->port, log, text.len ? os_str_trim(text.data) : "the log is empty");
}

int forward_background(struct cli *cli, const char *text, const char *name, const char *id,
                       const struct forward_spec *spec, int listener, struct os_error *err)
{
    int ends[2];
    cleanup_free char *log = log_path(name, spec->port, err);
    if (!log)
        return -1;
    cleanup_close int log_fd =
        open(log, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
    cleanup_close int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (log_fd < 0 || null < 0)
        return os_error_sys(err, errno, "cannot open the log file '%s'", log);
    if (pipe2(ends, O_CLOEXEC) < 0)
        return os_error_sys(err, errno, "cannot make a pipe");
    const char *const *argv = forwarder_argv(cli, text, name, id);
    pid_t pid = fork();
    if (pid == 0)
        become_forwarder((char *const *)argv, null, log_fd, listener, ends[1]);
    close(ends[1]);
    cleanup_close int ready = ends[0];
    if (pid < 0)
        return os_error_sys(err, errno, "cannot start the forwarder");
    if (!await_ready(ready))
        return not_started(pid, spec, log, err);
    const struct forward_record r = {
        .sandbox = name, .sandbox_id = id, .bind = spec->bind, .port = spec->port, .pid = pid};
    if (forward_record_write(&r, err) < 0) {
        kill(pid, SIGKILL);
        return os_error_wrap(err, "local forward listener was reachable but tracking the forwarder failed");
    }
    return 0;
}

void forward_say_background(const struct forward_spec *spec, const char *name, bool indented)
{
    say(stderr, "%s" OK_MARK "✓" END " Forwarding port %u to sandbox %s in the background\n",
        indented ? "  " : "", spec->port, name);
    if (indented)
        say(stderr, "\n");
    say_access(spec);
    say(stderr, "  Stop with: openshell forward stop %u %s\n", spec->port, name);
}

/* The background process itself: everything was checked by the run that started it. */
static int run_forwarder(struct cli *cli, const struct forward_spec *spec, struct os_error *err)
{
    static const char ready = '1';
    const struct forwarder_options opt = {.sandbox = args_positional(cli->args, 1),
                                          .sandbox_id = args_get(cli->args, "forwarder"),
                                          .host = "127.0.0.1",
                                          .port = spec->port};
    if (cli_connect(cli, err) < 0)
        return -1;
    if (write(READY_FD, &ready, 1) != 1)
        return os_error_set(err, OS_INVALID_ARGUMENT,
                            "--forwarder is for `forward start --background` itself");
    close(READY_FD);
    return forwarder_run(cli, LISTENER_FD, &opt, err);
}

/* --- commands --- */

static const Openshell__V1__Sandbox *ready_sandbox(struct cli *cli, const char *name, struct os_error *err)
{
    name = cli_sandbox_name(cli, name, err);
    const Openshell__V1__Sandbox *s = name ? cli_get_sandbox(cli, name, err) : NULL;
    return s && sandbox_check_ready(s, err) == 0 ? s : NULL;
}

int forward_start_run(struct cli *cli, struct os_error *err)
{
    struct forward_spec spec;
    if (forward_spec_parse(&cli->arena, args_positional(cli->args, 0), false, &spec, err) < 0)
        return -1;
    if (args_given(cli->args, "forwarder"))
        return run_forwarder(cli, &spec, err);
    const Openshell__V1__Sandbox *s = ready_sandbox(cli, args_positional(cli->args, 1), err);
    if (!s)
        return -1;
    const char *name = s->metadata->name, *id = s->metadata->id;
    int listener = forward_listen_or_explain(cli, &spec, err);
    if (listener < 0)
        return -1;
    if (args_given(cli->args, "background")) {
        int rc = forward_background(cli, args_positional(cli->args, 0), name, id, &spec, listener, err);
        close(listener);
        if (rc == 0)
            forward_say_background(&spec, name, false);
        return rc;
    }
    say(stderr, OK_MARK "✓" END " Forwarding port %u to sandbox %s\n", spec.port, name);
    say_access(&spec);
    say(stderr, "  Press Ctrl+C to stop\n" DIM
                "  Hint: pass --background to start forwarding without blocking your terminal" END "\n");
    const struct forwarder_options opt = {
        .sandbox = name, .sandbox_id = id, .host = "127.0.0.1", .port = spec.port};
    return forwarder_run(cli, listener, &opt, err);
}

int forward_service_run(struct cli *cli, struct os_error *err)
{
    uint16_t target = (uint16_t)args_number(cli->args, "target-port");
    const char *local = args_get(cli->args, "local"), *host = args_get(cli->args, "target-host");
    struct forward_spec spec = {.bind = "127.0.0.1", .port = target};
    if (!target)
        return os_error_set(err, OS_INVALID_ARGUMENT, "port must be between 1 and 65535");
    if (local && forward_spec_parse(&cli->arena, local, true, &spec, err) < 0)
        return -1;
    const Openshell__V1__Sandbox *s = ready_sandbox(cli, args_positional(cli->args, 0), err);
    int listener = s ? forward_listen_or_explain(cli, &spec, err) : -1;
    if (listener < 0)
        return -1;
    bool v6 = strchr(spec.bind, ':');
    say(stderr, OK_MARK "✓" END " Forwarding %s%s%s:%u -> %s:%u in sandbox %s via gRPC\n", v6 ? "[" : "",
        spec.bind, v6 ? "]" : "", spec.port, host, target, s->metadata->name);
    const struct forwarder_options opt = {.sandbox = s->metadata->name,
                                          .sandbox_id = s->metadata->id,
                                          .host = host,
                                          .port = target,
                                          .watch = true};
    if (forwarder_run(cli, listener, &opt, err) == 0)
        return 0;
    return os_error_wrap(err, "service forward stopped");
}

int forward_stop_run(struct cli *cli, struct os_error *err)
{
    const char *name = args_positional(cli->args, 1);
    struct forward_record *list;
    uint64_t port;
    size_t n;
    if (!os_str_u64(args_positional(cli->args, 0), UINT16_MAX, &port) || !port)
        return os_error_set(err, OS_INVALID_ARGUMENT, "port must be between 1 and 65535");
    if (forward_records(&cli->arena, &list, &n, err) < 0)
        return -1;
    for (size_t i = 0; i < n; i++) {
        if (list[i].port != port || (name ? strcmp(list[i].sandbox, name) != 0 : !list[i].running))
            continue;
        if (!name)
            say(stderr, "→ Found forward on sandbox '%s'\n", list[i].sandbox);
        forward_record_stop(&list[i]);
        if (list[i].running) {
            say(stderr, OK_MARK "✓" END " Stopped forward of port %u for sandbox %s\n", list[i].port,
                list[i].sandbox);
            return 0;
        }
    }
    if (name)
        say(stderr, YELLOW "!" END " No active forward found for port %llu on sandbox %s\n",
            (unsigned long long)port, name);
    else
        say(stderr, YELLOW "!" END " No active forward found for port %llu\n", (unsigned long long)port);
    return 0;
}

int forward_list_run(struct cli *cli, struct os_error *err)
{
    struct forward_record *list;
    size_t n;
    if (forward_records(&cli->arena, &list, &n, err) < 0)
        return -1;
    if (!n) {
        say(stderr, "No active forwards.\n");
        return 0;
    }
    struct table t = {.arena = &cli->arena,
                      .columns = 5,
                      .headers = {"SANDBOX", "BIND", "PORT", "PID", "STATUS"},
                      .least = {7, 4, 8, 10, 0},
                      .gap = " "};
    for (size_t i = 0; i < n; i++) {
        table_add(&t, list[i].sandbox, NULL);
        table_add(&t, list[i].bind, NULL);
        table_add(&t, os_arena_printf(&cli->arena, "%u", list[i].port), NULL);
        table_add(&t, os_arena_printf(&cli->arena, "%d", (int)list[i].pid), NULL);
        table_add(&t, list[i].running ? "running" : "dead", list[i].running ? GREEN : RED);
    }
    table_print(&t, stdout);
    /* Shown once; then there is nothing left to know of it. */
    for (size_t i = 0; i < n; i++)
        if (!list[i].running)
            forward_record_stop(&list[i]);
    return 0;
}
