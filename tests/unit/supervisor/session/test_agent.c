/* Streams with real processes: output, input, time-outs, attachments. The monitor is a double. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/buf.h"
#include "core/limits.h"
#include "fake_monitor.h"
#include "supervisor/agent/agent.h"
#include "waiting.h"

static struct agent *agent;
static struct monitor_client *monitor;
static bool main_over;
static int main_status;
static bool terminated, terminated_running;

static void on_terminate(void *ctx, bool main_running)
{
    terminated = true;
    terminated_running = main_running;
}

static void on_main_exit(void *ctx, int status)
{
    main_over = true;
    main_status = status;
}

static int set_up(void **state)
{
    static const char *const env[] = {"PATH=/usr/bin:/bin", NULL};
    const struct agent_options o = {.loop = &loop,
                                    .env = {.inherited = env, .home = "/"},
                                    .on_main_exit = on_main_exit,
                                    .on_terminate = on_terminate};
    signal(SIGPIPE, SIG_IGN);
    uv_loop_init(&loop);
    agent = agent_new(&o);
    monitor = monitor_client_new(-1, agent_child_exited, agent_terminated, agent);
    agent_set_monitor(agent, monitor);
    main_over = terminated = false;
    main_status = -99;
    return 0;
}

static int tear_down(void **state)
{
    fake_monitor_end(monitor);
    agent_free(agent);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    return 0;
}

struct sink {
    struct agent_stream *stream;
    struct os_buf out, err;
    bool ended, ready;
    int status;
    char error[160];
    size_t pause_after; /* bytes of output; 0 = never */
};

static void sink_out(void *ctx, const uint8_t *d, size_t n)
{
    struct sink *k = ctx;
    os_buf_add(&k->out, d, n);
    if (k->pause_after && k->out.len >= k->pause_after)
        agent_stream_pause(k->stream);
}

static void sink_err(void *ctx, const uint8_t *d, size_t n)
{
    struct sink *k = ctx;
    os_buf_add(&k->err, d, n);
}

static void sink_ready(void *ctx)
{
    struct sink *k = ctx;
    k->ready = true;
}

static void sink_end(void *ctx, int status, const char *error)
{
    struct sink *k = ctx;
    assert_false(k->ended);
    k->ended = true;
    k->status = status;
    snprintf(k->error, sizeof(k->error), "%s", error ? error : "");
}

static const struct agent_stream_ops sink_ops = {sink_out, sink_err, sink_ready, sink_end};

static void start(struct sink *k, const struct agent_command *c)
{
    cleanup_error struct os_error err = {0};
    k->stream = agent_exec(agent, c, &sink_ops, k, &err);
    if (!k->stream)
        fail_msg("%s", os_error_text(&err));
}

static void shell(struct sink *k, const char *script, struct agent_command c)
{
    const char *argv[] = {"sh", "-c", script, NULL};
    c.argv = argv;
    start(k, &c);
}

static void drop(struct sink *k)
{
    agent_stream_close(k->stream);
    os_buf_free(&k->out);
    os_buf_free(&k->err);
}

static void output_and_status(void **state)
{
    struct sink k = {0};
    const struct agent_variable env[] = {{"GREETING", "a  b\nc"}};
    shell(&k, "printf %s \"$GREETING\"; echo problem >&2; exit 3",
          (struct agent_command){.env = env, .n_env = 1});
    RUN_UNTIL(k.ended);
    assert_int_equal(k.status, 3);
    assert_string_equal(os_buf_str(&k.out), "a  b\nc");
    assert_string_equal(os_buf_str(&k.err), "problem\n");
    drop(&k);
}

static void death_by_signal(void **state)
{
    struct sink k = {0};
    shell(&k, "kill -9 $$", (struct agent_command){0});
    RUN_UNTIL(k.ended);
    assert_int_equal(k.status, 128 + 9);
    drop(&k);
}

static void input_to_the_end(void **state)
{
    struct sink k = {0};
    static uint8_t block[60000];
    const char *argv[] = {"cat", NULL};
    start(&k, &(struct agent_command){.argv = argv});
    size_t sent = 0;
    for (; sent < 3000000; sent += sizeof(block)) {
        for (size_t i = 0; i < sizeof(block); i++)
            block[i] = (uint8_t)((sent + i) % 251);
        k.ready = false;
        agent_stream_write(k.stream, block, sizeof(block));
        if (agent_stream_queued(k.stream) > OS_RELAY_WINDOW)
            RUN_UNTIL(k.ready);
    }
    agent_stream_eof(k.stream);
    RUN_UNTIL(k.ended);
    assert_int_equal(k.status, 0);
    assert_int_equal(k.out.len, sent);
    for (size_t i = 0; i < sent; i++)
        assert_int_equal((uint8_t)k.out.data[i], i % 251);
    drop(&k);
}

static void input_after_the_reader_left(void **state)
{
    struct sink k = {0};
    static uint8_t block[400000];
    shell(&k, "head -c 10 >/dev/null; exec <&-; echo gone; sleep 0.3; exit 4", (struct agent_command){0});
    agent_stream_write(k.stream, block, sizeof(block));
    RUN_UNTIL(k.out.len >= 5);
    agent_stream_write(k.stream, block, sizeof(block));
    RUN_UNTIL(k.ended);
    assert_int_equal(agent_stream_queued(k.stream), 0);
    assert_int_equal(k.status, 4);
    drop(&k);
}

static void paused_output_waits(void **state)
{
    struct sink k = {.pause_after = 100000};
    shell(&k, "head -c 2000000 /dev/zero; echo end >&2", (struct agent_command){0});
    RUN_UNTIL(k.out.len >= k.pause_after);
    run_for(300);
    assert_false(k.ended);
    assert_true(k.out.len < 200000);
    assert_int_equal(k.err.len, 0); /* the writer is still blocked */
    k.pause_after = 0;
    agent_stream_resume(k.stream);
    RUN_UNTIL(k.ended);
    assert_int_equal(k.out.len, 2000000);
    assert_string_equal(os_buf_str(&k.err), "end\n");
    drop(&k);
}

static void paused_after_exit_loses_nothing(void **state)
{
    struct sink k = {.pause_after = 1};
    shell(&k, "head -c 50000 /dev/zero", (struct agent_command){0});
    RUN_UNTIL(k.out.len >= 1);
    run_for(500);
    assert_false(k.ended);
    k.pause_after = 0;
    agent_stream_resume(k.stream);
    RUN_UNTIL(k.ended);
    assert_int_equal(k.out.len, 50000);
    drop(&k);
}

static void terminal(void **state)
{
    struct sink k = {0};
    shell(&k, "stty -echo; stty size; read x; stty size; tty -s; exit $?",
          (struct agent_command){.tty = true, .cols = 100, .rows = 30});
    RUN_UNTIL(k.out.len >= 8);
    agent_stream_resize(k.stream, 132, 43);
    agent_stream_write(k.stream, (const uint8_t *)"\n", 1);
    RUN_UNTIL(k.ended);
    assert_int_equal(k.status, 0);
    assert_string_equal(os_buf_str(&k.out), "30 100\r\n43 132\r\n");
    assert_int_equal(k.err.len, 0);
    drop(&k);
}

static void resize_without_terminal(void **state)
{
    struct sink k = {0};
    shell(&k, "cat; tty -s", (struct agent_command){0});
    agent_stream_resize(k.stream, 132, 43);
    agent_stream_write(k.stream, (const uint8_t *)"plain\n", 6);
    agent_stream_eof(k.stream);
    RUN_UNTIL(k.ended);
    assert_string_equal(os_buf_str(&k.out), "plain\n");
    assert_int_equal(k.status, 1);
    drop(&k);
}

static void background_process_keeps_the_pipe(void **state)
{
    struct sink k = {0};
    shell(&k, "sleep 60 & echo started; exit 5", (struct agent_command){0});
    RUN_UNTIL(k.ended); /* the guard is shorter than the sleep */
    assert_int_equal(k.status, 5);
    assert_string_equal(os_buf_str(&k.out), "started\n");
    drop(&k);
}

static void time_limit(void **state)
{
    struct sink k = {0};
    shell(&k, "trap '' TERM; while :; do sleep 1; done", (struct agent_command){.timeout_seconds = 1});
    RUN_UNTIL(k.ended);
    assert_int_equal(k.status, 124);
    assert_int_equal(fake_monitor_running(monitor), 0);
    drop(&k);
}

static void closing_ends_the_process(void **state)
{
    struct sink k = {0};
    shell(&k, "trap '' HUP TERM; echo up; while :; do sleep 1; done", (struct agent_command){0});
    RUN_UNTIL(k.out.len >= 3);
    drop(&k);
    for (int i = 0; i < 100 && fake_monitor_running(monitor); i++)
        run_for(100);
    assert_int_equal(fake_monitor_running(monitor), 0);
}

static void commands_that_cannot_run(void **state)
{
    cleanup_error struct os_error err = {0};
    struct sink k = {0};
    const char *missing[] = {"/no/such/program", NULL}, *empty[] = {NULL};
    assert_null(agent_exec(agent, &(struct agent_command){.argv = missing}, &sink_ops, &k, &err));
    assert_int_equal(err.code, OS_NOT_FOUND);
    assert_non_null(strstr(os_error_text(&err), "/no/such/program"));
    assert_null(agent_exec(agent, &(struct agent_command){.argv = empty}, &sink_ops, &k, &err));
    assert_int_equal(err.code, OS_INVALID_ARGUMENT);
    assert_null(agent_attach(agent, false, 0, 0, &sink_ops, &k, &err));
    assert_int_equal(err.code, OS_FAILED_PRECONDITION);
}

/* --- main process --- */

static void start_main(const char *script, bool tty)
{
    cleanup_error struct os_error err = {0};
    const char *argv[] = {"sh", "-c", script, NULL};
    assert_int_equal(agent_start_main(agent, &(struct agent_command){.argv = argv, .tty = tty}, &err), 0);
    assert_true(agent_main_pid(agent) > 0);
}

static void attach(struct sink *k, bool read_only)
{
    cleanup_error struct os_error err = {0};
    k->stream = agent_attach(agent, read_only, 0, 0, &sink_ops, k, &err);
    assert_non_null(k->stream);
    assert_int_equal(k->out.len + k->err.len, 0); /* nothing runs inside the call */
}

static void attachment_replays_and_follows(void **state)
{
    struct sink a = {0}, b = {0}, c = {0};
    start_main("echo one; echo two >&2; while read x; do echo got $x; test $x != end || exit 7; done", false);
    attach(&a, false);
    RUN_UNTIL(a.out.len >= 4);
    run_for(50);
    attach(&b, false);
    attach(&c, true);
    RUN_UNTIL(b.out.len >= 4);
    RUN_UNTIL(c.out.len >= 4);
    assert_string_equal(os_buf_str(&b.out), "one\n");
    assert_non_null(strstr(os_buf_str(&b.err), "already has an input owner; attached read-only\n"));
    assert_non_null(strstr(os_buf_str(&b.err), "two\n"));
    assert_string_equal(os_buf_str(&c.err), "two\n");
    agent_stream_write(b.stream, (const uint8_t *)"no\n", 3); /* not the owner */
    agent_stream_write(c.stream, (const uint8_t *)"no\n", 3);
    agent_stream_write(a.stream, (const uint8_t *)"yes\n", 4);
    RUN_UNTIL(a.out.len >= 12);
    agent_stream_eof(a.stream); /* gives the input up; the process goes on */
    struct sink d = {0};
    attach(&d, false);
    agent_stream_write(d.stream, (const uint8_t *)"end\n", 4);
    RUN_UNTIL(main_over);
    assert_int_equal(main_status, 7);
    assert_true(a.ended && b.ended && c.ended && d.ended);
    assert_int_equal(d.status, 7);
    assert_string_equal(os_buf_str(&a.out), "one\ngot yes\ngot end\n");
    assert_string_equal(os_buf_str(&d.out), "one\ngot yes\ngot end\n");
    drop(&a);
    drop(&b);
    drop(&c);
    drop(&d);
    struct sink late = {0};
    attach(&late, true);
    RUN_UNTIL(late.ended);
    assert_int_equal(late.status, 7);
    assert_string_equal(os_buf_str(&late.out), "one\ngot yes\ngot end\n");
    drop(&late);
}

static void detach_keys(void **state)
{
    struct sink a = {0}, b = {0};
    start_main("stty raw -echo; echo up; head -c 5 | od -An -tx1; echo done", true);
    attach(&a, false);
    RUN_UNTIL(a.out.len >= 3);
    agent_stream_write(a.stream, (const uint8_t *)"a\x10", 2);
    agent_stream_write(a.stream, (const uint8_t *)"b\x10\x10", 3); /* Ctrl-P and another byte: both go on */
    agent_stream_write(a.stream, (const uint8_t *)"\x11never", 6);
    RUN_UNTIL(a.ended);
    assert_int_equal(a.status, 0);
    assert_false(main_over);
    attach(&b, false);
    agent_stream_write(b.stream, (const uint8_t *)"z", 1);
    RUN_UNTIL(main_over);
    assert_non_null(strstr(os_buf_str(&b.out), "61 10 62 10 7a"));
    drop(&a);
    drop(&b);
}

static void slow_attachment_is_let_go(void **state)
{
    struct sink a = {.pause_after = 1};
    start_main("head -c 3000000 /dev/zero; read x", false);
    attach(&a, false);
    RUN_UNTIL(a.out.len >= 1);
    run_for(500);
    assert_false(a.ended);
    a.pause_after = 0;
    agent_stream_resume(a.stream);
    RUN_UNTIL(a.ended);
    assert_non_null(strstr(a.error, "fell behind by"));
    assert_true(a.out.len < 200000);
    drop(&a);
}

static void main_ends_without_a_client(void **state)
{
    start_main("exit 0", false);
    RUN_UNTIL(main_over);
    assert_int_equal(main_status, 0);
    cleanup_error struct os_error err = {0};
    const char *argv[] = {"true", NULL};
    assert_int_equal(agent_start_main(agent, &(struct agent_command){.argv = argv}, &err), -1);
    assert_int_equal(err.code, OS_FAILED_PRECONDITION);
}

static void collect(void *ctx, bool is_err, const uint8_t *data, size_t n)
{
    os_buf_addf(ctx, "%s%.*s", is_err ? "E:" : "O:", (int)n, (const char *)data);
}

static void output_after_the_end(void **state)
{
    struct os_buf text = {0};
    assert_int_equal(agent_main_output(agent, 100, collect, &text), 0); /* before there is any */
    assert_int_equal(text.len, 0);
    start_main("printf abc; sleep 0.1; printf def >&2; sleep 0.1; printf ghi", false);
    RUN_UNTIL(main_over);
    assert_int_equal(agent_main_output(agent, 100, collect, &text), 0);
    assert_string_equal(os_buf_str(&text), "O:abcE:defO:ghi");
    os_buf_clear(&text);
    assert_int_equal(agent_main_output(agent, 5, collect, &text), 4);
    assert_string_equal(os_buf_str(&text), "E:efO:ghi");
    os_buf_clear(&text);
    agent_main_note(agent, "note");
    agent_main_output(agent, 6, collect, &text);
    assert_string_equal(os_buf_str(&text), "O:hiE:note");
    os_buf_free(&text);
}

static void attachment_tells_of_lost_output(void **state)
{
    struct sink a = {0};
    start_main("head -c 1100000 /dev/zero; printf end", false);
    RUN_UNTIL(main_over);
    attach(&a, true);
    RUN_UNTIL(a.ended);
    assert_string_equal(os_buf_str(&a.err), "openshell: 51427 earlier bytes of output are no longer kept\n");
    assert_int_equal(a.out.len, 1048576);
    drop(&a);
}

static void termination_reaches_the_main_process(void **state)
{
    struct sink a = {0};
    start_main("trap 'exit 9' TERM; echo up; while :; do sleep 0.1; done", false);
    attach(&a, true);
    RUN_UNTIL(a.out.len >= 3);
    fake_monitor_terminate(monitor);
    RUN_UNTIL(main_over);
    assert_int_equal(main_status, 9);
    assert_true(terminated && terminated_running);
    terminated = false;
    fake_monitor_terminate(monitor);
    RUN_UNTIL(terminated);
    assert_false(terminated_running);
    drop(&a);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(output_and_status),
        T(death_by_signal),
        T(input_to_the_end),
        T(input_after_the_reader_left),
        T(paused_output_waits),
        T(paused_after_exit_loses_nothing),
        T(terminal),
        T(resize_without_terminal),
        T(background_process_keeps_the_pipe),
        T(time_limit),
        T(closing_ends_the_process),
        T(commands_that_cannot_run),
        T(attachment_replays_and_follows),
        T(detach_keys),
        T(slow_attachment_is_let_go),
        T(main_ends_without_a_client),
        T(output_after_the_end),
        T(attachment_tells_of_lost_output),
        T(termination_reaches_the_main_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
