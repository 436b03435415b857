/* The worker's side of the monitor protocol. Requests may be made from any thread; answers and events are
 * read by one internal thread. */
#ifndef SUPERVISOR_MONITOR_CLIENT_H
#define SUPERVISOR_MONITOR_CLIENT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "core/arena.h"
#include "core/error.h"
#include "supervisor/egress/egress.h"

struct monitor_client;

/* Every child (main and exec) reports its end exactly once, from the reader's thread; for a short-lived child
 * possibly before monitor_client_spawn() has returned. status is the exit code, 128+signal, or -1. */
typedef void monitor_exit_fn(void *ctx, uint32_t child, int status);
/* SIGTERM reached the supervisor. */
typedef void monitor_terminate_fn(void *ctx);

struct monitor_client *monitor_client_new(int fd, monitor_exit_fn *on_exit,
                                          monitor_terminate_fn *on_terminate, void *ctx);

/* What every child of this sandbox is confined to; sent once before the first spawn. Paths are absolute. */
struct monitor_plan {
    const char *const *read_only;
    size_t n_read_only;
    const char *const *read_write;
    size_t n_read_write;
    bool hard_requirement; /* landlock.compatibility */
    const char *workdir;   /* "" = none */
};

/* What isolation the kernel gave, for audit events and status. */
struct monitor_isolation {
    int landlock_abi;         /* 0 = unavailable */
    char landlock_error[128]; /* why unavailable, "" otherwise */
    uint32_t rules, skipped;
    uint32_t tried; /* set of 1 << enum selftest: attempts that were refused, as they must be */
};
int monitor_client_isolate(struct monitor_client *c, const struct monitor_plan *plan,
                           struct monitor_isolation *out, struct os_error *err);

struct monitor_spawn {
    const char *const *argv; /* NULL-terminated; argv[0] is searched in PATH of env */
    const char *const *env;  /* NULL-terminated "K=V", complete */
    const char *workdir;     /* NULL = that of the plan */
    bool tty;
    uint16_t cols, rows;
    bool main; /* the main process: its end ends the sandbox */
};

struct monitor_child {
    uint32_t id; /* names the child in later requests and in on_exit */
    pid_t pid;
    int in, out, err; /* pipes; with tty `in` is the PTY master (close once) and out = err = -1 */
};

/* The child is confined and exec'ed when this returns 0; a failed exec is an error (OS_NOT_FOUND,
 * OS_PERMISSION_DENIED, ... with a text that names the program). */
int monitor_client_spawn(struct monitor_client *c, const struct monitor_spawn *s, struct monitor_child *out,
                         struct os_error *err);
/* Signals the process group of the child. */
int monitor_client_signal(struct monitor_client *c, uint32_t child, int sig, struct os_error *err);
/* Connects to a loopback port inside the agent's namespace; returns the socket. */
int monitor_client_dial(struct monitor_client *c, const char *ip, uint16_t port, struct os_error *err);
/* egress_identify_fn; ctx is the struct monitor_client. */
int monitor_client_identify(void *ctx, const struct sockaddr_storage *agent,
                            const struct sockaddr_storage *local, struct os_arena *arena,
                            struct egress_identity *out, struct os_error *err);
/* Tells the monitor to end the supervisor with this exit code (after the last report). Does not return an
 * answer. */
void monitor_client_quit(struct monitor_client *c, int status);

#endif
