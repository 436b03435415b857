/* The compiled form itself. Everything hangs on one arena, is written once by compile.c and only read
 * afterwards. Private to src/policy. */
#ifndef POLICY_ENGINE_PRIV_H
#define POLICY_ENGINE_PRIV_H

#include <stdatomic.h>

#include "core/arena.h"
#include "policy/engine.h"
#include "policy/glob_prog.h"

/* A pattern of an L7 rule. bad = evaluation error when it is reached. */
struct l7_pattern {
    bool bad;
    struct glob glob;
};

struct l7_query {
    const char *key;
    const struct l7_pattern *patterns; /* one of them has to match */
    size_t n;
};

struct l7_clause {
    uint32_t at;        /* its place in the list it was written in */
    const char *method; /* NULL = any */
    bool every_path;
    struct l7_pattern path;
    const struct l7_query *query;
    size_t n_query;
};

/* A GraphQL operation that a rule speaks of. */
struct l7_operation {
    const char *type; /* NULL = any */
    bool every_name;
    struct l7_pattern name;
    const struct l7_pattern *fields; /* none: whatever its fields are */
    size_t n_fields;
};

/* A JSON-RPC or MCP call that a rule speaks of. */
struct l7_call {
    bool every_method;
    const char *exact; /* generic JSON-RPC; NULL: the pattern counts */
    struct l7_pattern method;
    bool names_tool;
    const struct l7_pattern *tools; /* one of them has to match */
    size_t n_tools;
};

/* The rules of an endpoint, sorted by what they speak of. */
struct l7_rules {
    const struct l7_clause *clauses;
    const struct l7_operation *operations;
    const struct l7_call *calls;
    size_t n_clauses, n_operations, n_calls;
};

/* A persisted query that the policy knows by its hash or id. */
struct l7_registered {
    const char *key;
    struct graphql_operation operation;
};

enum host_kind { HOST_EXACT, HOST_GLOB, HOST_ANY };

struct engine_endpoint {
    struct policy_endpoint pub; /* first: policy_l4 hands out pointers to it */
    uint32_t rule, place;       /* of it: which of its endpoints, as written */
    enum host_kind kind;
    struct glob host_glob;
    bool extended; /* belongs to the endpoint configurations */
    bool declared; /* an exact host written by a user */
    bool every_path;
    struct l7_pattern path;
    struct l7_rules allow, deny;
    bool every_call;                      /* MCP: all methods that are not narrowed */
    bool tools_narrowed;                  /* MCP: an allow rule names tools */
    const struct l7_registered *registry; /* by key; NULL = persisted queries are refused */
    size_t n_registry;
};

struct engine_binary {
    const char *path;
    uint64_t hash; /* of path */
    bool is_glob;
    bool advisor;
    struct glob glob;
};

struct engine_rule {
    const char *key;
    const struct engine_binary *binaries;
    size_t n_binaries;
};

/* What endpoints are filed under: an exact host, the literal labels behind the last wildcard, or the port
 * alone. */
enum index_kind { INDEX_EXACT, INDEX_SUFFIX, INDEX_PORT };

struct index_slot {
    uint64_t hash;
    const char *text; /* NULL = free slot */
    uint16_t port;
    uint8_t kind;
    uint32_t start, n; /* range of ids, ascending */
};

struct policy_engine {
    struct os_arena arena;
    atomic_uint refs;
    uint64_t generation;
    uint32_t version;
    const char *quarantine; /* deny reason, NULL in normal operation */
    bool binary_identity;
    struct engine_rule *rules; /* sorted by key */
    size_t n_rules;
    struct engine_endpoint *endpoints; /* rules by key, endpoints in list order */
    size_t n_endpoints;
    struct index_slot *index;
    uint64_t index_mask; /* slots - 1, a power of two */
    uint32_t *ids;
    const struct policy_middleware_config *middlewares; /* in the order in which they run */
    size_t n_middlewares;
    void *attached;
    void (*free_attached)(void *object);
};

#define ENGINE_HASH_SEED UINT64_C(0xcbf29ce484222325)

/* Hash of a text read from its end, one byte more at a time: suffixes come for free. */
static inline uint64_t engine_hash_byte(uint64_t h, char c)
{
    return (h ^ (unsigned char)c) * UINT64_C(0x100000001b3);
}

static inline uint64_t engine_hash_key(uint64_t text_hash, uint16_t port, enum index_kind kind)
{
    uint64_t h = (text_hash ^ ((uint64_t)port << 8) ^ (uint64_t)kind) * UINT64_C(0x9e3779b97f4a7c15);
    return h ^ (h >> 29);
}

static inline uint64_t engine_hash_text(const char *s, size_t n)
{
    uint64_t h = ENGINE_HASH_SEED;
    while (n > 0)
        h = engine_hash_byte(h, s[--n]);
    return h;
}

/* What a rule says of a request. BROKEN: a pattern cannot be evaluated. */
enum l7_verdict { L7_NO = 0, L7_YES = 1, L7_BROKEN = -1 };

enum l7_verdict l7_pattern_matches(const struct l7_pattern *p, const char *value);
/* One of n patterns matches. */
enum l7_verdict l7_any_pattern(const struct l7_pattern *p, size_t n, const char *value);
/* Every operation is allowed; one of them is denied (spec/policy.md 5.7). */
enum l7_verdict l7_operations_allowed(const struct engine_endpoint *ep, const struct graphql_request *g);
enum l7_verdict l7_operations_denied(const struct engine_endpoint *ep, const struct graphql_request *g);
/* The operation that stands for a persisted query; itself when it has a document; NULL: not registered. */
const struct graphql_operation *l7_operation_known(const struct engine_endpoint *ep,
                                                   const struct graphql_operation *op);
/* call NULL: a response frame or a receive stream (spec/policy.md 5.8). */
enum l7_verdict l7_call_allowed(const struct engine_endpoint *ep, const struct jsonrpc_call *call);
enum l7_verdict l7_call_denied(const struct engine_endpoint *ep, const struct jsonrpc_call *call);

/* compile_l7.c: inspection settings and rules of one endpoint; arena is the engine's. */
void compile_pattern(struct os_arena *arena, const char *text, char delimiter, struct l7_pattern *out);
void compile_l7(struct os_arena *arena, const policy_endpoint_doc *from, struct engine_endpoint *ep);

/* middleware.c: network_middlewares into the engine. */
void compile_middlewares(struct policy_engine *e, const policy_doc *doc);

/* Places of the list that allow or deny clauses were compiled from, and whether the one at place i matches
 * the request. For explanations only. */
size_t engine_clause_places(const struct engine_endpoint *ep, bool deny);
bool engine_clause_hits(const struct engine_endpoint *ep, bool deny, size_t i, const struct policy_http *req);

/* Hash of a whole path. */
uint64_t engine_hash_path(const char *path);

#endif
