/* Trust on first use of executables (spec/supervisor.md 9): the first content seen under a path is the one
 * that counts; other content under the same path is refused for the life of the supervisor. Any thread. */
#ifndef SUPERVISOR_MONITOR_INTEGRITY_H
#define SUPERVISOR_MONITOR_INTEGRITY_H

#include "core/error.h"

struct integrity;

struct integrity *integrity_new(void);
void integrity_free(struct integrity *t);
/* fd: the executable, opened through the running process; read from its start, position unchanged. Reads the
 * file only when its fingerprint (size, times, device, inode) is not the remembered one. */
int integrity_check(struct integrity *t, const char *path, int fd, struct os_error *err);

#endif
