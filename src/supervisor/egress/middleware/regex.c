/* The built-in stage openshell/regex (spec/proxy.md 13.5): redacts what looks like an API key of the kind
 * sk-... in UTF-8 text. A matcher of its own: one pass, no backtracking, whatever the text. */
#include "supervisor/egress/middleware/regex.h"

#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/limits.h"
#include "core/str.h"
#include "rpc/pb.h"

#define PREFIX "sk-"
#define TAIL_MIN 16
#define REDACTED "[REDACTED]"

static bool is_tail(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

/* Length of the match at p, 0 = none. Greedy, as sk-[A-Za-z0-9_-]{16,} is. */
static size_t match(const char *p, size_t n)
{
    size_t i = strlen(PREFIX);
    if (n < i + TAIL_MIN || memcmp(p, PREFIX, i) != 0)
        return 0;
    while (i < n && is_tail(p[i]))
        i++;
    return i - strlen(PREFIX) >= TAIL_MIN ? i : 0;
}

uint32_t middleware_redact(const char *p, size_t n, struct os_buf *out)
{
    uint32_t found = 0;
    size_t from = 0;
    for (size_t i = 0; i < n;) {
        const char *next = memmem(p + i, n - i, PREFIX, strlen(PREFIX));
        if (!next)
            break;
        size_t at = (size_t)(next - p), len = match(next, n - at);
        if (!len) {
            i = at + 1;
            continue;
        }
        os_buf_add(out, p + from, at - from);
        os_buf_adds(out, REDACTED);
        found++;
        from = i = at + len;
    }
    if (found)
        os_buf_add(out, p + from, n - from);
    return found;
}

static mw_finding *finding(struct os_arena *arena, uint32_t found)
{
    mw_finding *f = pb_new(arena, openshell__middleware__v1__finding);
    f->type = (char *)"regex.openai";
    f->label = (char *)"openai regex match";
    f->count = found;
    f->confidence = f->severity = (char *)"medium";
    return f;
}

/* Fields that the answers about bodies and about messages have in common. */
#define DESCRIBE(r, arena, found, entry)                                                                     \
    do {                                                                                                     \
        (r)->findings = os_arena_alloc(arena, sizeof(*(r)->findings));                                       \
        (r)->findings[(r)->n_findings++] = finding(arena, found);                                            \
        (r)->metadata = os_arena_alloc(arena, sizeof(*(r)->metadata));                                       \
        (r)->metadata[(r)->n_metadata] = pb_new(arena, entry);                                               \
        (r)->metadata[(r)->n_metadata]->key = (char *)"regex_matches_replaced";                              \
        (r)->metadata[(r)->n_metadata++]->value = os_arena_printf(arena, "%u", found);                       \
    } while (0)

static const char *http(const struct middleware_service *s, const mw_request *request,
                        const struct middleware_limit *limit, struct os_arena *arena, mw_result **out)
{
    (void)s, (void)limit;
    const char *body = (const char *)request->body.data;
    size_t n = request->body.len;
    cleanup_buf struct os_buf redacted = {0};
    if (n && !os_utf8_valid(body, n))
        return "openshell/regex requires UTF-8 request bodies";
    mw_result *r = *out = pb_new(arena, openshell__middleware__v1__http_request_result);
    r->decision = MW_ALLOW;
    uint32_t found = n ? middleware_redact(body, n, &redacted) : 0;
    if (!found)
        return NULL;
    r->has_body = true;
    r->body = (ProtobufCBinaryData){redacted.len, os_arena_memdup(arena, redacted.data, redacted.len)};
    DESCRIBE(r, arena, found, openshell__middleware__v1__http_request_result__metadata_entry);
    return NULL;
}

/* --- sessions --- */

struct regex_stream {
    struct middleware_stream stream;
    bool preflight, message; /* whose answer is due */
    uint64_t sequence;
    const char *text; /* borrowed until it is answered */
    size_t n;
};

static struct middleware_stream *open_stream(const struct middleware_service *s, const mw_event *preflight)
{
    (void)preflight;
    struct regex_stream *st = os_calloc(1, sizeof(*st));
    st->stream.service = s;
    st->preflight = true;
    return &st->stream;
}

static bool send_event(struct middleware_stream *stream, const mw_event *event)
{
    (void)stream, (void)event;
    return true;
}

static bool send_text(struct middleware_stream *stream, uint64_t sequence, const char *text, size_t n)
{
    struct regex_stream *st = (struct regex_stream *)stream;
    st->message = true;
    st->sequence = sequence;
    st->text = text;
    st->n = n;
    return true;
}

static mw_message_result *judge(const struct regex_stream *st, struct os_arena *arena)
{
    mw_message_result *r = pb_new(arena, openshell__middleware__v1__web_socket_message_result);
    cleanup_buf struct os_buf redacted = {0};
    r->sequence = st->sequence;
    r->decision = MW_ALLOW;
    uint32_t found = middleware_redact(st->text, st->n, &redacted);
    if (!found)
        return r;
    r->replacement_case = OPENSHELL__MIDDLEWARE__V1__WEB_SOCKET_MESSAGE_RESULT__REPLACEMENT_BINARY;
    r->binary = (ProtobufCBinaryData){redacted.len, os_arena_memdup(arena, redacted.data, redacted.len)};
    DESCRIBE(r, arena, found, openshell__middleware__v1__web_socket_message_result__metadata_entry);
    return r;
}

static const char *receive(struct middleware_stream *stream, const char *missing,
                           const struct middleware_limit *limit, struct os_arena *arena,
                           mw_event_result **out)
{
    (void)limit;
    struct regex_stream *st = (struct regex_stream *)stream;
    mw_event_result *r = *out = pb_new(arena, openshell__middleware__v1__web_socket_session_event_result);
    if (st->preflight) {
        st->preflight = false;
        r->result_case =
            OPENSHELL__MIDDLEWARE__V1__WEB_SOCKET_SESSION_EVENT_RESULT__RESULT_PREFLIGHT_DECISION;
        r->preflight_decision = pb_new(arena, openshell__middleware__v1__web_socket_preflight_decision);
        r->preflight_decision->action =
            OPENSHELL__MIDDLEWARE__V1__WEB_SOCKET_PREFLIGHT_ACTION__WEB_SOCKET_PREFLIGHT_ACTION_INSPECT;
        return NULL;
    }
    if (!st->message)
        return missing;
    st->message = false;
    r->result_case = OPENSHELL__MIDDLEWARE__V1__WEB_SOCKET_SESSION_EVENT_RESULT__RESULT_MESSAGE_RESULT;
    r->message_result = judge(st, arena);
    return NULL;
}

static void close_stream(struct middleware_stream *stream)
{
    free(stream);
}

static const struct middleware_ops ops = {http, open_stream, receive, send_event, send_text, close_stream};

const struct middleware_service middleware_regex = {
    .name = "openshell/regex",
    .bindings = {{OS_MIDDLEWARE_REGEX, OS_MIDDLEWARE_TIMEOUT_MS},
                 {OS_MIDDLEWARE_REGEX, OS_MIDDLEWARE_TIMEOUT_MS}},
    .ops = &ops,
};
