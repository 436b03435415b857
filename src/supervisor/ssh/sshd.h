/* SSH server for existing SSH clients (spec/supervisor.md 11). Every connection arrives over an ssh relay,
 * whose requester the gateway has authenticated and authorised; here only the user name "sandbox" is asked
 * for. Commands, shells, sftp and attachments run through the agent, under its isolation; direct-tcpip
 * reaches loopback ports of the sandbox only.
 *
 * Loop thread only. */
#ifndef SUPERVISOR_SSHD_H
#define SUPERVISOR_SSHD_H

#include <uv.h>

#include "core/error.h"
#include "supervisor/agent/agent.h"
#include "supervisor/audit/audit.h"

struct sshd;

/* All borrowed. The host key is made with the first connection and lives in memory only. */
struct sshd *sshd_new(uv_loop_t *loop, struct agent *agent, struct audit *audit);
/* Serves one connection over a stream socket; takes the descriptor, also on failure. */
int sshd_accept(struct sshd *d, int fd, struct os_error *err);
/* Closes every connection. The loop must run once more to release handles. */
void sshd_free(struct sshd *d);

#endif
