/* direct-tcpip channels: connections to loopback ports of the sandbox, and nowhere else. */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/limits.h"
#include "core/log.h"
#include "core/str.h"
#include "supervisor/ssh/internal.h"

static void sock_data(void *ctx, struct io *io, const uint8_t *data, size_t n)
{
    chan_output(ctx, false, data, n);
}

static void sock_eof(void *ctx, struct io *io)
{
    chan_end(ctx, -1);
}

static void sock_drained(void *ctx, struct io *io)
{
    struct ssh_chan *ch = ctx;
    conn_wake(ch->conn);
}

static void dial_work(uv_work_t *w)
{
    struct ssh_chan *ch = w->data;
    ch->fd = monitor_client_dial(agent_monitor(ch->conn->sshd->agent), ch->ip, ch->port, &ch->dial_err);
}

static void dial_done(uv_work_t *w, int status)
{
    static const struct io_ops ops = {sock_data, sock_eof, sock_drained};
    struct ssh_chan *ch = w->data;
    struct ssh_conn *c = ch->conn;
    int fd = ch->fd;
    ch->dialing = false;
    ch->fd = -1;
    c->dials--;
    if (c->closed || ch->closed) {
        if (fd >= 0)
            close(fd);
        if (c->closed) {
            chan_free(ch);
            conn_release(c);
        } else {
            conn_wake(c);
        }
        return;
    }
    if (fd < 0) {
        os_log_debug("ssh", "forward to %s:%u: %s", ch->ip, ch->port, os_error_text(&ch->dial_err));
        chan_end(ch, -1);
        return;
    }
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    ch->sock = io_new(c->sshd->loop, fd, IO_SOCKET, &ops, ch);
    io_read(ch->sock, true);
    conn_wake(c); /* input may have waited */
}

static void refuse(struct ssh_conn *c, const char *host, int port)
{
    audit_emit(c->sshd->audit, &(struct audit_event){.cls = AUDIT_SSH,
                                                     .activity = "Refuse",
                                                     .severity = AUDIT_SEV_LOW,
                                                     .action = AUDIT_DENIED,
                                                     .host = host,
                                                     .port = (uint16_t)port});
}

/* Every message the server callbacks do not know. 1 = refused by the library's standard answer. */
int forward_message(ssh_session session, ssh_message message, void *conn)
{
    struct ssh_conn *c = conn;
    struct os_error cleanup_error err = {0};
    char ip[TARGET_IP_LEN];
    if (ssh_message_type(message) != SSH_REQUEST_CHANNEL_OPEN ||
        ssh_message_subtype(message) != SSH_CHANNEL_DIRECT_TCPIP)
        return 1;
    const char *host = ssh_message_channel_request_open_destination(message);
    int port = ssh_message_channel_request_open_destination_port(message);
    if (!host || port < 0 || target_resolve(host, (uint32_t)port, ip, &err) < 0) {
        refuse(c, host, port > 0 && port <= UINT16_MAX ? port : 0);
        return 1;
    }
    if (!c->authenticated || c->n_chans >= OS_SSH_CHANNELS)
        return 1;
    ssh_channel channel = ssh_message_channel_request_open_reply_accept(message);
    if (!channel)
        return 1;
    struct ssh_chan *ch = chan_new(c, channel);
    ch->begun = true;
    ch->dialing = true;
    ch->port = (uint16_t)port;
    memcpy(ch->ip, ip, sizeof(ch->ip));
    ssh_callbacks_init(&ch->callbacks);
    ssh_set_channel_callbacks(channel, &ch->callbacks);
    ch->dial.data = ch;
    c->dials++;
    uv_queue_work(c->sshd->loop, &ch->dial, dial_work, dial_done);
    return 0;
}
