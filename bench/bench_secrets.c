/* Speed of the secret scanner on an upload: megabytes per second of processor time over random bytes, base64
 * and source text, in pieces as they come from TLS. Usage: bench_secrets [MEGABYTES]. Exit 1 when something
 * was found. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/buf.h"
#include "core/cleanup.h"
#include "core/encode.h"
#include "supervisor/egress/credentials/scan.h"

#define PIECE 16384

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void on_hit(void *ctx, const struct secret_hit *hit)
{
    ++*(unsigned *)ctx;
}

static void fill_random(struct os_buf *out, size_t n)
{
    uint64_t x = 88172645463325252;
    while (out->len + 8 <= n) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        os_buf_add(out, &x, sizeof(x));
    }
}

/* Code and JSON have many more words that look like the beginning of something. */
static void fill_text(struct os_buf *out, size_t n)
{
    static const char *const lines[] = {
        "static int parse_token(struct parser *p, const char *secret, size_t n)\n",
        "    return json_object_set_new(body, \"next_page_token\", json_string(\"\"));\n",
        "{\"id\": 4711, \"name\": \"task-list\", \"api_key_id\": null, \"labels\": [\"password reset\"]}\n",
        "the quick brown fox jumps over the lazy dog, again and again, until the paragraph ends here.\n",
        "-----------------------------------------------------------------------------\n",
    };
    for (size_t i = 0; out->len + 128 < n; i++)
        os_buf_adds(out, lines[i % OS_ARRAY_LEN(lines)]);
}

static double measure(const struct secret_rules *r, const struct os_buf *body, size_t rounds, unsigned *hits)
{
    static char work[PIECE + SECRET_ROOM];
    struct secret_view v;
    struct secret_scan s;
    char *out;
    secret_view_init(&v, r, "upload.test");
    secret_scan_init(&s, &v, on_hit, hits);
    double start = now_s();
    for (size_t i = 0; i < rounds; i++)
        for (size_t at = 0; at < body->len; at += PIECE)
            secret_scan_feed(&s, body->data + at, body->len - at < PIECE ? body->len - at : PIECE, false,
                             work, &out);
    return (double)(rounds * body->len) / (now_s() - start) / 1e6;
}

int main(int argc, char **argv)
{
    size_t megabytes = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000, n = (size_t)4 << 20;
    cleanup_buf struct os_buf raw = {0}, base64 = {0}, text = {0};
    const struct secret_options opt = {.mode = SECRET_ENFORCE};
    struct secret_rules *r = secret_rules_new(&opt, NULL);
    unsigned hits = 0;
    fill_random(&raw, n);
    os_base64_encode(&base64, raw.data, raw.len);
    fill_text(&text, n);
    size_t rounds = megabytes / 4 ? megabytes / 4 : 1;
    printf("secret scan: random %.0f MB/s, base64 %.0f MB/s, text %.0f MB/s\n",
           measure(r, &raw, rounds, &hits), measure(r, &base64, rounds, &hits),
           measure(r, &text, rounds, &hits));
    secret_rules_unref(r);
    return hits != 0;
}
