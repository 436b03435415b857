/* Files of rules/ only. */
#ifndef SUPERVISOR_RULES_INTERNAL_H
#define SUPERVISOR_RULES_INTERNAL_H

#include "core/buf.h"
#include "supervisor/rules/rules.h"

#define RULES_SOCKET "opa.sock"

/* One HTTP exchange on the UNIX socket: the status, and the body of the answer in *answer; -1 when there is
 * none in time. */
int rules_exchange(const char *socket, const char *method, const char *path, const char *type,
                   const char *body, size_t n, struct os_buf *answer, struct os_error *err);

#endif
