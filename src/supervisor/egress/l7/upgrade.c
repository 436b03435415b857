/* A request that becomes a WebSocket: recognised before it is judged, checked when the upstream agrees, and
 * then either read message by message or relayed as it is (spec/proxy.md 14.1, 14.2). */
#include <string.h>

#include "core/log.h"
#include "net/websocket/handshake.h"
#include "supervisor/egress/internal.h"

/* A connection that stopped being HTTP would carry operations and calls that nobody judges (spec/proxy.md
 * 6.7). */
static bool is_judged_by_body(const struct policy_endpoint *config)
{
    return config && (config->protocol == POLICY_GRAPHQL || config->protocol == POLICY_JSON_RPC ||
                      config->protocol == POLICY_MCP);
}

void upgrade_recognise(struct egress_request *r)
{
    const struct policy_endpoint *config = policy_l7_config(&r->conn->l4, r->path);
    if (!websocket_is_attempt(r->head) || websocket_check_request(r->head, NULL) < 0 ||
        is_judged_by_body(config))
        return;
    r->kind = POLICY_HTTP_UPGRADE;
    r->response = os_arena_alloc(r->arena, sizeof(*r->response));
    r->reads_messages =
        config && (config->protocol == POLICY_WEBSOCKET || config->websocket_credential_rewrite ||
                   (config->provider_credentialed && !config->allow_uninspected_credentials));
    r->safe_offer = r->reads_messages ? websocket_safe_offer(r->head) : NULL;
}

void upgrade_write_fields(const struct egress_request *r, struct os_buf *out)
{
    os_buf_adds(out, "Connection: Upgrade\r\nUpgrade: websocket\r\n");
    if (r->safe_offer)
        os_buf_addf(out, "Sec-WebSocket-Extensions: %s\r\n", r->safe_offer);
}

/* The answer's head, as it came: what it may say was checked where that matters. */
static bool pass_on_answer(struct egress_request *r)
{
    struct egress_stream *up = &r->conn->upstream;
    if (stream_send(&r->conn->client, stream_bytes(up), r->response_len, OS_PROXY_HANDSHAKE_MS) < 0)
        return false;
    stream_consume(up, r->response_len);
    return true;
}

static void log_switched(const struct egress_request *r, const char *scheme)
{
    const struct egress_conn *c = r->conn;
    const struct conn_event ev = {"Open", AUDIT_SEV_INFO, AUDIT_ALLOWED, "l7-websocket", NULL};
    event_http(r, scheme, c->l4.policy, &ev,
               "101 Switching Protocols \xe2\x80\x94 %s [host:%s port:%u overflow_bytes:%zu]",
               r->reads_messages ? "websocket parsed relay"
                                 : "raw bidirectional relay (L7 enforcement no longer active)",
               c->host, c->port, stream_buffered(&c->upstream));
}

void upgrade_serve(struct egress_request *r, const char *scheme, bool forward)
{
    struct os_error err cleanup_error = {0};
    struct egress_conn *c = r->conn;
    struct websocket_agreement agreed = {.deflate = false};
    if (r->reads_messages &&
        websocket_check_response(r->head, r->safe_offer, r->response, &agreed, &err) < 0) {
        event_failure(c, forward ? "HTTP relay error" : "L7 relay error", &err);
        stream_reset(&c->client);
        return;
    }
    if (!pass_on_answer(r))
        return;
    log_switched(r, scheme);
    if (r->reads_messages)
        websocket_serve(r, scheme, agreed.deflate);
    else
        relay_streams(c);
}
