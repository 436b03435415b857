/* Questions on the terminal: before changes that reach every sandbox (spec/cli.md 11.1, 12), and whether a
 * gateway shall be started. */
#ifndef CLI_CONFIRM_H
#define CLI_CONFIRM_H

#include "cli/cli.h"

/* There is a user to ask: stdin and stderr are a terminal. */
bool confirm_possible(void);
/* [Y/n]: an empty line is a yes, the end of input is not. */
bool confirm_yes(const char *question);

/* 0 when --yes was given or the user agrees. Without a terminal the error is `refusal`. */
int confirm_global(const struct cli *cli, const char *question, const char *refusal, struct os_error *err);

/* What setting a key for all sandboxes asks. */
int confirm_global_set(const struct cli *cli, const char *key, struct os_error *err);
int confirm_global_delete(const struct cli *cli, const char *key, struct os_error *err);

#endif
