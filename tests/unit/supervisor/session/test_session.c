/* The session against a gateway in the same loop, with real processes behind it. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/cleanup.h"
#include "core/limits.h"
#include "core/log.h"
#include "fake_gateway.h"
#include "fake_monitor.h"
#include "supervisor/session/internal.h"
#include "supervisor/session/session.h"
#include "waiting.h"

static struct fake_gateway gw;
static struct agent *agent;
static struct monitor_client *monitor;
static struct session *session;
static struct session_options options;
static uint32_t config_version;
static unsigned configs, config_failures;
static enum os_code config_failure;
static bool flag;

static void set_flag(void *ctx)
{
    flag = true;
}

static void on_config(void *ctx, const session_config *c)
{
    configs++;
    config_version = c->version;
}

static void on_config_failed(void *ctx, const struct os_error *why)
{
    config_failures++;
    config_failure = why->code;
}

/* --- running the loop --- */

/* What a handler on a worker thread changes is looked at now and then. */
#define RUN_UNTIL_LOCKED(condition)                                                                          \
    for (bool done_ = false; !done_;) {                                                                      \
        run_for(10);                                                                                         \
        pthread_mutex_lock(&gw.lock);                                                                        \
        done_ = (condition);                                                                                 \
        pthread_mutex_unlock(&gw.lock);                                                                      \
    }

/* --- set-up --- */

static int set_up(void **state)
{
    static const char *const env[] = {"PATH=/usr/bin:/bin", NULL};
    static char endpoint[64];
    const struct agent_options o = {.loop = &loop, .env = {.inherited = env, .home = "/"}};
    signal(SIGPIPE, SIG_IGN);
    os_log_set_level(OS_LOG_ERROR);
    uv_loop_init(&loop);
    fake_gateway_init(&gw, &loop);
    agent = agent_new(&o);
    monitor = monitor_client_new(-1, agent_child_exited, agent_terminated, agent);
    agent_set_monitor(agent, monitor);
    snprintf(endpoint, sizeof(endpoint), "http://127.0.0.1:%d", gw.port);
    options = (struct session_options){.loop = &loop,
                                       .endpoint = endpoint,
                                       .token = "first-token",
                                       .sandbox_id = "sandbox-1",
                                       .instance_id = "instance-1",
                                       .version = "9.9",
                                       .agent = agent,
                                       .on_config = on_config,
                                       .on_config_failed = on_config_failed};
    configs = config_failures = 0;
    config_version = 0;
    config_failure = OS_OK;
    flag = false;
    session = NULL;
    return 0;
}

static int tear_down(void **state)
{
    session_free(session);
    fake_monitor_end(monitor);
    agent_free(agent);
    if (gw.server)
        fake_gateway_down(&gw);
    RUN_UNTIL(gw.down);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    fake_gateway_free(&gw);
    return 0;
}

static void open_session(void)
{
    cleanup_error struct os_error err = {0};
    session = session_new(&options, &err);
    if (!session)
        fail_msg("%s", os_error_text(&err));
}

static void connect_session(void)
{
    open_session();
    session_start(session);
    RUN_UNTIL(session_connected(session));
}

static void open_exec(Openshell__V1__ExecRelayTarget *t)
{
    Openshell__V1__RelayOpen open = OPENSHELL__V1__RELAY_OPEN__INIT;
    open.exec = t;
    fake_gateway_open(&gw, &open);
}

static void open_shell(const char *script)
{
    char *argv[] = {(char *)"sh", (char *)"-c", (char *)script};
    Openshell__V1__ExecRelayTarget t = OPENSHELL__V1__EXEC_RELAY_TARGET__INIT;
    t.command = argv;
    t.n_command = 3;
    open_exec(&t);
}

static void send_text(const char *text)
{
    Openshell__V1__RelayFrame f = OPENSHELL__V1__RELAY_FRAME__INIT;
    f.payload_case = OPENSHELL__V1__RELAY_FRAME__PAYLOAD_DATA;
    f.data = (ProtobufCBinaryData){.data = (uint8_t *)text, .len = strlen(text)};
    fake_gateway_send(&gw, &f);
}

/* --- configuration --- */

static void first_config_is_waited_for(void **state)
{
    gw.config_failures = 2;
    open_session();
    session_fetch_config(session);
    RUN_UNTIL(configs);
    assert_int_equal(config_version, 1);
    assert_int_equal(gw.config_calls, 3);
    assert_int_equal(config_failures, 0);
}

static void first_config_survives_an_absent_gateway(void **state)
{
    fake_gateway_down(&gw);
    RUN_UNTIL(gw.down);
    open_session();
    session_fetch_config(session);
    run_for(300);
    assert_int_equal(config_failures, 0);
    fake_gateway_up(&gw);
    RUN_UNTIL(configs);
    assert_int_equal(config_version, 1);
}

static void first_config_can_be_refused(void **state)
{
    gw.config_failures = 1;
    gw.config_error = OS_PERMISSION_DENIED;
    open_session();
    session_fetch_config(session);
    RUN_UNTIL(config_failures);
    assert_int_equal(config_failure, OS_PERMISSION_DENIED);
    assert_int_equal(configs, 0);
}

static void pushed_config(void **state)
{
    open_session();
    session_fetch_config(session);
    RUN_UNTIL(configs);
    session_start(session);
    RUN_UNTIL_LOCKED(gw.config_calls == 2); /* an accepted session asks once more */
    run_for(50);
    assert_int_equal(configs, 1); /* and the same answer is not delivered twice */
    pthread_mutex_lock(&gw.lock);
    gw.version = 3;
    pthread_mutex_unlock(&gw.lock);
    fake_gateway_push(&gw, 3);
    RUN_UNTIL(configs == 2);
    assert_int_equal(config_version, 3);
    fake_gateway_push(&gw, 2); /* overtaken: the gateway is asked instead */
    RUN_UNTIL_LOCKED(gw.config_calls == 3);
    run_for(50);
    assert_int_equal(config_version, 3);
    assert_int_equal(configs, 2);
}

static void polled_config(void **state)
{
    gw.no_push = true;
    options.poll_seconds = 1;
    connect_session();
    RUN_UNTIL(configs == 1);
    pthread_mutex_lock(&gw.lock);
    gw.version = 2;
    pthread_mutex_unlock(&gw.lock);
    RUN_UNTIL(configs == 2);
    assert_int_equal(config_version, 2);
}

static void policy_reports_keep_their_order(void **state)
{
    fake_gateway_down(&gw);
    RUN_UNTIL(gw.down);
    open_session();
    session_report_policy(session, 1, true, NULL);
    session_report_policy(session, 2, false, "bad rule");
    run_for(50);
    fake_gateway_up(&gw);
    RUN_UNTIL_LOCKED(strstr(os_buf_str(&gw.policy_reports), ";2:"));
    assert_string_equal(os_buf_str(&gw.policy_reports), "1:2:;2:3:bad rule;");
}

/* --- control session --- */

static void hello(void **state)
{
    open_session();
    session_set_enforcement(session, true, "all was refused");
    session_start(session);
    RUN_UNTIL(session_connected(session));
    assert_string_equal(gw.enforcement, "1 all was refused");
    assert_string_equal(gw.sandbox_id, "sandbox-1");
    assert_string_equal(gw.instance_id, "instance-1");
    assert_string_equal(gw.version_text, "9.9");
    assert_string_equal(gw.bearer, "Bearer first-token");
    assert_string_equal(os_buf_str(&gw.capabilities), "exec-relay,config-push,attach-main,");
}

static void comes_back_after_a_loss(void **state)
{
    connect_session();
    RUN_UNTIL(configs);
    fake_gateway_down(&gw);
    RUN_UNTIL(gw.down && !session_connected(session));
    gw.version = 5;
    fake_gateway_up(&gw);
    RUN_UNTIL(session_connected(session));
    assert_int_equal(gw.hellos, 2);
    RUN_UNTIL(configs == 2);
    assert_int_equal(config_version, 5);
    open_shell("echo alive");
    RUN_UNTIL(gw.relay.ended);
    assert_string_equal(os_buf_str(&gw.relay.out), "alive\n");
}

/* However long it was away. The timer is looked at and then let go, instead of waited for. */
static void gateway_that_is_back_is_found_within_a_second(void **state)
{
    connect_session();
    fake_gateway_down(&gw);
    RUN_UNTIL(gw.down && !session_connected(session));
    uv_timer_t *next = &session->timers[TIMER_CONNECT];
    uint64_t longest = 0;
    for (int i = 0; i < 12; i++) {
        RUN_UNTIL(!session->control && uv_is_active((uv_handle_t *)next));
        uint64_t due = uv_timer_get_due_in(next);
        longest = due > longest ? due : longest;
        uv_timer_start(next, next->timer_cb, 0, 0);
        RUN_UNTIL(session->control);
    }
    assert_in_range(longest, 500, 1000);
    fake_gateway_up(&gw);
    RUN_UNTIL(session_connected(session));
}

/* One that is there and says no is not asked every second. */
static void gateway_that_refuses_is_spared(void **state)
{
    connect_session();
    uv_timer_t *next = &session->timers[TIMER_CONNECT];
    uint64_t longest = 0;
    for (int i = 0; i < 12; i++) {
        gw.no_accept = true;
        RUN_UNTIL(gw.control);
        rpc_call_finish(gw.control, OS_UNAVAILABLE, "not now");
        RUN_UNTIL(!session->control && uv_is_active((uv_handle_t *)next));
        uint64_t due = uv_timer_get_due_in(next);
        longest = due > longest ? due : longest;
        uv_timer_start(next, next->timer_cb, 0, 0);
        RUN_UNTIL(session->control);
    }
    assert_in_range(longest, 15000, 36000);
}

static void token_is_renewed(void **state)
{
    /* {"exp":1}: long past, so renewal is due after a second */
    options.token = "e30.eyJleHAiOjF9.x";
    open_session();
    session_fetch_config(session);
    RUN_UNTIL_LOCKED(gw.refreshes);
    run_for(50);
    session_start(session);
    RUN_UNTIL(session_connected(session));
    assert_string_equal(gw.bearer, "Bearer second-token");
}

static void options_are_checked(void **state)
{
    cleanup_error struct os_error err = {0};
    options.token = "";
    assert_null(session_new(&options, &err));
    assert_int_equal(err.code, OS_UNAUTHENTICATED);
    options.token = "t";
    options.endpoint = "https://127.0.0.1:1";
    assert_null(session_new(&options, &err));
    assert_string_equal(os_error_text(&err), "OPENSHELL_TLS_CA is required");
    options.endpoint = "nonsense";
    assert_null(session_new(&options, &err));
}

/* --- relays --- */

static void exec_streams_and_status(void **state)
{
    connect_session();
    open_shell("read line; echo \"out $line\"; echo problem >&2; exit 7");
    RUN_UNTIL(gw.relay.claimed);
    Openshell__V1__RelayFrame f = OPENSHELL__V1__RELAY_FRAME__INIT;
    Openshell__V1__ExecSandboxWindowResize size = OPENSHELL__V1__EXEC_SANDBOX_WINDOW_RESIZE__INIT;
    size.cols = size.rows = 50;
    f.resize = &size;
    fake_gateway_send(&gw, &f); /* means nothing without a terminal */
    send_text("line\n");
    RUN_UNTIL(gw.relay.ended);
    assert_true(gw.relay.exited);
    assert_int_equal(gw.relay.exit_code, 7);
    assert_string_equal(os_buf_str(&gw.relay.out), "out line\n");
    assert_string_equal(os_buf_str(&gw.relay.err), "problem\n");
    assert_string_equal(gw.relay.error, "");
}

static void exec_environment_and_directory(void **state)
{
    connect_session();
    char *argv[] = {(char *)"sh", (char *)"-c", (char *)"pwd; echo \"$A\"; stty size"};
    Openshell__V1__ExecRelayTarget__EnvironmentEntry a =
        OPENSHELL__V1__EXEC_RELAY_TARGET__ENVIRONMENT_ENTRY__INIT;
    Openshell__V1__ExecRelayTarget__EnvironmentEntry *list[] = {&a};
    Openshell__V1__ExecRelayTarget t = OPENSHELL__V1__EXEC_RELAY_TARGET__INIT;
    a.key = (char *)"A";
    a.value = (char *)"1 2";
    t.command = argv;
    t.n_command = 3;
    t.environment = list;
    t.n_environment = 1;
    t.workdir = (char *)"/usr";
    t.tty = 1;
    t.cols = 90;
    t.rows = 33;
    open_exec(&t);
    RUN_UNTIL(gw.relay.ended);
    assert_string_equal(os_buf_str(&gw.relay.out), "/usr\r\n1 2\r\n33 90\r\n");
    assert_int_equal(gw.relay.exit_code, 0);
}

static void exec_that_cannot_start(void **state)
{
    connect_session();
    char *argv[] = {(char *)"/no/such/program"};
    Openshell__V1__ExecRelayTarget t = OPENSHELL__V1__EXEC_RELAY_TARGET__INIT;
    t.command = argv;
    t.n_command = 1;
    open_exec(&t);
    RUN_UNTIL(gw.relay.ended);
    assert_int_equal(gw.relay.exit_code, 127);
    assert_non_null(strstr(os_buf_str(&gw.relay.err), "/no/such/program"));
    t.n_command = 0;
    open_exec(&t);
    RUN_UNTIL(gw.relay.ended);
    assert_false(gw.relay.exited);
    assert_non_null(strstr(gw.relay.error, "the command is empty"));
    t.attach_main = 1;
    open_exec(&t);
    RUN_UNTIL(gw.relay.ended);
    assert_non_null(strstr(gw.relay.error, "has not been started"));
}

static void ten_megabytes_through_cat(void **state)
{
    const uint64_t total = 10u << 20;
    connect_session();
    open_shell("cat");
    gw.relay.to_send = total;
    gw.relay.eof_when_sent = true;
    gw.relay.check_pattern = true;
    RUN_UNTIL(gw.relay.ended);
    assert_int_equal(gw.relay.exit_code, 0);
    assert_int_equal(gw.relay.received, total);
    assert_false(gw.relay.pattern_broken);
}

static void slow_reader_holds_the_writer(void **state)
{
    const uint64_t total = 20u << 20;
    connect_session();
    open_shell("head -c 20971520 /dev/zero; echo over >&2");
    gw.relay.hold = true;
    RUN_UNTIL(gw.relay.claimed);
    run_for(500);
    assert_int_equal(fake_monitor_running(monitor), 1); /* blocked in write */
    assert_true(gw.relay.received < total / 2);
    rpc_call_resume(gw.relay.call);
    RUN_UNTIL(gw.relay.ended);
    assert_int_equal(gw.relay.received, total);
    assert_string_equal(os_buf_str(&gw.relay.err), "over\n");
}

static void slow_process_holds_the_sender(void **state)
{
    connect_session();
    open_shell("sleep 0.5; cat >/dev/null; exit 3");
    gw.relay.to_send = 20u << 20;
    gw.relay.eof_when_sent = true;
    RUN_UNTIL(gw.relay.claimed);
    run_for(250);
    assert_true(gw.relay.sent < gw.relay.to_send);
    RUN_UNTIL(gw.relay.ended);
    assert_int_equal(gw.relay.sent, gw.relay.to_send);
    assert_int_equal(gw.relay.exit_code, 3);
}

static void process_that_ignores_its_input(void **state)
{
    connect_session();
    open_shell("sleep 0.2; exit 6");
    gw.relay.to_send = 20u << 20;
    RUN_UNTIL(gw.relay.ended);
    assert_int_equal(gw.relay.exit_code, 6);
}

static void time_limit(void **state)
{
    connect_session();
    char *argv[] = {(char *)"sleep", (char *)"60"};
    Openshell__V1__ExecRelayTarget t = OPENSHELL__V1__EXEC_RELAY_TARGET__INIT;
    t.command = argv;
    t.n_command = 2;
    t.timeout_seconds = 1;
    open_exec(&t);
    RUN_UNTIL(gw.relay.ended);
    assert_int_equal(gw.relay.exit_code, 124);
}

static void lost_client_ends_the_process(void **state)
{
    connect_session();
    open_shell("echo up; sleep 60");
    RUN_UNTIL(gw.relay.received);
    assert_int_equal(fake_monitor_running(monitor), 1);
    rpc_call_cancel(gw.relay.call);
    RUN_UNTIL(gw.relay.ended);
    while (fake_monitor_running(monitor))
        run_for(20); /* the guard of the test run bounds it: sleep takes the first signal */
    open_shell("echo next");
    RUN_UNTIL(gw.relay.ended);
    assert_string_equal(os_buf_str(&gw.relay.out), "next\n");
}

static void attachment(void **state)
{
    cleanup_error struct os_error err = {0};
    const char *argv[] = {"sh", "-c", "echo first; read x; echo then $x; exit 5", NULL};
    connect_session();
    assert_int_equal(agent_start_main(agent, &(struct agent_command){.argv = argv}, &err), 0);
    run_for(100);
    Openshell__V1__ExecRelayTarget t = OPENSHELL__V1__EXEC_RELAY_TARGET__INIT;
    t.attach_main = 1;
    open_exec(&t);
    RUN_UNTIL(gw.relay.received >= 6);
    assert_string_equal(os_buf_str(&gw.relay.out), "first\n");
    send_text("that\n");
    RUN_UNTIL(gw.relay.ended);
    assert_string_equal(os_buf_str(&gw.relay.out), "first\nthen that\n");
    assert_int_equal(gw.relay.exit_code, 5);
}

static int listener(uint16_t *port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(a);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(fd, 5), 0);
    getsockname(fd, (struct sockaddr *)&a, &n);
    *port = ntohs(a.sin_port);
    return fd;
}

static void open_tcp(const char *host, uint32_t port)
{
    Openshell__V1__TcpRelayTarget t = OPENSHELL__V1__TCP_RELAY_TARGET__INIT;
    Openshell__V1__RelayOpen open = OPENSHELL__V1__RELAY_OPEN__INIT;
    t.host = (char *)host;
    t.port = port;
    open.target_case = OPENSHELL__V1__RELAY_OPEN__TARGET_TCP;
    open.tcp = &t;
    fake_gateway_open(&gw, &open);
}

static void *serve_echo(void *arg)
{
    cleanup_close int fd = accept(*(int *)arg, NULL, NULL);
    uint8_t data[4096];
    for (ssize_t n; (n = read(fd, data, sizeof(data))) > 0;)
        for (ssize_t at = 0, w; at < n && (w = write(fd, data + at, (size_t)(n - at))) > 0; at += w)
            ;
    return NULL;
}

static void tcp_with_half_close(void **state)
{
    uint16_t port;
    pthread_t echo;
    cleanup_close int fd = listener(&port);
    pthread_create(&echo, NULL, serve_echo, &fd);
    connect_session();
    open_tcp("localhost", port);
    gw.relay.to_send = 3u << 20;
    gw.relay.eof_when_sent = true;
    gw.relay.check_pattern = true;
    RUN_UNTIL(gw.relay.ended);
    assert_int_equal(gw.relay.received, 3u << 20);
    assert_false(gw.relay.pattern_broken);
    pthread_join(echo, NULL);
}

static void relays_that_are_refused(void **state)
{
    connect_session();
    open_tcp("192.0.2.1", 80);
    RUN_UNTIL(gw.open_refused);
    assert_string_equal(gw.open_error, "tcp target host must be loopback");
    uint16_t port;
    close(listener(&port));
    open_tcp("127.0.0.1", port);
    RUN_UNTIL(gw.open_refused);
    assert_non_null(strstr(gw.open_error, "cannot connect to 127.0.0.1"));
    Openshell__V1__RelayOpen ssh = OPENSHELL__V1__RELAY_OPEN__INIT;
    fake_gateway_open(&gw, &ssh);
    RUN_UNTIL(gw.open_refused);
    assert_non_null(strstr(gw.open_error, "not ssh"));
}

/* --- logs and the end --- */

static void log_lines(void **state)
{
    connect_session();
    session_log(session, 1000, "OCSF", "ocsf", "NET:OPEN [INFO] ALLOWED");
    session_log(session, 1001, "WARN", "agent", "bad byte \xff here");
    RUN_UNTIL(gw.log_lines == 2);
    assert_string_equal(os_buf_str(&gw.logs), "sandbox-1 OCSF ocsf: NET:OPEN [INFO] ALLOWED\n"
                                              "sandbox-1 WARN agent: bad byte ? here\n");
}

static void *flood(void *arg)
{
    for (int i = 0; i < 2000; i++)
        session_log(session, i, "INFO", "flood", "x");
    return NULL;
}

static void log_queue_is_bounded(void **state)
{
    pthread_t t;
    open_session();
    pthread_create(&t, NULL, flood, NULL);
    pthread_join(t, NULL); /* the loop does not run meanwhile: the queue fills */
    session_start(session);
    RUN_UNTIL(gw.log_lines > OS_LOG_QUEUE);
    assert_int_equal(gw.log_lines, OS_LOG_QUEUE + 1);
    assert_non_null(strstr(os_buf_str(&gw.logs), "976 log lines were dropped"));
    assert_int_equal(gw.log_calls, 1);
}

static void exit_report_and_stop(void **state)
{
    gw.exit_failures = 2;
    connect_session();
    session_log(session, 1, "INFO", "last", "words");
    session_report_exit(session, 42, NULL, set_flag, NULL);
    RUN_UNTIL(flag);
    assert_int_equal(gw.exit_calls, 3);
    assert_int_equal(gw.exit_code, 42);
    assert_string_equal(gw.exit_instance, "instance-1");
    flag = false;
    session_log(session, 2, "INFO", "very", "last");
    session_stop(session, set_flag, NULL);
    RUN_UNTIL(flag);
    assert_non_null(strstr(os_buf_str(&gw.logs), "very: last"));
    assert_null(gw.control);
}

static void stop_sends_every_line(void **state)
{
    char text[201];
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    connect_session();
    for (int i = 0; i < OS_LOG_QUEUE; i++)
        session_log(session, i, "INFO", "many", text);
    session_stop(session, set_flag, NULL);
    RUN_UNTIL(flag);
    assert_true(gw.log_lines >= OS_LOG_QUEUE);
    assert_null(strstr(os_buf_str(&gw.logs), "dropped"));
}

static void stop_without_a_gateway(void **state)
{
    fake_gateway_down(&gw);
    RUN_UNTIL(gw.down);
    open_session();
    session_start(session);
    session_report_exit(session, 1, NULL, set_flag, NULL);
    run_for(50);
    assert_false(flag);
    session_stop(session, set_flag, NULL);
    RUN_UNTIL(flag);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(first_config_is_waited_for),
        T(first_config_survives_an_absent_gateway),
        T(first_config_can_be_refused),
        T(pushed_config),
        T(polled_config),
        T(policy_reports_keep_their_order),
        T(hello),
        T(comes_back_after_a_loss),
        T(gateway_that_is_back_is_found_within_a_second),
        T(gateway_that_refuses_is_spared),
        T(token_is_renewed),
        T(options_are_checked),
        T(exec_streams_and_status),
        T(exec_environment_and_directory),
        T(exec_that_cannot_start),
        T(ten_megabytes_through_cat),
        T(slow_reader_holds_the_writer),
        T(slow_process_holds_the_sender),
        T(process_that_ignores_its_input),
        T(time_limit),
        T(lost_client_ends_the_process),
        T(attachment),
        T(tcp_with_half_close),
        T(relays_that_are_refused),
        T(log_lines),
        T(log_queue_is_bounded),
        T(exit_report_and_stop),
        T(stop_sends_every_line),
        T(stop_without_a_gateway),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
