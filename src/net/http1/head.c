/* HTTP/1 heads: start line and fields, and the body framing they declare. */
#include "net/http1/http1.h"

#include <string.h>

#include "core/str.h"
#include "net/http1/chars.h"

size_t http1_head_end(const char *p, size_t n, size_t *seen)
{
    size_t from = *seen > 3 ? *seen - 3 : 0;
    const char *end = n > from ? memmem(p + from, n - from, "\r\n\r\n", 4) : NULL;
    *seen = n;
    return end ? (size_t)(end - p) + 4 : 0;
}

static int refuse(struct os_error *err, const char *what)
{
    return os_error_set(err, OS_INVALID_ARGUMENT, "%s", what);
}

/* Cuts the next line off *rest; false when a bare CR or LF stands in it. */
static bool next_line(struct http1_text *rest, struct http1_text *line)
{
    const char *lf = memchr(rest->p, '\n', rest->n);
    if (!lf || lf == rest->p || lf[-1] != '\r')
        return false;
    *line = (struct http1_text){rest->p, (size_t)(lf - rest->p) - 1};
    rest->n -= line->n + 2;
    rest->p = lf + 1;
    return !memchr(line->p, '\r', line->n);
}

static bool parse_version(struct http1_text t, int *minor)
{
    if (t.n != 8 || memcmp(t.p, "HTTP/1.", 7) || (t.p[7] != '0' && t.p[7] != '1'))
        return false;
    *minor = t.p[7] - '0';
    return true;
}

static int parse_request_line(struct http1_text line, struct http1_head *h, struct os_error *err)
{
    const char *a = memchr(line.p, ' ', line.n);
    if (!a)
        return refuse(err, "malformed request line");
    h->method = (struct http1_text){line.p, (size_t)(a - line.p)};
    size_t left = line.n - h->method.n - 1;
    const char *b = memchr(a + 1, ' ', left);
    if (!b)
        return refuse(err, "malformed request line");
    h->target = (struct http1_text){a + 1, (size_t)(b - a) - 1};
    if (!http1_is_token(h->method))
        return refuse(err, "method is not a token");
    if (!h->target.n)
        return refuse(err, "empty request target");
    for (size_t i = 0; i < h->target.n; i++)
        if ((unsigned char)h->target.p[i] <= 0x20 || h->target.p[i] == 0x7f)
            return refuse(err, "control byte in the request target");
    if (!parse_version((struct http1_text){b + 1, left - h->target.n - 1}, &h->minor))
        return refuse(err, "version is neither HTTP/1.0 nor HTTP/1.1");
    return 0;
}

static int parse_status_line(struct http1_text line, struct http1_head *h, struct os_error *err)
{
    if (line.n < 12 || !parse_version((struct http1_text){line.p, 8}, &h->minor) || line.p[8] != ' ')
        return refuse(err, "malformed status line");
    uint64_t status;
    if (!os_str_u64n(line.p + 9, 3, 999, &status) || status < 100 || (line.n > 12 && line.p[12] != ' '))
        return refuse(err, "malformed status line");
    for (size_t i = 12; i < line.n; i++)
        if (!http1_is_value_byte((unsigned char)line.p[i]))
            return refuse(err, "control byte in the status line");
    h->status = (int)status;
    return 0;
}

static int parse_field(struct http1_text line, struct http1_field *f, struct os_error *err)
{
    if (line.p[0] == ' ' || line.p[0] == '\t')
        return refuse(err, "folded header line");
    const char *colon = memchr(line.p, ':', line.n);
    if (!colon)
        return refuse(err, "header line without ':'");
    f->name = (struct http1_text){line.p, (size_t)(colon - line.p)};
    if (!http1_is_token(f->name))
        return refuse(err, "header name is not a token");
    f->value = http1_trim((struct http1_text){colon + 1, line.n - f->name.n - 1});
    for (size_t i = 0; i < f->value.n; i++)
        if (!http1_is_value_byte((unsigned char)f->value.p[i]))
            return refuse(err, "control byte in a header value");
    return 0;
}

static int read_content_length(struct http1_head *h, struct http1_text value, bool *have,
                               struct os_error *err)
{
    uint64_t length;
    if (!value.n || !os_str_u64n(value.p, value.n, INT64_MAX, &length))
        return refuse(err, "Content-Length is not a number");
    if (*have && length != h->length)
        return refuse(err, "Content-Length fields differ");
    h->length = length;
    *have = true;
    return 0;
}

/* Content-Length and Transfer-Encoding of all fields together (spec/proxy.md 3.2). */
static int parse_framing(struct http1_head *h, struct os_error *err)
{
    bool length = false, chunked = false;
    for (size_t i = 0; i < h->n_fields; i++) {
        const struct http1_field *f = &h->fields[i];
        if (http1_text_is_nocase(f->name, "content-length")) {
            if (read_content_length(h, f->value, &length, err) < 0)
                return -1;
        } else if (http1_text_is_nocase(f->name, "transfer-encoding")) {
            if (chunked || !http1_text_is_nocase(f->value, "chunked"))
                return refuse(err, "Transfer-Encoding is not exactly chunked");
            chunked = true;
        }
    }
    if (length && chunked)
        return refuse(err, "both Content-Length and Transfer-Encoding");
    if (chunked && h->minor == 0)
        return refuse(err, "Transfer-Encoding in HTTP/1.0");
    h->framing = chunked ? HTTP1_CHUNKED : length ? HTTP1_LENGTH : HTTP1_NO_BODY;
    return 0;
}

static int check_connection(const struct http1_head *h, struct os_error *err)
{
    static const char *const kept[] = {"host", "content-length", "transfer-encoding"};
    const struct http1_field *f = NULL;
    while ((f = http1_find(h, "connection", f))) {
        struct http1_text rest = f->value, option;
        do {
            http1_list_next(&rest, &option);
            if (!http1_is_token(option))
                return refuse(err, "Connection option is not a token");
            for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
                if (http1_text_is_nocase(option, kept[i]))
                    return refuse(err, "Connection nominates a header that frames the message");
        } while (rest.p);
    }
    return 0;
}

static int parse_head(const char *p, size_t n, bool request, struct http1_head *h, struct os_error *err)
{
    h->n_fields = 0;
    h->status = 0;
    h->length = 0;
    h->method = h->target = (struct http1_text){p, 0};
    if (n < 4 || memcmp(p + n - 4, "\r\n\r\n", 4))
        return refuse(err, "head does not end in an empty line");
    if (request && !os_utf8_valid(p, n))
        return refuse(err, "head is not UTF-8");
    struct http1_text rest = {p, n - 2}, line;
    if (!next_line(&rest, &line))
        return refuse(err, "bare CR or LF in the head");
    if (request ? parse_request_line(line, h, err) : parse_status_line(line, h, err))
        return -1;
    while (rest.n) {
        if (!next_line(&rest, &line))
            return refuse(err, "bare CR or LF in the head");
        if (!line.n)
            return refuse(err, "empty line inside the head");
        if (h->n_fields == OS_HTTP1_FIELDS)
            return refuse(err, "too many header fields");
        if (parse_field(line, &h->fields[h->n_fields], err) < 0)
            return -1;
        h->n_fields++;
    }
    if (parse_framing(h, err) < 0)
        return -1;
    return request ? check_connection(h, err) : 0;
}

int http1_parse_request(const char *p, size_t n, struct http1_head *h, struct os_error *err)
{
    return parse_head(p, n, true, h, err);
}

int http1_parse_response(const char *p, size_t n, struct http1_head *h, struct os_error *err)
{
    return parse_head(p, n, false, h, err);
}
