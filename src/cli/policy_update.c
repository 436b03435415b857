/* `policy update` (spec/cli.md 11.3): the flags become merge operations, which are tried here on the policy
 * in force before the gateway gets them. */
#include <string.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/endpoint_spec.h"
#include "cli/output.h"
#include "cli/policy_file.h"
#include "cli/sandbox.h"
#include "core/cleanup.h"

/* All values of a flag. */
static const char *const *all(struct cli *cli, const char *flag, size_t *n)
{
    *n = args_count(cli->args, flag);
    const char **list = os_arena_alloc(&cli->arena, (*n + 1) * sizeof(*list));
    for (size_t i = 0; i < *n; i++)
        list[i] = args_nth(cli->args, flag, i);
    return list;
}

static int read_flags(struct cli *cli, struct update_operations *out, struct os_error *err)
{
    struct update_flags f = {.rule_name = args_get(cli->args, "rule-name")};
    f.add_endpoint = all(cli, "add-endpoint", &f.n_add_endpoint);
    f.remove_endpoint = all(cli, "remove-endpoint", &f.n_remove_endpoint);
    f.remove_rule = all(cli, "remove-rule", &f.n_remove_rule);
    f.add_allow = all(cli, "add-allow", &f.n_add_allow);
    f.add_deny = all(cli, "add-deny", &f.n_add_deny);
    f.binary = all(cli, "binary", &f.n_binary);
    if (args_given(cli->args, "dry-run") && args_given(cli->args, "wait"))
        return os_error_set(err, OS_INVALID_ARGUMENT, "--wait cannot be combined with --dry-run");
    return update_flags_parse(&cli->arena, &f, out, err);
}

/* The policy that the operations will meet: the sandbox's own, without what providers contribute. */
static int fetch_base(struct cli *cli, const char *name, policy_doc **base, struct os_error *err)
{
    Openshell__V1__Sandbox *s = cli_get_sandbox(cli, name, err);
    Openshell__Sandbox__V1__GetSandboxConfigResponse *c = s ? cli_get_config(cli, s, err) : NULL;
    if (!c)
        return -1;
    if (c->policy_source == OPENSHELL__SANDBOX__V1__POLICY_SOURCE__POLICY_SOURCE_GLOBAL)
        return os_error_set(
            err, OS_FAILED_PRECONDITION,
            "policy is managed globally; delete the global policy before using `openshell policy "
            "update`");
    *base = c->policy;
    if (*base)
        policy_drop_provider_rules(*base);
    return 0;
}

#define ADD_RULE OPENSHELL__V1__POLICY_MERGE_OPERATION__OPERATION_ADD_RULE

static bool same_place(const policy_endpoint_doc *a, const policy_endpoint_doc *b)
{
    for (size_t i = 0; i < a->n_ports; i++)
        for (size_t k = 0; k < b->n_ports; k++)
            if (a->ports[i] == b->ports[k] && os_str_eq_nocase(a->host, b->host))
                return true;
    return false;
}

/* The operation went into that rule: it has its name, or a destination of it. */
static bool went_into(const policy_merge_op *op, const char *key, const policy_rule *rule)
{
    if (op->operation_case != ADD_RULE)
        return false;
    const policy_rule *in = op->add_rule->rule;
    bool found = strcmp(op->add_rule->rule_name, key) == 0;
    for (size_t i = 0; i < rule->n_endpoints && !found; i++)
        for (size_t k = 0; k < in->n_endpoints && !found; k++)
            found = same_place(rule->endpoints[i], in->endpoints[k]);
    return found;
}

/* A rule that names no program passes as "any" in a merge, which never narrows it, but allows nothing: once
 * it is there, only its removal makes room for one that names a program. */
static void warn_of_empty_rules(const char *sandbox, const policy_doc *base, const policy_doc *doc,
                                const struct update_operations *ops, bool dry, struct os_strv *warnings)
{
    for (size_t i = 0; i < doc->n_network_policies; i++) {
        const char *key = doc->network_policies[i]->key;
        const policy_rule *rule = doc->network_policies[i]->value;
        bool touched = false, there = !dry;
        for (size_t k = 0; rule && k < ops->n && !touched; k++)
            touched = went_into(ops->v[k], key, rule);
        for (size_t k = 0; base && k < base->n_network_policies; k++)
            there |= strcmp(base->network_policies[k]->key, key) == 0;
        if (!touched || rule->n_binaries)
            continue;
        if (there)
            os_strv_addf(warnings,
                         "rule '%s' names no binary, so it allows nothing, and --binary does not change that "
                         "afterwards; remove it, then add it again with --binary: openshell policy update %s "
                         "--remove-rule %s",
                         key, sandbox, key);
        else
            os_strv_addf(warnings, "rule '%s' names no binary, so it allows nothing; name one with --binary",
                         key);
    }
}

/* Executables are compared by the whole path that the kernel sees. */
static void warn_of_relative_binaries(struct cli *cli, struct os_strv *warnings)
{
    for (size_t i = 0; i < args_count(cli->args, "binary"); i++) {
        const char *path = args_nth(cli->args, "binary", i);
        if (*path != '/' && !os_str_starts(path, "**"))
            os_strv_addf(warnings,
                         "binary '%s' does not start with '/', so no program has that path; name it like "
                         "/usr/bin/%s",
                         path, path);
    }
}

static int preview(const policy_doc *doc, size_t n, const struct os_strv *warnings, struct os_error *err)
{
    if (policy_check(doc, err) < 0 || policy_check_ambiguity(doc, err) < 0)
        return -1;
    say(stderr, OK_MARK "✓" END " Dry run preview for %zu incremental policy operation(s)\n", n);
    for (size_t i = 0; i < warnings->n; i++)
        say(stderr, YELLOW "!" END " %s\n", warnings->v[i]);
    sandbox_print_policy(doc);
    return 0;
}

int policy_update_run(struct cli *cli, struct os_error *err)
{
    struct update_operations ops;
    cleanup_strv struct os_strv warnings = {0};
    policy_doc *base = NULL;
    if (read_flags(cli, &ops, err) < 0)
        return -1;
    const char *name = cli_sandbox_name(cli, args_positional(cli->args, 0), err);
    if (!name || fetch_base(cli, name, &base, err) < 0 || policy_merge_check(ops.v, ops.n, err) < 0)
        return -1;
    const policy_doc *doc = policy_merge(&cli->arena, base, ops.v, ops.n, &warnings, err);
    if (!doc)
        return -1;
    bool dry = args_given(cli->args, "dry-run");
    warn_of_empty_rules(name, base, doc, &ops, dry, &warnings);
    warn_of_relative_binaries(cli, &warnings);
    if (dry)
        return preview(doc, ops.n, &warnings, err);
    Openshell__V1__UpdateConfigRequest req = OPENSHELL__V1__UPDATE_CONFIG_REQUEST__INIT;
    req.merge_operations = ops.v;
    req.n_merge_operations = ops.n;
    return policy_submit(cli, name, &req, &warnings, err);
}
