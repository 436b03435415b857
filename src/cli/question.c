/* --request and --connect of `policy check`. */
#include "cli/question.h"

#include <string.h>

#include "core/cleanup.h"
#include "core/limits.h"
#include "core/str.h"

/* host[:port], IPv6 in brackets; lower case, without brackets and root dot, as the engine wants it. port 0:
 * required. */
static bool read_place(struct os_arena *a, const char *text, size_t n, uint16_t port,
                       struct policy_question *out)
{
    char *host = os_str_lower(os_arena_strndup(a, text, n));
    char *tail = host;
    if (*host == '[') {
        tail = strchr(host, ']');
        if (!tail)
            return false;
        host++;
        *tail++ = '\0';
    } else {
        tail += strcspn(host, ":");
    }
    uint64_t number = port;
    if (*tail && (*tail != ':' || !os_str_u64(tail + 1, UINT16_MAX, &number)))
        return false;
    *tail = '\0';
    n = strlen(host);
    if (n > 1 && host[n - 1] == '.')
        host[--n] = '\0';
    bool clean = n > 0 && n <= OS_LIMIT_HOST_NAME && !strpbrk(host, " \t\r\n/@?#\\*");
    out->host = host;
    out->port = (uint16_t)number;
    return clean && number > 0;
}

static bool is_method(const char *s, size_t n)
{
    static const char token[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-.^_`|~";
    return n > 0 && strspn(s, token) == n;
}

int question_parse_request(struct os_arena *a, const char *text, struct policy_question *out,
                           struct os_error *err)
{
    size_t method = strcspn(text, " ");
    const char *url = text + method + strspn(text + method, " ");
    out->tls = os_str_starts(url, "https://");
    if (!is_method(text, method) || (!out->tls && !os_str_starts(url, "http://")))
        return os_error_set(err, OS_INVALID_ARGUMENT,
                            "--request expects \"METHOD URL\" with an http or https URL, got '%s'", text);
    const char *place = strstr(url, "://") + 3;
    size_t n = strcspn(place, "/?#");
    if (!read_place(a, place, n, out->tls ? 443 : 80, out))
        return os_error_set(err, OS_INVALID_ARGUMENT, "--request has no usable host and port in '%s'", text);
    const char *target = place + n;
    size_t len = strcspn(target, "#"); /* clients keep the fragment to themselves */
    out->method = os_arena_strndup(a, text, method);
    out->target = os_arena_printf(a, "%s%.*s", *target == '/' ? "" : "/", (int)len, target);
    return 0;
}

int question_parse_connect(struct os_arena *a, const char *text, struct policy_question *out,
                           struct os_error *err)
{
    return read_place(a, text, strlen(text), 0, out)
               ? 0
               : os_error_set(err, OS_INVALID_ARGUMENT, "--connect expects HOST:PORT, got '%s'", text);
}
