/* The pieces that a change is put together from: rules, endpoints and requests of one question. */
#include "policy/fix_make.h"

#include <string.h>

#define SANDBOX(name) (&openshell__sandbox__v1__##name##__descriptor)
#define API(name) (&openshell__v1__##name##__descriptor)

static char *copy(const struct fix_maker *f, const char *text)
{
    return os_arena_strdup(f->arena, policy_text(text));
}

static policy_binary_doc **programs(const struct fix_maker *f)
{
    policy_binary_doc **list = os_arena_alloc(f->arena, sizeof(policy_binary_doc *));
    list[0] = policy_message_new(f->arena, SANDBOX(network_binary));
    list[0]->path = copy(f, f->q->who.exe ? f->q->who.exe : POLICY_ANY_PROGRAM);
    return list;
}

policy_merge_op *fix_rule(const struct fix_maker *f, const char *key, policy_endpoint_doc *ep,
                          policy_binary_doc **binaries, size_t n)
{
    policy_merge_op *op = policy_message_new(f->arena, API(policy_merge_operation));
    op->operation_case = OPENSHELL__V1__POLICY_MERGE_OPERATION__OPERATION_ADD_RULE;
    op->add_rule = policy_message_new(f->arena, API(add_network_rule));
    op->add_rule->rule_name = copy(f, key);
    policy_rule *rule = op->add_rule->rule = policy_message_new(f->arena, SANDBOX(network_policy_rule));
    rule->name = op->add_rule->rule_name;
    rule->endpoints = os_arena_memdup(f->arena, &ep, sizeof(policy_endpoint_doc *));
    rule->n_endpoints = 1;
    rule->binaries = binaries ? binaries : programs(f);
    rule->n_binaries = binaries ? n : 1;
    return op;
}

/* A path as a pattern that matches nothing else. */
static char *literal(const struct fix_maker *f, const char *path)
{
    cleanup_buf struct os_buf out = {0};
    for (; *path; path++) {
        if (strchr("*?[]{}\\", *path))
            os_buf_addc(&out, '\\');
        os_buf_addc(&out, *path);
    }
    return copy(f, os_buf_str(&out));
}

policy_allow_doc *fix_request(const struct fix_maker *f, const char *path)
{
    policy_allow_doc *rule = policy_message_new(f->arena, SANDBOX(l7_rule));
    rule->allow = policy_message_new(f->arena, SANDBOX(l7_allow));
    rule->allow->method = copy(f, f->q->method);
    for (char *p = rule->allow->method; *p; p++)
        *p = *p >= 'a' && *p <= 'z' ? (char)(*p - 32) : *p;
    rule->allow->path = literal(f, path);
    return rule;
}

policy_merge_op *fix_allow(const struct fix_maker *f, const char *host, const char *path)
{
    policy_merge_op *op = policy_message_new(f->arena, API(policy_merge_operation));
    policy_allow_doc *rule = fix_request(f, path);
    op->operation_case = OPENSHELL__V1__POLICY_MERGE_OPERATION__OPERATION_ADD_ALLOW_RULES;
    op->add_allow_rules = policy_message_new(f->arena, API(add_allow_rules));
    op->add_allow_rules->host = copy(f, host);
    op->add_allow_rules->port = f->q->port;
    op->add_allow_rules->rules = os_arena_memdup(f->arena, &rule, sizeof(policy_allow_doc *));
    op->add_allow_rules->n_rules = 1;
    return op;
}

policy_endpoint_doc *fix_endpoint(const struct fix_maker *f, const char *host)
{
    policy_endpoint_doc *ep = policy_message_new(f->arena, SANDBOX(network_endpoint));
    const uint32_t port = f->q->port;
    ep->host = copy(f, host);
    merge_set_ports(f->arena, ep, &port, 1, NULL, 0);
    return ep;
}

policy_endpoint_doc *fix_rest_endpoint(const struct fix_maker *f, const policy_endpoint_doc *like)
{
    policy_endpoint_doc *ep = fix_endpoint(f, f->q->host);
    ep->protocol = copy(f, "rest");
    ep->enforcement = copy(f, like ? like->enforcement : "enforce");
    return ep;
}

policy_endpoint_doc *fix_narrowed(const struct fix_maker *f, const policy_endpoint_doc *from)
{
    policy_endpoint_doc *ep = os_arena_memdup(f->arena, from, sizeof(*from));
    const uint32_t port = f->q->port;
    merge_set_ports(f->arena, ep, &port, 1, NULL, 0);
    return ep;
}
