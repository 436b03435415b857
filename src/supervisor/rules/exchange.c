/* HTTP to the policy agent: one request per connection on a UNIX socket. HTTP/1.0, so that the answer ends
 * with the connection and is never chunked. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/limits.h"
#include "core/str.h"
#include "supervisor/rules/internal.h"
#include "sys/file.h"

static int dial(const char *path, struct os_error *err)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    struct timeval limit = {.tv_sec = OS_RULES_ANSWER_MS / 1000};
    if (strlen(path) >= sizeof(to.sun_path))
        return os_error_set(err, OS_INVALID_ARGUMENT, "socket path '%s' is too long", path);
    strcpy(to.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) == 0 &&
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) == 0 &&
        connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0)
        return fd;
    os_error_sys(err, errno, "cannot reach the policy agent");
    if (fd >= 0)
        close(fd);
    return -1;
}

static int read_answer(int fd, struct os_buf *raw, struct os_error *err)
{
    int64_t end = os_clock_mono_ms() + OS_RULES_ANSWER_MS;
    char part[8192];
    for (;;) {
        ssize_t n = recv(fd, part, sizeof(part), 0);
        if (n == 0)
            return 0;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 || os_clock_mono_ms() > end)
            return os_error_set(err, OS_UNAVAILABLE, "the policy agent does not answer");
        os_buf_add(raw, part, (size_t)n);
        if (raw->failed)
            return os_error_set(err, OS_RESOURCE_EXHAUSTED, "the policy agent's answer is too long");
    }
}

int rules_exchange(const char *socket, const char *method, const char *path, const char *type,
                   const char *body, size_t n, struct os_buf *answer, struct os_error *err)
{
    cleanup_close int fd = dial(socket, err);
    if (fd < 0)
        return -1;
    cleanup_buf struct os_buf request = {0}, raw = {.max = OS_RULES_ANSWER};
    os_buf_addf(&request, "%s %s HTTP/1.0\r\nHost: opa\r\nContent-Type: %s\r\nContent-Length: %zu\r\n\r\n",
                method, path, type, n);
    os_buf_add(&request, body, n);
    if (os_write_all(fd, request.data, request.len) < 0)
        return os_error_sys(err, errno, "cannot ask the policy agent");
    if (read_answer(fd, &raw, err) < 0)
        return -1;
    const char *text = os_buf_str(&raw), *head_end = strstr(text, "\r\n\r\n");
    if (!os_str_starts(text, "HTTP/1.") || raw.len < 12 || !head_end)
        return os_error_set(err, OS_UNAVAILABLE, "the policy agent's answer is not HTTP");
    os_buf_add(answer, head_end + 4, raw.len - (size_t)(head_end + 4 - text));
    return atoi(text + 9);
}
