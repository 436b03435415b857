/* Between guard.c (heads) and body_guard.c. */
#ifndef SUPERVISOR_EGRESS_GUARD_PRIV_H
#define SUPERVISOR_EGRESS_GUARD_PRIV_H

#include "supervisor/egress/credentials/forms.h"
#include "supervisor/egress/credentials/guard.h"

#define GUARD_TOLD 8

/* Secrets of one request, as they are reported: each once per place. */
struct guard_report {
    const struct egress_request *r;
    const char *scheme;
    enum secret_mode mode;
    bool whole;     /* the place is not redacted: the request is refused */
    char place[64]; /* "query", "header authorization", "body" ... */
    char told[GUARD_TOLD][SECRET_FINGERPRINT];
    size_t n_told;
    char rule[64];       /* the last certain one; "" = none */
    bool plain, encoded; /* a certain one stands in the current text as it is, or in another form */
};
void guard_report_place(struct guard_report *g, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void guard_report_form(void *report, const struct secret_hit *hit, enum secret_form form);
void guard_report_hit(void *report, const struct secret_hit *hit);
/* The 403 for a secret. */
void guard_secret_answer(const struct guard_report *g, struct deny_answer *a);

/* Markers are not let through in the bodies of such requests. */
bool guard_watches_markers(const struct egress_request *r);
/* Event, and the answer where there is one, for a marker in a body. */
void guard_refuse_marker(const struct egress_request *r, const char *scheme, bool forward,
                         struct deny_answer *a);
/* A placeholder that nobody resolved: event and answer. */
void guard_refuse_placeholder(const struct egress_request *r, const char *scheme, bool forward,
                              struct deny_answer *a);

#endif
