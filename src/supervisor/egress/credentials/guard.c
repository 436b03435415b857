/* Heads, and bodies that were read before the judgement. */
#include "supervisor/egress/credentials/guard.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "core/str.h"
#include "supervisor/egress/credentials/guard_priv.h"
#include "supervisor/egress/credentials/marker.h"
#include "supervisor/egress/credentials/placeholder.h"

/* --- what is shown --- */

static void on_shown(void *ctx, const struct secret_hit *hit, enum secret_form form)
{
    bool *hidden = ctx;
    *hidden = *hidden || form != SECRET_PLAIN;
}

/* Logs must not hold a secret, wherever it may go and whether the stage is on or not. */
static const char *hide_secrets(struct egress_request *r, const char *path)
{
    struct secret_rules *rules = egress_secrets(r->conn->egress);
    const struct secret_view v = {.rules = rules};
    bool hidden = false;
    size_t n = strlen(path);
    secret_forms_scan(&v, path, n, true, on_shown, &hidden);
    char *copy = os_arena_strndup(r->arena, path, n);
    secret_overwrite(&v, copy, n, true);
    secret_rules_unref(rules);
    return hidden ? "/[SECRET]" : copy;
}

void guard_hide(const struct egress_conn *c, char *p, size_t n)
{
    struct secret_rules *rules = egress_secrets(c->egress);
    const struct secret_view v = {.rules = rules};
    secret_overwrite(&v, p, n, true);
    secret_rules_unref(rules);
}

void guard_show_path(struct egress_request *r)
{
    r->judged = placeholder_redact(r->arena, r->target.path, &r->bad_placeholder);
    r->path = hide_secrets(r, r->judged);
}

/* --- reports --- */

void guard_report_place(struct guard_report *g, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(g->place, sizeof(g->place), fmt, ap);
    va_end(ap);
    g->n_told = 0;
    g->plain = g->encoded = false;
}

void guard_report_form(void *report, const struct secret_hit *hit, enum secret_form form)
{
    struct guard_report *g = report;
    for (size_t i = 0; i < g->n_told; i++)
        if (!strcmp(g->told[i], hit->fingerprint))
            return;
    memcpy(g->told[g->n_told++ % GUARD_TOLD], hit->fingerprint, sizeof(g->told[0]));
    if (g->n_told > GUARD_TOLD)
        g->n_told = GUARD_TOLD;
    if (hit->certain) {
        snprintf(g->rule, sizeof(g->rule), "%s", hit->rule);
        g->plain = g->plain || form == SECRET_PLAIN;
        g->encoded = g->encoded || form != SECRET_PLAIN;
    }
    const struct event_secret ev = {
        .rule = hit->rule,
        .place = g->place,
        .form = form == SECRET_PERCENT  ? " (percent-encoded)"
                : form == SECRET_BASE64 ? " (base64)"
                                        : "",
        .fingerprint = hit->fingerprint,
        .action = !hit->certain || g->mode == SECRET_AUDIT ? AUDIT_OBSERVED
                  : g->mode == SECRET_REDACT && !g->whole  ? AUDIT_MODIFIED
                                                           : AUDIT_DENIED,
        .certain = hit->certain,
    };
    event_secret(g->r, &ev);
}

void guard_report_hit(void *report, const struct secret_hit *hit)
{
    guard_report_form(report, hit, SECRET_PLAIN);
}

void guard_secret_answer(const struct guard_report *g, struct deny_answer *a)
{
    const struct egress_conn *c = g->r->conn;
    cleanup_free char *detail = os_asprintf(
        "the request carries a secret (%s, in its %s) that does not belong to %s; if it may go there, add "
        "%s@%s to the setting secret_egress_allow",
        g->rule, g->place, c->host, g->rule, c->host);
    deny_make_json(a, "403 Forbidden", "secret_egress_denied", detail, NULL);
}

/* --- placeholders --- */

void guard_refuse_placeholder(const struct egress_request *r, const char *scheme, bool forward,
                              struct deny_answer *a)
{
    const struct egress_conn *c = r->conn;
    const struct conn_event ev = {"Refuse", AUDIT_SEV_MEDIUM, AUDIT_DENIED, "credentials",
                                  "credential_unavailable"};
    event_http(r, scheme, c->l4.policy, &ev, "credential placeholder could not be resolved for %s:%u",
               c->host, c->port);
    if (forward)
        deny_make_json(a, "500 Internal Server Error", "credential_injection_failed",
                       "unresolved credential placeholder in request", NULL);
    else
        deny_make_message(a, "500 Internal Server Error", "credential_unavailable",
                          "Credential placeholder could not be resolved");
}

void guard_refuse_marker(const struct egress_request *r, const char *scheme, bool forward,
                         struct deny_answer *a)
{
    const struct policy_endpoint *config = policy_l7_config(&r->conn->l4, r->judged);
    if (config && config->body_credential_rewrite) {
        guard_refuse_placeholder(r, scheme, forward, a);
        return;
    }
    cleanup_free char *surface = os_asprintf("%s request body", r->method);
    event_uninspectable(r->conn, surface);
}

bool guard_watches_markers(const struct egress_request *r)
{
    const struct policy_endpoint *config = policy_l7_config(&r->conn->l4, r->judged);
    return config && (config->body_credential_rewrite ||
                      (config->provider_credentialed && !config->allow_uninspected_credentials));
}

static bool has_marker(const struct egress_request *r, bool forward)
{
    const struct policy_target *t = &r->target;
    if (marker_in(t->path, strlen(t->path)) || (t->query && marker_in(t->query, strlen(t->query))))
        return true;
    for (size_t i = 0; i < r->head->n_fields; i++) {
        const struct http1_field *f = &r->head->fields[i];
        if (request_field_passes(r, f, forward) &&
            (marker_in(f->name.p, f->name.n) || marker_in_header(f->value.p, f->value.n)))
            return true;
    }
    return false;
}

/* On the forward path also what came of the body with the head (spec/proxy.md 9.3). */
static bool first_body_has_marker(const struct egress_request *r)
{
    const struct policy_endpoint *config = policy_l7_config(&r->conn->l4, r->judged);
    struct egress_stream *client = &r->conn->client;
    struct http1_body framing;
    cleanup_buf struct os_buf text = {0};
    http1_body_start(&framing, r->head->framing, r->head->length);
    if ((config && config->body_credential_rewrite) || r->body_read || framing.done)
        return false;
    if (!stream_buffered(client) && stream_fill(client) <= 0)
        return false;
    return http1_body_decode(&framing, stream_bytes(client), stream_buffered(client), &text, NULL) > 0 &&
           marker_in(os_buf_str(&text), text.len);
}

static bool check_placeholders(struct egress_request *r, const char *scheme, bool forward,
                               struct deny_answer *a)
{
    bool body =
        r->body_read && (forward || guard_watches_markers(r)) && marker_in(os_buf_str(&r->body), r->body.len);
    if (has_marker(r, forward) || (forward && (body || first_body_has_marker(r)))) {
        guard_refuse_placeholder(r, scheme, forward, a);
        return false;
    }
    if (body)
        guard_refuse_marker(r, scheme, forward, a);
    return !body;
}

/* --- secrets --- */

struct head_scan {
    struct egress_request *r;
    struct secret_view view;
    struct guard_report report;
    bool redacts, refused;
};

/* The text after a scan: itself, or a copy in which what was found is overwritten; what is only visible in
 * another form takes the whole value from `value` on with it. */
static const char *settle(struct head_scan *s, const char *p, size_t n, size_t value)
{
    const struct guard_report *g = &s->report;
    if ((!g->plain && !g->encoded) || g->mode == SECRET_AUDIT)
        return p;
    s->refused = s->refused || !s->redacts;
    if (!s->redacts)
        return p;
    char *copy = os_arena_strndup(s->r->arena, p, n);
    secret_overwrite(&s->view, copy, n, false);
    if (g->encoded)
        memset(copy + value, '*', n - value);
    return copy;
}

/* A path with a hole in it is another resource: nothing is redacted there. */
static void scan_path(struct head_scan *s)
{
    const char *path = s->r->target.path;
    guard_report_place(&s->report, "path");
    s->report.whole = true;
    secret_forms_scan(&s->view, path, strlen(path), true, guard_report_form, &s->report);
    if (s->report.mode != SECRET_AUDIT && (s->report.plain || s->report.encoded))
        s->refused = true;
    s->report.whole = false;
}

/* A method and the names of fields are no place for anything but words: never redacted either. */
static void scan_word(struct head_scan *s, const char *place, const char *p, size_t n)
{
    guard_report_place(&s->report, "%s", place);
    s->report.whole = true;
    secret_forms_scan(&s->view, p, n, false, guard_report_form, &s->report);
    if (s->report.mode != SECRET_AUDIT && s->report.plain)
        s->refused = true;
    s->report.whole = false;
}

static void scan_query(struct head_scan *s)
{
    const char *query = s->r->target.query;
    cleanup_buf struct os_buf out = {0};
    bool changed = false;
    while (query && *query && !s->refused) {
        size_t n = strcspn(query, "&"), key = strcspn(query, "=&");
        guard_report_place(&s->report, "query");
        secret_forms_scan(&s->view, query, n, true, guard_report_form, &s->report);
        const char *pair = settle(s, query, n, key < n ? key + 1 : 0);
        changed = changed || pair != query;
        os_buf_add(&out, pair, n);
        query += n;
        if (*query)
            os_buf_addc(&out, *query++);
    }
    if (changed && !s->refused)
        s->r->target.query = os_arena_strndup(s->r->arena, os_buf_str(&out), out.len);
}

static void scan_fields(struct head_scan *s, bool forward)
{
    struct egress_request *r = s->r;
    struct http1_head *copy = NULL;
    s->view.certain_only = true; /* sessions and signatures are what header fields are for */
    for (size_t i = 0; i < r->head->n_fields && !s->refused; i++) {
        const struct http1_field *f = &r->head->fields[i];
        if (!request_field_passes(r, f, forward))
            continue;
        scan_word(s, "header name", f->name.p, f->name.n);
        if (f->value.n < 8 || s->refused)
            continue;
        guard_report_place(&s->report, "header %.*s", (int)(f->name.n < 40 ? f->name.n : 40), f->name.p);
        secret_forms_scan(&s->view, f->value.p, f->value.n, false, guard_report_form, &s->report);
        secret_basic_scan(&s->view, f->value.p, f->value.n, guard_report_form, &s->report);
        const char *blank = memchr(f->value.p, ' ', f->value.n);
        const char *value = settle(s, f->value.p, f->value.n, blank ? (size_t)(blank + 1 - f->value.p) : 0);
        if (value == f->value.p)
            continue;
        if (!copy)
            copy = os_arena_memdup(r->arena, r->head, sizeof(*r->head));
        copy->fields[i].value.p = value;
    }
    if (copy && !s->refused)
        r->head = copy;
    s->view.certain_only = false;
}

static void scan_body(struct head_scan *s)
{
    struct os_buf *body = &s->r->body;
    guard_report_place(&s->report, "body");
    secret_text_scan(&s->view, os_buf_str(body), body->len, guard_report_hit, &s->report);
    if (!s->report.plain || s->report.mode == SECRET_AUDIT)
        return;
    if (s->redacts)
        secret_overwrite(&s->view, body->data, body->len, false);
    else
        s->refused = true;
}

static bool check_secrets(struct egress_request *r, const char *scheme, bool forward, struct deny_answer *a)
{
    struct secret_rules *rules = egress_secrets(r->conn->egress);
    enum secret_mode mode = secret_rules_mode(rules);
    struct head_scan s = {
        .r = r, .report = {.r = r, .scheme = scheme, .mode = mode}, .redacts = mode == SECRET_REDACT};
    secret_view_init(&s.view, rules, r->conn->host);
    if (mode != SECRET_OFF) {
        scan_word(&s, "method", r->method, strlen(r->method));
        scan_path(&s);
        if (!s.refused)
            scan_query(&s);
        if (!s.refused)
            scan_fields(&s, forward);
        if (!s.refused && r->body_read)
            scan_body(&s);
    }
    secret_rules_unref(rules);
    if (s.refused)
        guard_secret_answer(&s.report, a);
    return !s.refused;
}

bool guard_request(struct egress_request *r, const char *scheme, bool forward, struct deny_answer *a)
{
    return check_placeholders(r, scheme, forward, a) && check_secrets(r, scheme, forward, a);
}

bool guard_admit(const struct tunnel_http *t, struct egress_request *r)
{
    struct deny_answer a cleanup_answer = {0};
    if (guard_request(r, t->scheme, false, &a))
        return true;
    t->answer(t, r, &a);
    return false;
}

bool guard_message(const struct egress_request *r, const char *scheme, const char *text, size_t n,
                   struct os_buf *redacted)
{
    struct secret_rules *rules = egress_secrets(r->conn->egress);
    enum secret_mode mode = secret_rules_mode(rules);
    struct guard_report report = {.r = r, .scheme = scheme, .mode = mode};
    struct secret_view v;
    secret_view_init(&v, rules, r->conn->host);
    guard_report_place(&report, "websocket-text");
    if (mode != SECRET_OFF)
        secret_text_scan(&v, text, n, guard_report_hit, &report);
    if (report.plain && mode == SECRET_REDACT) {
        redacted->max = n;
        os_buf_add(redacted, text, n);
        if (!redacted->failed)
            secret_overwrite(&v, redacted->data, n, false);
    }
    secret_rules_unref(rules);
    return !report.plain || mode == SECRET_AUDIT || (mode == SECRET_REDACT && !redacted->failed);
}
