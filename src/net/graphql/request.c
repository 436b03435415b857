/* HTTP requests: POST bodies, GET parameters, other methods (spec/proxy.md 6.6). */
#include <string.h>

#include "core/cleanup.h"
#include "core/str.h"
#include "net/graphql/envelope.h"
#include "net/json/strict.h"

/* Envelopes of a batch, or the only one. Returns the error or NULL. */
static const char *classify_all(json_t *const *items, size_t n, struct os_arena *arena,
                                struct graphql_operation *operations)
{
    for (size_t i = 0; i < n; i++) {
        struct graphql_envelope e;
        const char *error = json_is_object(items[i]) ? graphql_envelope_read(items[i], arena, &e)
                                                     : "GraphQL batch item must be an object";
        if (!error)
            error = graphql_envelope_classify(&e, arena, &operations[i]);
        if (error)
            return error;
    }
    return NULL;
}

void graphql_parse_body(struct os_arena *arena, const char *body, size_t n, struct graphql_request *out)
{
    if (!n) {
        graphql_request_fail(out, "GraphQL POST body is empty");
        return;
    }
    cleanup_error struct os_error err = {0};
    json_auto_t *v = strict_json_parse(body, n, &err);
    const char *error = NULL;
    if (!v)
        error = os_arena_printf(arena, "GraphQL request body is not valid JSON: %s", os_error_text(&err));
    else if (json_is_array(v) && !json_array_size(v))
        error = "GraphQL batch request is empty";
    else if (!json_is_array(v) && !json_is_object(v))
        error = "GraphQL JSON envelope must be an object or array";
    if (error) {
        graphql_request_fail(out, error);
        return;
    }
    size_t items = json_is_array(v) ? json_array_size(v) : 1;
    cleanup_free json_t **list = os_calloc(items, sizeof(json_t *));
    for (size_t i = 0; i < items; i++)
        list[i] = json_is_array(v) ? json_array_get(v, i) : v;
    struct graphql_operation *operations = os_arena_alloc(arena, items * sizeof(*operations));
    error = classify_all(list, items, arena, operations);
    if (error)
        graphql_request_fail(out, error);
    else
        *out = (struct graphql_request){.operations = operations, .n = items};
}

/* Sorts the parameters that count into values; empty ones are absent. Returns the error or NULL. */
static const char *pick_params(struct os_arena *arena, const struct graphql_param *params, size_t n,
                               const char *values[GRAPHQL_N_KEYS])
{
    bool seen[GRAPHQL_N_KEYS] = {false};
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < GRAPHQL_N_KEYS; k++) {
            const char *key = graphql_keys[k];
            if (strict_json_same_but_case(params[i].key, key))
                return os_arena_printf(arena, "GraphQL GET parameter \"%s\" differs from \"%s\" only in case",
                                       strict_json_excerpt(arena, params[i].key), key);
            if (!os_str_eq(params[i].key, key))
                continue;
            if (seen[k])
                return os_arena_printf(arena, "GraphQL GET parameter \"%s\" must not appear more than once",
                                       key);
            if (!os_utf8_valid(params[i].value, strlen(params[i].value)))
                return os_arena_printf(arena, "GraphQL GET parameter \"%s\" is not UTF-8", key);
            seen[k] = true;
            values[k] = *params[i].value ? params[i].value : NULL;
        }
    }
    return NULL;
}

static const char *pick_id(struct os_arena *arena, const char *const values[GRAPHQL_N_KEYS],
                           struct graphql_envelope *e)
{
    for (size_t k = GRAPHQL_FIRST_ID_KEY; k < GRAPHQL_N_KEYS; k++) {
        if (!values[k])
            continue;
        if (e->id)
            return os_arena_printf(
                arena, "GraphQL GET persisted-query id parameters \"%s\" and \"%s\" must not be combined",
                e->id_key, graphql_keys[k]);
        e->id = values[k];
        e->id_key = graphql_keys[k];
    }
    return NULL;
}

/* Extensions that are no JSON are ignored (published behaviour); what is JSON for some only is not. */
static const char *parse_extensions(struct os_arena *arena, const char *text, json_t **out)
{
    cleanup_error struct os_error err = {0};
    *out = strict_json_parse(text, strlen(text), &err);
    if (*out || err.code != OS_FAILED_PRECONDITION)
        return NULL;
    return os_arena_printf(arena, "GraphQL GET parameter \"extensions\" is not acceptable: %s",
                           os_error_text(&err));
}

void graphql_parse_params(struct os_arena *arena, const struct graphql_param *params, size_t n,
                          struct graphql_request *out)
{
    const char *values[GRAPHQL_N_KEYS] = {NULL};
    struct graphql_envelope e = {0};
    json_auto_t *extensions = NULL;
    const char *error = pick_params(arena, params, n, values);
    if (!error)
        error = pick_id(arena, values, &e);
    if (!error && values[2])
        error = parse_extensions(arena, values[2], &extensions);
    if (!error)
        error = graphql_envelope_hash(extensions, arena, &e.hash);
    struct graphql_operation op;
    if (!error) {
        e.query = values[0];
        e.operation_name = values[1];
        error = graphql_envelope_classify(&e, arena, &op);
    }
    if (error)
        graphql_request_fail(out, error);
    else
        graphql_request_one(out, arena, &op);
}

void graphql_refuse_method(struct os_arena *arena, const char *method, struct graphql_request *out)
{
    graphql_request_fail(out, os_arena_printf(arena, "unsupported GraphQL HTTP method %s",
                                              strict_json_excerpt(arena, method)));
}
