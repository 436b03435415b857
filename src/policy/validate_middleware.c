/* Middleware section (spec/policy.md 2.5). */
#include <string.h>

#include "core/cleanup.h"
#include "core/limits.h"
#include "policy/glob.h"
#include "policy/middleware.h"
#include "policy/validate.h"

static bool has_empty_label(const char *pattern)
{
    size_t n = strlen(pattern);
    return pattern[0] == '.' || pattern[n - 1] == '.' || strstr(pattern, "..");
}

char *policy_host_pattern_error(const char *pattern)
{
    if (!*pattern)
        return os_strdup("host pattern must not be empty");
    if (strpbrk(pattern, " \t\r\n"))
        return os_strdup("host pattern must not contain whitespace");
    if (strpbrk(pattern, "{}"))
        return os_strdup("host pattern must not contain brace alternates; list each host pattern separately");
    if (has_empty_label(pattern))
        return os_strdup("host pattern must not contain empty DNS labels");
    for (const char *p = pattern; *p;) {
        size_t n = strcspn(p, ".");
        if (memmem(p, n, "**", 2) && n != 2)
            return os_strdup("invalid host pattern: '**' must be an entire DNS label");
        p += n + (p[n] == '.');
    }
    const char *bad = policy_glob_check(pattern);
    return bad ? os_asprintf("invalid host pattern: it has %s", bad) : NULL;
}

static void invalid(struct os_strv *out, const char *key, const char *reason)
{
    os_strv_addf(out, "middleware config '%s' is invalid: %s", key, reason);
}

static void check_patterns(const char *key, char *const *patterns, size_t n, struct os_strv *out)
{
    for (size_t i = 0; i < n; i++) {
        cleanup_free char *why = policy_host_pattern_error(policy_text(patterns[i]));
        if (why)
            os_strv_addf(out,
                         "middleware config '%s' is invalid: endpoint selector pattern '%s' is invalid: %s",
                         key, policy_text(patterns[i]), why);
    }
}

static void check_one(const char *key, const policy_middleware *m, struct os_strv *out)
{
    const char *on_error = policy_text(m->on_error);
    if (!*policy_text(m->name) && !*key)
        invalid(out, key, "name must not be empty");
    if (!*policy_text(m->middleware))
        invalid(out, key, "middleware must not be empty");
    if (*on_error && strcmp(on_error, "fail_closed") != 0 && strcmp(on_error, "fail_open") != 0)
        os_strv_addf(out, "middleware config '%s' is invalid: invalid on_error '%s'", key, on_error);
    if (!m->endpoints) {
        invalid(out, key, "endpoint selector is required");
        return;
    }
    size_t n = m->endpoints->n_include + m->endpoints->n_exclude;
    if (!m->endpoints->n_include)
        invalid(out, key, "endpoint selector must include at least one host pattern");
    if (n > OS_LIMIT_MIDDLEWARE_PATTERNS)
        os_strv_addf(out, "middleware config '%s' has too many selector patterns (%zu > %d)", key, n,
                     OS_LIMIT_MIDDLEWARE_PATTERNS);
    check_patterns(key, m->endpoints->include, m->endpoints->n_include, out);
    check_patterns(key, m->endpoints->exclude, m->endpoints->n_exclude, out);
}

/* --- against endpoints that nothing is to look into --- */

/* A selector that may reach the host pattern of an endpoint, and no exclusion that covers it whole. */
static bool reaches(struct os_arena *arena, const policy_middleware *m, const char *host)
{
    struct policy_selector endpoint, s;
    bool reached = false;
    policy_selector_make(arena, *host ? host : "**", &endpoint);
    for (size_t i = 0; i < m->endpoints->n_include && !reached; i++) {
        policy_selector_make(arena, policy_text(m->endpoints->include[i]), &s);
        reached = policy_selectors_overlap(&s, &endpoint);
    }
    bool literal = !strpbrk(host, "*?[{\\");
    for (size_t i = 0; i < m->endpoints->n_exclude && reached; i++) {
        const char *pattern = policy_text(m->endpoints->exclude[i]);
        policy_selector_make(arena, pattern, &s);
        reached = !(literal ? policy_selector_matches(&s, host) : os_str_eq_nocase(pattern, host));
    }
    return reached;
}

/* What must be inspected cannot be, where the policy says that TLS is passed on unread. */
static void check_skipped(struct os_arena *arena, const policy_doc *doc, const char *key,
                          const policy_middleware *m, struct os_strv *out)
{
    if (!m->endpoints || !strcmp(policy_text(m->on_error), "fail_open"))
        return;
    struct policy_map_entry **rules =
        policy_map_sorted(arena, doc->network_policies, doc->n_network_policies);
    for (size_t i = 0; i < doc->n_network_policies; i++) {
        const policy_rule *rule = (const void *)rules[i]->value;
        for (size_t k = 0; rule && k < rule->n_endpoints; k++) {
            const policy_endpoint_doc *ep = rule->endpoints[k];
            if (os_str_eq_nocase(policy_text(ep->tls), "skip") && reaches(arena, m, policy_text(ep->host)))
                os_strv_addf(out,
                             "middleware config '%s' selects network policy '%s' tls: skip endpoint '%s'",
                             key, policy_text(rules[i]->key), policy_text(ep->host));
        }
    }
}

void policy_validate_middlewares(const policy_doc *doc, struct os_strv *out)
{
    static const policy_middleware none;
    cleanup_arena struct os_arena arena = {0};
    size_t n = doc->n_network_middlewares;
    if (n > OS_LIMIT_MIDDLEWARES)
        os_strv_addf(out, "too many middleware configs (%zu > %d)", n, OS_LIMIT_MIDDLEWARES);
    struct policy_map_entry **sorted = policy_map_sorted(&arena, doc->network_middlewares, n);
    for (size_t i = 0; i < n; i++) {
        const policy_middleware *m = sorted[i]->value ? (const void *)sorted[i]->value : &none;
        check_one(policy_text(sorted[i]->key), m, out);
        if (n <= OS_LIMIT_MIDDLEWARES &&
            (!m->endpoints ||
             m->endpoints->n_include + m->endpoints->n_exclude <= OS_LIMIT_MIDDLEWARE_PATTERNS))
            check_skipped(&arena, doc, policy_text(sorted[i]->key), m, out);
        for (size_t k = 0; k < i && n <= OS_LIMIT_MIDDLEWARES; k++) {
            const policy_middleware *other = sorted[k]->value ? (const void *)sorted[k]->value : &none;
            if (other->order == m->order)
                os_strv_addf(out, "middleware configs '%s' and '%s' use duplicate order %d",
                             policy_text(sorted[k]->key), policy_text(sorted[i]->key), m->order);
        }
    }
}
