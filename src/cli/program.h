/* Running other programs of this machine for their output. */
#ifndef CLI_PROGRAM_H
#define CLI_PROGRAM_H

#include "core/buf.h"

/* Runs argv (found by PATH, NULL-terminated) with env (NULL = this process's) without input and collects its
 * stdout; what it says on stderr is dropped. 0 when it exited with 0 and everything fitted; -1 otherwise. */
int program_output(const char *const *argv, char *const *env, struct os_buf *out);

#endif
