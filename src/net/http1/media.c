/* Media types of bodies that are going to be read (RFC 9110 8.3). */
#include <string.h>
#include <strings.h>

#include "net/http1/chars.h"
#include "net/http1/http1.h"

static bool ends_with(struct http1_text t, const char *s)
{
    size_t n = strlen(s);
    return t.n > n && !strncasecmp(t.p + t.n - n, s, n);
}

static bool names_json(struct http1_text type)
{
    static const char application[] = "application/";
    struct http1_text sub = {type.p + sizeof(application) - 1, type.n - sizeof(application) + 1};
    if (type.n < sizeof(application) || strncasecmp(type.p, application, sizeof(application) - 1) ||
        !http1_is_token(sub))
        return false;
    return http1_text_is_nocase(sub, "json") || ends_with(sub, "+json");
}

/* name=value, where value is a token or a quoted string without anything to unescape. */
static bool is_parameter(struct http1_text t, struct http1_text *name, struct http1_text *value)
{
    const char *equals = memchr(t.p, '=', t.n);
    if (!equals)
        return false;
    *name = (struct http1_text){t.p, (size_t)(equals - t.p)};
    *value = (struct http1_text){equals + 1, t.n - name->n - 1};
    if (!http1_is_token(*name))
        return false;
    if (value->n >= 2 && value->p[0] == '"' && value->p[value->n - 1] == '"') {
        value->p++;
        value->n -= 2;
        return !memchr(value->p, '"', value->n) && !memchr(value->p, '\\', value->n);
    }
    return http1_is_token(*value);
}

bool http1_is_json_type(struct http1_text t)
{
    bool first = true, charset = false;
    while (t.p) {
        /* A ';' within quotes ends the parameter here, which then has no closing quote: refused. */
        const char *semicolon = memchr(t.p, ';', t.n);
        struct http1_text part = {t.p, semicolon ? (size_t)(semicolon - t.p) : t.n}, name, value;
        t.n -= semicolon ? part.n + 1 : part.n;
        t.p = semicolon ? semicolon + 1 : NULL;
        part = http1_trim(part);
        if (first && !names_json(part))
            return false;
        if (!first && part.n) {
            if (!is_parameter(part, &name, &value))
                return false;
            if (name.n >= 7 && !strncasecmp(name.p, "charset", 7)) {
                if (charset || name.n != 7 ||
                    !(http1_text_is_nocase(value, "utf-8") || http1_text_is_nocase(value, "utf8")))
                    return false;
                charset = true;
            }
        }
        first = false;
    }
    return !first;
}
