/* Header fields of requests, responses and trailers. */
#include <stdio.h>
#include <string.h>

#include "core/clock.h"
#include "rpc/h2.h"
#include "rpc/status.h"

#define NV_MAX 8

struct fields {
    nghttp2_nv nv[NV_MAX];
    size_t n;
};

/* nghttp2 copies names and values when the frame is submitted. */
static void add(struct fields *f, const char *name, const char *value)
{
    f->nv[f->n++] = (nghttp2_nv){.name = (uint8_t *)name,
                                 .namelen = strlen(name),
                                 .value = (uint8_t *)value,
                                 .valuelen = strlen(value)};
}

/* Status fields of a finished call. The two buffers back the values. */
static void add_status(struct fields *f, const struct rpc_call *call, char code[8], struct os_buf *message)
{
    snprintf(code, 8, "%d", (int)call->status.code);
    add(f, "grpc-status", code);
    if (call->status.msg && *call->status.msg) {
        rpc_message_encode(message, call->status.msg);
        add(f, "grpc-message", os_buf_str(message));
    }
}

void rpc_h2_respond(struct rpc_call *call, bool fin)
{
    if (call->headers_sent || !call->conn)
        return;
    struct fields f = {0};
    char code[8];
    cleanup_buf struct os_buf message = {0};
    add(&f, ":status", "200");
    add(&f, "content-type", "application/grpc");
    add(&f, "x-request-id", rpc_call_request_id(call));
    if (fin)
        add_status(&f, call, code, &message);
    rpc_h2_submit(call, f.nv, f.n, fin);
}

void rpc_h2_trailers(struct rpc_call *call)
{
    struct fields f = {0};
    char code[8];
    cleanup_buf struct os_buf message = {0};
    add_status(&f, call, code, &message);
    nghttp2_submit_trailer(call->conn->h2, call->stream_id, f.nv, f.n);
}

void rpc_h2_respond_http(struct rpc_call *call, int status, const char *content_type, size_t length, bool fin)
{
    struct fields f = {0};
    char code[16], size[24];
    snprintf(code, sizeof(code), "%d", status);
    snprintf(size, sizeof(size), "%zu", length);
    add(&f, ":status", code);
    if (content_type)
        add(&f, "content-type", content_type);
    add(&f, "content-length", size);
    add(&f, "x-request-id", rpc_call_request_id(call));
    rpc_h2_submit(call, f.nv, f.n, fin);
}

int rpc_h2_request(struct rpc_conn *conn, struct rpc_call *call, const char *scheme, const char *authority,
                   const char *bearer)
{
    struct fields f = {0};
    char timeout[RPC_TIMEOUT_TEXT];
    add(&f, ":method", "POST");
    add(&f, ":scheme", scheme);
    add(&f, ":path", call->method->path);
    add(&f, ":authority", authority);
    add(&f, "content-type", "application/grpc");
    add(&f, "te", "trailers");
    if (call->has_deadline)
        add(&f, "grpc-timeout", rpc_timeout_text(call->deadline_ms - os_clock_mono_ms(), timeout));
    if (bearer) {
        add(&f, "authorization", bearer);
        f.nv[f.n - 1].flags = NGHTTP2_NV_FLAG_NO_INDEX;
    }
    return rpc_h2_submit_request(conn, call, f.nv, f.n);
}
