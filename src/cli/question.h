/* What `policy check` is asked, from text: a request or a connection. Pure. */
#ifndef CLI_QUESTION_H
#define CLI_QUESTION_H

#include "core/arena.h"
#include "core/error.h"
#include "policy/explain.h"

/* "METHOD URL", http or https; fills in host, port, tls, method and target. Not decoded or cleaned beyond
 * what finding the parts takes: the engine does that. */
int question_parse_request(struct os_arena *a, const char *text, struct policy_question *out,
                           struct os_error *err);
/* "HOST:PORT", IPv6 in brackets. */
int question_parse_connect(struct os_arena *a, const char *text, struct policy_question *out,
                           struct os_error *err);

#endif
