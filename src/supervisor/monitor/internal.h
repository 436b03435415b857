/* State of the monitor process; files of monitor/ only. */
#ifndef SUPERVISOR_MONITOR_INTERNAL_H
#define SUPERVISOR_MONITOR_INTERNAL_H

#include <linux/filter.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/arena.h"
#include "core/error.h"
#include "core/limits.h"
#include "supervisor/isolation/landlock.h"
#include "supervisor/monitor/monitor.h"
#include "supervisor/monitor/protocol.h"

struct monitor_process {
    uint32_t id; /* never 0; 0 = free slot */
    pid_t pid;   /* also its process group */
    bool ending; /* it was told to end: what it leaves behind in its group ends with it */
};

struct monitor {
    const struct monitor_config *cfg;
    int fd;       /* to the worker */
    pid_t worker; /* 0 once reaped */
    int worker_status;
    int diag; /* sock_diag socket in the agent's namespace */
    struct sock_fprog filter;

    bool isolated;
    bool landlock_required;
    struct isolation_ruleset landlock;
    uint32_t tried; /* by the self-test, which nothing passed: 1 << enum selftest */
    char *workdir;  /* NULL = none */

    struct monitor_process children[OS_CHILDREN];
    uint32_t last_id;
    uint32_t main_id; /* 0 before the start */
    pid_t main_pid;   /* 0 before the start; kept after the end */
    bool main_running;

    bool quit;
    int status;
    int64_t kill_at;   /* monotonic ms; 0 = no termination under way */
    int64_t settle_at; /* monotonic ms; 0 = not started or already settled */
};

/* The ends of a child's standard streams that the worker gets; with tty only in is set. */
struct monitor_streams {
    int in, out, err;
};

/* Forks, isolates and executes; returns when the program runs. */
int monitor_spawn(struct monitor *m, const struct protocol_request *r, struct monitor_streams *out,
                  pid_t *pid, struct os_error *err);

/* A close-on-exec pipe, both ends above 2: a child's standard descriptors can be laid over without loss. */
int monitor_pipe(int *reader, int *writer);

/* Reads what a new child reports before it runs its program: at most n bytes, 0 at the end of the pipe, -1
 * with errno (ETIMEDOUT after OS_SPAWN_TIMEOUT_MS). */
ssize_t monitor_report_read(int report, void *out, size_t n);
/* Ends a child at once and reaps it. */
void monitor_kill(pid_t child);

/* Makes the directories the policy promises (spec/supervisor.md 7.2, 7.4) and the Landlock ruleset, and tries
 * whether the isolation holds. */
int monitor_prepare(struct monitor *m, const struct protocol_request *r, struct os_error *err);

/* Forks an isolated child that tries what it must not be able to do. An error when anything went through or a
 * step failed; *tried is what there was to try. */
int monitor_selftest(struct monitor *m, const struct isolation_paths *paths, uint32_t *tried,
                     struct os_error *err);

/* Answers with pid, executable, ancestors and command line paths; fds get one descriptor per executable
 * (owner first). */
int monitor_identify(struct monitor *m, const struct protocol_request *r, struct os_buf *body, int *fds,
                     size_t *n_fds, struct os_error *err);

/* The calling process keeps only what the monitor's loop needs; its seccomp filter is inherited by children.
 */
int monitor_confine(struct os_error *err);

#endif
