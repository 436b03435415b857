/* Field sections of HTTP/2, brought into the form that HTTP/1 heads have, with the same limits (RFC 9113 8.2,
 * 8.3). What passes here is judged by the same code. */
#include <string.h>

#include "core/str.h"
#include "net/http1/chars.h"
#include "supervisor/egress/l7/h2.h"

#define FIELD_OVERHEAD 32 /* RFC 9113 6.5.2 */

void h2_section_free(struct h2_section *s)
{
    os_arena_free(&s->arena);
    *s = (struct h2_section){0};
}

static struct http1_head *head_of(struct h2_section *s)
{
    if (!s->head) {
        s->head = os_arena_alloc(&s->arena, sizeof(*s->head));
        s->head->minor = 1;
    }
    return s->head;
}

static struct http1_text copy(struct h2_section *s, const char *p, size_t n)
{
    return (struct http1_text){os_arena_strndup(&s->arena, p, n), n};
}

static void add_pseudo(struct h2_section *s, struct http1_text name, struct http1_text value)
{
    struct http1_head *h = head_of(s);
    uint64_t status = 0;
    if (http1_text_is(name, ":method"))
        h->method = value;
    else if (http1_text_is(name, ":path"))
        h->target = value;
    else if (http1_text_is(name, ":scheme"))
        s->scheme = value;
    else if (http1_text_is(name, ":authority"))
        s->authority = value;
    else if (http1_text_is(name, ":status") && os_str_u64n(value.p, value.n, 999, &status))
        h->status = (int)status;
    else
        s->odd = true;
}

void h2_section_add(struct h2_section *s, const char *name, size_t name_len, const char *value,
                    size_t value_len)
{
    struct http1_head *h = head_of(s);
    s->size += name_len + value_len + FIELD_OVERHEAD;
    if (s->size > OS_PROXY_HEADER || h->n_fields == OS_HTTP1_FIELDS)
        s->too_long = true;
    if (s->too_long)
        return;
    struct http1_text n = copy(s, name, name_len), v = copy(s, value, value_len);
    if (name_len && name[0] == ':')
        add_pseudo(s, n, v);
    else
        h->fields[h->n_fields++] = (struct http1_field){n, http1_trim(v)};
}

static int refuse(struct os_error *err, const char *what)
{
    return os_error_set(err, OS_INVALID_ARGUMENT, "%s", what);
}

static bool is_text(struct http1_text t)
{
    if (!os_utf8_valid(t.p, t.n))
        return false;
    for (size_t i = 0; i < t.n; i++)
        if (!http1_is_value_byte((unsigned char)t.p[i]))
            return false;
    return true;
}

/* RFC 9113 8.2.2 */
static bool is_connection_field(const struct http1_field *f)
{
    static const char *const names[] = {"connection", "keep-alive", "proxy-connection", "transfer-encoding",
                                        "upgrade"};
    for (size_t i = 0; i < OS_ARRAY_LEN(names); i++)
        if (http1_text_is(f->name, names[i]))
            return true;
    return http1_text_is(f->name, "te") && !http1_text_is_nocase(f->value, "trailers");
}

static int check_field(const struct http1_field *f, struct os_error *err)
{
    if (!http1_is_token(f->name))
        return refuse(err, "header name is not a token");
    for (size_t i = 0; i < f->name.n; i++)
        if (f->name.p[i] >= 'A' && f->name.p[i] <= 'Z')
            return refuse(err, "header name is not in lower case");
    if (!is_text(f->value))
        return refuse(err, "header value is not UTF-8 or has a control byte");
    if (is_connection_field(f))
        return refuse(err, "connection-specific header field in HTTP/2");
    return 0;
}

static int parse_length(struct http1_head *h, bool ended, struct os_error *err)
{
    const struct http1_field *f = http1_find(h, "content-length", NULL);
    h->framing = ended ? HTTP1_NO_BODY : f ? HTTP1_LENGTH : HTTP1_CHUNKED;
    if (!f)
        return 0;
    if (http1_find(h, "content-length", f))
        return refuse(err, "several Content-Length fields");
    if (!f->value.n || !os_str_u64n(f->value.p, f->value.n, INT64_MAX, &h->length))
        return refuse(err, "Content-Length is not a number");
    if (ended && h->length)
        return refuse(err, "Content-Length of a request without a body");
    return 0;
}

/* :authority stands for Host; a Host that says the same is left out (RFC 9113 8.3.1). */
static int put_host(struct h2_section *s, struct os_error *err)
{
    struct http1_head *h = s->head;
    const struct http1_field *host = http1_find(h, "host", NULL);
    if (!s->authority.n)
        return 0;
    if (host && host->value.n == s->authority.n &&
        !strncasecmp(host->value.p, s->authority.p, s->authority.n))
        return 0;
    if (h->n_fields == OS_HTTP1_FIELDS)
        return refuse(err, "too many header fields");
    h->fields[h->n_fields++] = (struct http1_field){copy(s, "host", 4), s->authority};
    return 0;
}

static int check_pseudo(const struct h2_section *s, const char *scheme, struct os_error *err)
{
    const struct http1_head *h = s->head;
    if (s->odd || h->status)
        return refuse(err, "unknown pseudo-header");
    if (!http1_is_token(h->method))
        return refuse(err, "method is not a token");
    if (http1_text_is(h->method, "CONNECT"))
        return refuse(err, "CONNECT inside a tunnel");
    if (!http1_text_is(s->scheme, scheme))
        return refuse(err, ":scheme is not that of the tunnel");
    if (!h->target.n || h->target.p[0] != '/')
        return refuse(err, ":path is not an absolute path");
    for (size_t i = 0; i < h->target.n; i++)
        if ((unsigned char)h->target.p[i] <= 0x20 || h->target.p[i] == 0x7f)
            return refuse(err, "control byte in the request target");
    if (!os_utf8_valid(h->target.p, h->target.n) || !is_text(s->authority))
        return refuse(err, "head is not UTF-8");
    return 0;
}

int h2_request_head(struct h2_section *s, const char *scheme, bool ended, struct os_error *err)
{
    const struct http1_head *h = head_of(s);
    if (s->too_long)
        return os_error_set(err, OS_OUT_OF_RANGE, "request head is longer than %d bytes or %d fields",
                            OS_PROXY_HEADER, OS_HTTP1_FIELDS);
    if (check_pseudo(s, scheme, err) < 0)
        return -1;
    for (size_t i = 0; i < h->n_fields; i++)
        if (check_field(&h->fields[i], err) < 0)
            return -1;
    return parse_length(s->head, ended, err) < 0 ? -1 : put_host(s, err);
}

int h2_response_head(struct h2_section *s, struct os_error *err)
{
    const struct http1_head *h = head_of(s);
    if (s->too_long)
        return os_error_set(err, OS_OUT_OF_RANGE, "response head is longer than %d bytes or %d fields",
                            OS_PROXY_HEADER, OS_HTTP1_FIELDS);
    if (s->odd || h->status < 100 || h->status == 101)
        return refuse(err, "malformed response status");
    return 0;
}
