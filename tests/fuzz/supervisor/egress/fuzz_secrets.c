/* What passes in pieces is what passes whole: the same secrets are found, no byte is lost or changed but
 * those that are redacted, and what was blocked has not gone. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/cleanup.h"
#include "supervisor/egress/credentials/forms.h"
#include "supervisor/egress/credentials/placeholder.h"

#define CHECK(x)                                                                                             \
    do {                                                                                                     \
        if (!(x))                                                                                            \
            abort();                                                                                         \
    } while (0)

/* Bytes of the longest prefix: one that comes to nothing may have gone, and hold the start of a secret
 * without one. */
#define PREFIX 16

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
    unsigned certain, hints;
    char last[2][SECRET_FINGERPRINT]; /* of hints, of certain ones */
    size_t secret; /* where the first certain one begins behind its prefix, in a whole text */
};

static void on_hit(void *ctx, const struct secret_hit *hit)
{
    struct seen *s = ctx;
    if (hit->certain && !s->certain++)
        s->secret = hit->from + hit->plain;
    s->hints += !hit->certain;
    CHECK(hit->plain <= hit->n);
    memcpy(s->last[hit->certain], hit->fingerprint, sizeof(s->last[0]));
}

static void on_form(void *ctx, const struct secret_hit *hit, enum secret_form form)
{
    on_hit(ctx, hit);
}

static struct secret_rules *rules_for(enum secret_mode mode)
{
    static const struct secret_known known[] = {{"known", "a known text", ""},
                                                {"other", "ghp_with_more", ""}};
    const struct secret_options opt = {.mode = mode, .known = known, .n_known = 2, .allow = "jwt@b.test"};
    return secret_rules_new(&opt, NULL);
}

/* True when it was blocked. */
static bool feed(struct secret_rules *r, const char *text, size_t n, size_t piece, char *out, size_t *got,
                 struct seen *seen)
{
    struct secret_view v;
    struct secret_scan s;
    char work[SECRET_ROOM + 4096], *go;
    *seen = (struct seen){0};
    *got = 0;
    secret_view_init(&v, r, "a.test");
    secret_scan_init(&s, &v, on_hit, seen);
    for (size_t i = 0; i < n; i += piece) {
        size_t ready = secret_scan_feed(&s, text + i, n - i < piece ? n - i : piece, false, work, &go);
        CHECK(*got + ready <= n);
        for (int k = 0; k < SCAN_PASSES; k++)
            CHECK(s.pass[k].n_carry <= SECRET_CARRY && s.pass[k].n_before <= SECRET_BEFORE);
        memcpy(out + *got, go, ready);
        *got += ready;
    }
    size_t ready = secret_scan_feed(&s, NULL, 0, true, work, &go);
    memcpy(out + *got, go, ready);
    *got += ready;
    return s.blocked;
}

/* Bytes that stand for what chance would hardly put together. */
static void expand(const uint8_t *data, size_t n, struct os_buf *out)
{
    out->max = 4000;
    for (size_t i = 0; i < n; i++) {
        if (data[i] == 0xfe && i + 1 < n)
            os_buf_adds(out, shapes[data[++i] % shapes_n].prefix);
        else if (data[i] == 0xfd && i + 1 < n)
            os_buf_addf(out, "%.*s", 20 + data[++i] % 60,
                        "a8Kd0Lq7Zx3Vn5Bt2Ym9Wp4Rc6Ej1Uh8Sg0FiTo5Pa2Df7Gh9Jk3Lz6Xc1Vb8Nm4Qw0Er5Ty2Ui7");
        else if (data[i] == 0xfc)
            os_buf_adds(out, "PRIVATE KEY-----\n");
        else
            os_buf_addc(out, (char)data[i]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > 4096)
        return 0;
    static struct secret_rules *audit, *enforce, *redact;
    if (!audit) {
        audit = rules_for(SECRET_AUDIT);
        enforce = rules_for(SECRET_ENFORCE);
        redact = rules_for(SECRET_REDACT);
    }
    cleanup_buf struct os_buf input = {0};
    expand(data + 1, size - 1, &input);
    const char *text = os_buf_str(&input);
    size_t n = input.len, piece = 1 + data[0] % 97, got;
    cleanup_free char *out = malloc(n + 1);
    struct seen whole, cut;
    CHECK(!feed(audit, text, n, n + 1, out, &got, &whole));
    CHECK(got == n && memcmp(out, text, n) == 0);
    CHECK(!feed(audit, text, n, piece, out, &got, &cut));
    CHECK(got == n && memcmp(out, text, n) == 0);
    CHECK(whole.certain == cut.certain && whole.hints == cut.hints &&
          !memcmp(whole.last, cut.last, sizeof(whole.last)));
    bool blocked = feed(enforce, text, n, piece, out, &got, &cut);
    CHECK(blocked == (whole.certain > 0));
    CHECK(got <= n && memcmp(out, text, got) == 0 && (blocked || got == n));
    struct secret_view here;
    struct seen placed = {0};
    secret_view_init(&here, enforce, "a.test");
    secret_text_scan(&here, text, n, on_hit, &placed);
    CHECK(placed.certain == whole.certain && (!blocked || got <= placed.secret + PREFIX));
    CHECK(!feed(redact, text, n, piece, out, &got, &cut));
    CHECK(got == n && cut.certain == whole.certain);
    for (size_t i = 0; i < n; i++)
        CHECK(out[i] == text[i] || out[i] == '*');
    struct secret_view v;
    struct seen forms = {0};
    secret_view_init(&v, audit, "b.test");
    secret_forms_scan(&v, text, n, true, on_form, &forms);
    secret_basic_scan(&v, text, n, on_form, &forms);
    struct os_arena cleanup_arena arena = {0};
    memcpy(out, text, n);
    out[n] = '\0';
    struct placeholder p;
    CHECK(!placeholder_find(placeholder_redact(&arena, out, NULL), 0, 0, &p));
    return 0;
}
