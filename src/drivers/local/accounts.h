/* The sandbox's passwd and group files: the machine's system accounts, the agent and the worker. People who
 * have accounts on the host are none of the sandbox's business. */
#ifndef DRIVERS_LOCAL_ACCOUNTS_H
#define DRIVERS_LOCAL_ACCOUNTS_H

#include "core/buf.h"
#include "drivers/local/private.h"

#define ACCOUNTS_AGENT "sandbox"
#define ACCOUNTS_WORKER "openshell-worker"

/* Lines of a host passwd (or group) file that the sandbox keeps, in out. */
void accounts_filter(const struct local_settings *cfg, const char *text, bool group, struct os_buf *out);
/* Writes passwd and group into the directory. */
int accounts_write(const struct local_settings *cfg, const char *etc, struct os_error *err);

#endif
