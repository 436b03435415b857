/* Request headers as stages see and change them (spec/proxy.md 13.3, 13.4). */
#include <string.h>

#include "core/cleanup.h"
#include "core/limits.h"
#include "core/str.h"
#include "net/http1/chars.h"
#include "supervisor/egress/middleware/result.h"

#define WRITABLE "x-openshell-middleware-"

static bool in_list(struct http1_text name, const char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (http1_text_is_nocase(name, list[i]))
            return true;
    return false;
}

static bool starts(struct http1_text name, const char *prefix)
{
    size_t n = strlen(prefix);
    return name.n >= n && !strncasecmp(name.p, prefix, n);
}

/* Credentials and what frames or routes the message. */
static bool is_reserved(struct http1_text name)
{
    static const char *const names[] = {
        "authorization", "proxy-authorization", "proxy-authenticate", "cookie", "host", "content-length"};
    return in_list(name, names, OS_ARRAY_LEN(names)) || starts(name, "x-amz-") ||
           starts(name, "x-openshell-credential");
}

static bool is_hop(const struct http1_head *head, struct http1_text name)
{
    static const char *const names[] = {
        "transfer-encoding", "connection", "proxy-connection", "keep-alive", "te", "trailer", "upgrade"};
    const struct http1_field f = {.name = name};
    return in_list(name, names, OS_ARRAY_LEN(names)) || http1_is_hop_field(head, &f);
}

bool middleware_field_is_protected(const struct http1_head *head, struct http1_text name)
{
    return is_reserved(name) || is_hop(head, name);
}

static char *lower_copy(struct os_arena *arena, struct http1_text t)
{
    return os_str_lower(os_arena_strndup(arena, t.p, t.n));
}

void middleware_visible_headers(const struct http1_head *head, struct os_arena *arena, mw_request *out)
{
    out->headers = os_arena_alloc(arena, (head->n_fields + 1) * sizeof(*out->headers));
    out->n_headers = 0;
    for (size_t i = 0; i < head->n_fields; i++) {
        const struct http1_field *f = &head->fields[i];
        if (middleware_field_is_protected(head, f->name))
            continue;
        mw_header *h = os_arena_alloc(arena, sizeof(*h));
        openshell__middleware__v1__http_header__init(h);
        h->name = lower_copy(arena, f->name);
        h->value = os_arena_strndup(arena, f->value.p, f->value.n);
        out->headers[out->n_headers++] = h;
    }
}

/* --- mutations --- */

static void drop(struct http1_head *h, struct http1_text name)
{
    size_t kept = 0;
    for (size_t i = 0; i < h->n_fields; i++)
        if (h->fields[i].name.n != name.n || strncasecmp(h->fields[i].name.p, name.p, name.n) != 0)
            h->fields[kept++] = h->fields[i];
    h->n_fields = kept;
}

static const char *check_name(const struct http1_head *head, struct http1_text name)
{
    if (!http1_is_token(name))
        return "header_mutation_invalid_name";
    if (is_reserved(name))
        return "header_mutation_protected_header";
    return is_hop(head, name) ? "header_mutation_hop_by_hop_header" : NULL;
}

static bool is_safe(const char *value)
{
    for (; *value; value++) {
        unsigned char c = (unsigned char)*value;
        if (c != '\t' && (c < 0x20 || c == 0x7f))
            return false;
    }
    return true;
}

static const char *write_field(const struct http1_head *head, const Openshell__Middleware__V1__WriteHeader *w,
                               struct os_arena *arena, struct http1_head *h)
{
    struct http1_text name = {w->name, strlen(w->name)};
    const char *failure = check_name(head, name);
    if (failure)
        return failure;
    if (!starts(name, WRITABLE) || name.n == strlen(WRITABLE))
        return "header_mutation_write_namespace";
    if (!is_safe(w->value))
        return "header_mutation_unsafe_value";
    char *lower = lower_copy(arena, name);
    switch (w->on_existing) {
    case OPENSHELL__MIDDLEWARE__V1__EXISTING_HEADER_ACTION__EXISTING_HEADER_ACTION_APPEND:
        break;
    case OPENSHELL__MIDDLEWARE__V1__EXISTING_HEADER_ACTION__EXISTING_HEADER_ACTION_OVERWRITE:
        drop(h, name);
        break;
    case OPENSHELL__MIDDLEWARE__V1__EXISTING_HEADER_ACTION__EXISTING_HEADER_ACTION_SKIP:
        if (http1_find(h, lower, NULL))
            return NULL;
        break;
    case OPENSHELL__MIDDLEWARE__V1__EXISTING_HEADER_ACTION__EXISTING_HEADER_ACTION_UNSPECIFIED:
        return "header_mutation_missing_existing_action";
    default:
        return "header_mutation_unsupported_existing_action";
    }
    if (h->n_fields == OS_HTTP1_FIELDS)
        return "header_mutation_count_over_capacity";
    const char *value = os_arena_strdup(arena, w->value);
    h->fields[h->n_fields++] =
        (struct http1_field){{lower, name.n}, http1_trim((struct http1_text){value, strlen(value)})};
    return NULL;
}

static const char *apply(const struct http1_head *head, const mw_mutation *m, struct os_arena *arena,
                         struct http1_head *h)
{
    if (m->operation_case == OPENSHELL__MIDDLEWARE__V1__HEADER_MUTATION__OPERATION_WRITE && m->write)
        return write_field(head, m->write, arena, h);
    if (m->operation_case != OPENSHELL__MIDDLEWARE__V1__HEADER_MUTATION__OPERATION_REMOVE || !m->remove)
        return "header_mutation_empty";
    struct http1_text name = {m->remove->name, strlen(m->remove->name)};
    const char *failure = check_name(head, name);
    if (!failure)
        drop(h, name);
    return failure;
}

static const char *check_size(mw_mutation *const *list, size_t n)
{
    size_t text = 0, encoded = 0;
    if (n > OS_MIDDLEWARE_MUTATIONS)
        return "header_mutation_count_over_capacity";
    for (size_t i = 0; i < n; i++) {
        const mw_mutation *m = list[i];
        encoded += protobuf_c_message_get_packed_size(&m->base);
        if (m->operation_case == OPENSHELL__MIDDLEWARE__V1__HEADER_MUTATION__OPERATION_WRITE && m->write)
            text += strlen(m->write->name) + strlen(m->write->value);
        else if (m->operation_case == OPENSHELL__MIDDLEWARE__V1__HEADER_MUTATION__OPERATION_REMOVE &&
                 m->remove)
            text += strlen(m->remove->name);
    }
    return text > OS_MIDDLEWARE_MUTATION_TEXT || encoded > OS_MIDDLEWARE_MUTATION_BYTES
               ? "header_mutation_bytes_over_capacity"
               : NULL;
}

const char *middleware_mutate(const struct http1_head *head, mw_mutation *const *list, size_t n,
                              struct os_arena *arena, const struct http1_head **out)
{
    *out = head;
    if (!n)
        return NULL;
    const char *failure = check_size(list, n);
    if (failure)
        return failure;
    struct http1_head *h = os_arena_memdup(arena, head, sizeof(*h));
    for (size_t i = 0; i < n && !failure; i++)
        failure = apply(head, list[i], arena, h);
    if (!failure)
        *out = h;
    return failure;
}
