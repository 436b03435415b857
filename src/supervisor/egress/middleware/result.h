/* What a stage may be shown and may answer: the limits of spec/proxy.md 13.4 and 13.9. Pure functions. A
 * failure is a published name, NULL is none. */
#ifndef SUPERVISOR_EGRESS_MIDDLEWARE_RESULT_H
#define SUPERVISOR_EGRESS_MIDDLEWARE_RESULT_H

#include "net/http1/http1.h"
#include "supervisor/egress/middleware/service.h"

/* The request as one stage gets it; config_size is that of its configuration. */
const char *middleware_check_request(const mw_request *request, size_t config_size, size_t max_payload);
/* Preflight likewise; the failure is always preflight_envelope_over_capacity. */
const char *middleware_check_preflight(const mw_preflight *preflight, size_t config_size);
/* An answer; max_payload bounds a replacement. A denial counts whatever else is wrong with it. */
const char *middleware_check_result(const mw_result *result, size_t max_payload);
const char *middleware_check_decision(const mw_preflight_decision *d);
/* The answer to text message `sequence`. In-process stages may give their text as bytes: it may hold NUL. */
const char *middleware_check_message(const mw_message_result *r, uint64_t sequence, bool external,
                                     size_t max_payload);
/* The text that takes the place of the message; false = it stays. */
bool middleware_replacement(const mw_message_result *r, struct http1_text *out);
/* 1 to 64 bytes of [a-z][a-z0-9_]*, or nothing. */
bool middleware_reason_code_ok(const char *code);

/* Fields that no stage sees or changes, whoever nominated them. */
bool middleware_field_is_protected(const struct http1_head *head, struct http1_text name);
/* The fields a stage sees, names in lower case, in the arena. */
void middleware_visible_headers(const struct http1_head *head, struct os_arena *arena, mw_request *out);
/* Applies all mutations or none. *out is a new head in the arena (or the old one when there is nothing to
 * do).
 */
const char *middleware_mutate(const struct http1_head *head, mw_mutation *const *list, size_t n,
                              struct os_arena *arena, const struct http1_head **out);

#endif
