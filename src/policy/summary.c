/* A policy in plain text (lessons 4.10: rules that can be read inside the sandbox). */
#include "policy/summary.h"

#include "core/cleanup.h"
#include "policy/validate.h"

/* Names are any YAML text; a line stays a line. */
static void put(struct os_buf *out, const char *text)
{
    for (const char *p = policy_text(text); *p; p++)
        os_buf_addc(out, (unsigned char)*p < 0x20 || *p == 0x7f ? '?' : *p);
}

static void put_list(struct os_buf *out, const char *between, char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        os_buf_adds(out, i ? between : "");
        put(out, list[i]);
    }
}

static void put_matchers(struct os_buf *out, const char *what, const void *map, size_t n)
{
    cleanup_arena struct os_arena arena = {0};
    struct policy_map_entry **sorted = policy_map_sorted(&arena, map, n);
    for (size_t i = 0; i < n; i++) {
        const policy_matcher *m = (const void *)sorted[i]->value;
        os_buf_addf(out, " %s ", what);
        put(out, sorted[i]->key);
        os_buf_adds(out, "=");
        if (m && m->n_any)
            put_list(out, "|", m->any, m->n_any);
        else
            put(out, m ? m->glob : "");
    }
}

static void put_operation(struct os_buf *out, const policy_clause *c)
{
    os_buf_adds(out, " operation ");
    put(out, *policy_text(c->operation_type) ? c->operation_type : "*");
    if (*policy_text(c->operation_name)) {
        os_buf_adds(out, " named ");
        put(out, c->operation_name);
    }
    if (c->n_fields) {
        os_buf_adds(out, " fields ");
        put_list(out, ",", c->fields, c->n_fields);
    }
}

static void put_clause(struct os_buf *out, const char *verb, enum policy_protocol protocol,
                       const policy_clause *c)
{
    os_buf_addf(out, "    %s", verb);
    if (policy_clause_is_graphql(c)) {
        put_operation(out, c);
    } else if (protocol == POLICY_MCP || protocol == POLICY_JSON_RPC) {
        os_buf_adds(out, " call ");
        put(out, *policy_text(c->method) ? c->method : c->n_params ? "tools/call" : "*");
        put_matchers(out, "with", c->params, c->n_params);
    } else {
        os_buf_adds(out, " ");
        put(out, *policy_text(c->method) ? c->method : "*");
        os_buf_adds(out, " ");
        put(out, *policy_text(c->path) ? c->path : "**");
        put_matchers(out, "query", c->query, c->n_query);
    }
    os_buf_adds(out, "\n");
}

static void put_clauses(struct os_buf *out, enum policy_protocol protocol, const policy_endpoint_doc *ep)
{
    size_t n;
    const char *const *words = policy_access_words(protocol, policy_text(ep->access), &n);
    for (size_t i = 0; words && !ep->n_rules && i < n; i++) {
        if (protocol == POLICY_GRAPHQL)
            os_buf_addf(out, "    allow operation %s\n", words[i]);
        else
            os_buf_addf(out, "    allow %s **\n", words[i]);
    }
    if (protocol == POLICY_MCP && policy_endpoint_allows_all_mcp(ep))
        os_buf_addf(out, "    allow call *%s\n", ep->n_rules ? ", of tools those below" : "");
    for (size_t i = 0; i < ep->n_rules; i++)
        if (ep->rules[i]->allow)
            put_clause(out, "allow", protocol, ep->rules[i]->allow);
    for (size_t i = 0; i < ep->n_deny_rules; i++)
        put_clause(out, "deny", protocol, policy_deny_clause(ep->deny_rules[i]));
}

static void put_endpoint(struct os_buf *out, const policy_endpoint_doc *ep)
{
    enum policy_protocol protocol = POLICY_L4;
    size_t n;
    const uint32_t *ports = policy_endpoint_ports(ep, &n);
    bool known = policy_protocol_parse(policy_text(ep->protocol), &protocol);
    bool inspects = known && protocol != POLICY_L4 && protocol != POLICY_TCP;
    os_buf_adds(out, "  ");
    put(out, *policy_text(ep->host) ? ep->host : "any host");
    for (size_t i = 0; i < n; i++)
        os_buf_addf(out, "%s%u", i ? "," : ":", ports[i]);
    if (*policy_text(ep->path)) {
        os_buf_adds(out, " path ");
        put(out, ep->path);
    }
    if (ep->n_allowed_ips) {
        os_buf_adds(out, " at ");
        put_list(out, ",", ep->allowed_ips, ep->n_allowed_ips);
    }
    os_buf_adds(out, ", ");
    put(out, inspects ? ep->protocol : "any traffic");
    if (inspects && !os_str_eq(ep->enforcement, "enforce"))
        os_buf_adds(out, ", only logged: requests that no line allows pass, too");
    os_buf_adds(out, "\n");
    if (inspects)
        put_clauses(out, protocol, ep);
}

static void put_rule(struct os_buf *out, const char *key, const policy_rule *rule)
{
    os_buf_adds(out, "\nrule ");
    put(out, key);
    os_buf_adds(out, "\n  for ");
    for (size_t i = 0; rule && i < rule->n_binaries; i++) {
        os_buf_adds(out, i ? ", " : "");
        put(out, rule->binaries[i]->path);
    }
    os_buf_adds(out, rule && rule->n_binaries ? " and what they start\n" : "no program\n");
    for (size_t i = 0; rule && i < rule->n_endpoints; i++)
        put_endpoint(out, rule->endpoints[i]);
}

void policy_summary_network(const policy_doc *doc, struct os_buf *out)
{
    cleanup_arena struct os_arena arena = {0};
    struct policy_map_entry **sorted =
        policy_map_sorted(&arena, doc->network_policies, doc->n_network_policies);
    for (size_t i = 0; i < doc->n_network_policies; i++)
        put_rule(out, sorted[i]->key, (const void *)sorted[i]->value);
    if (!doc->n_network_policies)
        os_buf_adds(out, "\nNothing: no host may be reached.\n");
}

void policy_summary_files(const policy_doc *doc, const char *workdir, struct os_buf *out)
{
    const policy_filesystem *fs = doc->filesystem;
    bool include = workdir && *workdir && (!fs || fs->include_workdir);
    os_buf_adds(out, "\nread only\n");
    for (size_t i = 0; fs && i < fs->n_read_only; i++) {
        os_buf_adds(out, "  ");
        put(out, fs->read_only[i]);
        os_buf_adds(out, "\n");
    }
    os_buf_adds(out, "\nread and change\n");
    for (size_t i = 0; fs && i < fs->n_read_write; i++) {
        os_buf_adds(out, "  ");
        put(out, fs->read_write[i]);
        os_buf_adds(out, "\n");
    }
    if (include) {
        os_buf_adds(out, "  ");
        put(out, workdir);
        os_buf_adds(out, "\n");
    }
}
