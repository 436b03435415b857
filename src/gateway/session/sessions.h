/* Supervisor sessions and the relays that run over them (spec/gateway.md 8). Loop thread, except where noted.
 */
#ifndef GATEWAY_SESSIONS_H
#define GATEWAY_SESSIONS_H

#include "gateway/gateway.h"
#include "openshell.pb-c.h"

struct sessions;

struct sessions *sessions_new(struct gateway *gw);
void sessions_free(struct sessions *s);

/* rpc_stream_fn; ctx is the gateway. */
void session_connect_rpc(void *ctx, struct rpc_call *call);
void session_relay_rpc(void *ctx, struct rpc_call *call);

/* Any thread: ends the session of a sandbox that is no more. */
void sessions_close(struct sessions *s, const char *sandbox_id);
/* Any thread: hands the packed GetSandboxConfigResponse to the connected supervisor, if it takes pushes. */
void sessions_push_config(struct sessions *s, const char *sandbox_id, const uint8_t *config, size_t n);
/* Any thread: a snapshot for drivers' events; true while a supervisor is connected. */
bool sessions_connected(struct sessions *s, const char *sandbox_id);

/* --- relays: one requester inside the gateway, one RelayStream of the supervisor --- */

struct relay;

struct relay_ops {
    /* The supervisor claimed the relay; frames may be sent. */
    void (*on_open)(void *ctx);
    /* One frame from the supervisor, borrowed. */
    void (*on_frame)(void *ctx, const Openshell__V1__RelayFrame *frame);
    void (*on_writable)(void *ctx);
    /* Exactly once, the last callback, also when the relay could not be opened. ctx may be freed. OS_OK: the
     * supervisor ended its direction in order. */
    void (*on_end)(void *ctx, const struct os_error *status);
};

enum relay_target { RELAY_EXEC, RELAY_TCP, RELAY_SSH };

/* Waits up to OS_SESSION_WAIT_MS for a session, sends `open` (channel_id is filled in) and waits
 * OS_RELAY_CLAIM_MS for the claim. Never NULL; failure arrives in on_end. */
struct relay *relay_open(struct sessions *s, const char *sandbox_id, enum relay_target target,
                         const Openshell__V1__RelayOpen *open, const struct relay_ops *ops, void *ctx);
void relay_send(struct relay *r, const Openshell__V1__RelayFrame *frame);
/* Bytes for the sandbox, in frames of at most OS_RELAY_FRAME. */
void relay_send_data(struct relay *r, const uint8_t *data, size_t n);
size_t relay_queued(const struct relay *r);
void relay_pause(struct relay *r);
void relay_resume(struct relay *r);
/* Drops the relay: no further callback. */
void relay_abort(struct relay *r);

#endif
