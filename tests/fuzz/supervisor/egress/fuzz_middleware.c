/* Answers of middleware services: whatever bytes come, what is accepted keeps to the limits, and what is
 * applied leaves protected fields as they were. First byte: which kind of answer. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/limits.h"
#include "core/str.h"
#include "rpc/call.h"
#include "supervisor/egress/middleware/regex.h"
#include "supervisor/egress/middleware/result.h"

#define MAX_PAYLOAD 64

#define CHECK(x)                                                                                             \
    do {                                                                                                     \
        if (!(x))                                                                                            \
            abort();                                                                                         \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char head_text[] =
    "POST /p HTTP/1.1\r\nHost: h\r\nAuthorization: secret\r\nContent-Length: 3\r\n"
    "Connection: x-hop\r\nX-Hop: 1\r\nx-openshell-middleware-a: 1\r\nX-B: 2\r\n\r\n";

static size_t protected_fields(const struct http1_head *original, const struct http1_head *h)
{
    size_t n = 0;
    for (size_t i = 0; i < h->n_fields; i++)
        n += middleware_field_is_protected(original, h->fields[i].name);
    return n;
}

static void apply(struct os_arena *arena, const mw_result *r)
{
    static struct http1_head head;
    cleanup_error struct os_error err = {0};
    const struct http1_head *out;
    if (!head.n_fields)
        CHECK(http1_parse_request(head_text, sizeof(head_text) - 1, &head, &err) == 0);
    const char *failure = middleware_mutate(&head, r->header_mutations, r->n_header_mutations, arena, &out);
    CHECK(!failure || out == &head);
    CHECK(out->n_fields <= OS_HTTP1_FIELDS);
    CHECK(protected_fields(&head, out) == protected_fields(&head, &head));
    for (size_t i = 0; i < out->n_fields; i++)
        for (size_t k = 0; k < out->fields[i].value.n; k++)
            CHECK(out->fields[i].value.p[k] != '\r' && out->fields[i].value.p[k] != '\n');
}

static void take_result(struct os_arena *arena, const uint8_t *data, size_t n)
{
    const mw_result *r = (const mw_result *)rpc_unpack(
        arena, &openshell__middleware__v1__http_request_result__descriptor, data, n);
    if (!r || middleware_check_result(r, MAX_PAYLOAD))
        return;
    CHECK(r->decision == MW_ALLOW || r->decision == MW_DENY);
    if (r->decision == MW_DENY)
        return;
    CHECK(!r->has_body || r->body.len <= MAX_PAYLOAD);
    CHECK(r->n_findings <= OS_MIDDLEWARE_FINDINGS && middleware_reason_code_ok(r->reason_code));
    apply(arena, r);
}

static void take_event(struct os_arena *arena, const uint8_t *data, size_t n)
{
    struct http1_text text = {0};
    const mw_event_result *r = (const mw_event_result *)rpc_unpack(
        arena, &openshell__middleware__v1__web_socket_session_event_result__descriptor, data, n);
    if (!r)
        return;
    if (r->result_case ==
            OPENSHELL__MIDDLEWARE__V1__WEB_SOCKET_SESSION_EVENT_RESULT__RESULT_PREFLIGHT_DECISION &&
        r->preflight_decision)
        middleware_check_decision(r->preflight_decision);
    if (r->result_case != OPENSHELL__MIDDLEWARE__V1__WEB_SOCKET_SESSION_EVENT_RESULT__RESULT_MESSAGE_RESULT ||
        !r->message_result || middleware_check_message(r->message_result, 1, true, MAX_PAYLOAD))
        return;
    CHECK(r->message_result->decision == MW_DENY || r->message_result->sequence == 1);
    if (r->message_result->decision == MW_ALLOW && middleware_replacement(r->message_result, &text))
        CHECK(text.n <= MAX_PAYLOAD && os_utf8_valid(text.p, text.n));
}

static void redact(const char *p, size_t n)
{
    cleanup_buf struct os_buf once = {0}, again = {0};
    uint32_t found = middleware_redact(p, n, &once);
    CHECK((found == 0) == (once.len == 0));
    CHECK(middleware_redact(os_buf_str(&once), once.len, &again) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cleanup_arena struct os_arena arena = {0};
    if (!size)
        return 0;
    if (data[0] % 3 == 0)
        take_result(&arena, data + 1, size - 1);
    else if (data[0] % 3 == 1)
        take_event(&arena, data + 1, size - 1);
    else
        redact((const char *)data + 1, size - 1);
    return 0;
}
