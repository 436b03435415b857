/* sd_notify(3) without libsystemd: one datagram. */
#include "sys/notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/limits.h"

int os_notify(const char *state, struct os_error *err)
{
    const char *name = getenv("NOTIFY_SOCKET");
    if (!name || !*name)
        return 0;
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    size_t n = strlen(name);
    if ((name[0] != '/' && name[0] != '@') || n < 2 || n >= sizeof(to.sun_path))
        return os_error_set(err, OS_INVALID_ARGUMENT,
                            "NOTIFY_SOCKET '%s' must be an absolute path or '@' and a name, shorter than %zu "
                            "bytes",
                            name, sizeof(to.sun_path));
    memcpy(to.sun_path, name, n);
    if (name[0] == '@')
        to.sun_path[0] = '\0';
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
    cleanup_close int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    const struct timeval limit = {.tv_usec = OS_NOTIFY_WAIT_MS * 1000};
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) < 0 ||
        sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&to, size) < 0)
        return os_error_sys(err, errno, "cannot send %s to NOTIFY_SOCKET '%s'", state, name);
    return 0;
}
