/* What a service manager is told about this process (sd_notify(3), the protocol of Type=notify units). */
#ifndef OS_SYS_NOTIFY_H
#define OS_SYS_NOTIFY_H

#include "core/error.h"

/* Sends `state` ("READY=1", "STOPPING=1") as one datagram to the socket that $NOTIFY_SOCKET names: a path, or
 * an abstract name after '@'. A full socket is waited for OS_NOTIFY_WAIT_MS. 0 when it is sent, and when the
 * variable is unset or empty. */
int os_notify(const char *state, struct os_error *err);

#endif
