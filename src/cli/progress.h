/* Steps that take a while, on stderr: a checklist with a spinner on a terminal, plain lines otherwise
 * (spec/cli.md 1.3, 6.1). */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

#include "cli/cli.h"

struct progress;

/* In the arena of the run. quiet: shows nothing but warnings. The loop is set up. */
struct progress *progress_begin(struct cli *cli, bool quiet);
/* A step is over; each is shown once. step NULL = told apart by its label. */
void progress_done(struct progress *p, const char *step, const char *label);
/* What goes on: a step ("Starting sandbox...", NULL = the one before) and a detail of it. */
void progress_active(struct progress *p, const char *step, const char *detail);
void progress_warn(struct progress *p, const char *text);
/* Takes everything but warnings off the terminal. */
void progress_clear(struct progress *p);
/* "✗ text", on a terminal. */
void progress_failed(const char *text);
void progress_end(struct progress *p);

#endif
