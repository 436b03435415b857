/* Limits of what goes to a stage and of what comes back. */
#include "supervisor/egress/middleware/result.h"

#include <string.h>

#include "core/limits.h"
#include "core/str.h"

static size_t size_of(const ProtobufCMessage *m)
{
    return protobuf_c_message_get_packed_size(m);
}

const char *middleware_check_request(const mw_request *r, size_t config_size, size_t max_payload)
{
    size_t headers = 0;
    for (size_t i = 0; i < r->n_headers; i++)
        headers += size_of(&r->headers[i]->base);
    if (r->body.len > max_payload)
        return "request_body_over_capacity";
    if (config_size > OS_MIDDLEWARE_CONFIG)
        return "request_config_over_capacity";
    if (size_of(&r->context->base) > OS_MIDDLEWARE_CONTEXT)
        return "request_context_over_capacity";
    if (size_of(&r->target->base) > OS_MIDDLEWARE_TARGET)
        return "request_target_over_capacity";
    if (r->n_headers > OS_MIDDLEWARE_HEADERS)
        return "request_header_count_over_capacity";
    return headers > OS_MIDDLEWARE_HEADER_BYTES ? "request_header_bytes_over_capacity" : NULL;
}

const char *middleware_check_preflight(const mw_preflight *p, size_t config_size)
{
    size_t protocols = 0;
    for (size_t i = 0; i < p->n_requested_subprotocols; i++)
        protocols += strlen(p->requested_subprotocols[i]);
    bool fits = config_size <= OS_MIDDLEWARE_CONFIG && size_of(&p->context->base) <= OS_MIDDLEWARE_CONTEXT &&
                size_of(&p->target->base) <= OS_MIDDLEWARE_TARGET &&
                p->n_requested_subprotocols <= OS_MIDDLEWARE_SUBPROTOCOLS &&
                protocols <= OS_MIDDLEWARE_SUBPROTOCOL_BYTES;
    return fits ? NULL : "preflight_envelope_over_capacity";
}

bool middleware_reason_code_ok(const char *code)
{
    size_t n = strlen(code);
    if (!n)
        return true;
    if (n > OS_MIDDLEWARE_REASON_CODE || code[0] < 'a' || code[0] > 'z')
        return false;
    return strspn(code, "abcdefghijklmnopqrstuvwxyz0123456789_") == n;
}

/* The parts that every kind of answer has. */
struct diagnostics {
    const char *reason, *reason_code;
    mw_finding *const *findings;
    size_t n_findings;
    /* Generated map entries all look alike. */
    Openshell__Middleware__V1__HttpRequestResult__MetadataEntry *const *metadata;
    size_t n_metadata;
};

static const char *check_diagnostics(const struct diagnostics *d)
{
    size_t bytes = 0;
    if (strlen(d->reason) > OS_MIDDLEWARE_REASON)
        return "response_reason_over_capacity";
    if (!middleware_reason_code_ok(d->reason_code))
        return "response_reason_code_invalid";
    if (d->n_findings > OS_MIDDLEWARE_FINDINGS)
        return "response_findings_over_capacity";
    for (size_t i = 0; i < d->n_findings; i++)
        if (size_of(&d->findings[i]->base) > OS_MIDDLEWARE_FINDING)
            return "response_finding_over_capacity";
    if (d->n_metadata > OS_MIDDLEWARE_METADATA)
        return "response_metadata_count_over_capacity";
    for (size_t i = 0; i < d->n_metadata; i++)
        bytes += strlen(d->metadata[i]->key) + strlen(d->metadata[i]->value);
    return bytes > OS_MIDDLEWARE_METADATA_BYTES ? "response_metadata_bytes_over_capacity" : NULL;
}

/* Denials come through with what is wrong in them left out by the reader. */
#define DIAGNOSTICS(r)                                                                                       \
    (&(const struct diagnostics){(r)->reason, (r)->reason_code, (r)->findings, (r)->n_findings,              \
                                 (const void *)(r)->metadata, (r)->n_metadata})

static const char *check_envelope(const ProtobufCMessage *m, size_t payload)
{
    size_t all = size_of(m);
    return all > payload && all - payload > OS_MIDDLEWARE_ENVELOPE ? "response_envelope_over_capacity" : NULL;
}

const char *middleware_check_result(const mw_result *r, size_t max_payload)
{
    if (r->decision == MW_DENY)
        return NULL;
    if (r->decision != MW_ALLOW)
        return "invalid_response_decision";
    const char *failure = r->has_body && r->body.len > max_payload ? "response_body_over_capacity"
                                                                   : check_diagnostics(DIAGNOSTICS(r));
    return failure ? failure : check_envelope(&r->base, r->body.len);
}

const char *middleware_check_decision(const mw_preflight_decision *d)
{
    switch (d->action) {
    case OPENSHELL__MIDDLEWARE__V1__WEB_SOCKET_PREFLIGHT_ACTION__WEB_SOCKET_PREFLIGHT_ACTION_DENY:
        return NULL;
    case OPENSHELL__MIDDLEWARE__V1__WEB_SOCKET_PREFLIGHT_ACTION__WEB_SOCKET_PREFLIGHT_ACTION_INSPECT:
    case OPENSHELL__MIDDLEWARE__V1__WEB_SOCKET_PREFLIGHT_ACTION__WEB_SOCKET_PREFLIGHT_ACTION_SKIP: {
        const char *failure = check_diagnostics(DIAGNOSTICS(d));
        return failure ? failure : check_envelope(&d->base, 0);
    }
    default:
        return "invalid_preflight_decision";
    }
}

bool middleware_replacement(const mw_message_result *r, struct http1_text *out)
{
    switch (r->replacement_case) {
    case OPENSHELL__MIDDLEWARE__V1__WEB_SOCKET_MESSAGE_RESULT__REPLACEMENT_TEXT:
        *out = (struct http1_text){r->text, strlen(r->text)};
        return true;
    case OPENSHELL__MIDDLEWARE__V1__WEB_SOCKET_MESSAGE_RESULT__REPLACEMENT_BINARY:
        *out = (struct http1_text){(const char *)r->binary.data, r->binary.len};
        return true;
    default:
        return false;
    }
}

const char *middleware_check_message(const mw_message_result *r, uint64_t sequence, bool external,
                                     size_t max_payload)
{
    struct http1_text t = {0};
    middleware_replacement(r, &t);
    if (r->sequence != sequence)
        return r->decision == MW_DENY ? NULL : "message_result_sequence_mismatch";
    if (r->decision == MW_DENY)
        return NULL;
    if (r->decision != MW_ALLOW)
        return "invalid_response_decision";
    if (external &&
        r->replacement_case == OPENSHELL__MIDDLEWARE__V1__WEB_SOCKET_MESSAGE_RESULT__REPLACEMENT_BINARY)
        return "replacement_type_mismatch";
    if (t.n > OS_WEBSOCKET_TEXT)
        return "response_message_over_platform_capacity";
    if (t.n > max_payload)
        return "response_message_over_capacity";
    const char *failure = check_diagnostics(DIAGNOSTICS(r));
    return failure ? failure : check_envelope(&r->base, t.n);
}
