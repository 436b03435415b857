/* One RPC, on either side. All functions are for the loop thread of the connection unless stated otherwise.
 *
 * A call delivers complete messages in order. Flow control is end to end: received bytes are credited back to
 * the peer only when their message has been delivered, and delivery stops while the call is paused; what is
 * sent queues in the call until the peer's window takes it, and on_writable says when to go on. */
#ifndef RPC_CALL_H
#define RPC_CALL_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/arena.h"
#include "core/error.h"
#include "rpc/method.h"

struct rpc_call;

struct rpc_call_ops {
    /* One message (without the 5-byte gRPC prefix); data is borrowed for the duration of the call. */
    void (*on_message)(struct rpc_call *call, void *ctx, const uint8_t *data, size_t n);
    /* The peer will send no more messages. Server side: request ended. Client side: not called. */
    void (*on_half_close)(struct rpc_call *call, void *ctx);
    /* Queued bytes fell below OS_RELAY_WINDOW / 2 after having been above OS_RELAY_WINDOW. */
    void (*on_writable)(struct rpc_call *call, void *ctx);
    /* Exactly once, the last callback. Client: the final status. Server: OS_OK after rpc_call_finish() was
     * delivered, OS_CANCELLED when the peer reset the stream or vanished, OS_DEADLINE_EXCEEDED. status is
     * borrowed. ctx may be freed here; the call must not be used afterwards unless a reference is held. */
    void (*on_done)(struct rpc_call *call, void *ctx, const struct os_error *status);
};

/* Server side: a stream handler installs its callbacks before it returns. */
void rpc_call_set_ops(struct rpc_call *call, const struct rpc_call_ops *ops, void *ctx);

const struct rpc_method *rpc_call_method(const struct rpc_call *call);
/* First value of a request header (lower-case name) on the server, response header on the client; NULL when
 * absent. Any thread while the call lives. */
const char *rpc_call_header(const struct rpc_call *call, const char *name);

/* Queues one message. After finish, cancel or on_done it is dropped silently. */
void rpc_call_send(struct rpc_call *call, const ProtobufCMessage *message);
/* As rpc_call_send, for a message that is already packed. */
void rpc_call_send_packed(struct rpc_call *call, const void *data, size_t n);
/* Server: send the response headers now instead of with the first message. */
void rpc_call_send_headers(struct rpc_call *call);
/* Bytes queued and not yet taken by the transport. A producer stops at OS_RELAY_WINDOW. */
size_t rpc_call_queued(const struct rpc_call *call);

/* Client: no more messages from us. */
void rpc_call_half_close(struct rpc_call *call);
/* Server: final status; message may be NULL. Queued messages go out first. */
void rpc_call_finish(struct rpc_call *call, enum os_code code, const char *message);
/* Either side: RST_STREAM(CANCEL); on_done follows (asynchronously) with OS_CANCELLED. */
void rpc_call_cancel(struct rpc_call *call);

/* Stops and restarts on_message; nests not. */
void rpc_call_pause(struct rpc_call *call);
void rpc_call_resume(struct rpc_call *call);

/* Keeps the struct alive across threads; sending on a finished call is harmless. Any thread. */
struct rpc_call *rpc_call_ref(struct rpc_call *call);
void rpc_call_unref(struct rpc_call *call);

/* The principal that the server's authenticate hook attached; NULL on clients. Any thread. */
void *rpc_call_principal(const struct rpc_call *call);
void rpc_call_set_principal(struct rpc_call *call, void *principal, void (*free_fn)(void *));

/* What the transport knows of the peer. Any thread while the call lives. */
struct rpc_peer {
    bool tls;
    bool loopback;    /* peer address is a loopback address, or a UNIX socket */
    bool unix_socket; /* then uid is who connected (SO_PEERCRED) */
    uid_t uid;
    const char *cert_cn;        /* first CN of a verified client certificate, NULL without one */
    const char *const *cert_ou; /* NULL-terminated OU values; NULL without a certificate */
    const char *address;        /* "127.0.0.1:4711" */
};
const struct rpc_peer *rpc_call_peer(const struct rpc_call *call);
/* Both came over the same connection, which may be closed by now. Any thread while both calls live. */
bool rpc_call_same_connection(const struct rpc_call *a, const struct rpc_call *b);

/* Unpacks with every allocation in the arena; NULL when malformed. Never free_unpacked the result. */
ProtobufCMessage *rpc_unpack(struct os_arena *arena, const ProtobufCMessageDescriptor *desc,
                             const uint8_t *data, size_t n);

#endif
