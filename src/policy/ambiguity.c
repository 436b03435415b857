/* Endpoints that can match the same request must agree on how it is handled (spec/policy.md 6): otherwise the
 * order of rules would decide whether traffic is inspected. */
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/limits.h"
#include "policy/glob.h"
#include "policy/overlap.h"
#include "policy/validate.h"

#define LINES_MAX 32     /* conflicts reported in one go */
#define STEPS_PAIR 2     /* to look at a pair, in the unit of overlap.h */
#define STEPS_FIELDS 32  /* ... to compare its fields */
#define STEPS_DIFFER 256 /* ... to say how they differ, besides the bytes of that */

struct view {
    const char *name; /* of the rule */
    size_t index;     /* in the rule */
    const policy_endpoint_doc *ep;
    enum policy_protocol protocol;
    bool contributes; /* request metadata */
    unsigned weight;  /* of the path */
    char *allowed_ips;
    char *protocol_text; /* lower case */
    struct overlap_host host;
    uint32_t *ports; /* sorted */
    size_t n_ports;
    char *handling;   /* every field that is compared, in one text */
    size_t alike;     /* the same number: the same text */
    size_t next_same; /* the next view with the same host without wildcards; the number of views = none */
    size_t next_wild; /* ... whose host is any, or has wildcards */
};

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

static void request_fields(const struct view *a, const struct view *b, struct os_buf *out)
{
    const policy_endpoint_doc *x = a->ep;
    const policy_endpoint_doc *y = b->ep;
    text_field(out, "protocol", a->protocol_text, b->protocol_text);
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

static int by_number(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void sort_ports(struct os_arena *arena, struct view *v)
{
    size_t n;
    const uint32_t *ports = policy_endpoint_ports(v->ep, &n);
    v->ports = os_arena_alloc(arena, n * sizeof(*v->ports));
    v->n_ports = n;
    if (n)
        memcpy(v->ports, ports, n * sizeof(*ports));
    if (n > 1)
        qsort(v->ports, n, sizeof(*v->ports), by_number);
}

static bool ports_meet(const struct view *a, const struct view *b, uint64_t *steps)
{
    size_t i = 0, k = 0;
    while (i < a->n_ports && k < b->n_ports && a->ports[i] != b->ports[k]) {
        if (a->ports[i] < b->ports[k])
            i++;
        else
            k++;
    }
    *steps += i + k;
    return i < a->n_ports && k < b->n_ports;
}

/* Common ports as "443,8443", in the order in which a has them. */
static void common_ports(const struct view *a, const struct view *b, struct os_buf *out)
{
    size_t n;
    const uint32_t *ports = policy_endpoint_ports(a->ep, &n);
    bool *said = os_calloc(n + 1, sizeof(*said));
    for (size_t i = 0; i < n; i++) {
        const uint32_t *mine = bsearch(&ports[i], a->ports, a->n_ports, sizeof(*mine), by_number);
        while (mine > a->ports && mine[-1] == *mine)
            mine--;
        bool *once = &said[mine - a->ports];
        if (!*once && bsearch(&ports[i], b->ports, b->n_ports, sizeof(*mine), by_number))
            os_buf_addf(out, "%s%u", out->len ? "," : "", ports[i]);
        *once = true;
    }
    free(said);
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

/* How they differ; empty when they do not. */
static void pair_fields(const struct view *a, const struct view *b, struct os_buf *out, uint64_t *steps)
{
    connection_fields(a, b, out);
    size_t n = out->len;
    if (a->contributes && b->contributes && a->weight == b->weight)
        request_fields(a, b, out);
    *steps += STEPS_FIELDS + (out->len ? STEPS_DIFFER + out->len : 0);
    if (out->len > n && !overlap_paths(policy_text(a->ep->path), policy_text(b->ep->path), steps))
        out->len = n;
    if (out->data)
        out->data[out->len] = '\0';
}

static void check_pair(const struct view *a, const struct view *b, struct os_strv *lines, uint64_t *steps)
{
    *steps += STEPS_PAIR;
    if (a->alike == b->alike || overlap_hosts_apart(&a->host, &b->host) || !ports_meet(a, b, steps))
        return;
    cleanup_buf struct os_buf fields = {0};
    pair_fields(a, b, &fields, steps);
    if (!fields.len || !overlap_hosts(&a->host, &b->host, steps))
        return;
    cleanup_buf struct os_buf ports = {0}, line = {0};
    common_ports(a, b, &ports);
    os_buf_adds(&line, "network policies ");
    put_selector(&line, a);
    os_buf_adds(&line, " and ");
    put_selector(&line, b);
    os_buf_addf(&line, " overlap on port(s) %s with conflicting metadata: %s", os_buf_str(&ports),
                os_buf_str(&fields));
    os_strv_add(lines, os_buf_str(&line));
}

/* What connection_fields and request_fields compare: views with the same text never differ in a field. */
static char *handling(struct os_arena *arena, const struct view *v)
{
    const policy_endpoint_doc *ep = v->ep;
    cleanup_buf struct os_buf out = {0};
    const char *const texts[] = {tls_mode(ep),
                                 v->allowed_ips,
                                 v->protocol_text,
                                 enforcement(ep),
                                 policy_text(ep->credential_signing),
                                 policy_text(ep->signing_service),
                                 policy_text(ep->signing_region),
                                 binding(ep)};
    for (size_t i = 0; i < OS_ARRAY_LEN(texts); i++)
        os_buf_addf(&out, "%zu:%s", strlen(texts[i]), texts[i]);
    os_buf_addf(&out, "%d %d %d %d %d %u %u %d", ep->advisor_proposed, ep->allow_encoded_slash,
                ep->websocket_credential_rewrite, ep->request_body_credential_rewrite,
                policy_websocket_graphql(ep), ep->graphql_max_body_bytes, ep->json_rpc_max_body_bytes,
                strict_tools(ep));
    return os_arena_strdup(arena, os_buf_str(&out));
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
        v.protocol_text = os_str_lower(os_arena_strdup(arena, policy_text(v.ep->protocol)));
        overlap_host_init(&v.host, arena, policy_text(v.ep->host));
        v.handling = handling(arena, &v);
        sort_ports(arena, &v);
        views[(*n)++] = v;
    }
}

static bool is_exact(const struct view *v)
{
    return v->host.n && !v->host.wild;
}

static int by_host(const void *a, const void *b)
{
    const struct view *x = *(struct view *const *)a;
    const struct view *y = *(struct view *const *)b;
    int order = strcmp(x->host.name, y->host.name);
    return order ? order : (x > y) - (x < y);
}

static int by_handling(const void *a, const void *b)
{
    return strcmp((*(struct view *const *)a)->handling, (*(struct view *const *)b)->handling);
}

static void number_alike(struct os_arena *arena, struct view *views, size_t n)
{
    struct view **sorted = os_arena_alloc(arena, n * sizeof(struct view *));
    for (size_t i = 0; i < n; i++)
        sorted[i] = &views[i];
    if (n > 1)
        qsort(sorted, n, sizeof(struct view *), by_handling);
    for (size_t i = 1; i < n; i++)
        sorted[i]->alike = sorted[i - 1]->alike + (by_handling(&sorted[i - 1], &sorted[i]) != 0);
}

/* Exact hosts that differ never meet: from one of them only those with the same host are reached, and those
 * with wildcards. */
static void link_views(struct os_arena *arena, struct view *views, size_t n)
{
    struct view **sorted = os_arena_alloc(arena, n * sizeof(struct view *));
    size_t wild = n, exact = 0;
    for (size_t i = n; i-- > 0;) {
        views[i].next_same = n;
        views[i].next_wild = wild;
        if (is_exact(&views[i]))
            sorted[exact++] = &views[i];
        else
            wild = i;
    }
    if (exact > 1)
        qsort(sorted, exact, sizeof(struct view *), by_host);
    for (size_t i = 1; i < exact; i++)
        if (!strcmp(sorted[i - 1]->host.name, sorted[i]->host.name))
            sorted[i - 1]->next_same = (size_t)(sorted[i] - views);
}

/* Compares the i-th with those behind it that it may meet, in order. */
static void check_view(const struct view *views, size_t n, size_t i, size_t limit, struct os_strv *lines,
                       uint64_t *steps)
{
    bool exact = is_exact(&views[i]);
    size_t same = exact ? views[i].next_same : i + 1;
    size_t wild = exact ? views[i].next_wild : n;
    while (lines->n < limit && *steps < OS_LIMIT_POLICY_STEPS) {
        size_t k = same < wild ? same : wild;
        if (k >= n)
            return;
        if (k == same)
            same = exact ? views[k].next_same : k + 1;
        else
            wild = views[k].next_wild;
        check_pair(&views[i], &views[k], lines, steps);
    }
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
    number_alike(&arena, views, n);
    link_views(&arena, views, n);
    size_t limit = lines->n + LINES_MAX;
    uint64_t steps = 0;
    for (size_t i = 0; i < n; i++)
        check_view(views, n, i, limit, lines, &steps);
    if (lines->n < limit && steps >= OS_LIMIT_POLICY_STEPS)
        os_strv_addf(
            lines,
            "network policies have %zu endpoints, with too many or too long host and path patterns to "
            "compare them all with one another; use fewer hosts and paths with '*', or shorter ones",
            n);
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
