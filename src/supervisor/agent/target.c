/* Loopback targets only: a relay reaches the agent's own services and nothing else. */
#include "supervisor/agent/target.h"

#include <arpa/inet.h>
#include <string.h>

#include "core/str.h"

int target_resolve(const char *host, uint32_t port, char ip[TARGET_IP_LEN], struct os_error *err)
{
    if (!port || port > 65535)
        return os_error_set(err, OS_INVALID_ARGUMENT, "tcp target port must be between 1 and 65535");
    if (!*host)
        return os_error_set(err, OS_INVALID_ARGUMENT, "tcp target host is required");
    char bare[TARGET_IP_LEN];
    size_t n = strlen(host), skip = host[0] == '[' && host[n - 1] == ']';
    struct in_addr v4;
    struct in6_addr v6;
    if (os_str_eq_nocase(host, "localhost")) {
        strcpy(ip, "127.0.0.1");
        return 0;
    }
    if (n - 2 * skip < sizeof(bare)) {
        memcpy(bare, host + skip, n - 2 * skip);
        bare[n - 2 * skip] = '\0';
        if (inet_pton(AF_INET6, bare, &v6) == 1 && IN6_IS_ADDR_V4MAPPED(&v6)) {
            memcpy(&v4, &v6.s6_addr[12], sizeof(v4));
            inet_ntop(AF_INET, &v4, bare, sizeof(bare));
        } else if (inet_pton(AF_INET6, bare, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6)) {
            strcpy(ip, "::1");
            return 0;
        } else if (skip) {
            bare[0] = '\0'; /* brackets are for IPv6 */
        }
        if (inet_pton(AF_INET, bare, &v4) == 1 && ntohl(v4.s_addr) >> 24 == 127) {
            strcpy(ip, bare);
            return 0;
        }
    }
    return os_error_set(err, OS_INVALID_ARGUMENT, "tcp target host must be loopback");
}
