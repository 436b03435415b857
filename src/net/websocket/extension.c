/* extension = token *( ";" token [ "=" ( token | quoted-string ) ] ), in comma separated lists. */
#include "net/websocket/extension.h"

#include <string.h>

#include "net/http1/chars.h"

struct cursor {
    const char *p, *end;
};

static void skip_space(struct cursor *c)
{
    while (c->p < c->end && (*c->p == ' ' || *c->p == '\t'))
        c->p++;
}

static bool skip(struct cursor *c, char byte)
{
    skip_space(c);
    if (c->p == c->end || *c->p != byte)
        return false;
    c->p++;
    skip_space(c);
    return true;
}

static bool token(struct cursor *c, struct http1_text *t)
{
    t->p = c->p;
    while (c->p < c->end && http1_is_token((struct http1_text){c->p, 1}))
        c->p++;
    t->n = (size_t)(c->p - t->p);
    return t->n > 0;
}

/* Its value, unquoted, must be a token too; none that we know has one, so only the end is of interest. */
static bool quoted(struct cursor *c)
{
    bool any = false;
    for (c->p++; c->p < c->end && *c->p != '"'; c->p++, any = true) {
        if (*c->p == '\\' && ++c->p == c->end)
            return false;
        if (!http1_is_token((struct http1_text){c->p, 1}))
            return false;
    }
    return any && c->p < c->end && c->p++;
}

struct parameters {
    bool client, server, other; /* other: unknown, with a value, or repeated */
};

static bool parameter(struct cursor *c, struct parameters *seen)
{
    struct http1_text name, value;
    if (!token(c, &name))
        return false;
    if (skip(c, '=')) {
        seen->other = true;
        return c->p < c->end && *c->p == '"' ? quoted(c) : token(c, &value);
    }
    bool *known = http1_text_is(name, "client_no_context_takeover")   ? &seen->client
                  : http1_text_is(name, "server_no_context_takeover") ? &seen->server
                                                                      : &seen->other;
    seen->other = seen->other || *known;
    *known = true;
    return true;
}

static bool extension(struct cursor *c, enum websocket_deflate_offer *offer)
{
    struct http1_text name;
    struct parameters seen = {0};
    if (!token(c, &name))
        return false;
    while (skip(c, ';'))
        if (!parameter(c, &seen))
            return false;
    if (http1_text_is(name, "permessage-deflate") && seen.client && !seen.other)
        *offer = seen.server ? WEBSOCKET_DEFLATE_BOTH : WEBSOCKET_DEFLATE_CLIENT;
    else
        *offer = WEBSOCKET_DEFLATE_NONE;
    return true;
}

bool websocket_extensions_read(const struct http1_head *h, enum websocket_deflate_offer *first, size_t *n)
{
    *first = WEBSOCKET_DEFLATE_NONE;
    *n = 0;
    const struct http1_field *f = NULL;
    while ((f = http1_find(h, "sec-websocket-extensions", f))) {
        struct cursor c = {f->value.p, f->value.p + f->value.n};
        do {
            enum websocket_deflate_offer offer;
            if (!extension(&c, &offer))
                return false;
            if (*first == WEBSOCKET_DEFLATE_NONE)
                *first = offer;
            ++*n;
        } while (skip(&c, ','));
        if (c.p != c.end)
            return false;
    }
    return true;
}
