/* Endpoints that can match the same request must agree on how it is handled (spec/policy.md 6): otherwise the
 * order of rules would decide whether traffic is inspected. */
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/limits.h"
#include "policy/glob.h"
#include "policy/validate.h"

#define LINES_MAX 32   /* conflicts reported in one go */
#define TOKENS_MAX 512 /* longer selectors count as overlapping */

struct view {
    const char *name; /* of the rule */
    size_t index;     /* in the rule */
    const policy_endpoint_doc *ep;
    enum policy_protocol protocol;
    bool contributes; /* request metadata */
    unsigned weight;  /* of the path */
    char *allowed_ips;
};

/* --- do two patterns have a common match? --- */

enum { ONE = 256, ANY, RUN, ALL }; /* one or any run without a dot; any byte; any run */

struct tokens {
    uint16_t t[TOKENS_MAX];
    size_t n;
    bool overflow;
};

static void push(struct tokens *out, unsigned t)
{
    if (out->n == TOKENS_MAX)
        out->overflow = true;
    else
        out->t[out->n++] = (uint16_t)t;
}

static bool absorbs(uint16_t run, uint16_t t)
{
    return run == ALL || t != '.';
}

static bool agree(uint16_t a, uint16_t b)
{
    if (a == b || a == ANY || b == ANY)
        return true;
    return (a == ONE && b != '.') || (b == ONE && a != '.');
}

static bool is_run(uint16_t t)
{
    return t == RUN || t == ALL;
}

/* Rows of "rest of a from i and rest of b from j have a common match", from the ends backwards. */
static bool meet(const struct tokens *a, const struct tokens *b)
{
    if (a->overflow || b->overflow)
        return true;
    bool rows[2][TOKENS_MAX + 1] = {{false}};
    for (size_t i = a->n + 1; i-- > 0;) {
        bool *row = rows[i % 2];
        const bool *below = rows[(i + 1) % 2];
        bool a_run = i < a->n && is_run(a->t[i]);
        for (size_t j = b->n + 1; j-- > 0;) {
            bool b_run = j < b->n && is_run(b->t[j]);
            bool v = i == a->n && j == b->n;
            if (a_run)
                v |= below[j] || (j < b->n && absorbs(a->t[i], b->t[j]) && row[j + 1]);
            if (b_run)
                v |= row[j + 1] || (i < a->n && absorbs(b->t[j], a->t[i]) && below[j]);
            if (!a_run && !b_run && i < a->n && j < b->n)
                v = agree(a->t[i], b->t[j]) && below[j + 1];
            row[j] = v;
        }
    }
    return rows[0][0];
}

static void host_tokens(const char *host, struct tokens *out)
{
    bool wild = strchr(host, '*') != NULL;
    out->n = 0;
    out->overflow = wild && strpbrk(host, "[{\\");
    for (const char *p = host; *p; p++) {
        char c = *p >= 'A' && *p <= 'Z' ? (char)(*p + 32) : *p;
        if (c == '*' && p[1] == '*') {
            push(out, ALL);
            p++;
        } else {
            push(out, c == '*' ? RUN : c == '?' && wild ? ONE : (unsigned char)c);
        }
    }
}

static bool hosts_overlap(const char *a, const char *b)
{
    if (!*a || !*b || os_str_eq_nocase(a, b))
        return true;
    if (!strchr(a, '*') && !strchr(b, '*'))
        return false;
    struct tokens x;
    struct tokens y;
    host_tokens(a, &x);
    host_tokens(b, &y);
    return meet(&x, &y);
}

/* A shell glob that crosses '/'. Classes count as any byte, "**" components as any run: never too narrow. */
static void path_tokens(const char *path, size_t n, bool literal, struct tokens *out)
{
    out->n = 0;
    out->overflow = false;
    for (size_t i = 0; i < n; i++) {
        const char *close = !literal && path[i] == '[' ? memchr(path + i, ']', n - i) : NULL;
        if (!literal && path[i] == '*') {
            push(out, ALL);
            bool recursive = i + 1 < n && path[i + 1] == '*';
            i += recursive;
            i += recursive && i + 1 < n && path[i + 1] == '/';
        } else if (close) {
            push(out, ANY);
            i = (size_t)(close - path);
        } else {
            push(out, !literal && path[i] == '?' ? ANY : (unsigned char)path[i]);
        }
    }
}

static bool selects_all(const char *path)
{
    return !*path || !strcmp(path, "**") || !strcmp(path, "/**");
}

/* The forms a selector stands for: a recursive suffix means the prefix itself or anything below it. Returns
 * how many. */
static size_t path_forms(const char *path, struct tokens out[2])
{
    size_t n = strlen(path);
    if (n <= 3 || strcmp(path + n - 3, "/**") != 0) {
        path_tokens(path, n, false, &out[0]);
        return 1;
    }
    path_tokens(path, n - 3, true, &out[0]);
    out[1] = out[0];
    push(&out[1], '/');
    push(&out[1], ALL);
    return 2;
}

static bool paths_overlap(const char *a, const char *b)
{
    if (selects_all(a) || selects_all(b) || !strcmp(a, b))
        return true;
    struct tokens x[2];
    struct tokens y[2];
    size_t nx = path_forms(a, x);
    size_t ny = path_forms(b, y);
    for (size_t i = 0; i < nx; i++) {
        for (size_t k = 0; k < ny; k++) {
            if (meet(&x[i], &y[k]))
                return true;
        }
    }
    return false;
}

/* --- fields --- */

static void put_field(struct os_buf *out, const char *field)
{
    os_buf_addf(out, "%s%s=", out->len ? "; " : "", field);
}

static void text_field(struct os_buf *out, const char *field, const char *a, const char *b)
{
    if (!strcmp(a, b))
        return;
    put_field(out, field);
    os_buf_addf(out, "\"%s\" vs \"%s\"", a, b);
}

static void bool_field(struct os_buf *out, const char *field, bool a, bool b)
{
    if (a == b)
        return;
    put_field(out, field);
    os_buf_addf(out, "%s vs %s", a ? "true" : "false", b ? "true" : "false");
}

static void limit_field(struct os_buf *out, const char *field, uint32_t a, uint32_t b)
{
    a = a ? a : OS_LIMIT_L7_BODY;
    b = b ? b : OS_LIMIT_L7_BODY;
    if (a == b)
        return;
    put_field(out, field);
    os_buf_addf(out, "%u vs %u", a, b);
}

static const char *tls_mode(const policy_endpoint_doc *ep)
{
    return os_str_eq(ep->tls, "skip") ? "skip" : "auto";
}

static const char *enforcement(const policy_endpoint_doc *ep)
{
    return os_str_eq(ep->enforcement, "enforce") ? "enforce" : "audit";
}

static const char *binding(const policy_endpoint_doc *ep)
{
    return ep->credential_binding ? policy_text(ep->credential_binding->provider) : "";
}

static bool strict_tools(const policy_endpoint_doc *ep)
{
    return !ep->mcp || !ep->mcp->_strict_tool_names_case || ep->mcp->strict_tool_names;
}

static void connection_fields(const struct view *a, const struct view *b, struct os_buf *out)
{
    bool_field(out, "transparent_tcp_eligible", a->protocol == POLICY_TCP, b->protocol == POLICY_TCP);
    text_field(out, "tls", tls_mode(a->ep), tls_mode(b->ep));
    if (strcmp(a->allowed_ips, b->allowed_ips) != 0) {
        put_field(out, "allowed_ips");
        os_buf_addf(out, "[%s] vs [%s]", a->allowed_ips, b->allowed_ips);
    }
    bool_field(out, "advisor_proposed", a->ep->advisor_proposed, b->ep->advisor_proposed);
}

static const char *protocol_text(const struct view *v, struct os_arena *arena)
{
    return os_str_lower(os_arena_strdup(arena, policy_text(v->ep->protocol)));
}

static void request_fields(const struct view *a, const struct view *b, struct os_buf *out)
{
    const policy_endpoint_doc *x = a->ep;
    const policy_endpoint_doc *y = b->ep;
    cleanup_arena struct os_arena arena = {0};
    text_field(out, "protocol", protocol_text(a, &arena), protocol_text(b, &arena));
    text_field(out, "enforcement", enforcement(x), enforcement(y));
    bool_field(out, "allow_encoded_slash", x->allow_encoded_slash, y->allow_encoded_slash);
    bool_field(out, "websocket_credential_rewrite", x->websocket_credential_rewrite,
               y->websocket_credential_rewrite);
    bool_field(out, "request_body_credential_rewrite", x->request_body_credential_rewrite,
               y->request_body_credential_rewrite);
    bool same = a->protocol == b->protocol;
    if (same && a->protocol == POLICY_WEBSOCKET)
        bool_field(out, "websocket_graphql_policy", policy_websocket_graphql(x), policy_websocket_graphql(y));
    text_field(out, "credential_signing", policy_text(x->credential_signing),
               policy_text(y->credential_signing));
    text_field(out, "signing_service", policy_text(x->signing_service), policy_text(y->signing_service));
    text_field(out, "signing_region", policy_text(x->signing_region), policy_text(y->signing_region));
    text_field(out, "credential_binding.provider", binding(x), binding(y));
    if (same && a->protocol == POLICY_GRAPHQL)
        limit_field(out, "graphql_max_body_bytes", x->graphql_max_body_bytes, y->graphql_max_body_bytes);
    if (same && (a->protocol == POLICY_JSON_RPC || a->protocol == POLICY_MCP))
        limit_field(out, "json_rpc_max_body_bytes", x->json_rpc_max_body_bytes, y->json_rpc_max_body_bytes);
    if (same && a->protocol == POLICY_MCP)
        bool_field(out, "mcp.strict_tool_names", strict_tools(x), strict_tools(y));
}

/* --- pairs --- */

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Trimmed, lower-case, sorted set as `"a", "b"`. */
static char *ip_set(struct os_arena *arena, const policy_endpoint_doc *ep)
{
    char **list = os_arena_alloc(arena, ep->n_allowed_ips * sizeof(*list));
    for (size_t i = 0; i < ep->n_allowed_ips; i++)
        list[i] = os_str_lower(os_str_trim(os_arena_strdup(arena, policy_text(ep->allowed_ips[i]))));
    if (ep->n_allowed_ips > 1)
        qsort(list, ep->n_allowed_ips, sizeof(*list), by_text);
    cleanup_buf struct os_buf out = {0};
    for (size_t i = 0; i < ep->n_allowed_ips; i++) {
        if (i == 0 || strcmp(list[i], list[i - 1]) != 0)
            os_buf_addf(&out, "%s\"%s\"", i ? ", " : "", list[i]);
    }
    return os_arena_strdup(arena, os_buf_str(&out));
}

/* Common ports as "443,8443"; empty when there are none. */
static void common_ports(const struct view *a, const struct view *b, struct os_buf *out)
{
    size_t na;
    size_t nb;
    const uint32_t *pa = policy_endpoint_ports(a->ep, &na);
    const uint32_t *pb = policy_endpoint_ports(b->ep, &nb);
    for (size_t i = 0; i < na; i++) {
        bool repeated = false;
        bool common = false;
        for (size_t k = 0; k < i; k++)
            repeated |= pa[k] == pa[i];
        for (size_t k = 0; k < nb; k++)
            common |= pb[k] == pa[i];
        if (common && !repeated)
            os_buf_addf(out, "%s%u", out->len ? "," : "", pa[i]);
    }
}

static void put_selector(struct os_buf *out, const struct view *v)
{
    size_t n;
    const uint32_t *ports = policy_endpoint_ports(v->ep, &n);
    const char *host = policy_text(v->ep->host);
    os_buf_addf(out, "'%s' endpoint[%zu] (%s:", v->name, v->index, *host ? host : "<any-host>");
    for (size_t i = 0; i < n; i++)
        os_buf_addf(out, "%s%u", i ? "," : "", ports[i]);
    os_buf_addf(out, "%s)", policy_text(v->ep->path));
}

static void check_pair(const struct view *a, const struct view *b, struct os_strv *lines)
{
    cleanup_buf struct os_buf fields = {0};
    connection_fields(a, b, &fields);
    if (a->contributes && b->contributes && a->weight == b->weight &&
        paths_overlap(policy_text(a->ep->path), policy_text(b->ep->path)))
        request_fields(a, b, &fields);
    if (!fields.len || !hosts_overlap(policy_text(a->ep->host), policy_text(b->ep->host)))
        return;
    cleanup_buf struct os_buf ports = {0};
    common_ports(a, b, &ports);
    if (!ports.len)
        return;
    cleanup_buf struct os_buf line = {0};
    os_buf_adds(&line, "network policies ");
    put_selector(&line, a);
    os_buf_adds(&line, " and ");
    put_selector(&line, b);
    os_buf_addf(&line, " overlap on port(s) %s with conflicting metadata: %s", os_buf_str(&ports),
                os_buf_str(&fields));
    os_strv_add(lines, os_buf_str(&line));
}

static void add_views(struct os_arena *arena, const struct policy_map_entry *entry, struct view *views,
                      size_t *n)
{
    const policy_rule *rule = (const void *)entry->value;
    for (size_t i = 0; rule && i < rule->n_endpoints; i++) {
        struct view v = {.name = policy_rule_name(entry->key, rule), .index = i, .ep = rule->endpoints[i]};
        if (!policy_protocol_parse(v.ep->protocol, &v.protocol))
            continue; /* refused elsewhere */
        v.contributes = (v.protocol != POLICY_L4 && v.protocol != POLICY_TCP) || v.ep->n_allowed_ips ||
                        *policy_text(v.ep->tls) || v.ep->credential_binding;
        v.weight = policy_path_weight(policy_text(v.ep->path));
        v.allowed_ips = ip_set(arena, v.ep);
        views[(*n)++] = v;
    }
}

/* Exact hosts that differ never meet; this is what most pairs are. */
static bool plainly_apart(const struct view *a, const struct view *b)
{
    const char *x = policy_text(a->ep->host);
    const char *y = policy_text(b->ep->host);
    return *x && *y && !strchr(x, '*') && !strchr(y, '*') && !os_str_eq_nocase(x, y);
}

void policy_ambiguities(const policy_doc *doc, struct os_strv *lines)
{
    cleanup_arena struct os_arena arena = {0};
    struct policy_map_entry **sorted =
        policy_map_sorted(&arena, doc->network_policies, doc->n_network_policies);
    size_t max = 0;
    for (size_t i = 0; i < doc->n_network_policies; i++) {
        const policy_rule *rule = (const void *)sorted[i]->value;
        max += rule ? rule->n_endpoints : 0;
    }
    struct view *views = os_arena_alloc(&arena, max * sizeof(*views));
    size_t n = 0;
    for (size_t i = 0; i < doc->n_network_policies; i++)
        add_views(&arena, sorted[i], views, &n);
    size_t limit = lines->n + LINES_MAX;
    for (size_t i = 0; i < n; i++) {
        for (size_t k = i + 1; k < n && lines->n < limit; k++) {
            if (!plainly_apart(&views[i], &views[k]))
                check_pair(&views[i], &views[k], lines);
        }
    }
}

int policy_check_ambiguity(const policy_doc *doc, struct os_error *err)
{
    cleanup_strv struct os_strv lines = {0};
    policy_ambiguities(doc, &lines);
    if (!lines.n)
        return 0;
    cleanup_free char *text = os_strv_join(&lines, "\n");
    return os_error_set(err, OS_FAILED_PRECONDITION, "network endpoint ambiguity validation failed:\n%s",
                        text);
}
