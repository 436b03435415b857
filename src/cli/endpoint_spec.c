/* --add-endpoint, --remove-endpoint, --add-allow and --add-deny of `policy update`, from text to merge
 * operations. */
#include "cli/endpoint_spec.h"

#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/str.h"
#include "rpc/pb.h"

#define ADD "--add-endpoint"
#define SEGMENTS 6
#define OP(name) OPENSHELL__V1__POLICY_MERGE_OPERATION__OPERATION_##name

typedef Openshell__Sandbox__V1__NetworkBinary binary_doc;
typedef Openshell__Sandbox__V1__L7Rule allow_doc;
typedef Openshell__Sandbox__V1__L7DenyRule deny_doc;

struct segments {
    char *v[SEGMENTS];
    size_t n;
};

/* false when there are more than max or less than min. */
static bool split(struct os_arena *a, const char *text, size_t min, size_t max, struct segments *out)
{
    char *at = os_arena_strdup(a, text);
    *out = (struct segments){.n = 0};
    for (char *rest; at; at = rest) {
        if (out->n == max)
            return false;
        rest = strchr(at, ':');
        if (rest)
            *rest++ = '\0';
        out->v[out->n++] = at;
    }
    return out->n >= min;
}

static bool has_space(const char *s)
{
    return strpbrk(s, " \t\r\n\v\f") != NULL;
}

static bool one_of(const char *s, const char *a, const char *b, const char *c)
{
    return !strcmp(s, a) || !strcmp(s, b) || !strcmp(s, c);
}

static int check_place(const char *flag, const char *text, const char *host, const char *port,
                       uint32_t *number, struct os_error *err)
{
    uint64_t n = 0;
    if (!*host || !*port)
        return os_error_set(err, OS_INVALID_ARGUMENT, "%s has an empty %s segment in '%s'", flag,
                            *host ? "port" : "host", text);
    if (has_space(host))
        return os_error_set(err, OS_INVALID_ARGUMENT, "%s host must not contain whitespace in '%s'", flag,
                            text);
    if (strchr(host, '/'))
        return os_error_set(err, OS_INVALID_ARGUMENT, "%s host must not contain '/' in '%s'", flag, text);
    if (port[strspn(port, "0123456789")])
        return os_error_set(err, OS_INVALID_ARGUMENT,
                            "%s port segment must be a base-10 integer, got '%s' in '%s'", flag, port, text);
    if (!os_str_u64(port, UINT16_MAX, &n) || n == 0)
        return os_error_set(err, OS_INVALID_ARGUMENT,
                            "%s port must be in the range 1-65535, got '%s' in '%s'", flag, port, text);
    *number = (uint32_t)n;
    return 0;
}

/* --- --add-endpoint --- */

static int misplaced(const char *option, const char *protocols, const char *text, struct os_error *err)
{
    return os_error_set(err, OS_INVALID_ARGUMENT, ADD " option '%s' needs protocol %s in '%s'", option,
                        protocols, text);
}

static int add_address(struct os_arena *a, policy_endpoint_doc *ep, const char *address, const char *text,
                       struct os_error *err)
{
    if (!*address)
        return os_error_set(err, OS_INVALID_ARGUMENT, ADD " option 'allowed-ip' has no address in '%s'",
                            text);
    char **grown = os_arena_alloc(a, (ep->n_allowed_ips + 1) * sizeof(*grown));
    for (size_t i = 0; i < ep->n_allowed_ips; i++)
        grown[i] = ep->allowed_ips[i];
    grown[ep->n_allowed_ips++] = (char *)address;
    ep->allowed_ips = grown;
    return 0;
}

static int read_option(struct os_arena *a, policy_endpoint_doc *ep, const char *option, const char *text,
                       struct os_error *err)
{
    bool rest = !strcmp(ep->protocol, "rest");
    if (os_str_starts(option, "allowed-ip="))
        return add_address(a, ep, option + strlen("allowed-ip="), text, err);
    if (!strcmp(option, "allow-uninspected-credentials")) {
        ep->allow_uninspected_credentials = true;
    } else if (!strcmp(option, "websocket-credential-rewrite")) {
        if (!rest && strcmp(ep->protocol, "websocket") != 0)
            return misplaced(option, "'rest' or 'websocket'", text, err);
        ep->websocket_credential_rewrite = true;
    } else if (!strcmp(option, "request-body-credential-rewrite")) {
        if (!rest)
            return misplaced(option, "'rest'", text, err);
        ep->request_body_credential_rewrite = true;
    } else {
        return os_error_set(err, OS_INVALID_ARGUMENT,
                            ADD " option must be one of allow-uninspected-credentials, "
                                "websocket-credential-rewrite, request-body-credential-rewrite, or "
                                "allowed-ip=<CIDR-or-IP>; got '%s' in '%s'",
                            option, text);
    }
    return 0;
}

static int read_options(struct os_arena *a, policy_endpoint_doc *ep, char *options, const char *text,
                        struct os_error *err)
{
    for (char *at = options; at;) {
        char *comma = strchr(at, ',');
        if (comma)
            *comma++ = '\0';
        if (read_option(a, ep, os_str_trim(at), text, err) < 0)
            return -1;
        at = comma;
    }
    return 0;
}

static int check_words(const policy_endpoint_doc *ep, const char *text, struct os_error *err)
{
    if (*ep->access && !one_of(ep->access, "read-only", "read-write", "full"))
        return os_error_set(err, OS_INVALID_ARGUMENT,
                            ADD
                            " access segment must be one of read-only, read-write, or full; got '%s' in '%s'",
                            ep->access, text);
    if (*ep->protocol && strcmp(ep->protocol, "sql") != 0 &&
        !one_of(ep->protocol, "tcp", "rest", "websocket"))
        return os_error_set(
            err, OS_INVALID_ARGUMENT,
            ADD " protocol segment must be 'tcp', 'rest', 'websocket', or 'sql'; got '%s' in '%s'",
            ep->protocol, text);
    if (!strcmp(ep->protocol, "tcp") && (*ep->access || *ep->enforcement))
        return os_error_set(err, OS_INVALID_ARGUMENT,
                            ADD " protocol 'tcp' does not support access or enforcement in '%s'", text);
    if (*ep->enforcement && !*ep->protocol)
        return os_error_set(err, OS_INVALID_ARGUMENT, ADD " cannot set enforcement without protocol in '%s'",
                            text);
    if (*ep->enforcement && !one_of(ep->enforcement, "enforce", "audit", "audit"))
        return os_error_set(err, OS_INVALID_ARGUMENT,
                            ADD " enforcement segment must be 'enforce' or 'audit'; got '%s' in '%s'",
                            ep->enforcement, text);
    return 0;
}

policy_endpoint_doc *endpoint_spec_parse(struct os_arena *a, const char *text, struct os_error *err)
{
    struct segments s;
    if (!split(a, text, 2, SEGMENTS, &s)) {
        os_error_set(err, OS_INVALID_ARGUMENT,
                     ADD " expects host:port[:access[:protocol[:enforcement[:options]]]], got '%s'", text);
        return NULL;
    }
    policy_endpoint_doc *ep = pb_new(a, openshell__sandbox__v1__network_endpoint);
    ep->host = s.v[0];
    if (check_place(ADD, text, s.v[0], s.v[1], &ep->port, err) < 0)
        return NULL;
    ep->ports = os_arena_memdup(a, &ep->port, sizeof(ep->port));
    ep->n_ports = 1;
    ep->access = s.n > 2 ? s.v[2] : "";
    ep->protocol = s.n > 3 ? s.v[3] : "";
    ep->enforcement = s.n > 4 ? s.v[4] : "";
    if ((s.n == 3 && !*ep->access) || (s.n == SEGMENTS && !*s.v[5])) {
        os_error_set(err, OS_INVALID_ARGUMENT, ADD " has an empty %s segment in '%s'",
                     s.n == 3 ? "access" : "options", text);
        return NULL;
    }
    if (check_words(ep, text, err) < 0 || (s.n == SEGMENTS && read_options(a, ep, s.v[5], text, err) < 0))
        return NULL;
    return ep;
}

int endpoint_spec_parse_place(struct os_arena *a, const char *text, const char **host, uint32_t *port,
                              struct os_error *err)
{
    struct segments s;
    if (!split(a, text, 2, 2, &s))
        return os_error_set(err, OS_INVALID_ARGUMENT, "--remove-endpoint expects host:port, got '%s'", text);
    *host = s.v[0];
    return check_place("--remove-endpoint", text, s.v[0], s.v[1], port, err);
}

int request_spec_parse(struct os_arena *a, const char *flag, const char *text, struct request_spec *out,
                       struct os_error *err)
{
    struct segments s;
    if (!split(a, text, 4, 4, &s))
        return os_error_set(err, OS_INVALID_ARGUMENT, "%s expects host:port:METHOD:path_glob, got '%s'", flag,
                            text);
    *out = (struct request_spec){.host = s.v[0], .method = s.v[2], .path = s.v[3]};
    if (check_place(flag, text, s.v[0], s.v[1], &out->port, err) < 0)
        return -1;
    if (!*s.v[2] || !*s.v[3])
        return os_error_set(err, OS_INVALID_ARGUMENT, "%s has an empty %s segment in '%s'", flag,
                            *s.v[2] ? "path" : "METHOD", text);
    if (has_space(s.v[2]))
        return os_error_set(err, OS_INVALID_ARGUMENT, "%s METHOD must not contain whitespace in '%s'", flag,
                            text);
    if (s.v[3][0] != '/' && strcmp(s.v[3], "**") != 0 && !os_str_starts(s.v[3], "**/"))
        return os_error_set(err, OS_INVALID_ARGUMENT,
                            "%s path must start with '/' or be '**', got '%s' in '%s'", flag, s.v[3], text);
    for (char *p = s.v[2]; *p; p++)
        *p = *p >= 'a' && *p <= 'z' ? (char)(*p - 32) : *p;
    return 0;
}

/* --- operations --- */

struct build {
    struct os_arena *a;
    const struct update_flags *flags;
    struct update_operations *out;
    binary_doc **binaries;
    size_t n_binaries;
};

static policy_merge_op *add_op(struct build *b, int which)
{
    policy_merge_op *op = pb_new(b->a, openshell__v1__policy_merge_operation);
    op->operation_case = (Openshell__V1__PolicyMergeOperation__OperationCase)which;
    b->out->v[b->out->n++] = op;
    return op;
}

static int read_binaries(struct build *b, struct os_error *err)
{
    b->binaries = os_arena_alloc(b->a, b->flags->n_binary * sizeof(binary_doc *));
    for (size_t i = 0; i < b->flags->n_binary; i++) {
        binary_doc *binary = pb_new(b->a, openshell__sandbox__v1__network_binary);
        binary->path = os_str_trim(os_arena_strdup(b->a, b->flags->binary[i]));
        if (!*binary->path)
            return os_error_set(err, OS_INVALID_ARGUMENT, "--binary values must not be empty");
        bool there = false;
        for (size_t k = 0; k < b->n_binaries && !there; k++)
            there = !strcmp(b->binaries[k]->path, binary->path);
        if (!there)
            b->binaries[b->n_binaries++] = binary;
    }
    return 0;
}

static int add_endpoints(struct build *b, struct os_error *err)
{
    for (size_t i = 0; i < b->flags->n_add_endpoint; i++) {
        policy_endpoint_doc *ep = endpoint_spec_parse(b->a, b->flags->add_endpoint[i], err);
        if (!ep)
            return -1;
        const char *name = b->flags->rule_name ? os_str_trim(os_arena_strdup(b->a, b->flags->rule_name)) : "";
        if (b->flags->rule_name && !*name)
            return os_error_set(err, OS_INVALID_ARGUMENT, "--rule-name must not be empty");
        Openshell__V1__AddNetworkRule *add = pb_new(b->a, openshell__v1__add_network_rule);
        add->rule_name = *name ? (char *)name : policy_merge_rule_name(b->a, ep->host, ep->port);
        add->rule = pb_new(b->a, openshell__sandbox__v1__network_policy_rule);
        add->rule->name = add->rule_name;
        add->rule->endpoints = os_arena_memdup(b->a, &ep, sizeof(policy_endpoint_doc *));
        add->rule->n_endpoints = 1;
        add->rule->binaries = b->binaries;
        add->rule->n_binaries = b->n_binaries;
        add_op(b, OP(ADD_RULE))->add_rule = add;
    }
    return 0;
}

static int add_removals(struct build *b, struct os_error *err)
{
    for (size_t i = 0; i < b->flags->n_remove_endpoint; i++) {
        Openshell__V1__RemoveNetworkEndpoint *op = pb_new(b->a, openshell__v1__remove_network_endpoint);
        const char *host;
        if (endpoint_spec_parse_place(b->a, b->flags->remove_endpoint[i], &host, &op->port, err) < 0)
            return -1;
        op->host = (char *)host;
        add_op(b, OP(REMOVE_ENDPOINT))->remove_endpoint = op;
    }
    for (size_t i = 0; i < b->flags->n_remove_rule; i++) {
        Openshell__V1__RemoveNetworkRule *op = pb_new(b->a, openshell__v1__remove_network_rule);
        op->rule_name = os_str_trim(os_arena_strdup(b->a, b->flags->remove_rule[i]));
        if (!*op->rule_name)
            return os_error_set(err, OS_INVALID_ARGUMENT, "--remove-rule values must not be empty");
        add_op(b, OP(REMOVE_RULE))->remove_rule = op;
    }
    return 0;
}

static int by_place(const void *a, const void *b)
{
    const struct request_spec *x = a;
    const struct request_spec *y = b;
    int host = strcmp(x->host, y->host);
    return host ? host : x->port < y->port ? -1 : x->port > y->port;
}

/* list[0..n) of one host and port, as one operation. */
static void add_requests(struct build *b, const struct request_spec *list, size_t n, bool deny)
{
    if (deny) {
        Openshell__V1__AddDenyRules *op = pb_new(b->a, openshell__v1__add_deny_rules);
        op->host = (char *)list->host;
        op->port = list->port;
        op->deny_rules = os_arena_alloc(b->a, n * sizeof(deny_doc *));
        for (size_t i = 0; i < n; i++) {
            deny_doc *d = op->deny_rules[op->n_deny_rules++] =
                pb_new(b->a, openshell__sandbox__v1__l7_deny_rule);
            d->method = (char *)list[i].method;
            d->path = (char *)list[i].path;
        }
        add_op(b, OP(ADD_DENY_RULES))->add_deny_rules = op;
        return;
    }
    Openshell__V1__AddAllowRules *op = pb_new(b->a, openshell__v1__add_allow_rules);
    op->host = (char *)list->host;
    op->port = list->port;
    op->rules = os_arena_alloc(b->a, n * sizeof(allow_doc *));
    for (size_t i = 0; i < n; i++) {
        allow_doc *r = op->rules[op->n_rules++] = pb_new(b->a, openshell__sandbox__v1__l7_rule);
        r->allow = pb_new(b->a, openshell__sandbox__v1__l7_allow);
        r->allow->method = (char *)list[i].method;
        r->allow->path = (char *)list[i].path;
    }
    add_op(b, OP(ADD_ALLOW_RULES))->add_allow_rules = op;
}

/* Insertion keeps the order of the command line within a place. */
static void sort_requests(struct request_spec *list, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        struct request_spec one = list[i];
        size_t at = i;
        for (; at > 0 && by_place(&list[at - 1], &one) > 0; at--)
            list[at] = list[at - 1];
        list[at] = one;
    }
}

static int add_request_rules(struct build *b, bool deny, struct os_error *err)
{
    const char *const *texts = deny ? b->flags->add_deny : b->flags->add_allow;
    size_t n = deny ? b->flags->n_add_deny : b->flags->n_add_allow;
    struct request_spec *list = os_arena_alloc(b->a, n * sizeof(*list));
    for (size_t i = 0; i < n; i++) {
        if (request_spec_parse(b->a, deny ? "--add-deny" : "--add-allow", texts[i], &list[i], err) < 0)
            return -1;
    }
    sort_requests(list, n);
    for (size_t from = 0, to = 0; from < n; from = to) {
        while (to < n && by_place(&list[from], &list[to]) == 0)
            to++;
        add_requests(b, list + from, to - from, deny);
    }
    return 0;
}

static int check_together(const struct update_flags *f, struct os_error *err)
{
    const char *bad = NULL;
    if (!f->n_add_endpoint && f->n_binary)
        bad = "--binary can only be used with --add-endpoint";
    else if (!f->n_add_endpoint && f->rule_name)
        bad = "--rule-name can only be used with --add-endpoint";
    else if (f->n_add_endpoint > 1 && f->rule_name)
        bad = "--rule-name is only supported when exactly one --add-endpoint is provided";
    else if (!f->n_add_endpoint && !f->n_remove_endpoint && !f->n_remove_rule && !f->n_add_allow &&
             !f->n_add_deny)
        bad = "policy update requires at least one operation flag";
    return bad ? os_error_set(err, OS_INVALID_ARGUMENT, "%s", bad) : 0;
}

int update_flags_parse(struct os_arena *a, const struct update_flags *f, struct update_operations *out,
                       struct os_error *err)
{
    struct build b = {.a = a, .flags = f, .out = out};
    size_t max = f->n_add_endpoint + f->n_remove_endpoint + f->n_remove_rule + f->n_add_allow + f->n_add_deny;
    *out = (struct update_operations){.v = os_arena_alloc(a, max * sizeof(*out->v))};
    if (check_together(f, err) < 0 || read_binaries(&b, err) < 0 || add_endpoints(&b, err) < 0 ||
        add_removals(&b, err) < 0 || add_request_rules(&b, false, err) < 0)
        return -1;
    return add_request_rules(&b, true, err);
}
