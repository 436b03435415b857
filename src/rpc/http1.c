/* Strict HTTP/1.1 request head: CRLF line ends, no folding, no space before a colon, one Host. */
#include "rpc/http1.h"

#include <string.h>
#include <strings.h>

#include "core/limits.h"
#include "core/str.h"

static bool is_token(const char *s, size_t n)
{
    static const char marks[] = "!#$%&'*+-.^_`|~";
    for (size_t i = 0; i < n; i++) {
        char c = s[i];
        bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  (c && strchr(marks, c));
        if (!ok)
            return false;
    }
    return n > 0;
}

/* Visible ASCII only: a request target. */
static bool is_target(const char *s)
{
    for (const char *p = s; *p; p++) {
        if (*p <= 0x20 || *p >= 0x7f)
            return false;
    }
    return *s == '/';
}

/* No control characters but tab; bytes above 0x7f are opaque. */
static bool is_value(const char *s)
{
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_version(const char *s)
{
    return strncmp(s, "HTTP/", 5) == 0 && is_digit(s[5]) && s[6] == '.' && is_digit(s[7]) && !s[8];
}

static int parse_line(char *line, struct rpc_http1_head *out)
{
    char *target = strchr(line, ' ');
    char *version = target ? strchr(target + 1, ' ') : NULL;
    if (!version)
        return 400;
    *target++ = '\0';
    *version++ = '\0';
    if (!is_token(line, strlen(line)) || !is_target(target))
        return 400;
    if (strcmp(version, "HTTP/1.1") != 0 && strcmp(version, "HTTP/1.0") != 0)
        return is_version(version) ? 505 : 400;
    if (strlen(target) > OS_LIMIT_HTTP1_HEAD / 2)
        return 414;
    target[strcspn(target, "?")] = '\0';
    out->method = line;
    out->path = target;
    return version[7] == '1' ? 200 : 0;
}

static int parse_field(char *line, struct rpc_http1_head *out)
{
    char *colon = strchr(line, ':');
    if (!colon || !is_token(line, (size_t)(colon - line)) || !is_value(colon + 1))
        return 400;
    *colon = '\0';
    char *value = os_str_trim(colon + 1);
    if (strcasecmp(line, "host") == 0) {
        if (out->host)
            return 400;
        out->host = value;
    } else if (strcasecmp(line, "x-request-id") == 0 && !out->request_id && *value) {
        out->request_id = value;
    } else if (strcasecmp(line, "content-type") == 0) {
        out->grpc = strncasecmp(value, "application/grpc", 16) == 0;
    }
    return 200;
}

int rpc_http1_parse(char *data, size_t n, struct rpc_http1_head *out)
{
    *out = (struct rpc_http1_head){0};
    char *end = memmem(data, n, "\r\n\r\n", 4);
    if (!end)
        return n > OS_LIMIT_HTTP1_HEAD ? 431 : 0;
    if ((size_t)(end - data) > OS_LIMIT_HTTP1_HEAD)
        return 431;
    if (memchr(data, 0, (size_t)(end - data)))
        return 400;
    end[2] = '\0';
    bool first = true, needs_host = false;
    for (char *line = data, *next; line < end + 2; line = next) {
        char *eol = strstr(line, "\r\n");
        *eol = '\0';
        next = eol + 2;
        if (strpbrk(line, "\r\n"))
            return 400;
        int r = first ? parse_line(line, out) : parse_field(line, out);
        if (r >= 400)
            return r;
        if (first)
            needs_host = r == 200;
        first = false;
    }
    return needs_host && !out->host ? 400 : 200;
}
