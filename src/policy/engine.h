/* The compiled policy: one immutable, reference-counted object that answers "may this process reach this
 * endpoint" and "may it send this request". A decision takes no lock and allocates nothing; texts are made
 * only when someone asks for the reason. Semantics: spec/policy.md 3-5. Any thread. */
#ifndef POLICY_ENGINE_H
#define POLICY_ENGINE_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/buf.h"
#include "core/error.h"
#include "net/graphql/graphql.h"
#include "net/jsonrpc/jsonrpc.h"
#include "policy/policy.h"

struct policy_engine;

/* Resolves a policy binary path that is a symlink (spec/policy.md 4.2); NULL = unresolvable or same. The
 * returned text is malloc'ed. */
typedef char *policy_resolve_fn(void *ctx, const char *path);

struct policy_compile_options {
    bool binary_identity; /* false: every binary test is true */
    policy_resolve_fn *resolve;
    void *resolve_ctx;
    uint32_t version;    /* revision number, for messages */
    uint64_t generation; /* stamped on the engine; grows with every published one */
};

/* NULL and OS_INVALID_ARGUMENT when the runtime rules refuse the document. */
struct policy_engine *policy_compile(const policy_doc *doc, const struct policy_compile_options *opt,
                                     struct os_error *err);
/* Denies everything, with reason as L4 deny reason (fail-closed quarantine). */
struct policy_engine *policy_quarantine(const char *reason, uint64_t generation);
struct policy_engine *policy_engine_ref(struct policy_engine *e);
void policy_engine_unref(struct policy_engine *e);
uint64_t policy_engine_generation(const struct policy_engine *e);
uint32_t policy_engine_version(const struct policy_engine *e);

/* --- publication --- */

/* Where the current engine lives. Readers take a reference per connection; the writer swaps. */
struct policy_slot;
struct policy_slot *policy_slot_new(struct policy_engine *first);
struct policy_engine *policy_slot_get(struct policy_slot *s); /* new reference */
/* Publishes e (takes the reference) and then calls every watcher. */
void policy_slot_publish(struct policy_slot *s, struct policy_engine *e);
/* Generation of the published engine; one atomic load. */
uint64_t policy_slot_generation(const struct policy_slot *s);
/* Called after each publication, from the publishing thread; registered before threads start. */
void policy_slot_watch(struct policy_slot *s, void (*fn)(void *ctx), void *ctx);
void policy_slot_free(struct policy_slot *s);

/* --- L4 --- */

struct policy_process {
    const char *exe;              /* canonical executable path */
    const char *const *ancestors; /* parent first */
    size_t n_ancestors;
    const char *const *cmdline; /* absolute paths on command lines; reasons only, never grants */
    size_t n_cmdline;
};

enum policy_tls { POLICY_TLS_AUTO, POLICY_TLS_SKIP };
enum policy_protocol {
    POLICY_L4, /* empty */
    POLICY_TCP,
    POLICY_REST,
    POLICY_WEBSOCKET,
    POLICY_GRAPHQL,
    POLICY_SQL,
    POLICY_JSON_RPC,
    POLICY_MCP,
};

struct policy_cidr {
    int family;
    uint8_t addr[16];
    uint8_t prefix;
};

/* One endpoint as compiled; fields the egress path reads. Lives as long as the engine. */
struct policy_endpoint {
    const char *policy_key; /* map key of the rule it stands in */
    const char *host;       /* as written, lower case; "" = any host (with allowed_ips) */
    const char *path;       /* endpoint path selector, "" = all */
    enum policy_protocol protocol;
    enum policy_tls tls;
    bool enforce; /* false = audit */
    bool allow_encoded_slash;
    bool allowed_ips_invalid; /* unparsable or overlapping an always-blocked range: deny */
    bool websocket_graphql;   /* client messages are GraphQL operations (spec/policy.md 5.6) */
    bool strict_tool_names;   /* MCP */
    uint32_t body_limit;      /* bytes of an inspected body: graphql, json-rpc, mcp */
    bool websocket_credential_rewrite, body_credential_rewrite;
    bool allow_uninspected_credentials, provider_credentialed;
    const struct policy_cidr *allowed_ips;
    size_t n_allowed_ips;
    unsigned path_weight; /* characters in path other than '*' */
};

#define POLICY_MATCH_MAX 64

struct policy_l4 {
    bool allow;
    const char *policy; /* matched map key, NULL when denied */
    bool declared_host; /* exact_declared_endpoint_host, spec/policy.md 4.4 */
    bool opaque;        /* protocol: tcp in everything that matched: bytes pass unread */
    /* Endpoint configurations in evaluation order ("extended" ones only); [0] decides tls and allowed_ips. */
    const struct policy_endpoint *configs[POLICY_MATCH_MAX];
    size_t n_configs;
    /* Engine-private: endpoints of L4-matching rules that match host and port, for L7. */
    const void *matched[POLICY_MATCH_MAX];
    size_t n_matched;
};

/* host lower-case, without brackets or trailing dot. More than POLICY_MATCH_MAX matches: denied. */
void policy_decide_l4(const struct policy_engine *e, const char *host, uint16_t port,
                      const struct policy_process *who, struct policy_l4 *out);
/* For rules that decide alone: every endpoint of host and port, whoever the process is. out->allow stays
 * false: the caller chooses, with policy_l4_choose. False when there are too many, or no policy: nothing may
 * be allowed. */
bool policy_candidates_l4(const struct policy_engine *e, const char *host, uint16_t port,
                          struct policy_l4 *out);
/* The connection is allowed, under those candidates that chosen() takes: endpoint number i, as written, of
 * the rule key. out->policy is that of the first, else "-". */
void policy_l4_choose(const struct policy_engine *e, struct policy_l4 *out,
                      bool (*chosen)(void *ctx, const char *key, size_t i), void *ctx);
/* True when an endpoint names host, by itself or by a pattern: for whatever port and process. */
bool policy_names_host(const struct policy_engine *e, const char *host);
/* Appends the exact deny reason of spec/policy.md 4.5. */
void policy_l4_reason(const struct policy_engine *e, const char *host, uint16_t port,
                      const struct policy_process *who, struct os_buf *out);

/* --- L7 --- */

struct policy_query_pair {
    const char *key, *value; /* decoded */
};

enum policy_http_kind {
    POLICY_HTTP_REQUEST,
    POLICY_HTTP_UPGRADE, /* a valid WebSocket upgrade request */
    POLICY_HTTP_MESSAGE, /* a client text message: method "WEBSOCKET_TEXT", path and query of the upgrade */
};

/* One request. graphql and jsonrpc are what the body says where policy_l7_config() asks for that protocol,
 * else NULL. */
struct policy_http {
    const char *method;
    const char *path; /* canonical, without query */
    const struct policy_query_pair *query;
    size_t n_query;
    enum policy_http_kind kind;
    const struct graphql_request *graphql;
    const struct jsonrpc_request *jsonrpc;
};

enum policy_l7_why {
    POLICY_L7_ALLOWED,
    POLICY_L7_NO_PATH,         /* no L7 endpoint path matched request */
    POLICY_L7_DENY_RULE,       /* <METHOD> <path> blocked by deny rule */
    POLICY_L7_NOT_ALLOWED,     /* <METHOD> <path> not permitted by policy */
    POLICY_L7_NEEDS_UPGRADE,   /* a websocket endpoint, and no valid upgrade */
    POLICY_L7_GRAPHQL_ERROR,   /* not understood: graphql->error */
    POLICY_L7_GRAPHQL_UNKNOWN, /* persisted query that is not registered */
    POLICY_L7_GRAPHQL_DENIED,  /* an endpoint refuses the operation */
    POLICY_L7_GRAPHQL_NOT_ALLOWED,
    POLICY_L7_JSONRPC_ERROR,    /* not understood: jsonrpc->error */
    POLICY_L7_JSONRPC_RESPONSE, /* a response frame from client to server */
    POLICY_L7_ERROR,            /* evaluation error (bad pattern, body not parsed): drop */
};

struct policy_l7 {
    bool allow; /* what the rules say */
    bool audit; /* not allowed, but the endpoint only audits: forward and log */
    enum policy_l7_why why;
    /* That parsed the request; NULL for POLICY_L7_NO_PATH and on connections without inspection (allowed). */
    const struct policy_endpoint *config;
    const char *policy; /* matched policy key, never NULL */
};

/* True when any configuration of the connection asks for request inspection. */
bool policy_l4_inspects(const struct policy_l4 *l4);
/* True when an attached provider's credentials could be sent on this connection without being looked at, and
 * not every such endpoint says that they may: among the matching endpoints of credentialed providers one has
 * no protocol that is inspected, or skips TLS (spec/proxy.md 4.3). */
bool policy_l4_exposes_credentials(const struct policy_l4 *l4);
/* The configuration that decides how a request for this canonical path is parsed (spec/policy.md 5.1); NULL
 * when none inspects it. */
const struct policy_endpoint *policy_l7_config(const struct policy_l4 *l4, const char *path);
void policy_decide_http(const struct policy_engine *e, const struct policy_l4 *l4,
                        const struct policy_http *req, struct policy_l7 *out);
/* Appends the published reason (spec/policy.md 5.9). */
void policy_l7_reason(const struct policy_l7 *r, const struct policy_http *req, struct os_buf *out);

#endif
