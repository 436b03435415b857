/* One exec stream between this process's stdin, stdout and stderr and a command in a sandbox
 * (spec/cli.md 7.4). Used by `sandbox exec` and by attaching to a main process. */
#ifndef CLI_STREAM_H
#define CLI_STREAM_H

#include "cli/cli.h"
#include "core/buf.h"

/* What of stdin is there at once: reads until the end, until `max` bytes, or until nothing has come for a
 * moment. Returns true when the end was seen. A terminal is not read. */
bool stream_read_ahead(struct os_buf *out, size_t max);

enum stream_input {
    STREAM_NO_INPUT, /* request carries all input: ExecSandbox */
    STREAM_PIPE,     /* stdin is streamed: ExecSandboxInteractive */
    STREAM_RAW,      /* as STREAM_PIPE, with the terminal in raw mode and resizes passed on */
};

/* Where a command's bytes come from and go to, instead of this process's standard descriptors. */
struct stream_io {
    /* Next input: bytes, 0 at the end, -1 with *err. NULL = no input. May block on local files. */
    ssize_t (*read)(void *ctx, void *data, size_t n, struct os_error *err);
    /* Output; -1 with *err ends the command. NULL = to stdout. */
    int (*write)(void *ctx, const void *data, size_t n, struct os_error *err);
    void *ctx;
};
/* Runs n words in a sandbox, not on a terminal. As stream_run(); a signal that was caught
 * (cli->catch_signals) is OS_CANCELLED "interrupted". */
int stream_run_command(struct cli *cli, const char *sandbox_id, const char *const *command, size_t n,
                       const struct stream_io *io, struct os_error *err);

/* Runs to the end. `ahead` is sent before anything else is read from stdin. Returns the exit code of the
 * command, or -1 with *err. The connection is open already. */
int stream_run(struct cli *cli, Openshell__V1__ExecSandboxRequest *req, enum stream_input input,
               const struct os_buf *ahead, struct os_error *err);

#endif
