/* Bodies on their way: first the secrets, then the markers of placeholders. Nothing is looked at twice, and
 * what is remembered between two pieces is bounded by SECRET_CARRY and MARKER_WIDTH. */
#include <stdlib.h>
#include <string.h>

#include "core/str.h"
#include "supervisor/egress/credentials/guard_priv.h"
#include "supervisor/egress/credentials/marker.h"

struct body_guard {
    struct os_arena arena;
    struct egress_request r; /* what events and the answer say of it */
    const char *scheme;
    bool forward;
    struct secret_rules *rules;
    bool secrets; /* are looked for */
    struct secret_scan scan;
    struct guard_report report;
    bool markers; /* are not let through */
    struct marker_scan marker;
    size_t held;
    bool refused;
    struct deny_answer answer;
};

struct body_guard *body_guard_new(const struct egress_request *r, const char *scheme, bool forward)
{
    struct secret_rules *rules = egress_secrets(r->conn->egress);
    bool secrets = secret_rules_mode(rules) != SECRET_OFF, markers = guard_watches_markers(r);
    if (!secrets && !markers) {
        secret_rules_unref(rules);
        return NULL;
    }
    struct body_guard *g = os_calloc(1, sizeof(*g));
    struct secret_view v;
    *g = (struct body_guard){
        .scheme = scheme, .forward = forward, .rules = rules, .secrets = secrets, .markers = markers};
    g->r = (struct egress_request){.conn = r->conn,
                                   .arena = &g->arena,
                                   .method = os_arena_strdup(&g->arena, r->method),
                                   .path = os_arena_strdup(&g->arena, r->path),
                                   .judged = os_arena_strdup(&g->arena, r->judged)};
    g->report = (struct guard_report){.r = &g->r, .scheme = scheme, .mode = secret_rules_mode(rules)};
    secret_view_init(&v, rules, r->conn->host);
    secret_scan_init(&g->scan, &v, guard_report_hit, &g->report);
    guard_report_place(&g->report, "body");
    return g;
}

void body_guard_free(struct body_guard *g)
{
    if (!g)
        return;
    deny_answer_free(&g->answer);
    secret_rules_unref(g->rules);
    os_arena_free(&g->arena);
    free(g);
}

bool body_guard_holds(const struct body_guard *g)
{
    return g->markers || (g->secrets && g->scan.acts);
}

size_t body_guard_held(const struct body_guard *g)
{
    return g->held;
}

void body_guard_answer(const struct body_guard *g, struct deny_answer *a)
{
    const struct deny_answer *from = &g->answer;
    *a = (struct deny_answer){.status_line = from->status_line,
                              .type = from->type,
                              .detail = from->detail ? os_strdup(from->detail) : NULL,
                              .body = from->body ? os_strdup(from->body) : NULL};
}

static bool refuse(struct body_guard *g)
{
    g->refused = true;
    g->held = 0;
    return false;
}

/* What came through the search for secrets. */
static bool feed_markers(struct body_guard *g, const char *p, size_t n, bool ended, struct os_buf *out,
                         char *room)
{
    if (!g->markers) {
        os_buf_add(out, p, n);
        return true;
    }
    size_t ready = marker_scan_feed(&g->marker, p, n, room);
    os_buf_add(out, room, ready);
    if (ended) {
        ready = marker_scan_end(&g->marker, room);
        os_buf_add(out, room, ready);
    }
    if (g->marker.found)
        guard_refuse_marker(&g->r, g->scheme, g->forward, &g->answer);
    return !g->marker.found;
}

bool body_guard_feed(struct body_guard *g, const char *p, size_t n, bool ended, struct os_buf *out,
                     struct os_buf *work)
{
    if (g->refused)
        return false;
    char *through = (char *)(uintptr_t)p;
    size_t n_through = n, before = out ? out->len : 0;
    os_buf_clear(work);
    if (!os_buf_reserve(work, 2 * (n + SECRET_ROOM) + MARKER_WIDTH))
        return refuse(g);
    if (g->secrets)
        n_through = secret_scan_feed(&g->scan, p, n, ended, work->data, &through);
    if (!out)
        return true;
    bool passes = feed_markers(g, through, n_through, ended, out, work->data + n + SECRET_ROOM);
    if (g->scan.blocked)
        guard_secret_answer(&g->report, &g->answer);
    if (!passes || g->scan.blocked || out->failed)
        return refuse(g);
    g->held += n;
    g->held -= out->len - before;
    return true;
}

bool body_guard_trailers(struct body_guard *g, const struct http1_head *h)
{
    guard_report_place(&g->report, "trailer");
    g->report.whole = true;
    for (size_t i = 0; h && i < h->n_fields; i++) {
        const struct http1_field *f = &h->fields[i];
        if (g->markers && (marker_in(f->name.p, f->name.n) || marker_in_header(f->value.p, f->value.n))) {
            guard_refuse_marker(&g->r, g->scheme, g->forward, &g->answer);
            return refuse(g);
        }
        if (g->secrets)
            secret_forms_scan(&g->scan.view, f->value.p, f->value.n, false, guard_report_form, &g->report);
    }
    if (!g->scan.acts || !(g->report.plain || g->report.encoded))
        return true;
    guard_secret_answer(&g->report, &g->answer);
    return refuse(g);
}
