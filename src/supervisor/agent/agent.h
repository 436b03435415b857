/* The agent's processes as seen by the worker (spec/supervisor.md 10): the main process with its retained
 * output, attachments to it, and direct execs. Children are spawned by the monitor; their pipes are served
 * here, on one libuv loop, with flow control in both directions.
 *
 * Loop thread only, except agent_child_exited() and agent_terminated(). The program must ignore SIGPIPE. */
#ifndef SUPERVISOR_AGENT_H
#define SUPERVISOR_AGENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "core/error.h"
#include "supervisor/agent/env.h"
#include "supervisor/monitor/client.h"

struct agent;

struct agent_options {
    uv_loop_t *loop;
    struct agent_environment env; /* copied */
    /* The main process ended; once, on the loop. Its output has been collected (bounded wait, 2 s) and
     * delivered to the attachments, their on_end included. status: exit code, 128+signal, 124 after the
     * timeout, or -1. */
    void (*on_main_exit)(void *ctx, int status);
    /* SIGTERM reached the supervisor; on the loop. The monitor has passed it on to a running main process,
     * whose end then arrives in on_main_exit. main_running is false when there is none to wait for. */
    void (*on_terminate)(void *ctx, bool main_running);
    void *ctx;
};

/* Start order: agent_new, monitor_client_new(fd, agent_child_exited, agent_terminated, agent),
 * agent_set_monitor. */
struct agent *agent_new(const struct agent_options *opt);
void agent_set_monitor(struct agent *a, struct monitor_client *monitor); /* borrowed */
struct monitor_client *agent_monitor(struct agent *a);
/* Closes every pipe; processes are left to the monitor. The loop must run once more to release handles. */
void agent_free(struct agent *a);

/* monitor_exit_fn and monitor_terminate_fn, ctx = struct agent. Any thread. */
void agent_child_exited(void *agent, uint32_t child, int status);
void agent_terminated(void *agent);

struct agent_command {
    const char *const *argv; /* NULL-terminated, at least one */
    const char *workdir;     /* NULL or "" = that of the isolation plan */
    bool tty;
    uint16_t cols, rows;      /* 0 = 80 x 24 */
    uint32_t timeout_seconds; /* 0 = none; then SIGTERM, 100 ms later SIGKILL to the group, status 124 */
    const struct agent_variable *env; /* of an exec request; ignored for the main process */
    size_t n_env;
};

/* Spawns the main process; once. Blocks for the monitor's answer (milliseconds). */
int agent_start_main(struct agent *a, const struct agent_command *cmd, struct os_error *err);
/* For connection identity and audit; 0 before the start. */
pid_t agent_main_pid(const struct agent *a);
/* The main process could not be started: what it would have told its user is retained as its stderr. */
void agent_main_note(struct agent *a, const char *text);
/* The last `max` bytes of the main process's output in order, piece by piece (borrowed); returns how many
 * bytes came before them. */
uint64_t agent_main_output(const struct agent *a, size_t max,
                           void (*piece)(void *ctx, bool is_err, const uint8_t *data, size_t n), void *ctx);

/* --- streams: one exec, or one attachment to the main process --- */

struct agent_stream;

struct agent_stream_ops {
    /* Output, borrowed, at most OS_RELAY_FRAME bytes. With a tty everything is stdout. */
    void (*on_stdout)(void *ctx, const uint8_t *data, size_t n);
    void (*on_stderr)(void *ctx, const uint8_t *data, size_t n);
    /* Input that was above OS_RELAY_WINDOW has fallen below half of it. */
    void (*on_input_ready)(void *ctx);
    /* Exactly once and last, after all output. status as in on_main_exit; 0 for a detached attachment. With
     * error there is no status: the stream ended for the reason it states. */
    void (*on_end)(void *ctx, int status, const char *error);
};

/* Callbacks never run inside these two. NULL with *err when the command cannot be run (OS_NOT_FOUND and
 * OS_PERMISSION_DENIED name the program). */
struct agent_stream *agent_exec(struct agent *a, const struct agent_command *cmd,
                                const struct agent_stream_ops *ops, void *ctx, struct os_error *err);
/* Replays the retained output, then follows. cols/rows > 0 resize the main PTY. The first attachment that is
 * not read_only owns the input; others are told on stderr that they are read-only. Ctrl-P Ctrl-Q detaches. */
struct agent_stream *agent_attach(struct agent *a, bool read_only, uint16_t cols, uint16_t rows,
                                  const struct agent_stream_ops *ops, void *ctx, struct os_error *err);

/* Queues input; dropped once the process closed its end. A producer stops when agent_stream_queued() is above
 * OS_RELAY_WINDOW and goes on at on_input_ready. */
void agent_stream_write(struct agent_stream *s, const uint8_t *data, size_t n);
size_t agent_stream_queued(const struct agent_stream *s);
/* No more input. Exec: closes stdin once the queue is written (a tty stays open). Attachment: gives up the
 * input lease; the main process keeps its stdin. */
void agent_stream_eof(struct agent_stream *s);
/* Ignored without a tty; at least 1 x 1. */
void agent_stream_resize(struct agent_stream *s, uint16_t cols, uint16_t rows);
/* To the process group of the command, or of the main process. */
void agent_stream_signal(struct agent_stream *s, int sig);
/* Stops and restarts output callbacks (on_end waits too). A paused exec makes its process wait; a paused
 * attachment falls behind and is ended when its output is no longer retained. */
void agent_stream_pause(struct agent_stream *s);
void agent_stream_resume(struct agent_stream *s);
/* Ends the stream and frees it; no further callback. Also after on_end, and allowed in a callback. An exec
 * that still runs gets SIGHUP, then SIGTERM and SIGKILL, sent to its process group; an attachment just
 * detaches. */
void agent_stream_close(struct agent_stream *s);

#endif
