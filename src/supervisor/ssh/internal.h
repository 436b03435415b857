/* Shared by the files of ssh/ only. */
#ifndef SUPERVISOR_SSH_INTERNAL_H
#define SUPERVISOR_SSH_INTERNAL_H

#include <libssh/callbacks.h>
#include <libssh/libssh.h>
#include <libssh/server.h>

#include "core/buf.h"
#include "supervisor/agent/io.h"
#include "supervisor/agent/target.h"
#include "supervisor/ssh/sshd.h"

struct sshd {
    uv_loop_t *loop;
    struct agent *agent;
    struct audit *audit;
    ssh_bind bind; /* holds the host key; NULL before the first connection */
    struct ssh_conn *conns;
    unsigned refs; /* connections whose handles are open, and the owner */
};

/* One connection. Whatever happens inside the library's callbacks only leaves marks; conn_turn() acts on them
 * when no library frame is on the stack. */
struct ssh_conn {
    struct sshd *sshd;
    struct ssh_conn *next;
    ssh_session session;
    ssh_event event;
    struct ssh_server_callbacks_struct callbacks;
    uv_poll_t poll;
    uv_idle_t idle;
    uv_timer_t login; /* time for key exchange and authentication */
    int open_handles;
    unsigned dials;   /* under way in worker threads */
    unsigned refused; /* authentication attempts */
    bool kex_done, authenticated;
    bool over; /* to be closed at the next turn */
    bool closed;
    struct ssh_chan *chans;
    unsigned n_chans;
};

/* One channel: a session (exec, shell, subsystem) or a direct-tcpip connection. */
struct ssh_chan {
    struct ssh_conn *conn;
    struct ssh_chan *next;
    ssh_channel channel;
    struct ssh_channel_callbacks_struct callbacks;
    /* what the client asked for before it started something */
    struct os_strv env; /* "K=V" of the allow list */
    char *term;         /* NULL = no terminal */
    uint16_t cols, rows;
    bool read_only; /* OPENSHELL_MAIN_READ_ONLY */
    bool begun;     /* exec, shell or subsystem was asked for */
    bool attached;  /* stream is an attachment to the main process */
    struct agent_stream *stream;
    struct io *sock;   /* direct-tcpip */
    struct os_buf out; /* not taken by the client's window yet; the producer is paused while there is some */
    bool out_stderr;
    bool eof_in; /* the client has ended its input */
    bool eof_delivered;
    bool ended;   /* nothing more will be added to out */
    int status;   /* exit status to send, -1 = none */
    bool closing; /* our close was sent: input is dropped until the client's arrives */
    bool closed;  /* by the client */
    bool dialing;
    char ip[TARGET_IP_LEN];
    uint16_t port;
    uv_work_t dial;
    int fd;
    struct os_error dial_err;
};

/* Marks a connection as having work for conn_turn(). */
void conn_wake(struct ssh_conn *c);
/* The transport has bytes it could not hand on. */
bool conn_congested(const struct ssh_conn *c);
/* A dial ended: lets the connection go if it was the last thing it waited for. */
void conn_release(struct ssh_conn *c);

/* channel.c */
ssh_channel chan_open_session(ssh_session session, void *conn);
struct ssh_chan *chan_new(struct ssh_conn *c, ssh_channel channel);
/* Acts on what callbacks left behind; true when the channel is gone and was freed. */
bool chan_turn(struct ssh_chan *ch);
/* Ends process and socket and frees; the library's channel goes with its session or was closed. */
void chan_free(struct ssh_chan *ch);
/* Output towards the client; what does not fit waits and the producer is paused. */
void chan_output(struct ssh_chan *ch, bool is_err, const uint8_t *data, size_t n);
/* Nothing more will be output; status -1 sends no exit status. */
void chan_end(struct ssh_chan *ch, int status);

/* run.c: what runs in a session channel. Requests answer 0 = accepted. */
void run_install(struct ssh_chan *ch);
/* Input from the client; bytes taken. */
size_t run_input(struct ssh_chan *ch, const uint8_t *data, size_t n);
void run_input_eof(struct ssh_chan *ch);

/* forward.c: direct-tcpip */
int forward_message(ssh_session session, ssh_message message, void *conn);

#endif
