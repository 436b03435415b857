/* Connections and requests -> input documents of the evaluation contract (spec/policy.md 7.2). */
#include "policy/input.h"

#include "policy/json_put.h"

static json_t *text_list(const char *const *list, size_t n)
{
    return texts((char *const *)list, n);
}

static json_t *text_or_null(const char *s)
{
    return s ? text(s) : json_null();
}

json_t *policy_input(const char *host, uint16_t port, const struct policy_process *who)
{
    json_t *network = json_object(), *exec = json_object(), *input = json_object();
    json_object_set_new(network, "host", text(host));
    json_object_set_new(network, "port", json_integer(port));
    json_object_set_new(exec, "path", text(who->exe));
    json_object_set_new(exec, "ancestors", text_list(who->ancestors, who->n_ancestors));
    json_object_set_new(exec, "cmdline_paths", text_list(who->cmdline, who->n_cmdline));
    json_object_set_new(input, "network", network);
    json_object_set_new(input, "exec", exec);
    return input;
}

static json_t *query_of(const struct policy_http *req)
{
    json_t *o = json_object();
    for (size_t i = 0; i < req->n_query; i++) {
        json_t *key = text(req->query[i].key);
        json_t *values = json_object_get(o, json_string_value(key));
        if (!values) {
            values = json_array();
            json_object_set_new(o, json_string_value(key), values);
        }
        json_array_append_new(values, text(req->query[i].value));
        json_decref(key);
    }
    return o;
}

static json_t *graphql_of(const struct graphql_request *g)
{
    json_t *o = json_object(), *operations = json_array();
    for (size_t i = 0; i < g->n; i++) {
        const struct graphql_operation *from = &g->operations[i];
        json_t *op = json_object();
        put_text(op, "operation_type", from->type);
        put_text(op, "operation_name", from->name);
        json_object_set_new(op, "fields", text_list(from->fields, from->n_fields));
        json_object_set_new(op, "persisted_query", json_boolean(from->persisted));
        put_text(op, "persisted_query_hash", from->hash);
        put_text(op, "persisted_query_id", from->id);
        json_array_append_new(operations, op);
    }
    json_object_set_new(o, "operations", operations);
    json_object_set_new(o, "error", text_or_null(g->error));
    return o;
}

/* call NULL: what the body holds besides calls. */
static json_t *jsonrpc_of(const struct jsonrpc_request *j, const struct jsonrpc_call *call)
{
    json_t *o = json_object(), *params = call ? json_object() : json_null();
    if (call)
        put_text(params, "name", call->tool);
    json_object_set_new(o, "method", text_or_null(call ? call->method : NULL));
    json_object_set_new(o, "params", params);
    json_object_set_new(o, "tool", text_or_null(call ? call->tool : NULL));
    json_object_set_new(o, "receive_stream", json_boolean(!call && j->receive_stream));
    json_object_set_new(o, "has_response", json_boolean(!call && j->has_response));
    json_object_set_new(o, "error", text_or_null(j->error));
    return o;
}

static json_t *request_of(const struct policy_http *req, json_t *jsonrpc)
{
    json_t *o = json_object();
    json_object_set_new(o, "method", text(req->method));
    json_object_set_new(o, "path", text(req->path));
    json_object_set_new(o, "query_params", query_of(req));
    json_object_set_new(o, "graphql", req->graphql ? graphql_of(req->graphql) : json_null());
    json_object_set_new(o, "jsonrpc", jsonrpc);
    return o;
}

json_t *policy_input_requests(const struct policy_http *req)
{
    const struct jsonrpc_request *j = req->jsonrpc;
    json_t *list = json_array();
    if (!j)
        json_array_append_new(list, request_of(req, json_null()));
    else if (j->has_response || j->receive_stream || j->error || !j->n)
        json_array_append_new(list, request_of(req, jsonrpc_of(j, NULL)));
    for (size_t i = 0; j && i < j->n; i++)
        json_array_append_new(list, request_of(req, jsonrpc_of(j, &j->calls[i])));
    return list;
}
