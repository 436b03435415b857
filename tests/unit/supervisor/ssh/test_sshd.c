/* The SSH server against a client of the same library, over a socket pair. The client runs in a thread of its
 * own; processes are real, the monitor is a double. */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <libssh/libssh.h>
#include <uv.h>

#include "fake_monitor.h"
#include "supervisor/ssh/sshd.h"

#define BIG (3u << 20)

static uv_loop_t loop;
static struct agent *agent;
static struct monitor_client *monitor;
static struct audit *audit;
static struct sshd *server;
static uv_async_t client_done;

static int set_up(void **state)
{
    static const char *const env[] = {"PATH=/usr/bin:/bin", NULL};
    const struct agent_options o = {.loop = &loop, .env = {.inherited = env, .home = "/"}};
    signal(SIGPIPE, SIG_IGN);
    uv_loop_init(&loop);
    agent = agent_new(&o);
    monitor = monitor_client_new(-1, agent_child_exited, agent_terminated, agent);
    agent_set_monitor(agent, monitor);
    audit = audit_new();
    server = sshd_new(&loop, agent, audit);
    return 0;
}

static int tear_down(void **state)
{
    sshd_free(server);
    fake_monitor_end(monitor);
    agent_free(agent);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    audit_free(audit);
    return 0;
}

/* --- the client --- */

struct client {
    int fd;
    const char *user;
    void (*run)(struct client *c, ssh_session s);
    int auth;
    /* what `run` found; looked at by the test afterwards */
    int status, opened;
    size_t bytes;
    char text[512], errors[512];
};

static void *client_thread(void *arg)
{
    struct client *c = arg;
    ssh_session s = ssh_new();
    bool no = false;
    ssh_options_set(s, SSH_OPTIONS_HOST, "sandbox");
    ssh_options_set(s, SSH_OPTIONS_USER, c->user);
    ssh_options_set(s, SSH_OPTIONS_FD, &c->fd);
    ssh_options_set(s, SSH_OPTIONS_PROCESS_CONFIG, &no);
    c->auth = SSH_AUTH_ERROR;
    if (ssh_connect(s) == SSH_OK)
        c->auth = ssh_userauth_none(s, NULL);
    if (c->auth == SSH_AUTH_SUCCESS && c->run)
        c->run(c, s);
    ssh_disconnect(s);
    ssh_free(s);
    uv_async_send(&client_done);
    return NULL;
}

static void on_client_done(uv_async_t *h)
{
    uv_close((uv_handle_t *)h, NULL);
    uv_stop(&loop);
}

static void talk(struct client *c)
{
    struct os_error err = {0};
    pthread_t thread;
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    assert_int_equal(sshd_accept(server, ends[1], &err), 0);
    uv_async_init(&loop, &client_done, on_client_done);
    c->fd = ends[0];
    if (!c->user)
        c->user = "sandbox";
    pthread_create(&thread, NULL, client_thread, c);
    uv_run(&loop, UV_RUN_DEFAULT);
    pthread_join(thread, NULL);
    uv_run(&loop, UV_RUN_NOWAIT);
}

static ssh_channel session_channel(ssh_session s)
{
    ssh_channel ch = ssh_channel_new(s);
    return ssh_channel_open_session(ch) == SSH_OK ? ch : NULL;
}

static void read_all(struct client *c, ssh_channel ch)
{
    char data[16384];
    int n;
    while ((n = ssh_channel_read(ch, data, sizeof(data), 0)) > 0) {
        if (c->bytes + (size_t)n < sizeof(c->text))
            memcpy(c->text + c->bytes, data, (size_t)n);
        c->bytes += (size_t)n;
    }
    while ((n = ssh_channel_read(ch, data, sizeof(data), 1)) > 0) {
        size_t have = strlen(c->errors);
        if (have + (size_t)n < sizeof(c->errors))
            memcpy(c->errors + have, data, (size_t)n);
    }
    c->status = ssh_channel_get_exit_status(ch);
}

static const char *command;

static void run_command(struct client *c, ssh_session s)
{
    ssh_channel ch = session_channel(s);
    c->opened = ssh_channel_request_exec(ch, command);
    ssh_channel_send_eof(ch);
    read_all(c, ch);
    ssh_channel_free(ch);
}

/* --- cases --- */

static void exec_gives_status_and_streams(void **state)
{
    struct client c = {.run = run_command};
    command = "  echo out; echo err >&2; exit 7 ";
    talk(&c);
    assert_int_equal(c.opened, SSH_OK);
    assert_int_equal(c.status, 7);
    assert_string_equal(c.text, "out\n");
    assert_string_equal(c.errors, "err\n");
}

static void an_empty_command_ends_at_once(void **state)
{
    struct client c = {.run = run_command};
    command = "  ";
    talk(&c);
    assert_int_equal(c.status, 0);
    assert_int_equal(c.bytes, 0);
}

static void wrong_users_are_refused(void **state)
{
    static const char *const users[] = {"root", "", "sandbo", "sandboxx"};
    for (size_t i = 0; i < sizeof(users) / sizeof(*users); i++) {
        struct client c = {.user = users[i], .run = run_command};
        talk(&c);
        assert_int_not_equal(c.auth, SSH_AUTH_SUCCESS);
    }
}

static void run_echo(struct client *c, ssh_session s)
{
    ssh_channel ch = session_channel(s);
    char *data = malloc(BIG), back[16384];
    memset(data, 'x', BIG);
    c->opened = ssh_channel_request_exec(ch, "cat");
    size_t sent = 0;
    ssh_set_blocking(s, 1);
    while (sent < BIG || c->bytes < BIG) {
        if (sent < BIG) {
            int n = ssh_channel_write(ch, data + sent, 65536);
            if (n <= 0)
                break;
            sent += (size_t)n;
            if (sent >= BIG)
                ssh_channel_send_eof(ch);
        }
        int n;
        while ((n = ssh_channel_read_timeout(ch, back, sizeof(back), 0, sent < BIG ? 0 : 5000)) > 0)
            c->bytes += (size_t)n;
        if (n == SSH_ERROR || (sent >= BIG && n <= 0))
            break;
    }
    free(data);
    read_all(c, ch);
    ssh_channel_free(ch);
}

static void large_data_passes_both_ways(void **state)
{
    struct client c = {.run = run_echo};
    talk(&c);
    assert_int_equal(c.bytes, BIG);
    assert_int_equal(c.status, 0);
}

static void run_terminal(struct client *c, ssh_session s)
{
    ssh_channel ch = session_channel(s);
    ssh_channel_request_env(ch, "LC_ALL", "C");
    ssh_channel_request_env(ch, "LD_PRELOAD", "/nothing");
    c->opened = ssh_channel_request_pty_size(ch, "vt100", 91, 33);
    ssh_channel_request_exec(ch, "echo $TERM $LC_ALL [$LD_PRELOAD]; stty size");
    read_all(c, ch);
    ssh_channel_free(ch);
}

static void a_terminal_has_type_and_size(void **state)
{
    struct client c = {.run = run_terminal};
    talk(&c);
    assert_int_equal(c.opened, SSH_OK);
    assert_string_equal(c.text, "vt100 C []\r\n33 91\r\n");
}

static void run_signal(struct client *c, ssh_session s)
{
    ssh_channel ch = session_channel(s);
    char byte;
    ssh_channel_request_exec(ch, "trap 'echo got it; exit 5' USR1; echo r; while :; do sleep 0.05; done");
    ssh_channel_read(ch, &byte, 1, 0);
    ssh_channel_request_send_signal(ch, "USR1");
    read_all(c, ch);
    ssh_channel_free(ch);
}

static void signals_reach_the_command(void **state)
{
    struct client c = {.run = run_signal};
    talk(&c);
    assert_int_equal(c.status, 5);
}

static const char *forward_host;
static int forward_port;

static void run_forward(struct client *c, ssh_session s)
{
    ssh_channel ch = ssh_channel_new(s);
    c->opened = ssh_channel_open_forward(ch, forward_host, forward_port, "127.0.0.1", 1);
    if (c->opened == SSH_OK) {
        ssh_channel_write(ch, "ping", 4);
        read_all(c, ch);
    }
    ssh_channel_free(ch);
}

static void *echo_once(void *arg)
{
    int listener = *(int *)arg, fd = accept(listener, NULL, NULL);
    char data[64];
    ssize_t n = read(fd, data, sizeof(data));
    if (n > 0 && write(fd, data, (size_t)n) < 0)
        abort();
    close(fd);
    return NULL;
}

static void forwards_reach_loopback_only(void **state)
{
    static const char *const refused[] = {"10.0.0.1", "example.com", "0.0.0.0", "169.254.169.254", "", "::2"};
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(at);
    pthread_t thread;
    forward_port = 80;
    for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); i++) {
        struct client c = {.run = run_forward};
        forward_host = refused[i];
        talk(&c);
        assert_int_equal(c.opened, SSH_ERROR);
    }
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(listen(listener, 1), 0);
    getsockname(listener, (struct sockaddr *)&at, &n);
    pthread_create(&thread, NULL, echo_once, &listener);
    struct client c = {.run = run_forward};
    forward_host = "localhost";
    forward_port = ntohs(at.sin_port);
    talk(&c);
    pthread_join(thread, NULL);
    close(listener);
    assert_int_equal(c.opened, SSH_OK);
    assert_string_equal(c.text, "ping");
    /* nobody listens any more: opened, and closed at once */
    struct client gone = {.run = run_forward};
    talk(&gone);
    assert_int_equal(gone.bytes, 0);
}

static void run_many(struct client *c, ssh_session s)
{
    ssh_channel list[80];
    for (c->opened = 0; c->opened < 80; c->opened++) {
        list[c->opened] = ssh_channel_new(s);
        if (ssh_channel_open_session(list[c->opened]) != SSH_OK)
            break;
    }
}

static void channels_are_limited(void **state)
{
    struct client c = {.run = run_many};
    talk(&c);
    assert_int_equal(c.opened, 64);
}

static void run_and_vanish(struct client *c, ssh_session s)
{
    ssh_channel ch = session_channel(s);
    char data[1024];
    ssh_channel_request_exec(ch, "yes");
    ssh_channel_read(ch, data, sizeof(data), 0);
    shutdown(c->fd, SHUT_RDWR);
}

static void a_client_that_vanishes_takes_its_command_along(void **state)
{
    struct client c = {.run = run_and_vanish};
    talk(&c);
    while (fake_monitor_running(monitor))
        uv_run(&loop, UV_RUN_ONCE);
}

static void run_bad_requests(struct client *c, ssh_session s)
{
    ssh_channel ch = session_channel(s);
    c->opened = ssh_channel_request_subsystem(ch, "nothing") == SSH_ERROR;
    c->opened += ssh_channel_request_exec(ch, "exit 3") == SSH_OK;
    c->opened += ssh_channel_request_exec(ch, "exit 4") == SSH_ERROR; /* one per channel */
    c->opened += ssh_channel_request_pty(ch) == SSH_ERROR;
    c->opened += ssh_channel_listen_forward(s, NULL, 0, NULL) == SSH_ERROR;
    read_all(c, ch);
    ssh_channel_free(ch);
}

static void what_is_not_offered_is_refused(void **state)
{
    struct client c = {.run = run_bad_requests};
    talk(&c);
    assert_int_equal(c.opened, 5);
    assert_int_equal(c.status, 3);
}

static void noise_ends_the_connection(void **state)
{
    static const char *const noise[] = {
        "GET / HTTP/1.1\r\n\r\n", "SSH-2.0-x\r\n\xff\xff\xff\xff garbage garbage garbage", "SSH-1.5-old\r\n"};
    for (size_t i = 0; i < sizeof(noise) / sizeof(*noise); i++) {
        struct os_error err = {0};
        int ends[2];
        char data[4096];
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
        assert_int_equal(sshd_accept(server, ends[1], &err), 0);
        assert_true(write(ends[0], noise[i], strlen(noise[i])) > 0);
        shutdown(ends[0], SHUT_WR);
        ssize_t n = 1;
        for (int turn = 0; turn < 1000 && n; turn++) {
            uv_run(&loop, UV_RUN_NOWAIT);
            n = read(ends[0], data, sizeof(data));
        }
        assert_int_equal(n, 0);
        close(ends[0]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(exec_gives_status_and_streams, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_empty_command_ends_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(wrong_users_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(large_data_passes_both_ways, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_terminal_has_type_and_size, set_up, tear_down),
        cmocka_unit_test_setup_teardown(signals_reach_the_command, set_up, tear_down),
        cmocka_unit_test_setup_teardown(forwards_reach_loopback_only, set_up, tear_down),
        cmocka_unit_test_setup_teardown(channels_are_limited, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_client_that_vanishes_takes_its_command_along, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_not_offered_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(noise_ends_the_connection, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
