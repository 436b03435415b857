/* The first message between the two processes: the sockets of the agent's network. */
#include <errno.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "supervisor/monitor/monitor.h"
#include "supervisor/monitor/protocol.h"

int monitor_send_sockets(int fd, struct monitor_sockets *sockets, struct os_error *err)
{
    int *const all[] = {&sockets->proxy, &sockets->trap, &sockets->udp_trap, &sockets->dns_tcp,
                        &sockets->dns_udp};
    struct os_buf cleanup_buf body = {0};
    int fds[OS_ARRAY_LEN(all)];
    size_t n = 0;
    for (size_t i = 0; i < OS_ARRAY_LEN(all); i++) {
        protocol_put_u8(&body, *all[i] >= 0);
        if (*all[i] >= 0)
            fds[n++] = *all[i];
    }
    int r = protocol_send(fd, PROTOCOL_SOCKETS, 0, body.data, body.len, fds, n);
    int bad = errno;
    for (size_t i = 0; i < OS_ARRAY_LEN(all); i++) {
        if (*all[i] >= 0)
            close(*all[i]);
        *all[i] = -1;
    }
    return r < 0 ? os_error_sys(err, bad, "cannot hand the sandbox sockets to the worker") : 0;
}

int monitor_receive_sockets(int fd, struct monitor_sockets *out, struct os_error *err)
{
    int *const all[] = {&out->proxy, &out->trap, &out->udp_trap, &out->dns_tcp, &out->dns_udp};
    struct protocol_message msg = {0};
    int r = protocol_receive(fd, &msg, true);
    struct protocol_reader reader = {.p = (const uint8_t *)msg.body.data, .n = msg.body.len};
    size_t next = 0;
    for (size_t i = 0; i < OS_ARRAY_LEN(all); i++)
        *all[i] = r == 1 && protocol_get_u8(&reader) ? protocol_take_fd(&msg, next++) : -1;
    bool ok = r == 1 && msg.type == PROTOCOL_SOCKETS && !reader.failed && out->proxy >= 0;
    protocol_message_clear(&msg);
    return ok ? 0 : os_error_set(err, OS_INTERNAL, "the monitor did not hand over the sandbox sockets");
}
