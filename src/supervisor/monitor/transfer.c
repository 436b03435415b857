/* Moving monitor messages over the socket pair, in pieces, descriptors with the first. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "core/limits.h"
#include "supervisor/monitor/protocol.h"

struct piece_head {
    uint8_t type, more;
    uint16_t zero;
    uint32_t id;
};

static int send_piece(int fd, const struct piece_head *head, const void *data, size_t n, const int *fds,
                      size_t n_fds)
{
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int) * PROTOCOL_FDS_MAX)];
    } control;
    struct iovec iov[2] = {{(void *)head, sizeof(*head)}, {(void *)data, n}};
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};
    if (n_fds) {
        memset(&control, 0, sizeof(control));
        msg.msg_control = control.space;
        msg.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
        memcpy(CMSG_DATA(c), fds, sizeof(int) * n_fds);
    }
    ssize_t sent;
    do
        sent = sendmsg(fd, &msg, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? -1 : 0;
}

int protocol_send(int fd, enum protocol_type type, uint32_t id, const void *body, size_t n, const int *fds,
                  size_t n_fds)
{
    if (n > OS_MONITOR_MESSAGE || n_fds > PROTOCOL_FDS_MAX) {
        errno = EMSGSIZE;
        return -1;
    }
    const uint8_t *p = body;
    do {
        size_t piece = n > OS_MONITOR_FRAME ? OS_MONITOR_FRAME : n;
        struct piece_head head = {.type = (uint8_t)type, .more = piece < n, .id = id};
        if (send_piece(fd, &head, p, piece, fds, n_fds) < 0)
            return -1;
        n_fds = 0;
        p += piece;
        n -= piece;
    } while (n > 0);
    return 0;
}

/* Adopts every descriptor that came along, so that none can leak; false when they were not welcome or the
 * kernel cut them off. */
static bool adopt_fds(struct msghdr *msg, struct protocol_message *m, bool welcome)
{
    bool ok = !(msg->msg_flags & (MSG_CTRUNC | MSG_TRUNC));
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
            if (m->n_fds < PROTOCOL_FDS_MAX)
                m->fds[m->n_fds++] = fd;
            else
                close(fd);
        }
        ok = ok && welcome;
    }
    return ok;
}

int protocol_receive(int fd, struct protocol_message *m, bool accept_fds)
{
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int) * PROTOCOL_FDS_MAX)];
    } control;
    struct piece_head head;
    if (!os_buf_reserve(&m->body, OS_MONITOR_FRAME))
        return -1;
    struct iovec iov[2] = {{&head, sizeof(head)}, {m->body.data + m->body.len, OS_MONITOR_FRAME}};
    struct msghdr msg = {.msg_iov = iov,
                         .msg_iovlen = 2,
                         .msg_control = control.space,
                         .msg_controllen = sizeof(control.space)};
    ssize_t n;
    do
        n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n <= 0 || !adopt_fds(&msg, m, accept_fds) || (size_t)n < sizeof(head) || head.more > 1 || head.zero)
        return -1;
    if (m->type && (m->type != (enum protocol_type)head.type || m->id != head.id))
        return -1;
    m->type = head.type;
    m->id = head.id;
    m->body.len += (size_t)n - sizeof(head);
    m->body.data[m->body.len] = '\0';
    if (head.more)
        return m->body.len > OS_MONITOR_MESSAGE - OS_MONITOR_FRAME || (size_t)n == sizeof(head) ? -1 : 0;
    return 1;
}

void protocol_message_clear(struct protocol_message *m)
{
    for (size_t i = 0; i < m->n_fds; i++)
        if (m->fds[i] >= 0)
            close(m->fds[i]);
    os_buf_free(&m->body);
    memset(m, 0, sizeof(*m));
}

int protocol_take_fd(struct protocol_message *m, size_t i)
{
    if (i >= m->n_fds)
        return -1;
    int fd = m->fds[i];
    m->fds[i] = -1;
    return fd;
}
