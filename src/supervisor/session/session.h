/* The supervisor's link to its gateway (spec/supervisor.md 12, 13): configuration, the control session with
 * its relays, log push, status reports and token renewal, all over one HTTP/2 connection and one libuv loop.
 *
 * Loop thread only, except session_log(). */
#ifndef SUPERVISOR_SESSION_H
#define SUPERVISOR_SESSION_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "core/error.h"
#include "openshell.pb-c.h"
#include "sandbox.pb-c.h"
#include "supervisor/agent/agent.h"

struct session;

typedef Openshell__Sandbox__V1__GetSandboxConfigResponse session_config;

struct session_options {
    uv_loop_t *loop;
    /* All texts are copied. */
    const char *endpoint;                    /* http:// or https:// URL of the gateway */
    const char *ca_pem, *cert_pem, *key_pem; /* PEM text; https needs all three */
    const char *server_name; /* OPENSHELL_GATEWAY_TLS_SERVER_NAME; NULL = host of the endpoint */
    const char *token;       /* sandbox token; renewed here, never written anywhere */
    const char *sandbox_id;
    const char *instance_id; /* random UUID of this run of the supervisor */
    const char *version;     /* of this program, for hello */
    uint32_t poll_seconds;   /* OPENSHELL_POLICY_POLL_INTERVAL_SECS; 0 = 10 */
    struct agent *agent;     /* execs, attachments and tcp dials go here; borrowed */
    /* A configuration that differs from the last one delivered: the first, pushed and polled ones alike.
     * Borrowed. */
    void (*on_config)(void *ctx, const session_config *config);
    /* The first configuration cannot be had and waiting will not help (sandbox unknown, token refused, ...).
     */
    void (*on_config_failed)(void *ctx, const struct os_error *why);
    /* Serves an SSH client over a stream socket, which it takes; -1 with *err. NULL = not offered. */
    int (*on_ssh)(void *ctx, int fd, struct os_error *err);
    void *ctx;
};

/* NULL with *err on a malformed endpoint, missing or unusable TLS material, or a missing token. No I/O yet.
 */
struct session *session_new(const struct session_options *opt, struct os_error *err);

/* First configuration: asks until the gateway answers. A gateway that is away is waited for (100 ms doubling
 * to 4 s); a definite refusal ends in on_config_failed. Also starts log push and token renewal. */
void session_fetch_config(struct session *s);
/* Opens the control session and keeps it open: lost sessions are reopened after 100 ms doubling to 30 s, with
 * jitter; to 0.7 s while there is no gateway at all. Each accepted session fetches the configuration once
 * more; without "config-push" of the gateway it is polled. */
void session_start(struct session *s);
/* What hello says of the isolation; before session_start(). detail is copied. */
void session_set_enforcement(struct session *s, bool complete, const char *detail);
/* True while the gateway has accepted the control session. */
bool session_connected(const struct session *s);

/* ReportPolicyStatus: queued in order, retried while the gateway is away. error is NULL when loaded. */
void session_report_policy(struct session *s, uint32_t version, bool loaded, const char *error);

/* UpdateConfig with the policy the sandbox found itself (spec/supervisor.md 2.1), for a gateway that has
 * none. Once; a refusal is logged. */
void session_offer_policy(struct session *s, const char *sandbox_name,
                          const Openshell__Sandbox__V1__SandboxPolicy *policy);

/* Any thread, never blocks: one line for the gateway's log. level "OCSF" or "ERROR".."TRACE"; target "ocsf"
 * or a module. Past OS_LOG_QUEUE waiting lines the line is dropped and counted. */
void session_log(struct session *s, int64_t time_ms, const char *level, const char *target,
                 const char *message);

/* ReportMainProcessExit until the gateway has it (250 ms doubling to 2 s) or refuses it for good; then
 * done(ctx), at most once. start_error: why it could not be started, copied; NULL = it ran. session_stop()
 * gives up waiting: done is not called. */
void session_report_exit(struct session *s, int32_t exit_code, const char *start_error,
                         void (*done)(void *ctx), void *ctx);

/* Tokens for these extension services, in the order of the names; the sandbox token in the same answer is
 * installed. cb runs once, unless the session is stopped before; response is NULL unless status is OS_OK, and
 * goes when cb returns. */
typedef void session_tokens_cb(void *ctx, const struct os_error *status,
                               const Openshell__V1__RefreshSandboxTokenResponse *response);
void session_extension_tokens(struct session *s, const char *const *names, size_t n, session_tokens_cb *cb,
                              void *ctx);

/* Sends what is queued (logs, relay frames), for at most one second, and closes; then done(ctx), after which
 * session_free() is due. */
void session_stop(struct session *s, void (*done)(void *ctx), void *ctx);
/* After session_stop's done, or instead of it; before agent_free(). The loop must run once more to release
 * handles. Producers of session_log() must have been silenced. */
void session_free(struct session *s);

#endif
