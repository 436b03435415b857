/* The built-in stage openshell/regex (spec/proxy.md 13.5). */
#ifndef SUPERVISOR_EGRESS_MIDDLEWARE_REGEX_H
#define SUPERVISOR_EGRESS_MIDDLEWARE_REGEX_H

#include "core/buf.h"
#include "supervisor/egress/middleware/service.h"

extern const struct middleware_service middleware_regex;

/* Replaces every match of sk-[A-Za-z0-9_-]{16,} by [REDACTED]: the text goes to out when there was one.
 * Number of matches. Linear in n. */
uint32_t middleware_redact(const char *p, size_t n, struct os_buf *out);

#endif
