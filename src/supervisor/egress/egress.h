/* Egress: everything the agent sends out enters here (spec/proxy.md). One thread per agent connection,
 * straight-line blocking code: accept -> parse -> identify process -> resolve and vet destination -> decide
 * -> inspect -> connect upstream -> relay -> audit event. Runs in the unprivileged worker. */
#ifndef SUPERVISOR_EGRESS_H
#define SUPERVISOR_EGRESS_H

#include <netinet/in.h>
#include <stdint.h>
#include <sys/socket.h>

#include "core/arena.h"
#include "core/error.h"
#include "net/forward_proxy.h"
#include "policy/engine.h"
#include "policy/extra.h"
#include "supervisor/audit/audit.h"

/* Who owns a connection. Texts live in the arena given to identify. */
struct egress_identity {
    int32_t pid;
    struct policy_process process;
};

/* Finds the owner of the agent's socket: `agent` is the agent's address, `local` ours (or the original
 * destination for a captured connection). -1 with the deny reason of spec/supervisor.md 9 as *err text. */
typedef int egress_identify_fn(void *ctx, const struct sockaddr_storage *agent,
                               const struct sockaddr_storage *local, struct os_arena *arena,
                               struct egress_identity *out, struct os_error *err);

struct egress_options {
    int proxy_listener; /* listening TCP socket in the agent's namespace, 10.200.0.1:3128 */
    int trap_listener;  /* listening TCP socket that captures direct connections; -1 = none */
    int udp_trap;       /* UDP socket that captures datagrams to anywhere; -1 = none */
    int dns_tcp;        /* listening TCP socket on port 53 in the agent's namespace; -1 = none */
    int dns_udp;        /* UDP socket there; -1 = none */
    struct policy_slot *policy;
    const struct policy_extra *extra; /* asked about what the policy allows; NULL = none */
    egress_identify_fn *identify;
    void *identify_ctx;
    struct audit *audit;
    const char *ca_dir;                     /* openshell-ca.pem and ca-bundle.pem are written here */
    const char *extra_ca_file;              /* operator: more upstream trust roots, PEM; NULL = none */
    const char *extra_hosts;                /* operator: hosts-file text consulted before DNS; NULL = none */
    const char *secret_mode, *secret_allow; /* as egress_set_secrets */
    const struct forward_proxy *upstream_proxy; /* operator: the way out; NULL = dialled directly */
};

struct egress;

/* Creates the sandbox CA, writes the CA files, starts the accept threads. A CA failure is not fatal: it is
 * audited and every CONNECT that needs TLS termination answers 503. NULL with *err otherwise. */
struct egress *egress_start(const struct egress_options *opt, struct os_error *err);
/* What happens to secrets that are on their way out, from the next request on: the settings
 * secret_egress_mode and secret_egress_allow (credentials/secrets.h); NULL = unset. Any thread. */
void egress_set_secrets(struct egress *e, const char *mode, const char *allow);
/* Closes listeners and connections and waits for the threads. */
void egress_stop(struct egress *e);

#endif
