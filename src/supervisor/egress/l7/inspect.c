/* What the rules of an endpoint need to know of a request beyond method and path: GraphQL operations,
 * JSON-RPC and MCP calls (spec/proxy.md 6.6, 6.7). Which parser reads it is the policy's choice, never the
 * client's. */
#include <string.h>

#include "supervisor/egress/internal.h"

static bool has_body(const struct http1_head *h)
{
    return h->framing == HTTP1_CHUNKED || (h->framing == HTTP1_LENGTH && h->length > 0);
}

static bool method_is(const struct egress_request *r, const char *method)
{
    return !strcmp(r->method, method);
}

/* A stream the server speaks on, and the end of an MCP session: no call is in them. */
static bool opens_stream(const struct egress_request *r)
{
    return method_is(r, "GET") && !has_body(r->head) && http1_accepts(r->head, "text/event-stream");
}

static bool ends_session(const struct egress_request *r)
{
    return method_is(r, "DELETE") && !has_body(r->head) && http1_find(r->head, "mcp-session-id", NULL);
}

static int not_supported(const char *what, const char *field, struct http1_text value, struct os_error *err)
{
    return os_error_set(err, OS_INVALID_ARGUMENT, "%s request %s \"%.*s\" is not supported", what, field,
                        (int)(value.n < 64 ? value.n : 64), value.p);
}

/* The server must read the body as it was judged: as JSON in UTF-8, as it stands. A coding nobody undid, a
 * form or another character set would be judged by what it is not. */
static int check_body_form(const struct http1_head *h, const char *what, struct os_error *err)
{
    const struct http1_field *f = NULL, *type = http1_find(h, "content-type", NULL);
    while ((f = http1_find(h, "content-encoding", f)))
        if (f->value.n && !http1_text_is_nocase(f->value, "identity"))
            return not_supported(what, "content-encoding", f->value, err);
    if (!type)
        return 0;
    if (type->value.n >= 10 && !strncasecmp(type->value.p, "multipart/", 10))
        return os_error_set(err, OS_INVALID_ARGUMENT, "%s multipart requests are not supported", what);
    if (!http1_is_json_type(type->value))
        return not_supported(what, "content-type", type->value, err);
    if ((f = http1_find(h, "content-type", type)))
        return not_supported(what, "second content-type", f->value, err);
    return 0;
}

/* Servers differ in whether the URL or the body of a POST comes first. */
static const char *operation_in_url(const struct egress_request *r)
{
    static const char *const names[] = {"query", "operationName", "extensions",
                                        "id",    "documentId",    "queryId"};
    for (size_t i = 0; i < r->n_query; i++)
        for (size_t k = 0; k < OS_ARRAY_LEN(names); k++) {
            size_t n = strlen(names[k]);
            const char *key = r->query[i].key;
            if (!strncasecmp(key, names[k], n) && (!key[n] || key[n] == '['))
                return names[k];
        }
    return NULL;
}

int inspect_plan(const struct egress_request *r, struct inspect_plan *plan, struct os_error *err)
{
    const struct policy_endpoint *config = policy_l7_config(&r->conn->l4, r->path);
    *plan = (struct inspect_plan){.protocol = POLICY_L4};
    if (!config)
        return 0;
    plan->what = config->protocol == POLICY_GRAPHQL ? "GraphQL" : "HTTP";
    plan->limit = config->body_limit;
    plan->strict_tool_names = config->strict_tool_names;
    switch (config->protocol) {
    case POLICY_GRAPHQL:
        plan->protocol = config->protocol;
        plan->body = method_is(r, "POST") || has_body(r->head);
        return plan->body ? check_body_form(r->head, plan->what, err) : 0;
    case POLICY_JSON_RPC:
    case POLICY_MCP:
        plan->protocol = config->protocol;
        plan->body = !opens_stream(r) && !(config->protocol == POLICY_MCP && ends_session(r));
        return plan->body ? check_body_form(r->head, plan->what, err) : 0;
    default:
        return 0;
    }
}

static void inspect_graphql(struct egress_request *r)
{
    struct graphql_request *g = os_arena_alloc(r->arena, sizeof(*g));
    r->graphql = g;
    const char *name = method_is(r, "POST") ? operation_in_url(r) : NULL;
    if (name) {
        g->error = os_arena_printf(r->arena, "GraphQL POST request must not have \"%s\" in its URL", name);
        return;
    }
    if (method_is(r, "POST")) {
        graphql_parse_body(r->arena, os_buf_str(&r->body), r->body.len, g);
        return;
    }
    if (!method_is(r, "GET")) {
        graphql_refuse_method(r->arena, r->method, g);
        return;
    }
    if (r->body.len) {
        g->error = "GraphQL GET request must not have a body";
        return;
    }
    struct graphql_param *params = os_arena_alloc(r->arena, r->n_query * sizeof(*params));
    for (size_t i = 0; i < r->n_query; i++)
        params[i] = (struct graphql_param){r->query[i].key, r->query[i].value};
    graphql_parse_params(r->arena, params, r->n_query, g);
}

static void inspect_jsonrpc(struct egress_request *r, const struct inspect_plan *plan)
{
    struct jsonrpc_request *j = os_arena_alloc(r->arena, sizeof(*j));
    r->jsonrpc = j;
    if (!plan->body)
        j->receive_stream = true;
    else
        jsonrpc_parse(r->arena, plan->protocol == POLICY_MCP ? JSONRPC_MCP : JSONRPC_GENERIC,
                      plan->strict_tool_names, os_buf_str(&r->body), r->body.len, j);
}

void inspect_request(struct egress_request *r, const struct inspect_plan *plan)
{
    if (plan->protocol == POLICY_GRAPHQL)
        inspect_graphql(r);
    else if (plan->protocol == POLICY_JSON_RPC || plan->protocol == POLICY_MCP)
        inspect_jsonrpc(r, plan);
}

int request_inspect(struct egress_request *r, struct os_error *err)
{
    struct inspect_plan plan;
    if (inspect_plan(r, &plan, err) < 0)
        return -1;
    if (plan.body && body_collect(r, plan.what, plan.limit, err) < 0)
        return -1;
    inspect_request(r, &plan);
    return 0;
}
