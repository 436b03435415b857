/* Where a tcp relay or an SSH forward may go: loopback addresses of the sandbox (spec/supervisor.md 12.2).
 * Pure. */
#ifndef SUPERVISOR_AGENT_TARGET_H
#define SUPERVISOR_AGENT_TARGET_H

#include <stdint.h>

#include "core/error.h"

#define TARGET_IP_LEN 46

/* "localhost", 127.0.0.0/8, ::1 (brackets allowed) and ::ffff:127.x to the numeric text to dial. -1 with
 * OS_INVALID_ARGUMENT otherwise, and for a port outside 1..65535. */
int target_resolve(const char *host, uint32_t port, char ip[TARGET_IP_LEN], struct os_error *err);

#endif
