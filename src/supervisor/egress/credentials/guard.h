/* What a request must pass after the rules and before a byte of it leaves (spec/proxy.md 9): no placeholder
 * that nobody resolved, no secret that belongs elsewhere. Where placeholders are resolved, that happens
 * before. */
#ifndef SUPERVISOR_EGRESS_GUARD_H
#define SUPERVISOR_EGRESS_GUARD_H

#include "supervisor/egress/internal.h"

/* Sets the path that is judged and the path that is shown: placeholders are named, secrets overwritten. */
void guard_show_path(struct egress_request *r);

/* Overwrites secrets in a text for a log, wherever they may go and whether the stage is on or not. */
void guard_hide(const struct egress_conn *c, char *p, size_t n);

/* The head that will be sent, and the body where it was read already. False: it must not be sent, the event
 * is out, and *a is the answer (empty: the connection is dropped). Where secrets are redacted, the request is
 * changed. Not before: c->head of an HTTP/1 request may be used for the response. */
bool guard_request(struct egress_request *r, const char *scheme, bool forward, struct deny_answer *a);
/* The same inside a tunnel: answers. */
bool guard_admit(const struct tunnel_http *t, struct egress_request *r);
/* A text message of a WebSocket. False: it must not be sent. redacted is empty or gets what to send instead.
 */
bool guard_message(const struct egress_request *r, const char *scheme, const char *text, size_t n,
                   struct os_buf *redacted);

/* A body on its way. One thread. */
struct body_guard;
/* NULL when nobody looks at the bodies of such requests. What is needed of the request is copied. */
struct body_guard *body_guard_new(const struct egress_request *r, const char *scheme, bool forward);
void body_guard_free(struct body_guard *g);
/* Only what comes out of it may go on; else it only looks. */
bool body_guard_holds(const struct body_guard *g);
/* Takes the next n bytes of the body, without framing; ended: there are no more. With holds appends what may
 * go on to out (else NULL). work is reused between calls. False: the rest of the body must not be sent; the
 * event is out. */
bool body_guard_feed(struct body_guard *g, const char *p, size_t n, bool ended, struct os_buf *out,
                     struct os_buf *work);
/* Trailers of a body that holds; false as above. */
bool body_guard_trailers(struct body_guard *g, const struct http1_head *h);
/* Bytes that were fed and neither came out nor were dropped. */
size_t body_guard_held(const struct body_guard *g);
/* The answer for a body that was refused, when none was given yet; empty: the connection is dropped. */
void body_guard_answer(const struct body_guard *g, struct deny_answer *a);

#endif
