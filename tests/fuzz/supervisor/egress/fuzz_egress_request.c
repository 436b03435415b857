/* A request head on its way upstream: what is written is again one well-formed head, framed like the one that
 * was judged, in canonical form, with one Host and no hop field. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "supervisor/egress/internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
    if (!ok)
        abort();
}

static void check(struct egress_request *r, bool forward)
{
    static struct egress_conn again;
    again.egress = r->conn->egress;
    const struct http1_head *in = &r->conn->head, *out = &again.head;
    size_t seen = 0;
    request_write_head(r, forward, "host.test");
    must(http1_head_end(r->out.data, r->out.len, &seen) == r->out.len);
    /* The canonical form and the added fields may take the head over a limit, never make it malformed. */
    if (in->n_fields + 2 > OS_HTTP1_FIELDS)
        return;
    must(http1_parse_request(r->out.data, r->out.len, &again.head, NULL) == 0);
    must(out->framing == in->framing && out->length == in->length && out->minor == in->minor);
    must(!http1_find(out, "connection", NULL) && !http1_find(out, "upgrade", NULL));
    if (forward) {
        const struct http1_field *host = http1_find(out, "host", NULL);
        must(host && http1_text_is(host->value, "host.test") && !http1_find(out, "host", host));
    }
    struct os_arena cleanup_arena arena = {0};
    struct egress_request second = {.conn = &again, .arena = &arena, .head = &again.head};
    if (request_parse(&second, NULL) == 0)
        must(!strcmp(second.path, r->path));
    else
        must(strlen(r->path) >= 1000); /* only its length can be against it */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct egress e;
    static struct egress_conn c = {.egress = &e};
    struct os_arena cleanup_arena arena = {0};
    if (!e.secrets)
        egress_set_secrets(&e, NULL, NULL);
    const char *p = (const char *)data;
    size_t seen = 0, n = http1_head_end(p, size, &seen);
    if (!n || http1_parse_request(p, n, &c.head, NULL) < 0)
        return 0;
    struct egress_request r = {.conn = &c, .arena = &arena, .head = &c.head};
    r.method = os_arena_strndup(&arena, c.head.method.p, c.head.method.n);
    if (request_parse(&r, NULL) == 0) {
        check(&r, false);
        os_buf_clear(&r.out);
        check(&r, true);
    }
    request_free(&r);
    return 0;
}
