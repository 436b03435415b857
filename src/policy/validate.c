/* Gateway rule set (spec/policy.md 2.1, 2.2): what is refused before it is stored. The supervisor runs the
 * same code on what it receives. */
#include <stdio.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/limits.h"
#include "policy/glob.h"
#include "policy/validate.h"

static bool filled(const char *s)
{
    return s && *s;
}

static bool one_of(const char *s, const char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!strcmp(policy_text(s), list[i]))
            return true;
    }
    return false;
}

/* --- static sections --- */

static void check_account(const char *field, const char *v, struct os_strv *out)
{
    uint64_t id = 0;
    if (!filled(v) || !strcmp(v, "sandbox") || (os_str_u64(v, UINT32_MAX - 1, &id) && id > 0))
        return;
    os_strv_addf(out, "%s must be 'sandbox' or a numeric UID/GID in range [1, 4294967294], got '%s'", field,
                 v);
}

static bool has_parent_component(const char *path)
{
    for (const char *p = path; *p;) {
        size_t n = strcspn(p, "/");
        if (n == 2 && !memcmp(p, "..", 2))
            return true;
        p += n + (p[n] == '/');
    }
    return false;
}

static void check_path(const char *path, bool writable, struct os_strv *out)
{
    size_t n = strlen(path);
    if (n > OS_LIMIT_WORKDIR) {
        os_strv_addf(out, "path exceeds maximum length (%zu > %d): %.77s...", n, OS_LIMIT_WORKDIR, path);
        return;
    }
    if (path[0] != '/')
        os_strv_addf(out, "path must be absolute (start with '/'): %s", path);
    if (has_parent_component(path))
        os_strv_addf(out, "path contains '..' traversal component: %s", path);
    if (writable && n > 0 && path[strspn(path, "/")] == '\0')
        os_strv_addf(out, "read-write path is overly broad: %s", path);
}

/* The kernel unites the rights of a path and of what it lies in. */
static void check_unwritable(const policy_filesystem *fs, struct os_strv *out)
{
    for (size_t i = 0; i < fs->n_read_only; i++)
        for (size_t k = 0; k < fs->n_read_write; k++)
            if (policy_path_inside(policy_text(fs->read_only[i]), policy_text(fs->read_write[k])))
                os_strv_addf(
                    out,
                    "read-only path '%s' would be writable, for it lies in read-write path '%s'; list "
                    "instead what may be written there",
                    fs->read_only[i], fs->read_write[k]);
}

static void check_static(const policy_doc *doc, struct os_strv *out)
{
    static const char *const modes[] = {"", "best_effort", "hard_requirement"};
    if (doc->process) {
        check_account("run_as_user", doc->process->run_as_user, out);
        check_account("run_as_group", doc->process->run_as_group, out);
    }
    if (doc->landlock && !one_of(doc->landlock->compatibility, modes, OS_ARRAY_LEN(modes)))
        os_strv_addf(out,
                     "landlock has unrecognized compatibility value '%s' (expected best_effort or "
                     "hard_requirement)",
                     doc->landlock->compatibility);
    const policy_filesystem *fs = doc->filesystem;
    if (!fs)
        return;
    size_t n = fs->n_read_only + fs->n_read_write;
    if (n > OS_LIMIT_POLICY_PATHS)
        os_strv_addf(out, "too many filesystem paths (%zu > %d)", n, OS_LIMIT_POLICY_PATHS);
    for (size_t i = 0; i < fs->n_read_only; i++)
        check_path(policy_text(fs->read_only[i]), false, out);
    for (size_t i = 0; i < fs->n_read_write; i++)
        check_path(policy_text(fs->read_write[i]), true, out);
    if (n <= OS_LIMIT_POLICY_PATHS)
        check_unwritable(fs, out);
}

/* --- endpoint hosts --- */

static bool blank(const char *s)
{
    return policy_text(s)[strspn(policy_text(s), " \t\r\n")] == '\0';
}

size_t policy_host_labels(const char *host)
{
    size_t n = 1;
    for (; *host; host++)
        n += *host == '.';
    return n;
}

static bool wildcard_shape_ok(const char *host)
{
    if (!strcmp(host, "*") || !strcmp(host, "**"))
        return false;
    for (bool first = true; *host; first = false) {
        size_t n = strcspn(host, ".");
        bool star = memchr(host, '*', n) != NULL;
        bool recursive = memmem(host, n, "**", 2) != NULL;
        bool ok = first ? !recursive || n == 2 : !star || n == 1;
        if (!ok)
            return false;
        host += n + (host[n] == '.');
    }
    return true;
}

/* DNS label rules once every wildcard is replaced by a letter; NULL when the name can exist. */
static const char *dns_name_error(const char *host)
{
    size_t total = strlen(host);
    if (total > 253)
        return "the name is longer than 253 characters";
    while (*host) {
        size_t n = strcspn(host, ".");
        if (n == 0)
            return "empty label";
        if (n > 63)
            return "a label is longer than 63 characters";
        if (host[0] == '-' || host[n - 1] == '-')
            return "a label starts or ends with '-'";
        for (size_t i = 0; i < n; i++) {
            char c = host[i];
            bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                      c == '-' || c == '_' || c == '*' || c == '?';
            if (!ok)
                return "a label contains a character other than letters, digits and '-'";
        }
        host += n + (host[n] == '.');
    }
    return NULL;
}

/* Why a tcp host selector is unusable (caller frees), NULL when it is good. */
static char *tcp_host_error(const char *host)
{
    size_t n = strlen(host);
    if (strchr(" \t\r\n", host[0]) || strchr(" \t\r\n", host[n - 1]))
        return os_strdup("leading or trailing whitespace is not allowed");
    if (!strcmp(host, "."))
        return os_strdup("DNS root is not a destination hostname");
    if (host[n - 1] == '.')
        return os_strdup("omit the trailing DNS root dot");
    char *pattern = policy_host_pattern_error(host);
    if (pattern)
        return pattern;
    const char *bad = dns_name_error(host);
    return bad ? os_asprintf("selector cannot represent a valid DNS name: %s", bad) : NULL;
}

static void check_tcp_host(const char *name, const char *host, struct os_strv *out)
{
    struct policy_cidr ip;
    if (blank(host)) {
        os_strv_addf(
            out,
            "network policy '%s': protocol tcp requires a DNS hostname; hostless allowed_ips endpoints "
            "are supported only by the forward proxy",
            name);
        return;
    }
    if (!strchr(host, '/') && policy_cidr_parse(host, &ip)) {
        os_strv_addf(out,
                     "network policy '%s': protocol tcp endpoint '%s' must use a DNS hostname, not an IP "
                     "literal; direct IP connections bypass policy DNS and are blocked",
                     name, host);
        return;
    }
    cleanup_free char *why = tcp_host_error(host);
    if (why)
        os_strv_addf(out, "network policy '%s': protocol tcp endpoint has invalid DNS host selector '%s': %s",
                     name, host, why);
}

static void check_host(const char *name, const policy_endpoint_doc *ep, bool tcp, struct os_strv *out)
{
    const char *host = policy_text(ep->host);
    if (tcp) {
        check_tcp_host(name, host, out);
    } else if (blank(host)) {
        if (!ep->n_allowed_ips)
            os_strv_addf(
                out,
                "network policy '%s': endpoint host must not be empty unless allowed_ips constrains a "
                "non-TCP proxy endpoint",
                name);
    } else if (strpbrk(host, " \t\r\n/")) {
        os_strv_addf(out,
                     "network policy '%s': endpoint '%s' is not a host name; write it without scheme, path "
                     "and spaces",
                     name, host);
    }
    if (!strchr(host, '*'))
        return;
    bool leading = os_str_starts(host, "*.") || os_str_starts(host, "**.");
    if (leading && policy_host_labels(host) <= 2)
        os_strv_addf(out,
                     "network policy '%s': TLD wildcard '%s' is not allowed; use subdomain wildcards like "
                     "'*.example.com' instead",
                     name, host);
    if (!wildcard_shape_ok(host))
        os_strv_addf(
            out,
            "network policy '%s': invalid host wildcard '%s'; middle DNS label wildcards must be the "
            "entire label '*' and recursive '**' is only allowed as the entire first label",
            name, host);
    const char *bad = policy_glob_check(host);
    if (bad)
        os_strv_addf(out, "network policy '%s': endpoint '%s': glob pattern has %s", name, host, bad);
}

/* --- endpoints --- */

static void check_ports(const char *name, const policy_endpoint_doc *ep, struct os_strv *out)
{
    size_t n;
    const uint32_t *ports = policy_endpoint_ports(ep, &n);
    if (n == 0)
        os_strv_addf(out, "network policy '%s': endpoint '%s' must declare at least one port", name,
                     policy_text(ep->host));
    for (size_t i = 0; i < n; i++) {
        if (ports[i] < 1 || ports[i] > UINT16_MAX)
            os_strv_addf(out, "network policy '%s': endpoint '%s' has invalid port %u; expected 1..=65535",
                         name, policy_text(ep->host), ports[i]);
    }
}

static void check_signing(const char *name, const policy_endpoint_doc *ep, struct os_strv *out)
{
    static const char *const known[] = {"sigv4", "sigv4:body", "sigv4:no_body"};
    if (!filled(ep->credential_signing))
        return;
    const char *host = policy_text(ep->host);
    if (!one_of(ep->credential_signing, known, OS_ARRAY_LEN(known)))
        os_strv_addf(out,
                     "network policy '%s': endpoint '%s' has unrecognized credential_signing value '%s' "
                     "(expected sigv4, sigv4:body, or sigv4:no_body)",
                     name, host, ep->credential_signing);
    if (!filled(ep->signing_service))
        os_strv_addf(
            out, "network policy '%s': endpoint '%s' has credential_signing set but signing_service is empty",
            name, host);
    if (ep->request_body_credential_rewrite)
        os_strv_addf(out,
                     "network policy '%s': endpoint '%s' has both credential_signing and "
                     "request_body_credential_rewrite set; these options are mutually exclusive",
                     name, host);
}

/* Values that would silently fall back to something weaker are refused. */
static void check_choices(const char *name, const policy_endpoint_doc *ep, struct os_strv *out)
{
    static const char *const tls[] = {"", "auto", "skip", "terminate", "passthrough"};
    static const char *const enforcement[] = {"", "enforce", "audit"};
    if (!one_of(ep->tls, tls, OS_ARRAY_LEN(tls)))
        os_strv_addf(out,
                     "network policy '%s': endpoint '%s' has unrecognized tls value '%s' (expected skip, or "
                     "nothing for automatic)",
                     name, policy_text(ep->host), ep->tls);
    if (!one_of(ep->enforcement, enforcement, OS_ARRAY_LEN(enforcement)))
        os_strv_addf(out,
                     "network policy '%s': endpoint '%s' has unrecognized enforcement value '%s' (expected "
                     "enforce or audit)",
                     name, policy_text(ep->host), ep->enforcement);
    for (size_t i = 0; i < ep->n_allowed_ips; i++) {
        cleanup_free char *bad = policy_allowed_ip_error(policy_text(ep->allowed_ips[i]));
        if (bad)
            os_strv_addf(out, "network policy '%s': endpoint '%s': %s", name, policy_text(ep->host), bad);
    }
}

static void check_endpoint(const char *name, const policy_endpoint_doc *ep, size_t index, struct os_strv *out)
{
    check_host(name, ep, os_str_eq_nocase(policy_text(ep->protocol), "tcp"), out);
    check_ports(name, ep, out);
    check_signing(name, ep, out);
    check_choices(name, ep, out);
    if (ep->credential_binding) {
        const char *provider = policy_text(ep->credential_binding->provider);
        if (blank(provider))
            os_strv_addf(out, "credential_binding.provider is required for endpoint '%s'",
                         policy_text(ep->host));
        else if (strchr(" \t", provider[0]) || strchr(" \t", provider[strlen(provider) - 1]))
            os_strv_addf(out,
                         "credential_binding.provider '%s' of endpoint '%s' must not have spaces around it",
                         provider, policy_text(ep->host));
    }
    cleanup_strv struct os_strv reasons = {0};
    policy_l7_reasons(ep, &reasons);
    for (size_t i = 0; i < reasons.n; i++)
        os_strv_addf(out, "network policy '%s': endpoint %zu has invalid L7 configuration: %s", name, index,
                     reasons.v[i]);
}

static void check_rule(const char *name, const policy_rule *rule, struct os_strv *out)
{
    for (size_t i = 0; i < rule->n_endpoints; i++)
        check_endpoint(name, rule->endpoints[i], i, out);
    for (size_t i = 0; i < rule->n_binaries; i++) {
        const char *path = policy_text(rule->binaries[i]->path);
        const char *bad = strchr(path, '*') ? policy_glob_check(path) : NULL;
        if (bad)
            os_strv_addf(out, "network policy '%s': binary '%s': glob pattern has %s", name, path, bad);
        else if (!*path)
            os_strv_addf(out, "network policy '%s': binary path must not be empty", name);
    }
}

/* The wire form of a map can repeat a key; which one counts must never be a matter of taste. */
static void check_unique(const char *field, const void *entries, size_t n, struct os_strv *out)
{
    cleanup_arena struct os_arena arena = {0};
    struct policy_map_entry **sorted = policy_map_sorted(&arena, entries, n);
    for (size_t i = 1; i < n; i++) {
        if (!strcmp(policy_text(sorted[i]->key), policy_text(sorted[i - 1]->key)))
            os_strv_addf(out, "%s key '%s' appears more than once", field, policy_text(sorted[i]->key));
    }
}

void policy_validate(const policy_doc *doc, struct os_strv *violations)
{
    check_static(doc, violations);
    cleanup_arena struct os_arena arena = {0};
    struct policy_map_entry **sorted =
        policy_map_sorted(&arena, doc->network_policies, doc->n_network_policies);
    check_unique("network_policies", doc->network_policies, doc->n_network_policies, violations);
    check_unique("network_middlewares", doc->network_middlewares, doc->n_network_middlewares, violations);
    for (size_t i = 0; i < doc->n_network_policies; i++) {
        const policy_rule *rule = (const void *)sorted[i]->value;
        if (rule)
            check_rule(policy_rule_name(sorted[i]->key, rule), rule, violations);
    }
    policy_validate_middlewares(doc, violations);
}

int policy_check(const policy_doc *doc, struct os_error *err)
{
    cleanup_strv struct os_strv bad = {0};
    policy_validate(doc, &bad);
    if (!bad.n)
        return 0;
    cleanup_free char *text = os_strv_join(&bad, "; ");
    return os_error_set(err, OS_INVALID_ARGUMENT, "policy contains unsafe content: %s", text);
}
