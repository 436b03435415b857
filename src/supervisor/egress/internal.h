/* What the stages of the egress path share: the listener side (struct egress), one agent connection
 * (struct egress_conn) and one request on it. The files, in the order a connection passes them:
 *
 *   accept.c       accepts, one thread per connection; cuts connections on reload
 *   proxy.c        first request head; CONNECT or absolute-form
 *   decide.c       who is it, and may it reach this host and port (identity, L4)
 *   destination_resolve.c  which addresses, and are they fit to be dialled (SSRF; policy/destination.c)
 *   dial.c         connects to the vetted addresses;  upstream_proxy.c  through the operator's proxy
 *   tunnel.c       CONNECT: answers 200, finds out what is inside
 *   relay.c        opaque: bytes both ways
 *   tls.c, ca.c    terminates TLS with a certificate of the sandbox CA
 *   hello.c        what the agent's TLS client offers, so that both sides speak one protocol
 *   l7/http.c      requests inside a tunnel, one after the other;  l7/h2*.c  the same in HTTP/2, side by side
 *   l7/gate.c      is the request for this tunnel, and may it pass
 *   l7/inspect.c   what the rules need to know of a body;  l7/body.c  reads it;  l7/judge.c  may it pass
 *   middleware/    what operators put between the rules and the upstream (middleware/chain.h lists the files)
 *   credentials/   what must not leave: placeholders nobody resolved, secrets that belong elsewhere
 *   l7/head.c      request heads in and out;  l7/exchange.c  one request and its response
 *   forward.c      absolute-form requests
 *   trap.c         direct connections and datagrams: those to allowed names go through the same stages
 *   resolver.c     the agent's name server;  names.c  the addresses it makes up
 *   deny.c         every refusal body;  events.c  every audit event */
#ifndef SUPERVISOR_EGRESS_INTERNAL_H
#define SUPERVISOR_EGRESS_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "core/cleanup.h"
#include "core/limits.h"
#include "net/dns.h"
#include "net/http1/http1.h"
#include "policy/destination.h"
#include "policy/target.h"
#include "supervisor/egress/ca.h"
#include "supervisor/egress/credentials/secrets.h"
#include "supervisor/egress/egress.h"
#include "supervisor/egress/hello.h"
#include "supervisor/egress/l7/capacity.h"
#include "supervisor/egress/middleware/chain.h"
#include "supervisor/egress/names.h"
#include "supervisor/egress/stream.h"

struct egress_conn;
struct websocket_agreement;

/* Token bucket for events that a process can cause at will. */
struct event_limit {
    pthread_mutex_t lock;
    int64_t refilled_ms;
    double tokens;
    uint64_t suppressed;
    char last[OS_LIMIT_HOST_NAME + 1]; /* what the last event was about, where repetition says nothing */
    int64_t last_ms;
};

struct egress {
    struct egress_options opt; /* extra_hosts is an owned copy; the other texts serve only the start */
    struct egress_ca *ca;      /* NULL: TLS termination is unavailable */
    struct destination_gateway gateway;
    struct event_limit bypass, denied_names, secret_events, proxy_failures;
    atomic_size_t bodies;     /* bytes of bodies that wait to be judged, or to be sent on after it */
    struct capacity messages; /* WebSocket texts being put together */
    struct middleware_state middleware;
    struct egress_names *names;
    bool dns_ipv6; /* the agent's network has IPv6 */
    pthread_t accepter;
    int wake; /* eventfd: something for the accept thread to look at */

    pthread_mutex_t lock; /* guards what follows, and the guarded fields of every connection */
    pthread_cond_t drained;
    struct egress_conn *conns;
    size_t live;
    bool stopping;
    struct secret_rules *secrets;
    uint8_t secret_key[SECRET_KEY]; /* of fingerprints, for as long as this process lives */
};

struct egress_conn {
    struct egress *egress;
    void (*serve)(struct egress_conn *c); /* what the listener it came through leads to */
    bool captured;                        /* a direct connection: refusals are resets */
    bool named; /* its destination is a made-up address: host is what that stands for */

    /* Guarded by egress->lock. */
    struct egress_conn *next, **link;
    int client_fd, upstream_fd; /* shut down from outside to end the connection; -1 = none */
    bool cut_on_reload;
    bool dialling;   /* a policy change ends the attempt, the agent is answered */
    int reload_fd;   /* eventfd that is told of a reload instead of the cut; -1 = none */
    bool cut_gently; /* only reading from the agent ends: it is told a last word */

    struct sockaddr_storage agent, local;
    struct os_arena arena; /* lives as long as the connection */
    struct egress_stream client, upstream;
    struct http1_head head; /* of the request being served */

    /* decide.c */
    struct policy_engine *engine;
    uint64_t generation;
    struct egress_identity who;
    const char *ancestors, *cmdline; /* joined for events; NULL = unknown */
    const char *host;                /* lower case, without brackets and trailing dot */
    uint16_t port;
    struct policy_l4 l4;

    bool one_request;  /* plain HTTP, one request: a proxy may be asked for it without a tunnel */
    bool asks_proxy;   /* and is: c->upstream is the operator's proxy itself */
    unsigned requests; /* served so far */
};

/* --- accept.c --- */

/* Registers the upstream socket so that a cut reaches it; false when the connection or the attempt is being
 * ended. */
bool conn_set_upstream(struct egress_conn *c, int fd);
/* While it is dialled a policy change shuts the upstream socket alone. */
void conn_dialling(struct egress_conn *c, bool yes);
/* From now on a policy change ends the connection at once. */
void conn_follow_policy(struct egress_conn *c);
/* From now on being cut leaves the way to the agent open. */
void conn_cut_gently(struct egress_conn *c);
/* A newer policy is published than the one this connection was admitted under. */
bool conn_stale(const struct egress_conn *c);
/* It should end soon: the policy changed, or egress stops. For those who wait for something else. */
bool conn_ending(const struct egress_conn *c);
/* Whether a policy change is announced on c->reload_fd instead: for connections that say goodbye first. */
void conn_announce_reload(struct egress_conn *c, bool yes);
void *egress_accept_loop(void *egress);
void egress_cut(void *egress);

/* --- egress.c --- */

/* The rules in force; the caller's reference. */
struct secret_rules *egress_secrets(struct egress *e);

/* --- stages --- */

void proxy_serve(struct egress_conn *c);
void tunnel_serve(struct egress_conn *c);
void forward_serve(struct egress_conn *c);
void trap_serve(struct egress_conn *c);
void trap_datagram(struct egress *e);
void resolver_serve(struct egress_conn *c);
void resolver_prepare(struct egress *e);
void resolver_datagrams(struct egress *e);
/* The stages behind the target: decide, vet, dial, sniff, relay. Captured connections enter here. */
void tunnel_serve_target(struct egress_conn *c);
/* Sets host and port. A made-up address becomes its name, on every entry way; false when it has none (any
 * more). */
bool conn_set_target(struct egress_conn *c, const char *host, uint16_t port);
/* Reads the next head of at most max bytes into the stream's buffer; deadline_ms for the whole head once its
 * first byte is there, first_ms for that byte (-1 = any time). Length of the head, 0 for an end before the
 * first byte, -1 otherwise with *err (OS_OUT_OF_RANGE: too long). While idle, `other` (may be NULL) is
 * watched: when it ends or speaks, the wait ends with 0. */
ssize_t head_read(struct egress_stream *s, struct egress_stream *other, size_t max, int first_ms,
                  struct os_error *err);

/* Reads exactly one head of at most max bytes into buf and nothing behind it, so that what follows can be
 * handed over as a socket, until `end` (monotonic, ms). Length, 0 for an end before it is complete, -1 with
 * *err (OS_OUT_OF_RANGE: too long, OS_DEADLINE_EXCEEDED). */
ssize_t head_read_exact(struct egress_stream *s, char *buf, size_t max, int64_t end, struct os_error *err);

/* Identifies the process, pins the policy and decides host and port: 0, or -1 with the deny reason. */
int decide_connection(struct egress_conn *c, struct os_buf *reason);
/* Identity alone, for events; false with *err when it cannot be told. */
bool decide_identify(struct egress_conn *c, const struct sockaddr_storage *to, struct os_error *err);

/* Resolves c->host and vets every address: 0, or -1 with the published kind and the reason for the log. */
int destination_resolve(struct egress_conn *c, struct net_addrs *out, const char **kind,
                        struct os_error *reason);

/* Connects c->upstream; -1 with *err. After an error the policy may have changed: see conn_stale. */
int dial_upstream(struct egress_conn *c, const struct net_addrs *addrs, struct os_error *err);
/* One after the other until `end` (monotonic, ms), each with its share of the time: 0, or an errno. */
int dial_addresses(struct egress_conn *c, const struct net_addrs *addrs, uint16_t port, int64_t end);
/* The same as dial_upstream through the operator's proxy. May set c->asks_proxy when c->one_request is set.
 */
int upstream_proxy_dial(struct egress_conn *c, const struct forward_proxy *p, const struct net_addrs *addrs,
                        struct os_error *err);

/* Bytes both ways until both directions ended. */
void relay_opaque(struct egress_conn *c);
/* The same where either side may be under TLS. */
void relay_streams(struct egress_conn *c);

/* Puts a TLS connection on the stream, inside of the one that it already is under; takes ssl, which may be
 * NULL when *err says why. */
int tls_attach(struct egress_stream *s, SSL *ssl, struct os_error *err);
/* TLS handshake with the agent, with a certificate for c->host, up to its ClientHello. */
int tls_hold_agent(struct egress_conn *c, struct egress_hello *hello, struct os_error *err);
/* TLS handshake with the upstream, verified for c->host, for a protocol that the agent's client offers. */
int tls_connect_upstream(struct egress_conn *c, struct egress_hello *hello, struct os_error *err);
/* The rest of the handshake with the agent, for the protocol that the upstream speaks. */
int tls_accept_agent(struct egress_conn *c, struct egress_hello *hello, struct os_error *err);

/* --- requests --- */

struct deny_answer;
struct egress_request {
    struct egress_conn *conn;
    struct os_arena *arena; /* of this request */
    const struct http1_head *head;
    const char *method;
    const char *path;     /* canonical, without query and secrets; shown in events and bodies */
    const char *judged;   /* the same with secrets: what rules are asked about */
    bool bad_placeholder; /* a malformed one is in the target */
    struct policy_target target;
    const struct policy_query_pair *query;
    size_t n_query;
    enum policy_http_kind kind;
    /* What inspection found in the request; NULL where the endpoint does not ask. */
    const struct graphql_request *graphql;
    const struct jsonrpc_request *jsonrpc;
    /* WebSocket upgrades (l7/upgrade.c) */
    struct http1_head *response; /* the 101; its bytes are at the start of the upstream's buffer */
    size_t response_len;
    bool reads_messages;                /* messages are judged, not only the upgrade */
    struct middleware_session *session; /* stages that listen to them; NULL = none */
    const char *safe_offer;             /* of extensions; NULL = none */
    struct os_buf body;                 /* read before the judgement, without its framing */
    bool body_read;
    size_t body_held;            /* bytes of it in egress->bodies; HTTP/1 */
    int64_t body_end_ms;         /* monotonic clock, when it must be complete; 0 = any time */
    bool body_trailers;          /* had trailers, which were not kept */
    struct os_buf out;           /* the head that goes upstream */
    struct deny_answer *refusal; /* after EXCHANGE_REFUSED; in the arena, its texts owned */
};

void request_free(struct egress_request *r);
/* The body was sent, or never will be: an answer may take its time, its request holds no memory for it. */
void request_drop_body(struct egress_request *r);

/* Requests inside a tunnel until it ends; scheme is that of the tunnel, "https" or "http". upstream_error is
 * what the first request is answered with when there is no upstream, else NULL. */
void http_serve(struct egress_conn *c, const char *scheme, const char *upstream_error);
/* The same where TLS agreed on HTTP/2 on both sides. */
void h2_serve(struct egress_conn *c);

/* --- l7/gate.c: what a request inside a tunnel must pass, whatever the protocol --- */

struct tunnel_http {
    struct egress_conn *c;
    const char *scheme;
    bool inspect;
    const char *upstream_error;
    /* Sends the answer in the protocol of the tunnel. */
    void (*answer)(const struct tunnel_http *t, struct egress_request *r, const struct deny_answer *a);
};
/* Each of these answers and logs what it refuses, and is false then. In this order: */

/* The request is for the endpoint of the tunnel and its target is canonical; sets method and target. */
bool gate_admit(const struct tunnel_http *t, struct egress_request *r);
/* The rules, for a request that was inspected; without an upstream also that. */
bool gate_allow(const struct tunnel_http *t, struct egress_request *r);

/* The middleware chain; before the request goes upstream. HTTP/1 only. */
bool gate_middleware(const struct tunnel_http *t, struct egress_request *r);

/* Answers 400 and says why in an event; the target is not shown, it could be anything. */
void gate_refuse_malformed(const struct tunnel_http *t, struct egress_request *r, const struct os_error *err);
/* What inspecting a request or reading its body failed with: nothing to say when the client is gone
 * (OS_UNAVAILABLE), 503 without room for the body (OS_RESOURCE_EXHAUSTED), else as malformed. */
void gate_refuse_body(const struct tunnel_http *t, struct egress_request *r, const struct os_error *err);
/* Answers 502. */
void gate_no_upstream(const struct tunnel_http *t, struct egress_request *r, const char *reason);

/* Canonicalises the target with the loosest setting of the connection and splits the query; -1 with the text
 * of spec/proxy.md 3.4. */
int request_parse(struct egress_request *r, struct os_error *err);
/* HTTP/2 cleartext upgrade asked for. */
bool request_is_h2c_upgrade(const struct http1_head *h);

/* What has to be read of a request before it can be judged (spec/proxy.md 6.6, 6.7). */
struct inspect_plan {
    enum policy_protocol protocol; /* POLICY_GRAPHQL, POLICY_JSON_RPC, POLICY_MCP; else nothing */
    const char *what;              /* in texts about its body */
    bool body;                     /* the body is needed */
    bool strict_tool_names;
    size_t limit; /* bytes of it */
};
/* The plan for a request whose target is parsed; -1 when its body is in a form that cannot be read. */
int inspect_plan(const struct egress_request *r, struct inspect_plan *plan, struct os_error *err);
/* Fills in graphql or jsonrpc from what was read. */
void inspect_request(struct egress_request *r, const struct inspect_plan *plan);
/* Both, with the body read from the client in between: 0, or -1 with *err. */
int request_inspect(struct egress_request *r, struct os_error *err);
/* Reads the whole body of an HTTP/1 request, at most limit bytes, into r->body. The text of an excess begins
 * with what. Not before: the client is told to go on where it asks. -1: OS_OUT_OF_RANGE for an excess,
 * OS_RESOURCE_EXHAUSTED when all connections together hold too much, OS_DEADLINE_EXCEEDED, OS_UNAVAILABLE
 * when the client is gone. */
int body_collect(struct egress_request *r, const char *what, size_t limit, struct os_error *err);
/* n more bytes of a body are held until it was judged and sent on, in the budget of all connections
 * (OS_L7_BODIES_MAX). -1 with OS_RESOURCE_EXHAUSTED when they do not fit: nothing was taken. Any thread. */
int body_hold(struct egress *e, size_t n, struct os_error *err);
void body_let_go(struct egress *e, size_t n);
/* The error for such an excess. */
int body_too_long(const char *what, size_t limit, struct os_error *err);

/* Sets the request's kind and what that needs, when it is a valid upgrade to a WebSocket. */
void upgrade_recognise(struct egress_request *r);
void upgrade_write_fields(const struct egress_request *r, struct os_buf *out);
/* After EXCHANGE_SWITCHED: answers the client and serves the WebSocket to its end. */
void upgrade_serve(struct egress_request *r, const char *scheme, bool forward);
void websocket_serve(struct egress_request *r, const char *scheme, const struct websocket_agreement *agreed);

enum request_verdict { REQUEST_FORWARD, REQUEST_DENY };
/* Judges by the rules and logs the decision; on REQUEST_DENY out_policy and reason say why. */
enum request_verdict request_judge(struct egress_request *r, const char *scheme, bool forward,
                                   const char **policy, struct os_buf *reason);

/* Judges again what a middleware made of a request that was let through; logs what the rules do not like. */
enum request_verdict request_rejudge(struct egress_request *r, const char *scheme, const char **policy,
                                     struct os_buf *reason);

/* The field goes upstream: it is no hop field, and does not frame a body that was read before the judgement.
 * forward also leaves out what a proxy answers for. */
bool request_field_passes(const struct egress_request *r, const struct http1_field *f, bool forward);
/* Writes the request head for the upstream: canonical target, fields in order without hop fields. forward
 * also replaces Host by host_field and drops what a proxy answers for (spec/proxy.md 5). */
void request_write_head(struct egress_request *r, bool forward, const char *host_field);

enum exchange_end {
    EXCHANGE_KEEP,     /* complete; both sides can go on */
    EXCHANGE_CLOSE,    /* complete; close */
    EXCHANGE_BROKEN,   /* part of a response was sent; break the connection */
    EXCHANGE_BAD_BODY, /* the request body is not framed; nothing was answered */
    EXCHANGE_NO_REPLY, /* the upstream gave no usable response; nothing was answered */
    EXCHANGE_STALE,    /* the policy changed */
    EXCHANGE_REFUSED,  /* the body must not be sent: r->refusal; nothing was answered */
    EXCHANGE_SWITCHED, /* 101: r->response holds it, nothing was answered */
};
/* Sends r->out and the request body, relays the response(s). *err says what broke. */
enum exchange_end exchange_run(struct egress_request *r, const char *scheme, bool forward,
                               struct os_error *err);

/* --- deny.c: the one place that answers anything but success --- */

/* "HTTP/1.1 <status line>\r\n\r\n" alone. */
void deny_bare(struct egress_stream *to, const char *status_line);
void deny_plain(struct egress_stream *to, const char *status_line, const char *text);
/* An answer with a body, not yet in the form of a protocol. */
struct deny_answer {
    const char *status_line; /* "403 Forbidden" */
    char *policy;            /* value of X-OpenShell-Policy; NULL = none */
    char *detail;            /* what the body says in one line of text */
    const char *type;        /* of the body */
    char *body;              /* NULL = nothing to answer */
};
#define cleanup_answer __attribute__((cleanup(deny_answer_free)))
void deny_answer_free(struct deny_answer *a);
/* {"detail":..,"error":..,"reason":..}; reason is left out when NULL or empty. */
void deny_make_json(struct deny_answer *a, const char *status_line, const char *error, const char *detail,
                    const char *reason);
/* As deny_make_json with "message" for "detail". */
void deny_make_message(struct deny_answer *a, const char *status_line, const char *error,
                       const char *message);
/* The L7 denial body (spec/proxy.md 6.3); for git one line of text, which it shows. */
void deny_make_request(struct deny_answer *a, const struct egress_request *r, const char *policy,
                       const char *detail);
/* What the middleware chain did not let through (spec/proxy.md 13.6): denied by the stage of that name, or,
 * when config is NULL, not processed. On the forward path without the context of the request. */
void deny_make_middleware(struct deny_answer *a, const struct egress_request *r, bool forward,
                          const char *config, const char *reason_code);
/* As HTTP/1, closing. */
void deny_send(struct egress_stream *to, const struct deny_answer *a);
/* Made and sent. */
void deny_json(struct egress_stream *to, const char *status_line, const char *error, const char *detail,
               const char *reason);
void deny_request(struct egress_stream *to, const struct egress_request *r, const char *policy,
                  const char *detail);

/* --- events.c --- */

/* A network event of this connection. rule NULL = the matched policy or "-". */
struct conn_event {
    const char *activity; /* "Open", "Refuse", "Fail", "Close" */
    enum audit_severity severity;
    enum audit_action action;
    const char *rule_type;
    const char *detail;
};
void event_conn(struct egress_conn *c, const struct conn_event *ev, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* An HTTP event; policy NULL = "-". */
void event_http(const struct egress_request *r, const char *scheme, const char *policy,
                const struct conn_event *ev, const char *fmt, ...) __attribute__((format(printf, 5, 6)));
/* Credentials in traffic that is not looked into, on this surface: event and finding. */
void event_uninspectable(struct egress_conn *c, const char *surface);
/* A high finding of this connection. */
void event_finding(struct egress_conn *c, const char *uid, const char *title, const char *message);
/* The same with another weight. */
void event_finding_as(struct egress_conn *c, enum audit_severity severity, enum audit_action action,
                      const char *uid, const char *title, const char *message);
/* Low event about something that failed for a technical reason. */
void event_failure(struct egress_conn *c, const char *what, const struct os_error *err);
/* A secret on its way out: a finding, never with the secret; rate limited. */
struct event_secret {
    const char *rule, *place, *form, *fingerprint;
    enum audit_action action;
    bool certain;
};
void event_secret(const struct egress_request *r, const struct event_secret *ev);
/* The n-th entry of the setting is none. */
void event_secret_setting(struct egress *e, size_t n);
void event_listening(struct egress *e);
void event_upstream_proxy(struct egress *e);
/* The operator's proxy did not serve: why, for the operator; rate limited. */
void event_upstream_proxy_failed(struct egress *e, const struct os_error *err);
void event_ca_failed(struct audit *a, const char *what, const struct os_error *err);
/* Closed because a newer policy is in force. */
void event_reloaded(struct egress_conn *c);
/* "NET:REFUSE" and the finding for traffic around the proxy; rate limited. */
void event_bypass(struct egress_conn *c, const char *protocol);
void event_limit_init(struct event_limit *l);
/* A name that was looked up and not answered; rate limited, and once for repeated lookups of one name. */
void event_name_denied(struct egress_conn *c, const char *name, const char *detail);
void event_name_published(struct egress *e, const char *name, const struct net_addr *address);

#endif
