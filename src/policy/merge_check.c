/* What a request with merge operations must bring along (spec/policy.md 9.2, 9.4), and how an operation reads
 * in a log. */
#include <string.h>

#include "core/cleanup.h"
#include "core/limits.h"
#include "policy/merge_priv.h"
#include "policy/validate.h"

#define OP(name) OPENSHELL__V1__POLICY_MERGE_OPERATION__OPERATION_##name

static bool blank(const char *s)
{
    return policy_text(s)[strspn(policy_text(s), " \t\r\n")] == '\0';
}

static int missing(struct os_error *err, size_t i, const char *what)
{
    return os_error_set(err, OS_INVALID_ARGUMENT, "merge_operations[%zu]%s", i, what);
}

static int check_allow(const Openshell__V1__AddAllowRules *op, size_t i, struct os_error *err)
{
    if (blank(op->host) || !op->port || !op->n_rules)
        return missing(err, i, ".add_allow_rules requires host, non-zero port, and at least one allow rule");
    for (size_t k = 0; k < op->n_rules; k++) {
        if (!op->rules[k]->allow)
            return missing(err, i, ".add_allow_rules rules must include allow payloads");
    }
    return 0;
}

static int check_fields(const policy_merge_op *op, size_t i, struct os_error *err)
{
    switch ((int)op->operation_case) {
    case OP(ADD_RULE):
        if (blank(op->add_rule->rule_name))
            return missing(err, i, ".add_rule.rule_name is required");
        if (!op->add_rule->rule || !op->add_rule->rule->n_endpoints)
            return missing(err, i, ".add_rule.rule must contain at least one endpoint");
        return 0;
    case OP(REMOVE_ENDPOINT):
        if (blank(op->remove_endpoint->host) || !op->remove_endpoint->port)
            return missing(err, i, ".remove_endpoint requires host and non-zero port");
        return 0;
    case OP(REMOVE_RULE):
        return blank(op->remove_rule->rule_name) ? missing(err, i, ".remove_rule.rule_name is required") : 0;
    case OP(ADD_DENY_RULES):
        if (blank(op->add_deny_rules->host) || !op->add_deny_rules->port || !op->add_deny_rules->n_deny_rules)
            return missing(err, i,
                           ".add_deny_rules requires host, non-zero port, and at least one deny rule");
        return 0;
    case OP(ADD_ALLOW_RULES):
        return check_allow(op->add_allow_rules, i, err);
    case OP(REMOVE_BINARY):
        if (blank(op->remove_binary->rule_name) || blank(op->remove_binary->binary_path))
            return missing(err, i, ".remove_binary requires rule_name and binary_path");
        return 0;
    }
    return missing(err, i, " is missing an operation");
}

/* --- destinations that stay closed whatever the policy says --- */

/* Without spaces, brackets and the root dot. */
static char *bare_host(struct os_arena *arena, const char *host)
{
    char *s = os_str_trim(os_arena_strdup(arena, policy_text(host)));
    size_t n = strlen(s);
    if (n > 2 && s[0] == '[' && s[n - 1] == ']') {
        s[n - 1] = '\0';
        s++;
    } else if (n > 1 && s[n - 1] == '.') {
        s[n - 1] = '\0';
    }
    return s;
}

static int check_host(const char *host, struct os_error *err)
{
    cleanup_arena struct os_arena arena = {0};
    const char *bare = bare_host(&arena, host);
    struct policy_cidr ip;
    if (os_str_eq_nocase(bare, "localhost"))
        return os_error_set(err, OS_INVALID_ARGUMENT,
                            "proposed rule endpoint host 'localhost' is always blocked; the proxy will deny "
                            "traffic to loopback regardless of policy");
    if (os_str_eq_nocase(bare, "metadata.google.internal"))
        return os_error_set(err, OS_INVALID_ARGUMENT,
                            "proposed rule endpoint host '%s' is a known cloud metadata hostname; the proxy "
                            "will deny traffic to this destination regardless of policy",
                            host);
    if (!strchr(bare, '/') && policy_cidr_parse(bare, &ip) && policy_cidr_blocked(&ip))
        return os_error_set(err, OS_INVALID_ARGUMENT,
                            "proposed rule endpoint host '%s' is an always-blocked address "
                            "(loopback/link-local/unspecified); the proxy will deny traffic to this "
                            "destination regardless of policy",
                            host);
    return 0;
}

static int check_endpoint(const policy_endpoint_doc *ep, struct os_error *err)
{
    if (check_host(policy_text(ep->host), err) < 0)
        return -1;
    for (size_t i = 0; i < ep->n_allowed_ips; i++) {
        cleanup_free char *entry = os_strdup(policy_text(ep->allowed_ips[i]));
        struct policy_cidr ip;
        if (policy_cidr_parse(os_str_trim(entry), &ip) && policy_cidr_blocked(&ip))
            return os_error_set(err, OS_INVALID_ARGUMENT,
                                "proposed rule contains always-blocked `allowed_ips` entry '%s'; SSRF "
                                "hardening prevents traffic to these destinations regardless of policy",
                                ep->allowed_ips[i]);
    }
    return 0;
}

static int check_reach(const policy_merge_op *op, struct os_error *err)
{
    if (op->operation_case == OP(ADD_ALLOW_RULES))
        return check_host(policy_text(op->add_allow_rules->host), err);
    if (op->operation_case != OP(ADD_RULE))
        return 0;
    cleanup_free char *name = os_strdup(op->add_rule->rule_name);
    if (policy_provider_key(os_str_trim(name)))
        return os_error_set(err, OS_INVALID_ARGUMENT,
                            "merge operation add_rule rule_name '%s' uses reserved '_provider_' prefix for "
                            "provider composition",
                            op->add_rule->rule_name);
    for (size_t i = 0; i < op->add_rule->rule->n_endpoints; i++) {
        if (check_endpoint(op->add_rule->rule->endpoints[i], err) < 0)
            return -1;
    }
    return 0;
}

int policy_merge_check(policy_merge_op *const *ops, size_t n, struct os_error *err)
{
    if (n > OS_LIMIT_MERGE_OPERATIONS)
        return os_error_set(err, OS_INVALID_ARGUMENT,
                            "too many merge_operations (%zu > %d); replace the whole policy instead", n,
                            OS_LIMIT_MERGE_OPERATIONS);
    for (size_t i = 0; i < n; i++) {
        if (check_fields(ops[i], i, err) < 0)
            return -1;
    }
    for (size_t i = 0; i < n; i++) {
        if (check_reach(ops[i], err) < 0)
            return -1;
    }
    return 0;
}

/* --- texts --- */

char *policy_merge_rule_name(struct os_arena *arena, const char *host, uint32_t port)
{
    cleanup_buf struct os_buf out = {0};
    os_buf_adds(&out, "allow_");
    for (const char *p = host; *p; p++) {
        bool kept = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9');
        if (kept || strchr("_.-", *p))
            os_buf_addc(&out, kept ? *p : '_');
    }
    os_buf_addf(&out, "_%u", port);
    return os_arena_strdup(arena, os_buf_str(&out));
}

const char *policy_merge_summary(struct os_arena *arena, const policy_merge_op *op)
{
    switch ((int)op->operation_case) {
    case OP(ADD_RULE):
        return os_arena_printf(arena, "add-rule %s (%zu endpoint(s), %zu binary path(s))",
                               policy_text(op->add_rule->rule_name),
                               op->add_rule->rule ? op->add_rule->rule->n_endpoints : 0,
                               op->add_rule->rule ? op->add_rule->rule->n_binaries : 0);
    case OP(REMOVE_ENDPOINT):
        return os_arena_printf(arena, "remove-endpoint %s:%u", policy_text(op->remove_endpoint->host),
                               op->remove_endpoint->port);
    case OP(REMOVE_RULE):
        return os_arena_printf(arena, "remove-rule %s", policy_text(op->remove_rule->rule_name));
    case OP(ADD_DENY_RULES):
        return os_arena_printf(arena, "add-deny %s:%u (%zu rule(s))", policy_text(op->add_deny_rules->host),
                               op->add_deny_rules->port, op->add_deny_rules->n_deny_rules);
    case OP(ADD_ALLOW_RULES):
        return os_arena_printf(arena, "add-allow %s:%u (%zu rule(s))", policy_text(op->add_allow_rules->host),
                               op->add_allow_rules->port, op->add_allow_rules->n_rules);
    case OP(REMOVE_BINARY):
        return os_arena_printf(arena, "remove-binary %s from %s", policy_text(op->remove_binary->binary_path),
                               policy_text(op->remove_binary->rule_name));
    }
    return "nothing";
}
