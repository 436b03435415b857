/* Merge operations as flags of `policy update`, where the flags can say them. */
#include <string.h>

#include "cli/endpoint_spec.h"
#include "core/cleanup.h"
#include "core/str.h"

#define OP(name) OPENSHELL__V1__POLICY_MERGE_OPERATION__OPERATION_##name

static const char *text(const char *s)
{
    return s ? s : "";
}

/* One argument for a POSIX shell. */
static void put_quoted(struct os_buf *out, const char *s)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./:=,@%+-";
    if (*s && s[strspn(s, plain)] == '\0') {
        os_buf_adds(out, s);
        return;
    }
    os_buf_addc(out, '\'');
    for (; *s; s++) {
        if (*s == '\'')
            os_buf_adds(out, "'\\''");
        else
            os_buf_addc(out, *s);
    }
    os_buf_addc(out, '\'');
}

static void put_flag(struct os_buf *out, const char *flag, const char *value)
{
    os_buf_addf(out, " %s ", flag);
    put_quoted(out, value);
}

/* Has something that a specification has no place for. */
static bool beyond_flags(const policy_endpoint_doc *ep)
{
    return ep->n_rules || ep->n_deny_rules || ep->n_ports > 1 || *text(ep->path) || *text(ep->tls) ||
           ep->allow_encoded_slash || *text(ep->persisted_queries) || ep->n_graphql_persisted_queries ||
           ep->graphql_max_body_bytes || ep->json_rpc_max_body_bytes || ep->mcp || ep->credential_binding ||
           *text(ep->credential_signing) || *text(ep->signing_service) || *text(ep->signing_region) ||
           ep->advisor_proposed;
}

static void put_options(struct os_buf *out, const policy_endpoint_doc *ep)
{
    size_t start = out->len;
    if (ep->allow_uninspected_credentials)
        os_buf_adds(out, "allow-uninspected-credentials");
    if (ep->websocket_credential_rewrite)
        os_buf_addf(out, "%swebsocket-credential-rewrite", out->len > start ? "," : "");
    if (ep->request_body_credential_rewrite)
        os_buf_addf(out, "%srequest-body-credential-rewrite", out->len > start ? "," : "");
    for (size_t i = 0; i < ep->n_allowed_ips; i++)
        os_buf_addf(out, "%sallowed-ip=%s", out->len > start ? "," : "", ep->allowed_ips[i]);
}

/* The specification, when reading it back gives this very endpoint. */
static bool put_endpoint(struct os_buf *out, const policy_endpoint_doc *ep)
{
    cleanup_buf struct os_buf spec = {0};
    cleanup_buf struct os_buf options = {0};
    cleanup_arena struct os_arena a = {0};
    if (beyond_flags(ep))
        return false;
    put_options(&options, ep);
    const char *tail[] = {text(ep->access), text(ep->protocol), text(ep->enforcement), os_buf_str(&options)};
    size_t last = OS_ARRAY_LEN(tail);
    while (last > 0 && !*tail[last - 1])
        last--;
    os_buf_addf(&spec, "%s:%u", ep->host, ep->n_ports ? ep->ports[0] : ep->port);
    for (size_t i = 0; i < last; i++)
        os_buf_addf(&spec, ":%s", tail[i]);
    const policy_endpoint_doc *again = endpoint_spec_parse(&a, os_buf_str(&spec), NULL);
    if (!again || strcmp(again->host, ep->host) != 0 || again->n_allowed_ips != ep->n_allowed_ips)
        return false;
    put_flag(out, "--add-endpoint", os_buf_str(&spec));
    return true;
}

static bool put_rule(struct os_buf *out, const Openshell__V1__AddNetworkRule *op)
{
    cleanup_arena struct os_arena a = {0};
    if (op->rule->n_endpoints != 1 || !put_endpoint(out, op->rule->endpoints[0]))
        return false;
    const policy_endpoint_doc *ep = op->rule->endpoints[0];
    const char *name = policy_merge_rule_name(&a, ep->host, ep->n_ports ? ep->ports[0] : ep->port);
    if (strcmp(name, op->rule_name) != 0)
        put_flag(out, "--rule-name", op->rule_name);
    for (size_t i = 0; i < op->rule->n_binaries; i++)
        put_flag(out, "--binary", op->rule->binaries[i]->path);
    return true;
}

static bool put_allow(struct os_buf *out, const Openshell__V1__AddAllowRules *op)
{
    cleanup_arena struct os_arena a = {0};
    for (size_t i = 0; i < op->n_rules; i++) {
        const Openshell__Sandbox__V1__L7Allow *c = op->rules[i]->allow;
        if (c->n_query || c->n_params || c->n_fields || *text(c->command) || *text(c->operation_type) ||
            *text(c->operation_name))
            return false;
        const char *spec =
            os_arena_printf(&a, "%s:%u:%s:%s", op->host, op->port, text(c->method), text(c->path));
        struct request_spec again;
        if (request_spec_parse(&a, "", spec, &again, NULL) < 0 || strcmp(again.path, c->path) != 0)
            return false;
        put_flag(out, "--add-allow", spec);
    }
    return true;
}

static bool put_operation(struct os_buf *out, const policy_merge_op *op)
{
    cleanup_arena struct os_arena a = {0};
    switch ((int)op->operation_case) {
    case OP(ADD_RULE):
        return put_rule(out, op->add_rule);
    case OP(ADD_ALLOW_RULES):
        return put_allow(out, op->add_allow_rules);
    case OP(REMOVE_RULE):
        put_flag(out, "--remove-rule", op->remove_rule->rule_name);
        return true;
    case OP(REMOVE_ENDPOINT):
        put_flag(out, "--remove-endpoint",
                 os_arena_printf(&a, "%s:%u", op->remove_endpoint->host, op->remove_endpoint->port));
        return !*text(op->remove_endpoint->rule_name);
    }
    return false;
}

bool update_flags_format(policy_merge_op *const *ops, size_t n, struct os_buf *out)
{
    cleanup_buf struct os_buf flags = {0};
    size_t rules = 0;
    for (size_t i = 0; i < n; i++) {
        rules += ops[i]->operation_case == OP(ADD_RULE);
        if (rules > 1 || !put_operation(&flags, ops[i])) /* --binary counts for all rules of a line */
            return false;
    }
    os_buf_adds(out, os_buf_str(&flags));
    return n > 0;
}
