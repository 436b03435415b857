/* Opening handshake: checks on both heads, the accept hash. */
#include "net/websocket/handshake.h"

#include <openssl/sha.h>
#include <string.h>

#include "core/encode.h"
#include "net/http1/chars.h"
#include "net/websocket/extension.h"

static int refuse(struct os_error *err, const char *what)
{
    return os_error_set(err, OS_INVALID_ARGUMENT, "%s", what);
}

/* The only field of that name; NULL when there is none or another one. */
static const struct http1_field *only(const struct http1_head *h, const char *name)
{
    const struct http1_field *f = http1_find(h, name, NULL);
    return f && !http1_find(h, name, f) ? f : NULL;
}

bool websocket_is_attempt(const struct http1_head *request)
{
    return http1_has_token(request, "upgrade", "websocket") ||
           http1_find(request, "sec-websocket-key", NULL) ||
           http1_find(request, "sec-websocket-version", NULL);
}

/* Base64 of 16 bytes, canonical: 21 digits, one whose low four bits are zero, "==". */
static bool is_key(struct http1_text t)
{
    if (t.n != 24 || t.p[22] != '=' || t.p[23] != '=' || !memchr("AQgw", t.p[21], 4))
        return false;
    for (size_t i = 0; i < 21; i++) {
        char c = t.p[i];
        bool digit = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' ||
                     c == '/';
        if (!digit)
            return false;
    }
    return true;
}

static bool switches_to_websocket(const struct http1_head *h)
{
    const struct http1_field *upgrade = only(h, "upgrade");
    return upgrade && http1_text_is_nocase(upgrade->value, "websocket") &&
           http1_has_token(h, "connection", "upgrade");
}

static bool has_body(const struct http1_head *h)
{
    return h->framing == HTTP1_CHUNKED || (h->framing == HTTP1_LENGTH && h->length > 0);
}

/* One of the subprotocols offered is this one; with wanted NULL: one of them is no token. */
static bool find_subprotocol(const struct http1_head *request, const struct http1_text *wanted)
{
    const struct http1_field *f = NULL;
    while ((f = http1_find(request, "sec-websocket-protocol", f))) {
        struct http1_text rest = f->value, item;
        do {
            http1_list_next(&rest, &item);
            bool equal = wanted && item.n == wanted->n && !memcmp(item.p, wanted->p, item.n);
            if (wanted ? equal : !http1_is_token(item))
                return true;
        } while (rest.p);
    }
    return false;
}

int websocket_check_request(const struct http1_head *request, struct os_error *err)
{
    if (!http1_text_is(request->method, "GET") || request->minor < 1 || has_body(request))
        return refuse(err, "a WebSocket upgrade is a GET of HTTP/1.1 without a body");
    if (!switches_to_websocket(request))
        return refuse(err, "a WebSocket upgrade needs Upgrade: websocket and Connection: Upgrade");
    const struct http1_field *key = only(request, "sec-websocket-key");
    if (!key || !is_key(key->value))
        return refuse(err, "a WebSocket upgrade needs one Sec-WebSocket-Key of 16 bytes in base64");
    const struct http1_field *version = only(request, "sec-websocket-version");
    if (!version || !http1_text_is(version->value, "13"))
        return refuse(err, "a WebSocket upgrade needs one Sec-WebSocket-Version: 13");
    if (find_subprotocol(request, NULL))
        return refuse(err, "a WebSocket subprotocol is not a token");
    return 0;
}

static const char *const offers[] = {
    [WEBSOCKET_DEFLATE_NONE] = NULL,
    [WEBSOCKET_DEFLATE_CLIENT] = "permessage-deflate; client_no_context_takeover",
    [WEBSOCKET_DEFLATE_BOTH] = "permessage-deflate; client_no_context_takeover; server_no_context_takeover",
};

const char *websocket_safe_offer(const struct http1_head *request)
{
    enum websocket_deflate_offer offer;
    size_t n;
    return websocket_extensions_read(request, &offer, &n) ? offers[offer] : NULL;
}

void websocket_accept_for(struct http1_text key, char out[WEBSOCKET_ACCEPT_TEXT])
{
    cleanup_buf struct os_buf text = {0}, hash = {0};
    unsigned char digest[SHA_DIGEST_LENGTH];
    os_buf_add(&text, key.p, key.n);
    os_buf_adds(&text, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    SHA1((const unsigned char *)os_buf_str(&text), text.len, digest);
    os_base64_encode(&hash, digest, sizeof(digest));
    memset(out, 0, WEBSOCKET_ACCEPT_TEXT);
    memcpy(out, os_buf_str(&hash), hash.len < WEBSOCKET_ACCEPT_TEXT ? hash.len : 0);
}

static int check_extensions(const struct http1_head *response, const char *safe_offer,
                            struct websocket_agreement *out, struct os_error *err)
{
    enum websocket_deflate_offer answer;
    size_t n;
    if (!websocket_extensions_read(response, &answer, &n))
        return refuse(err, "the server's Sec-WebSocket-Extensions is malformed");
    out->deflate = n > 0;
    if (n && (n > 1 || !safe_offer || offers[answer] == NULL || strcmp(offers[answer], safe_offer) != 0))
        return refuse(err, "the server chose WebSocket extensions that were not offered");
    return 0;
}

static int check_subprotocol(const struct http1_head *request, const struct http1_head *response,
                             struct websocket_agreement *out, struct os_error *err)
{
    const struct http1_field *f = http1_find(response, "sec-websocket-protocol", NULL);
    if (!f)
        return 0;
    out->subprotocol = f->value;
    if (http1_find(response, "sec-websocket-protocol", f) || !http1_is_token(f->value) ||
        !find_subprotocol(request, &f->value))
        return refuse(err, "the server chose a WebSocket subprotocol that was not offered");
    return 0;
}

int websocket_check_response(const struct http1_head *request, const char *safe_offer,
                             const struct http1_head *response, struct websocket_agreement *out,
                             struct os_error *err)
{
    *out = (struct websocket_agreement){0};
    if (response->status != 101 || response->minor < 1 || !switches_to_websocket(response) ||
        has_body(response))
        return refuse(err, "the server's answer is not a switch to WebSocket");
    const struct http1_field *key = only(request, "sec-websocket-key");
    const struct http1_field *accept = only(response, "sec-websocket-accept");
    char want[WEBSOCKET_ACCEPT_TEXT] = "";
    if (key)
        websocket_accept_for(key->value, want);
    if (!*want || !accept || !http1_text_is(accept->value, want))
        return refuse(err, "the server's Sec-WebSocket-Accept does not answer the key");
    if (check_extensions(response, safe_offer, out, err) < 0)
        return -1;
    return check_subprotocol(request, response, out, err);
}
