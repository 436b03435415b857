/* The privileged half of the supervisor (DESIGN 10): small, single-threaded, parses nothing that the agent or
 * the network wrote. It makes the agent's network namespace and the sockets in it, spawns isolated children,
 * answers "which process owns this connection", reaps and signals. It serves the worker over a socketpair
 * with the fixed message set of protocol.h. */
#ifndef SUPERVISOR_MONITOR_H
#define SUPERVISOR_MONITOR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/error.h"

/* Filled by main from the driver's environment, before the worker exists. */
struct monitor_config {
    uid_t agent_uid; /* never 0 */
    gid_t agent_gid;
    uid_t worker_uid; /* never 0, never agent_uid */
    gid_t worker_gid;
    const char *workdir; /* NULL = none */
    bool keep;           /* programs may be started after the main process has ended */
    pid_t rules_keeper;  /* a child that ends with the sandbox; 0 = none */
};

/* Sockets made inside the agent's network namespace, served by the worker from outside. */
struct monitor_sockets {
    int proxy;    /* TCP listener 10.200.0.1:3128 */
    int trap;     /* TCP listener that the redirect leads to */
    int udp_trap; /* UDP socket that the redirect leads to, with IP_RECVORIGDSTADDR; -1 if unavailable */
    int dns_tcp;  /* TCP listener on port 53 of every address; -1 if unavailable, as is dns_udp then */
    int dns_udp;  /* UDP socket on port 53 of every address, transparent */
};

/* Moves the calling process into a new network namespace for good, with addresses, routes, nf_tables rules
 * and the sockets in it. Call after the worker was forked: it has to stay outside to reach the world. `trap`
 * is -1 when the kernel has no nf_tables. All but the proxy's are dual-stack (AF_INET6) sockets when the
 * kernel has IPv6; an IPv4 peer then shows as an IPv4-mapped address. */
int monitor_network_setup(struct monitor_sockets *out, struct os_error *err);

/* In the forked worker: unprivileged uid and gid, no capability, no_new_privs, own seccomp filter. Whatever
 * needs a privilege (files, directories) must be done before. */
int monitor_confine_worker(uid_t uid, gid_t gid, struct os_error *err);
/* The same for the keeper of the policy agent, which has to start a program: the filter of the agent's. */
int monitor_confine_keeper(uid_t uid, gid_t gid, struct os_error *err);

/* The first message: hands the sockets to the worker (and closes them here); the worker's side receives them
 * before anything else, blocking. */
int monitor_send_sockets(int fd, struct monitor_sockets *sockets, struct os_error *err);
int monitor_receive_sockets(int fd, struct monitor_sockets *out, struct os_error *err);

/* Either process, once it has started up: gives back memory that only starting needed. */
void monitor_settle(void);

/* Serves the worker on fd until the worker is gone or the main process ended; returns the exit code of the
 * supervisor (spec/supervisor.md 10.5). */
int monitor_serve(const struct monitor_config *cfg, int fd, pid_t worker);

#endif
