/* Messages between the worker and the monitor over one SOCK_SEQPACKET pair. A message is sent in pieces of at
 * most OS_MONITOR_FRAME bytes and is at most OS_MONITOR_MESSAGE long. Descriptors travel with the first
 * piece, from the monitor to the worker only.
 *
 *   piece    = type u8, more u8, zero u16, id u32, payload
 *   request  = worker -> monitor, id chosen by the worker, answered by one REPLY of the same id
 *   REPLY    = code u32, [error text] or the body of the request's answer
 *   event    = monitor -> worker, id 0
 *
 * Integers are in host order (both ends are one program), texts are u32 length + bytes without NUL. The
 * decoder trusts nothing: the worker may have been taken over. */
#ifndef SUPERVISOR_MONITOR_PROTOCOL_H
#define SUPERVISOR_MONITOR_PROTOCOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "core/arena.h"
#include "core/buf.h"
#include "core/error.h"

enum protocol_type {
    PROTOCOL_ISOLATE = 1, /* request: plan; answer: what the kernel gave */
    PROTOCOL_SPAWN,       /* request: command; answer: child id, pid, tty; descriptors in, out, err */
    PROTOCOL_SIGNAL,      /* request: child id, signal */
    PROTOCOL_SOCKET,      /* request: address family; descriptor: TCP socket of the sandbox's network */
    PROTOCOL_IDENTIFY,    /* request: two addresses; answer: owner; descriptors: its executables */
    PROTOCOL_QUIT,        /* request without answer: exit code */
    PROTOCOL_REPLY,
    PROTOCOL_EXIT,      /* event: child id, status */
    PROTOCOL_TERMINATE, /* event */
    PROTOCOL_SOCKETS,   /* event, the first: which of the listeners exist; their descriptors */
};

#define PROTOCOL_FDS_MAX 80 /* one owner, OS_ANCESTORS_MAX ancestors, rounded up */

struct protocol_list {
    const char *const *v; /* NULL-terminated */
    size_t n;
};

struct protocol_request {
    enum protocol_type type;
    union {
        struct {
            struct protocol_list read_only, read_write; /* absolute paths */
            bool hard_requirement;
            const char *workdir; /* absolute, or "" */
        } isolate;
        struct {
            struct protocol_list argv, env;
            const char *workdir; /* NULL = that of the plan */
            bool tty, main;
            uint16_t cols, rows;
        } spawn;
        struct {
            uint32_t child;
            int32_t sig;
        } signal;
        int32_t family; /* AF_INET or AF_INET6 */
        struct {
            struct sockaddr_storage agent, local; /* AF_INET or AF_INET6 */
        } identify;
        int32_t status;
    };
};

/* One message as received. */
struct protocol_message {
    enum protocol_type type;
    uint32_t id;
    struct os_buf body;
    int fds[PROTOCOL_FDS_MAX]; /* owned by the message until taken (set to -1) */
    size_t n_fds;
};

/* Pure: one request from bytes; texts in the arena. -1 when anything is malformed or out of bounds. */
int protocol_decode(enum protocol_type type, const void *data, size_t n, struct os_arena *arena,
                    struct protocol_request *out);
void protocol_encode(const struct protocol_request *r, struct os_buf *out);

/* Reading of answers and events, with the same bounds. `failed` sticks. */
struct protocol_reader {
    const uint8_t *p;
    size_t n;
    bool failed;
};
uint8_t protocol_get_u8(struct protocol_reader *r);
uint32_t protocol_get_u32(struct protocol_reader *r);
char *protocol_get_text(struct protocol_reader *r, struct os_arena *arena); /* NULL when failed */
struct protocol_list protocol_get_list(struct protocol_reader *r, struct os_arena *arena);

void protocol_put_u8(struct os_buf *b, uint8_t v);
void protocol_put_u32(struct os_buf *b, uint32_t v);
void protocol_put_text(struct os_buf *b, const char *s);
void protocol_put_list(struct os_buf *b, const char *const *v, size_t n);

/* Sends one message; the caller serialises senders. -1 with errno. */
int protocol_send(int fd, enum protocol_type type, uint32_t id, const void *body, size_t n, const int *fds,
                  size_t n_fds);
/* Receives one piece into m (zero-initialised before the first). 1 = message complete, 0 = more to come,
 * -1 = end of connection, error or malformed. accept_fds: descriptors are welcome (worker's side); otherwise
 * they are closed and the piece is malformed. */
int protocol_receive(int fd, struct protocol_message *m, bool accept_fds);
/* Closes descriptors that were not taken and frees the body; m is ready for the next message. */
void protocol_message_clear(struct protocol_message *m);
/* Takes descriptor i; -1 when there is none. */
int protocol_take_fd(struct protocol_message *m, size_t i);

#endif
