/* Request heads: no crash, views stay inside the input, and what was accepted holds its promises. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "net/http1/http1.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void inside(struct http1_text t, const char *p, size_t n)
{
    if (t.n && (t.p < p || t.p + t.n > p + n))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *p = (const char *)data;
    size_t seen = 0, n = http1_head_end(p, size, &seen);
    static struct http1_head h;
    if (!n || http1_parse_request(p, n, &h, NULL) < 0)
        return 0;
    inside(h.method, p, n);
    inside(h.target, p, n);
    size_t hop = 0;
    for (size_t i = 0; i < h.n_fields; i++) {
        inside(h.fields[i].name, p, n);
        inside(h.fields[i].value, p, n);
        if (memchr(h.fields[i].value.p, '\n', h.fields[i].value.n))
            abort();
        hop += http1_is_hop_field(&h, &h.fields[i]);
    }
    if (hop && !http1_find(&h, "connection", NULL) && !http1_find(&h, "upgrade", NULL))
        abort();
    struct http1_authority a;
    struct http1_text scheme, authority = h.target, rest;
    if (http1_split_absolute(h.target, &scheme, &authority, &rest))
        inside(rest, p, n);
    if (http1_parse_authority(authority, &a) && (!a.host[0] || strpbrk(a.host, " /@?#")))
        abort();
    return 0;
}
