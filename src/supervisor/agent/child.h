/* One spawned process: its pipes, its end and its time-outs. Used for the main process and for execs alike.
 * Files of agent/ only. */
#ifndef SUPERVISOR_AGENT_CHILD_H
#define SUPERVISOR_AGENT_CHILD_H

#include "supervisor/agent/agent.h"

struct child;

/* Callbacks may call child_release(). */
struct child_ops {
    void (*on_output)(void *ctx, bool is_err, const uint8_t *data, size_t n);
    void (*on_input_ready)(void *ctx);
    /* Exited, and its output was read to the end or was silent for a while (a background process may hold
     * it). */
    void (*on_end)(void *ctx, int status);
};

/* Live children of one agent. */
struct child_list {
    uv_loop_t *loop;
    struct monitor_client *monitor;
    struct child *first;
};

struct child *child_spawn(struct child_list *list, const struct monitor_spawn *spawn,
                          uint32_t timeout_seconds, const struct child_ops *ops, void *ctx,
                          struct os_error *err);
/* The monitor reported the end of a child; unknown ids are ignored. */
void child_exited(struct child_list *list, uint32_t id, int status);

/* False when the process has closed its input. */
bool child_write(struct child *c, const uint8_t *data, size_t n);
size_t child_queued(const struct child *c);
void child_eof(struct child *c);
void child_resize(struct child *c, uint16_t cols, uint16_t rows);
void child_read(struct child *c, bool on);
void child_signal(struct child *c, int sig);
pid_t child_pid(const struct child *c);
/* No further callbacks. Pipes are closed; a process that still runs is ended: SIGHUP, SIGTERM, SIGKILL to its
 * group. */
void child_release(struct child *c);
/* Frees all children without signals. */
void child_list_free(struct child_list *list);

#endif
