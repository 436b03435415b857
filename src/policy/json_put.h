/* Pieces that both JSON forms of a policy are built from: the published one (json.c) and the data document of
 * rules (data.c). Private to src/policy. */
#ifndef POLICY_JSON_PUT_H
#define POLICY_JSON_PUT_H

#include <jansson.h>
#include <string.h>

#include "core/cleanup.h"
#include "policy/model.h"

/* A string that came over the wire may hold anything; invalid UTF-8 bytes become U+FFFD. */
static inline json_t *text(const char *s)
{
    s = policy_text(s);
    size_t n = strlen(s);
    if (os_utf8_valid(s, n))
        return json_stringn(s, n);
    cleanup_buf struct os_buf out = {0};
    for (size_t i = 0; i < n;) {
        size_t len = 1;
        while (len <= 4 && i + len <= n && !os_utf8_valid(s + i, len))
            len++;
        bool good = len <= 4 && i + len <= n;
        os_buf_add(&out, good ? s + i : "\xef\xbf\xbd", good ? len : 3);
        i += good ? len : 1;
    }
    return json_string(os_buf_str(&out));
}

/* Map keys go through the same cleaning; takes value. */
static inline void put(json_t *o, const char *key, json_t *value)
{
    json_t *clean = text(key);
    json_object_set_new(o, json_string_value(clean), value);
    json_decref(clean);
}

static inline void put_text(json_t *o, const char *key, const char *s)
{
    if (s && *s)
        json_object_set_new(o, key, text(s));
}

static inline void put_true(json_t *o, const char *key, bool b)
{
    if (b)
        json_object_set_new(o, key, json_true());
}

static inline void put_number(json_t *o, const char *key, json_int_t n)
{
    if (n)
        json_object_set_new(o, key, json_integer(n));
}

/* Puts value unless it is an empty list or object; takes it. */
static inline void put_filled(json_t *o, const char *key, json_t *value)
{
    if (json_array_size(value) || json_object_size(value))
        json_object_set_new(o, key, value);
    else
        json_decref(value);
}

static inline json_t *texts(char *const *list, size_t n)
{
    json_t *a = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(a, text(list[i]));
    return a;
}

static inline json_t *matcher(const ProtobufCMessage *value)
{
    const policy_matcher *m = (const void *)value;
    if (m && m->n_any) {
        json_t *o = json_object();
        json_object_set_new(o, "any", texts(m->any, m->n_any));
        return o;
    }
    return text(m ? m->glob : "");
}

/* A persisted GraphQL operation. */
static inline json_t *registered_operation(const ProtobufCMessage *value)
{
    const policy_graphql *g = (const void *)value;
    json_t *o = json_object();
    if (!g)
        return o;
    put_text(o, "operation_type", g->operation_type);
    put_text(o, "operation_name", g->operation_name);
    put_filled(o, "fields", texts(g->fields, g->n_fields));
    return o;
}

static inline json_t *map(const void *entries, size_t n, json_t *(*value)(const ProtobufCMessage *))
{
    cleanup_arena struct os_arena arena = {0};
    struct policy_map_entry **sorted = policy_map_sorted(&arena, entries, n);
    json_t *o = json_object();
    for (size_t i = 0; i < n; i++)
        put(o, policy_text(sorted[i]->key), value(sorted[i]->value));
    return o;
}

/* network_middlewares as the policy has them; json.c. */
json_t *policy_middlewares_json(const policy_doc *doc);

static inline void put_signing(json_t *o, const policy_endpoint_doc *ep)
{
    put_text(o, "credential_signing", ep->credential_signing);
    put_text(o, "signing_service", ep->signing_service);
    put_text(o, "signing_region", ep->signing_region);
    if (!ep->credential_binding)
        return;
    json_t *binding = json_object();
    json_object_set_new(binding, "provider", text(ep->credential_binding->provider));
    json_object_set_new(o, "credential_binding", binding);
}

#endif
