/* Allow and deny rules that can never decide anything. A warning here is a proof, not a guess: where two
 * patterns are hard to compare, nothing is said. */
#include <string.h>

#include "policy/glob.h"
#include "policy/lint_priv.h"
#include "policy/merge_priv.h"

#define SPECIAL "*?[]{}\\"

static const char *path_of(const policy_clause *c)
{
    return *policy_text(c->path) ? c->path : "**";
}

static bool every(const char *path)
{
    return !strcmp(path, "**") || !strcmp(path, "/**");
}

/* --- comparing patterns --- */

/* Everything that b matches, a matches too. */
static bool path_covers(const char *a, const char *b)
{
    size_t n = strlen(a);
    if (every(a) || !strcmp(a, b))
        return true;
    if (!strpbrk(b, SPECIAL))
        return policy_glob(a, '/', b) == 1;
    /* "/v1/" and everything below: b has to start with just that. */
    bool tree = n > 3 && !strcmp(a + n - 3, "/**") && strcspn(a, SPECIAL) == n - 2;
    return tree && !strncmp(a, b, n - 2);
}

/* Nothing is matched by both. */
static bool paths_apart(const char *a, const char *b)
{
    if (every(a) || every(b))
        return false;
    size_t na = strcspn(a, SPECIAL);
    size_t nb = strcspn(b, SPECIAL);
    if (!a[na] && !b[nb])
        return strcmp(a, b) != 0;
    if (!a[na] || !b[nb])
        return !a[na] ? policy_glob(b, '/', a) == 0 : policy_glob(a, '/', b) == 0;
    return strncmp(a, b, na < nb ? na : nb) != 0;
}

static bool method_covers(const char *a, const char *b)
{
    return !strcmp(a, "*") || os_str_eq_nocase(a, b) ||
           (os_str_eq_nocase(a, "GET") && os_str_eq_nocase(b, "HEAD"));
}

static bool methods_apart(const char *a, const char *b)
{
    return strcmp(b, "*") != 0 && !method_covers(a, b) && !method_covers(b, a);
}

/* a decides all requests that b is for. Parameters only narrow, so b may have any when a has none. */
static bool covers(const policy_clause *a, const policy_clause *b, bool a_denies)
{
    const char *method = policy_text(a->method);
    if (policy_clause_equal(a, b))
        return true;
    return !a->n_query && (*method || a_denies) &&
           method_covers(*method ? method : "*", policy_text(b->method)) &&
           path_covers(path_of(a), path_of(b));
}

/* --- presets --- */

static bool preset_allows(const char *access, const char *method)
{
    static const char *const read_only[] = {"GET", "HEAD", "OPTIONS"};
    static const char *const write[] = {"POST", "PUT", "PATCH"};
    bool found = !strcmp(access, "full") || !strcmp(method, "*");
    for (size_t i = 0; i < 3 && !found; i++)
        found = os_str_eq_nocase(read_only[i], method) ||
                (!strcmp(access, "read-write") && os_str_eq_nocase(write[i], method));
    return found;
}

/* --- checks --- */

/* True when the clause never matches because of where its path begins. */
static bool lint_path_begin(struct lint *l, const char *list, size_t i, const policy_clause *c)
{
    if (!policy_path_never_matches(policy_text(c->path)))
        return false;
    lint_clause(l, list, i, "relative-path",
                "path '%s' does not start with '/', so the rule matches nothing; write '/%s'", c->path,
                c->path);
    return true;
}

static void lint_method(struct lint *l, const char *list, size_t i, const char *method)
{
    static const char *const known[] = {"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "*"};
    for (size_t k = 0; k < sizeof(known) / sizeof(known[0]); k++) {
        if (!*method || os_str_eq_nocase(method, known[k]))
            return;
    }
    lint_clause(l, list, i, "unknown-method", "method '%s' is none that HTTP clients usually send", method);
}

static void lint_allow(struct lint *l, const policy_endpoint_doc *ep, size_t i)
{
    const policy_clause *c = ep->rules[i]->allow;
    if (!c)
        return;
    lint_method(l, "rules", i, policy_text(c->method));
    if (!*policy_text(c->method)) {
        lint_clause(l, "rules", i, "unreachable-rule",
                    "no method is given, so the rule matches nothing; '*' is any");
        return;
    }
    if (lint_path_begin(l, "rules", i, c))
        return;
    if (*policy_text(ep->path) && paths_apart(ep->path, path_of(c))) {
        lint_clause(l, "rules", i, "unreachable-rule", "path '%s' lies outside the endpoint's path '%s'",
                    path_of(c), ep->path);
        return;
    }
    for (size_t k = 0; k < ep->n_deny_rules; k++) {
        if (covers(policy_deny_clause(ep->deny_rules[k]), c, true)) {
            lint_clause(l, "rules", i, "unreachable-rule",
                        "deny_rules[%zu] denies everything that this rule allows", k);
            return;
        }
    }
    for (size_t k = 0; k < ep->n_rules; k++) {
        const policy_clause *other = ep->rules[k]->allow;
        bool wider = other && k != i && covers(other, c, false);
        /* Of two that say the same, the later one is the surplus. */
        if (wider && (k < i || !covers(c, other, false))) {
            lint_clause(l, "rules", i, "unreachable-rule",
                        "rules[%zu] allows everything that this rule allows", k);
            return;
        }
    }
}

static bool meets_allowed(const policy_endpoint_doc *ep, const policy_clause *deny)
{
    const char *method = *policy_text(deny->method) ? deny->method : "*";
    if (!ep->n_rules)
        return preset_allows(policy_text(ep->access), method);
    for (size_t i = 0; i < ep->n_rules; i++) {
        const policy_clause *c = ep->rules[i]->allow;
        if (c && !methods_apart(policy_text(c->method), method) && !paths_apart(path_of(c), path_of(deny)))
            return true;
    }
    return false;
}

static void lint_deny(struct lint *l, const policy_endpoint_doc *ep, size_t i)
{
    const policy_clause *c = policy_deny_clause(ep->deny_rules[i]);
    lint_method(l, "deny_rules", i, policy_text(c->method));
    if (!*policy_text(c->path))
        lint_clause(l, "deny_rules", i, "deny-without-path",
                    "no path is given: here that is every path, but for other programs that read this format "
                    "the rule "
                    "never matches; write path: \"**\"");
    if (lint_path_begin(l, "deny_rules", i, c))
        return;
    if (*policy_text(ep->path) && paths_apart(ep->path, path_of(c))) {
        lint_clause(l, "deny_rules", i, "unreachable-rule", "path '%s' lies outside the endpoint's path '%s'",
                    path_of(c), ep->path);
        return;
    }
    for (size_t k = 0; k < ep->n_deny_rules; k++) {
        const policy_clause *other = policy_deny_clause(ep->deny_rules[k]);
        if (k != i && covers(other, c, true) && (k < i || !covers(c, other, true))) {
            lint_clause(l, "deny_rules", i, "unreachable-rule",
                        "deny_rules[%zu] denies everything that this rule denies", k);
            return;
        }
    }
    if (!meets_allowed(ep, c))
        lint_clause(
            l, "deny_rules", i, "idle-deny",
            "the endpoint allows nothing of what this rule denies; it counts only where another rule does");
}

void lint_clauses(struct lint *l, const policy_endpoint_doc *ep)
{
    if (l->protocol == POLICY_WEBSOCKET) {
        for (size_t i = 0; i < ep->n_rules; i++)
            if (ep->rules[i]->allow)
                lint_path_begin(l, "rules", i, ep->rules[i]->allow);
        for (size_t i = 0; i < ep->n_deny_rules; i++)
            lint_path_begin(l, "deny_rules", i, policy_deny_clause(ep->deny_rules[i]));
    }
    if (l->protocol != POLICY_REST)
        return; /* other protocols have other clauses */
    for (size_t i = 0; i < ep->n_rules; i++)
        lint_allow(l, ep, i);
    for (size_t i = 0; i < ep->n_deny_rules; i++)
        lint_deny(l, ep, i);
}
