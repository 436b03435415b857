/* Endpoints as text. */
#include "cli/endpoint.h"

#include <arpa/inet.h>
#include <string.h>

#include "core/str.h"

bool endpoint_host(const char *endpoint, char *out, size_t n)
{
    const char *host = strstr(endpoint, "://");
    if (!host)
        return false;
    host += 3;
    size_t len = *host == '[' ? strcspn(++host, "]/") : strcspn(host, ":/");
    if (!len || len >= n)
        return false;
    memcpy(out, host, len);
    out[len] = '\0';
    return true;
}

bool endpoint_is_loopback(const char *endpoint)
{
    char host[256];
    struct in_addr v4;
    struct in6_addr v6;
    if (!endpoint_host(endpoint, host, sizeof(host)))
        return false;
    if (inet_pton(AF_INET, host, &v4) == 1)
        return ntohl(v4.s_addr) >> 24 == 127;
    if (inet_pton(AF_INET6, host, &v6) == 1)
        return IN6_IS_ADDR_LOOPBACK(&v6);
    return os_str_eq_nocase(host, "localhost");
}

unsigned endpoint_port(const char *endpoint)
{
    const char *host = strstr(endpoint, "://");
    const char *colon = host ? strrchr(host + 3, ':') : NULL;
    uint64_t port;
    return colon && os_str_u64n(colon + 1, strcspn(colon + 1, "/"), 65535, &port) ? (unsigned)port : 0;
}

bool endpoint_same(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b);
    while (n && a[n - 1] == '/')
        n--;
    while (m && b[m - 1] == '/')
        m--;
    return n == m && strncmp(a, b, n) == 0;
}
