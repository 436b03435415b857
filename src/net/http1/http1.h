/* HTTP/1 message syntax, strict and without I/O (RFC 9112, spec/proxy.md 3.1 and 3.2): bytes in, views out.
 * Nothing ambiguous passes: what this parser accepts, every other parser on the way reads alike. */
#ifndef NET_HTTP1_HTTP1_H
#define NET_HTTP1_HTTP1_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/buf.h"
#include "core/error.h"
#include "core/limits.h"

/* A view into bytes that somebody else owns; not NUL-terminated. */
struct http1_text {
    const char *p;
    size_t n;
};

bool http1_text_is(struct http1_text t, const char *s);
bool http1_text_is_nocase(struct http1_text t, const char *s);

struct http1_field {
    struct http1_text name, value; /* value without the white space around it */
};

enum http1_framing {
    HTTP1_NO_BODY, /* no framing field: no body in a request, up to the end of the connection in a response */
    HTTP1_LENGTH,
    HTTP1_CHUNKED,
};

/* One parsed head; every view points into the bytes given to the parser. */
struct http1_head {
    struct http1_text method, target; /* request */
    int status;                       /* response */
    int minor;                        /* HTTP/1.minor: 0 or 1 */
    struct http1_field fields[OS_HTTP1_FIELDS];
    size_t n_fields;
    enum http1_framing framing;
    uint64_t length; /* HTTP1_LENGTH */
};

/* Looks for the CR LF CR LF that ends a head in the first n bytes. Returns the length of the head with its
 * terminator, 0 when it is not there yet. *seen (start with 0) keeps what needs no second look. */
size_t http1_head_end(const char *p, size_t n, size_t *seen);

/* Parses exactly one head of n bytes, terminator included. -1 with OS_INVALID_ARGUMENT and a text that says
 * what is wrong (never the value). Refused among others: bare CR or LF, line folding, white space before ':',
 * control bytes, Content-Length that is not digits or repeats with another value, Content-Length together
 * with Transfer-Encoding, any coding but one "chunked", chunked in HTTP/1.0, and a Connection field that
 * nominates host, content-length or transfer-encoding. */
int http1_parse_request(const char *p, size_t n, struct http1_head *h, struct os_error *err);
/* The same for a response; values need not be UTF-8. */
int http1_parse_response(const char *p, size_t n, struct http1_head *h, struct os_error *err);

/* First field of that name behind `after` (NULL = from the start); NULL when there is none. */
const struct http1_field *http1_find(const struct http1_head *h, const char *name,
                                     const struct http1_field *after);
/* True when a comma separated list field holds the token, in any case, in any of its lines. */
bool http1_has_token(const struct http1_head *h, const char *name, const char *token);
/* True when an Accept field names the media type, whatever its parameters; wildcards do not count. */
bool http1_accepts(const struct http1_head *h, const char *type);
/* The value of a Content-Type under which every reader takes the body for JSON in UTF-8: application/json or
 * application/<name>+json, at most one charset, utf-8, and only well-formed parameters. */
bool http1_is_json_type(struct http1_text t);
/* Connection, Upgrade, and every field nominated by Connection: never sent on (spec/proxy.md 3.5). */
bool http1_is_hop_field(const struct http1_head *h, const struct http1_field *f);

/* host[:port] as in CONNECT targets, Host fields and URLs. */
struct http1_authority {
    char host[256]; /* lower case, without brackets and trailing dot */
    bool ipv6;      /* was in brackets */
    uint16_t port;  /* 0 = not given */
};

/* False when it is not a plain authority: user info, empty host, bytes that no host name has, port 0. */
bool http1_parse_authority(struct http1_text t, struct http1_authority *out);
/* Splits "scheme://authority[/path][?query]". False when it is not absolute-form. rest is "" or starts with
 * '/' or '?'. */
bool http1_split_absolute(struct http1_text target, struct http1_text *scheme, struct http1_text *authority,
                          struct http1_text *rest);

/* --- message bodies --- */

/* Follows the framing of one body so that it can be copied byte for byte and ends where it ends. */
struct http1_body {
    enum http1_framing framing;
    uint64_t left; /* bytes of the body or of the current chunk */
    int state;
    uint32_t line; /* bytes of the current size line or of all trailers */
    uint32_t digits;
    bool line_start;
    bool done;
};

void http1_body_start(struct http1_body *b, enum http1_framing framing, uint64_t length);
/* Takes n bytes that follow; returns how many of them belong to the body (all of them unless it is done
 * now), -1 with OS_INVALID_ARGUMENT when the framing is broken. */
int64_t http1_body_feed(struct http1_body *b, const char *p, size_t n, struct os_error *err);
/* The same, and appends the content without its framing to payload (NULL = not wanted). */
int64_t http1_body_decode(struct http1_body *b, const char *p, size_t n, struct os_buf *payload,
                          struct os_error *err);

#endif
