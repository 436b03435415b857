/* Decoding is lenient: what a forgiving reader would find counts. */
#include "supervisor/egress/credentials/forms.h"

#include <string.h>
#include <strings.h>

#include "core/buf.h"
#include "core/cleanup.h"
#include "core/encode.h"
#include "core/limits.h"

#define BASE64_MIN 24 /* bytes of a run that are worth decoding */
#define TOLD 8        /* secrets of one text that are told apart */

struct forms {
    const struct secret_view *view;
    secret_form_fn *hit;
    void *ctx;
    enum secret_form form;
    char told[TOLD][SECRET_FINGERPRINT];
    size_t n_told;
};

static void on_hit(void *ctx, const struct secret_hit *hit)
{
    struct forms *f = ctx;
    for (size_t i = 0; i < f->n_told; i++)
        if (f->form != SECRET_PLAIN && !strcmp(f->told[i], hit->fingerprint))
            return;
    if (f->n_told < TOLD)
        memcpy(f->told[f->n_told++], hit->fingerprint, sizeof(f->told[0]));
    f->hit(f->ctx, hit, f->form);
}

static void scan(struct forms *f, enum secret_form form, const char *p, size_t n)
{
    f->form = form;
    secret_text_scan(f->view, p, n, on_hit, f);
}

static bool is_base64(char c)
{
    return (shape_byte(SHAPE_BASE64 | SHAPE_TOKEN, (unsigned char)c)) && c != '%' && c != '=';
}

static void scan_runs(struct forms *f, const char *p, size_t n)
{
    cleanup_buf struct os_buf text = {.max = OS_PROXY_HEADER};
    for (size_t i = 0; i < n;) {
        size_t end = i;
        while (end < n && is_base64(p[end]))
            end++;
        for (size_t shift = 0; shift < 4 && end - i >= BASE64_MIN; shift++) {
            os_buf_clear(&text);
            os_base64_decode_lenient(&text, p + i + shift, end - i - shift);
            scan(f, SECRET_BASE64, os_buf_str(&text), text.len);
        }
        i = end + 1;
    }
}

/* True when something was decoded. */
static bool undo_percent(const char *p, size_t n, struct os_buf *out)
{
    bool any = false;
    for (size_t i = 0; i < n; i++) {
        int high = p[i] == '%' && i + 2 < n ? os_hex_value(p[i + 1]) : -1;
        int low = high >= 0 ? os_hex_value(p[i + 2]) : -1;
        if (low < 0) {
            os_buf_addc(out, p[i]);
            continue;
        }
        os_buf_addc(out, (char)(high * 16 + low));
        any = true;
        i += 2;
    }
    return any;
}

static void scan_one(struct forms *f, enum secret_form form, const char *p, size_t n, bool base64)
{
    scan(f, form, p, n);
    if (base64)
        scan_runs(f, p, n);
}

void secret_forms_scan(const struct secret_view *view, const char *p, size_t n, bool base64,
                       secret_form_fn *hit, void *ctx)
{
    struct forms f = {.view = view, .hit = hit, .ctx = ctx};
    scan_one(&f, SECRET_PLAIN, p, n, base64);
    if (!memchr(p, '%', n))
        return;
    cleanup_buf struct os_buf once = {0}, twice = {0};
    if (undo_percent(p, n, &once))
        scan_one(&f, SECRET_PERCENT, os_buf_str(&once), once.len, base64);
    if (undo_percent(os_buf_str(&once), once.len, &twice))
        scan_one(&f, SECRET_PERCENT, os_buf_str(&twice), twice.len, base64);
}

void secret_basic_scan(const struct secret_view *view, const char *value, size_t n, secret_form_fn *hit,
                       void *ctx)
{
    struct forms f = {.view = view, .hit = hit, .ctx = ctx};
    cleanup_buf struct os_buf text = {0};
    if (n < 6 || strncasecmp(value, "basic ", 6) != 0)
        return;
    os_base64_decode_lenient(&text, value + 6, n - 6);
    scan(&f, SECRET_BASE64, os_buf_str(&text), text.len);
}
