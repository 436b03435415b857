/* policy_hash: SHA-256 over the canonical byte string of spec/policy.md 8.3. Maps have no order on the wire,
 * so each is taken out of the encoding and hashed sorted by key. */
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/encode.h"
#include "policy/model.h"

struct hasher {
    EVP_MD_CTX *sha;
    struct os_arena arena;
};

static void put_u64(struct hasher *h, uint64_t v)
{
    uint8_t le[8];
    for (size_t i = 0; i < sizeof(le); i++)
        le[i] = (uint8_t)(v >> (8 * i));
    EVP_DigestUpdate(h->sha, le, sizeof(le));
}

static void put_bytes(struct hasher *h, const void *data, size_t n)
{
    put_u64(h, n);
    EVP_DigestUpdate(h->sha, data, n);
}

static void put_text(struct hasher *h, const char *s)
{
    s = policy_text(s);
    put_bytes(h, s, strlen(s));
}

/* NULL hashes as an empty message. */
static void put_message(struct hasher *h, const ProtobufCMessage *msg)
{
    size_t n = msg ? protobuf_c_message_get_packed_size(msg) : 0;
    uint8_t *bytes = os_arena_alloc(&h->arena, n + 1);
    if (msg)
        protobuf_c_message_pack(msg, bytes);
    put_bytes(h, bytes, n);
}

static void put_map(struct hasher *h, const char *label, const void *entries, size_t n)
{
    struct policy_map_entry **sorted = policy_map_sorted(&h->arena, entries, n);
    put_text(h, label);
    put_u64(h, n);
    for (size_t i = 0; i < n; i++) {
        put_text(h, sorted[i]->key);
        put_message(h, sorted[i]->value);
    }
}

static void *shallow(struct hasher *h, const void *msg)
{
    return os_arena_memdup(&h->arena, msg, ((const ProtobufCMessage *)msg)->descriptor->sizeof_message);
}

static policy_clause *clause_without_maps(struct hasher *h, const void *clause)
{
    policy_clause *c = shallow(h, clause);
    c->n_query = 0;
    c->n_params = 0;
    return c;
}

static policy_endpoint_doc *endpoint_without_maps(struct hasher *h, const policy_endpoint_doc *from)
{
    policy_endpoint_doc *ep = shallow(h, from);
    ep->n_graphql_persisted_queries = 0;
    ep->rules = os_arena_memdup(&h->arena, from->rules, from->n_rules * sizeof(*from->rules));
    for (size_t i = 0; i < ep->n_rules; i++) {
        ep->rules[i] = shallow(h, from->rules[i]);
        if (ep->rules[i]->allow)
            ep->rules[i]->allow = clause_without_maps(h, ep->rules[i]->allow);
    }
    ep->deny_rules =
        os_arena_memdup(&h->arena, from->deny_rules, from->n_deny_rules * sizeof(*from->deny_rules));
    for (size_t i = 0; i < ep->n_deny_rules; i++)
        ep->deny_rules[i] = (void *)clause_without_maps(h, from->deny_rules[i]);
    return ep;
}

static void put_endpoint_maps(struct hasher *h, const policy_endpoint_doc *ep, size_t index)
{
    put_u64(h, index);
    put_map(h, "graphql_persisted_queries", ep->graphql_persisted_queries, ep->n_graphql_persisted_queries);
    for (size_t i = 0; i < ep->n_rules; i++) {
        const policy_clause *c = ep->rules[i]->allow;
        put_u64(h, i);
        put_map(h, "allow_query", c ? c->query : NULL, c ? c->n_query : 0);
        put_map(h, "allow_params", c ? c->params : NULL, c ? c->n_params : 0);
    }
    for (size_t i = 0; i < ep->n_deny_rules; i++) {
        const policy_clause *c = policy_deny_clause(ep->deny_rules[i]);
        put_u64(h, i);
        put_map(h, "deny_query", c->query, c->n_query);
        put_map(h, "deny_params", c->params, c->n_params);
    }
}

static void put_rule(struct hasher *h, const policy_rule *from)
{
    if (!from) {
        put_message(h, NULL);
        return;
    }
    policy_rule *rule = shallow(h, from);
    rule->endpoints =
        os_arena_memdup(&h->arena, from->endpoints, from->n_endpoints * sizeof(*from->endpoints));
    for (size_t i = 0; i < rule->n_endpoints; i++)
        rule->endpoints[i] = endpoint_without_maps(h, from->endpoints[i]);
    put_message(h, &rule->base);
    for (size_t i = 0; i < from->n_endpoints; i++)
        put_endpoint_maps(h, from->endpoints[i], i);
}

static void put_struct(struct hasher *h, const Google__Protobuf__Struct *s);

static void put_value(struct hasher *h, const Google__Protobuf__Value *v)
{
    uint8_t tag = v ? (uint8_t)v->kind_case : 0;
    EVP_DigestUpdate(h->sha, &tag, 1);
    uint64_t bits = 0;
    uint8_t byte = 0;
    switch (tag) {
    case GOOGLE__PROTOBUF__VALUE__KIND_NULL_VALUE:
        EVP_DigestUpdate(h->sha, &(uint32_t){0}, sizeof(uint32_t));
        break;
    case GOOGLE__PROTOBUF__VALUE__KIND_NUMBER_VALUE:
        memcpy(&bits, &v->number_value, sizeof(bits));
        put_u64(h, bits);
        break;
    case GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE:
        put_text(h, v->string_value);
        break;
    case GOOGLE__PROTOBUF__VALUE__KIND_BOOL_VALUE:
        byte = v->bool_value != 0;
        EVP_DigestUpdate(h->sha, &byte, 1);
        break;
    case GOOGLE__PROTOBUF__VALUE__KIND_STRUCT_VALUE:
        put_struct(h, v->struct_value);
        break;
    case GOOGLE__PROTOBUF__VALUE__KIND_LIST_VALUE:
        put_u64(h, v->list_value ? v->list_value->n_values : 0);
        for (size_t i = 0; v->list_value && i < v->list_value->n_values; i++)
            put_value(h, v->list_value->values[i]);
        break;
    default:
        break;
    }
}

static void put_struct(struct hasher *h, const Google__Protobuf__Struct *s)
{
    size_t n = s ? s->n_fields : 0;
    struct policy_map_entry **sorted = policy_map_sorted(&h->arena, s ? s->fields : NULL, n);
    put_u64(h, n);
    for (size_t i = 0; i < n; i++) {
        put_text(h, sorted[i]->key);
        put_value(h, (const void *)sorted[i]->value);
    }
}

static void put_middleware(struct hasher *h, const policy_middleware *from)
{
    if (!from) {
        put_message(h, NULL);
        return;
    }
    policy_middleware *m = shallow(h, from);
    m->config = NULL;
    put_message(h, &m->base);
    if (from->config)
        put_struct(h, from->config);
}

const char *policy_hash(const policy_doc *doc, char out[65])
{
    struct hasher h = {0};
    h.sha = EVP_MD_CTX_new();
    if (!h.sha || !EVP_DigestInit_ex(h.sha, EVP_sha256(), NULL))
        abort();
    policy_doc *top = shallow(&h, doc);
    top->n_network_policies = 0;
    top->n_network_middlewares = 0;
    put_message(&h, &top->base);

    struct policy_map_entry **sorted =
        policy_map_sorted(&h.arena, doc->network_policies, doc->n_network_policies);
    put_text(&h, "network_policies");
    put_u64(&h, doc->n_network_policies);
    for (size_t i = 0; i < doc->n_network_policies; i++) {
        put_text(&h, sorted[i]->key);
        put_rule(&h, (const void *)sorted[i]->value);
    }
    sorted = policy_map_sorted(&h.arena, doc->network_middlewares, doc->n_network_middlewares);
    put_text(&h, "network_middlewares");
    put_u64(&h, doc->n_network_middlewares);
    for (size_t i = 0; i < doc->n_network_middlewares; i++) {
        put_text(&h, sorted[i]->key);
        put_middleware(&h, (const void *)sorted[i]->value);
    }
    uint8_t digest[32];
    if (!EVP_DigestFinal_ex(h.sha, digest, NULL))
        abort();
    EVP_MD_CTX_free(h.sha);
    os_arena_free(&h.arena);
    return os_hex(digest, sizeof(digest), out);
}
