/* Shared by agent.c and stream.c only. */
#ifndef SUPERVISOR_AGENT_INTERNAL_H
#define SUPERVISOR_AGENT_INTERNAL_H

#include <pthread.h>

#include "supervisor/agent/agent.h"
#include "supervisor/agent/child.h"
#include "supervisor/agent/retain.h"

struct agent_exit {
    struct agent_exit *next;
    uint32_t child;
    int status;
};

struct agent {
    struct agent_options opt;
    struct agent_environment env; /* points into the copies below */
    struct os_strv inherited;
    char *user, *home, *proxy_url, *ca_dir;
    struct child_list children;
    uv_async_t wake; /* exits and signals from the monitor's thread; attachments with something to do */
    int open_handles;

    pthread_mutex_t lock; /* guards the two below */
    struct agent_exit *exits, **exits_tail;
    bool terminated;

    struct child *main; /* NULL before the start and after agent_free */
    pid_t main_pid;
    bool main_tty;
    bool main_ended, main_reported;
    int main_status;
    uv_timer_t drain; /* attachments get this long to read the rest */
    struct retain retain;
    struct agent_stream *attachments;
    struct agent_stream *input_owner;
};

/* Output was added or the main process ended: every attachment catches up. */
void attachments_pump(struct agent *a);
/* True when every attachment has had its on_end. */
bool attachments_ended(const struct agent *a);
/* The main process takes input again. */
void attachments_input_ready(struct agent *a);

/* The variables of a command. */
int agent_environment_of(struct agent *a, const struct agent_command *cmd, bool main, struct os_strv *env,
                         struct os_error *err);
/* The spawn request of a command; borrows both. */
struct monitor_spawn agent_spawn_of(const struct agent_command *cmd, const struct os_strv *env, bool main);

#endif
