/* Port forwards of the CLI: `forward` (spec/cli.md 8). */
#ifndef CLI_FORWARD_H
#define CLI_FORWARD_H

#include "cli/cli.h"

/* "[BIND:]PORT". */
struct forward_spec {
    const char *bind; /* IP address, in the arena */
    uint16_t port;
};

/* port 0 is refused unless any_port. */
int forward_spec_parse(struct os_arena *a, const char *text, bool any_port, struct forward_spec *out,
                       struct os_error *err);
/* Listening socket; *spec gets the port. OS_ALREADY_EXISTS when the port is taken. */
int forward_listen(struct forward_spec *spec, struct os_error *err);

/* As forward_listen(), with an error that names the sandbox whose forward has the port. */
int forward_listen_or_explain(struct cli *cli, struct forward_spec *spec, struct os_error *err);
/* Leaves a process behind that serves the listener; `text` is the spec as the user gave it. */
int forward_background(struct cli *cli, const char *text, const char *name, const char *id,
                       const struct forward_spec *spec, int listener, struct os_error *err);
/* What is said about it then; `indented` below other steps. */
void forward_say_background(const struct forward_spec *spec, const char *name, bool indented);

/* --- forwarder.c: the engine --- */

struct forwarder_options {
    const char *sandbox, *sandbox_id;
    const char *host; /* in the sandbox */
    uint16_t port;
    bool watch; /* end when the sandbox is no longer ready */
};

/* Serves connections of the listener (taken) until SIGINT or SIGTERM (0), or until the sandbox is gone (-1).
 */
int forwarder_run(struct cli *cli, int listener, const struct forwarder_options *opt, struct os_error *err);

/* --- forward_record.c: background forwards --- */

struct forward_record {
    const char *sandbox, *sandbox_id, *bind;
    uint16_t port;
    pid_t pid;
    bool running; /* the process is there and is the forwarder of this record */
};

int forward_record_write(const struct forward_record *r, struct os_error *err);
/* Every record, sorted by sandbox and port. */
int forward_records(struct os_arena *a, struct forward_record **out, size_t *n, struct os_error *err);
/* SIGTERM to a running forwarder, and removes the record. */
void forward_record_stop(const struct forward_record *r);
/* Stops those of one sandbox and says so. */
void forward_stop_sandbox(struct cli *cli, const char *sandbox);

#endif
