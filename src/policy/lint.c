/* The lint: refusals from the very code that refuses, then what a reader of the policy should look at twice.
 */
#include "policy/lint.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/cleanup.h"
#include "policy/lint_priv.h"

/* --- reporting --- */

static void put(struct lint *l, enum policy_severity severity, const char *check, const char *where,
                const char *text)
{
    struct policy_findings *out = l->out;
    struct policy_finding *grown = os_arena_alloc(l->arena, (out->n + 1) * sizeof(*grown));
    for (size_t i = 0; i < out->n; i++)
        grown[i] = out->v[i];
    grown[out->n++] = (struct policy_finding){severity, check, where, os_arena_strdup(l->arena, text)};
    out->v = grown;
    out->errors += severity == POLICY_LINT_ERROR;
}

__attribute__((format(printf, 4, 0))) static void put_warning(struct lint *l, const char *check,
                                                              const char *where, const char *fmt, va_list ap)
{
    cleanup_buf struct os_buf text = {0};
    os_buf_vaddf(&text, fmt, ap);
    put(l, POLICY_LINT_WARNING, check, where, os_buf_str(&text));
}

void lint_rule(struct lint *l, const char *check, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    put_warning(l, check, os_arena_printf(l->arena, "network_policies.%s", l->key), fmt, ap);
    va_end(ap);
}

void lint_endpoint(struct lint *l, const char *check, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    put_warning(l, check,
                os_arena_printf(l->arena, "network_policies.%s.endpoints[%zu]", l->key, l->endpoint), fmt,
                ap);
    va_end(ap);
}

void lint_clause(struct lint *l, const char *list, size_t i, const char *check, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    put_warning(
        l, check,
        os_arena_printf(l->arena, "network_policies.%s.endpoints[%zu].%s[%zu]", l->key, l->endpoint, list, i),
        fmt, ap);
    va_end(ap);
}

/* --- what is refused --- */

static void put_errors(struct lint *l, const char *check, const struct os_strv *texts)
{
    for (size_t i = 0; i < texts->n; i++)
        put(l, POLICY_LINT_ERROR, check, "", texts->v[i]);
}

static void lint_refusals(struct lint *l, const policy_doc *doc)
{
    cleanup_strv struct os_strv base = {0};
    cleanup_strv struct os_strv runtime = {0};
    cleanup_strv struct os_strv ambiguous = {0};
    cleanup_error struct os_error err = {0};
    if (policy_check_reserved(doc, &err) < 0)
        put(l, POLICY_LINT_ERROR, "reserved-key", "", os_error_text(&err));
    policy_validate(doc, &base);
    put_errors(l, "invalid", &base);
    policy_validate_runtime(doc, &runtime);
    put_errors(l, "invalid", &runtime);
    policy_ambiguities(doc, &ambiguous);
    put_errors(l, "ambiguous", &ambiguous);
    os_error_clear(&err);
    if (policy_check_built(doc, &err) < 0)
        put(l, POLICY_LINT_ERROR, "not-built", "", os_error_text(&err));
}

/* --- hosts --- */

/* Labels without a wildcard at the end of the name. */
static size_t literal_labels(const char *host)
{
    size_t n = 0;
    for (const char *end = host + strlen(host); end > host; n++) {
        const char *start = end;
        while (start > host && start[-1] != '.')
            start--;
        if (strpbrk(start, "*?[{") && strpbrk(start, "*?[{") < end)
            return n;
        end = start > host ? start - 1 : start;
    }
    return n;
}

/* "co.uk" and its like: registries sell names directly below. */
static bool ends_like_registry(const char *host)
{
    static const char *const second[] = {"co", "com", "org", "net", "gov", "edu", "ac", "or", "ne"};
    const char *last = strrchr(host, '.');
    if (!last || strlen(last) != 3)
        return false;
    for (size_t i = 0; i < OS_ARRAY_LEN(second); i++) {
        size_t n = strlen(second[i]);
        const char *at = last - n;
        if (at > host && at[-1] == '.' && !strncmp(at, second[i], n))
            return true;
    }
    return false;
}

static void lint_host(struct lint *l, const policy_endpoint_doc *ep)
{
    const char *host = policy_text(ep->host);
    if (!strchr(host, '*'))
        return;
    size_t literal = literal_labels(host);
    if (literal < 2 || (literal == 2 && ends_like_registry(host)))
        lint_endpoint(l, "broad-host",
                      "host '%s' matches names of many owners; name the domain that is meant", host);
    else if (os_str_starts(host, "**.") && policy_host_labels(host) <= 3)
        lint_endpoint(l, "broad-host",
                      "host '%s' matches every name below the domain, at any depth; '*' is one label", host);
}

static void lint_addresses(struct lint *l, const policy_endpoint_doc *ep)
{
    for (size_t i = 0; i < ep->n_allowed_ips; i++) {
        struct policy_cidr c;
        if (policy_cidr_parse(policy_text(ep->allowed_ips[i]), &c) && c.prefix < 16)
            lint_endpoint(l, "broad-addresses", "allowed_ips entry '%s' covers more than 65536 addresses",
                          ep->allowed_ips[i]);
    }
}

/* --- endpoints and rules --- */

static bool judges_requests(const struct lint *l)
{
    return l->protocol != POLICY_L4 && l->protocol != POLICY_TCP;
}

static void lint_handling(struct lint *l, const policy_endpoint_doc *ep)
{
    const char *tls = policy_text(ep->tls);
    if (!strcmp(tls, "terminate") || !strcmp(tls, "passthrough"))
        lint_endpoint(l, "deprecated", "tls: %s is deprecated and does nothing; leave it out", tls);
    if (!judges_requests(l))
        return;
    if (l->protocol == POLICY_SQL) {
        lint_endpoint(l, "unread-requests",
                      "protocol: sql is relayed without being read, so access and rules do nothing");
        return;
    }
    if (!strcmp(tls, "skip"))
        lint_endpoint(l, "unread-requests",
                      "tls: skip passes the bytes unopened, so protocol, access and rules do nothing for TLS "
                      "connections");
    if (!*policy_text(ep->enforcement))
        lint_endpoint(l, "audit-by-default",
                      "no enforcement is given, so what the rules do not allow is only logged; say "
                      "enforcement: enforce, or audit if that is meant");
}

static bool same_endpoint(const policy_endpoint_doc *a, const policy_endpoint_doc *b)
{
    size_t n;
    const uint32_t *ports = policy_endpoint_ports(b, &n);
    if (!os_str_eq_nocase(policy_text(a->host), policy_text(b->host)) ||
        strcmp(policy_text(a->path), policy_text(b->path)) != 0)
        return false;
    for (size_t i = 0; i < n; i++) {
        size_t na;
        const uint32_t *other = policy_endpoint_ports(a, &na);
        for (size_t k = 0; k < na; k++) {
            if (other[k] == ports[i])
                return true;
        }
    }
    return false;
}

static void lint_one_endpoint(struct lint *l, const policy_rule *rule, size_t i)
{
    const policy_endpoint_doc *ep = rule->endpoints[i];
    l->endpoint = i;
    if (!policy_protocol_parse(ep->protocol, &l->protocol))
        return; /* an error */
    for (size_t k = 0; k < i; k++) {
        if (same_endpoint(rule->endpoints[k], ep)) {
            lint_endpoint(l, "repeated-endpoint", "endpoints[%zu] has the same host, port and path", k);
            break;
        }
    }
    lint_host(l, ep);
    lint_addresses(l, ep);
    lint_handling(l, ep);
    lint_clauses(l, ep);
    lint_neighbours(l, ep);
}

static void lint_binaries(struct lint *l, const policy_rule *rule)
{
    if (!rule->n_binaries)
        lint_rule(l, "no-binaries", "no binary is named, so the rule allows nothing; '/**' stands for any");
    for (size_t i = 0; i < rule->n_binaries; i++) {
        const char *path = policy_text(rule->binaries[i]->path);
        if (!strcmp(path, "/**") || !strcmp(path, "**"))
            lint_rule(l, "any-binary", "binary '%s' is every program in the sandbox", path);
        else if (*path && path[0] != '/' && !os_str_starts(path, "**/"))
            lint_rule(l, "relative-binary",
                      "binary '%s' does not start with '/', and executables are compared by their whole path",
                      path);
    }
}

void policy_lint(struct os_arena *arena, const policy_doc *doc, struct policy_findings *out)
{
    *out = (struct policy_findings){0};
    struct lint l = {.arena = arena, .out = out, .doc = doc};
    lint_refusals(&l, doc);
    if (doc->version != 1)
        put(&l, POLICY_LINT_WARNING, "unknown-version", "version",
            os_arena_printf(arena, "version %u is not defined, and is read like 1; write version: 1",
                            doc->version));
    struct policy_map_entry **sorted =
        policy_map_sorted(arena, doc->network_policies, doc->n_network_policies);
    for (size_t i = 0; i < doc->n_network_policies; i++) {
        const policy_rule *rule = (const void *)sorted[i]->value;
        l.key = policy_text(sorted[i]->key);
        if (!rule)
            continue;
        if (!rule->n_endpoints)
            lint_rule(&l, "no-endpoints", "no endpoint is named, so the rule allows nothing");
        lint_binaries(&l, rule);
        for (size_t k = 0; k < rule->n_endpoints; k++)
            lint_one_endpoint(&l, rule, k);
    }
}
