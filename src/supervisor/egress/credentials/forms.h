/* A short text in every form it may be read in: as it is, percent-decoded, and what its base64 stands for. */
#ifndef SUPERVISOR_EGRESS_FORMS_H
#define SUPERVISOR_EGRESS_FORMS_H

#include "supervisor/egress/credentials/scan.h"

enum secret_form { SECRET_PLAIN, SECRET_PERCENT, SECRET_BASE64 };
typedef void secret_form_fn(void *ctx, const struct secret_hit *hit, enum secret_form form);

/* Scans n bytes of at most OS_PROXY_HEADER, with their percent-encoding undone twice where there is one.
 * base64: also what runs of base64 in either alphabet decode to, at whatever place they begin. A secret that
 * is seen in several forms is told once, in the first. */
void secret_forms_scan(const struct secret_view *view, const char *p, size_t n, bool base64,
                       secret_form_fn *hit, void *ctx);
/* What "Basic" credentials decode to (RFC 7617), for a header value; others are left alone. */
void secret_basic_scan(const struct secret_view *view, const char *value, size_t n, secret_form_fn *hit,
                       void *ctx);

#endif
