/* network_middlewares of a YAML policy (spec/policy.md 2.5); the configuration is open and becomes a Struct.
 */
#include "core/cleanup.h"
#include "policy/yaml_fields.h"

typedef Openshell__Sandbox__V1__MiddlewareEndpointSelector selector_doc;

static int read_value(READ_ARGS);

static int read_struct(READ_ARGS)
{
    Google__Protobuf__Struct *s = msg;
    return yaml_read_map(r, at, node, &google__protobuf__struct__fields_entry__descriptor,
                         &google__protobuf__value__descriptor, read_value, &s->fields, &s->n_fields);
}

static int read_value_scalar(struct yaml_reader *r, const struct yaml_path *at, const struct yaml_node *node,
                             Google__Protobuf__Value *v)
{
    bool flag = false;
    switch (node->scalar) {
    case YAML_NULL:
        v->kind_case = GOOGLE__PROTOBUF__VALUE__KIND_NULL_VALUE;
        return 0;
    case YAML_BOOL:
        yaml_node_bool(node, &flag);
        v->kind_case = GOOGLE__PROTOBUF__VALUE__KIND_BOOL_VALUE;
        v->bool_value = flag;
        return 0;
    case YAML_STRING:
        v->kind_case = GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE;
        v->string_value = (char *)(uintptr_t)node->text;
        return 0;
    case YAML_INT:
    case YAML_FLOAT:
        v->kind_case = GOOGLE__PROTOBUF__VALUE__KIND_NUMBER_VALUE;
        if (!yaml_node_double(node, &v->number_value))
            return yaml_fail(r, at, node, "number `%.40s` is not finite", node->text);
        return 0;
    }
    return -1;
}

static int read_value(READ_ARGS)
{
    Google__Protobuf__Value *v = msg;
    if (node->kind == YAML_SCALAR)
        return read_value_scalar(r, at, node, v);
    if (node->kind == YAML_MAP) {
        v->kind_case = GOOGLE__PROTOBUF__VALUE__KIND_STRUCT_VALUE;
        v->struct_value = policy_message_new(r->arena, &google__protobuf__struct__descriptor);
        return read_struct(r, at, node, v->struct_value);
    }
    v->kind_case = GOOGLE__PROTOBUF__VALUE__KIND_LIST_VALUE;
    v->list_value = policy_message_new(r->arena, &google__protobuf__list_value__descriptor);
    return yaml_read_list(r, at, node, &google__protobuf__value__descriptor, read_value,
                          &v->list_value->values, &v->list_value->n_values);
}

static int read_config(READ_ARGS)
{
    policy_middleware *m = msg;
    Google__Protobuf__Struct *config = policy_message_new(r->arena, &google__protobuf__struct__descriptor);
    if (read_struct(r, at, node, config))
        return -1;
    m->config = config->n_fields ? config : NULL;
    return 0;
}

static int read_selector(READ_ARGS)
{
    static const struct yaml_field fields[] = {
        FIELD(STRINGS, selector_doc, include),
        FIELD(STRINGS, selector_doc, exclude),
    };
    policy_middleware *m = msg;
    m->endpoints = policy_message_new(r->arena, SANDBOX(middleware_endpoint_selector));
    return yaml_read_object(r, at, node, fields, OS_ARRAY_LEN(fields), m->endpoints);
}

static int read_middleware(READ_ARGS)
{
    static const struct yaml_field fields[] = {
        FIELD(STRING, policy_middleware, name),     FIELD(STRING, policy_middleware, middleware),
        FIELD(I32, policy_middleware, order),       CUSTOM("config", read_config),
        FIELD(STRING, policy_middleware, on_error), CUSTOM("endpoints", read_selector),
    };
    if (yaml_read_object(r, at, node, fields, OS_ARRAY_LEN(fields), msg))
        return -1;
    policy_middleware *m = msg;
    if (!*m->name)
        m->name = (char *)(uintptr_t)at->key;
    return 0;
}

int yaml_read_middlewares(READ_ARGS)
{
    policy_doc *doc = msg;
    return yaml_read_map(r, at, node, SANDBOX(sandbox_policy__network_middlewares_entry),
                         SANDBOX(network_middleware_config), read_middleware, &doc->network_middlewares,
                         &doc->n_network_middlewares);
}
