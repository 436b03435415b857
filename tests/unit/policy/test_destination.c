/* Address classes and the plans that admit a destination, with the reasons they give. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/cleanup.h"
#include "policy/destination.h"

static struct net_addr addr(const char *text)
{
    struct net_addr a;
    if (net_addr_parse(text, &a) < 0)
        fail_msg("not an address: %s", text);
    return a;
}

static void classes(void **state)
{
    static const struct {
        const char *text;
        enum destination_class want;
    } cases[] = {
        {"8.8.8.8", DESTINATION_PUBLIC},
        {"93.184.216.34", DESTINATION_PUBLIC},
        {"172.15.255.255", DESTINATION_PUBLIC},
        {"172.32.0.0", DESTINATION_PUBLIC},
        {"100.63.255.255", DESTINATION_PUBLIC},
        {"100.128.0.0", DESTINATION_PUBLIC},
        {"198.17.255.255", DESTINATION_PUBLIC},
        {"198.20.0.0", DESTINATION_PUBLIC},
        {"2606:4700::1", DESTINATION_PUBLIC},
        {"::ffff:8.8.8.8", DESTINATION_PUBLIC},
        {"10.0.0.1", DESTINATION_INTERNAL},
        {"172.16.0.0", DESTINATION_INTERNAL},
        {"172.31.255.255", DESTINATION_INTERNAL},
        {"192.168.1.1", DESTINATION_INTERNAL},
        {"100.64.0.0", DESTINATION_INTERNAL},
        {"100.127.255.255", DESTINATION_INTERNAL},
        {"192.0.0.8", DESTINATION_INTERNAL},
        {"192.0.2.1", DESTINATION_INTERNAL},
        {"198.18.0.0", DESTINATION_INTERNAL},
        {"198.19.255.255", DESTINATION_INTERNAL},
        {"198.51.100.7", DESTINATION_INTERNAL},
        {"203.0.113.7", DESTINATION_INTERNAL},
        {"255.255.255.255", DESTINATION_INTERNAL},
        {"224.0.0.1", DESTINATION_INTERNAL},
        {"fc00::1", DESTINATION_INTERNAL},
        {"fdff::1", DESTINATION_INTERNAL},
        {"ff02::1", DESTINATION_INTERNAL},
        {"::ffff:10.0.0.1", DESTINATION_INTERNAL},
        {"64:ff9b::10.0.0.1", DESTINATION_INTERNAL},
        {"127.0.0.1", DESTINATION_BLOCKED},
        {"127.255.255.255", DESTINATION_BLOCKED},
        {"169.254.169.254", DESTINATION_BLOCKED},
        {"169.254.0.0", DESTINATION_BLOCKED},
        {"0.0.0.0", DESTINATION_BLOCKED},
        {"0.1.2.3", DESTINATION_BLOCKED},
        {"::", DESTINATION_BLOCKED},
        {"::1", DESTINATION_BLOCKED},
        {"fe80::1", DESTINATION_BLOCKED},
        {"febf::1", DESTINATION_BLOCKED},
        {"::ffff:127.0.0.1", DESTINATION_BLOCKED},
        {"::ffff:169.254.169.254", DESTINATION_BLOCKED},
        {"64:ff9b::127.0.0.1", DESTINATION_BLOCKED},
        /* other ways to an IPv4 address over IPv6 */
        {"2002:808:808::1", DESTINATION_PUBLIC},
        {"2001:0:4136:e378:8000:63bf:f7f7:f7f7", DESTINATION_PUBLIC},
        {"2001:4860::7f00:1", DESTINATION_PUBLIC},
        {"2600::5efe:8.8.8.8", DESTINATION_PUBLIC},
        {"2001:0:4136:e378:8000:63bf:3fff:fdd2", DESTINATION_INTERNAL},
        {"2002:a00:1::1", DESTINATION_INTERNAL},
        {"64:ff9b:1::8.8.8.8", DESTINATION_INTERNAL},
        {"fec0::1", DESTINATION_INTERNAL},
        {"2600::200:5efe:192.168.0.1", DESTINATION_INTERNAL},
        {"::ffff:0:172.16.0.1", DESTINATION_INTERNAL},
        {"2002:7f00:1::", DESTINATION_BLOCKED},
        {"2002:a9fe:a9fe::1", DESTINATION_BLOCKED},
        {"::127.0.0.1", DESTINATION_BLOCKED},
        {"::169.254.169.254", DESTINATION_BLOCKED},
        {"::ffff:0:127.0.0.1", DESTINATION_BLOCKED},
        {"64:ff9b:1::169.254.169.254", DESTINATION_BLOCKED},
        {"2001:0:7f00:1::", DESTINATION_BLOCKED},
        {"2001:0:4136:e378:8000:63bf:5601:5601", DESTINATION_BLOCKED},
        {"fd00::5efe:169.254.169.254", DESTINATION_BLOCKED},
    };
    for (size_t i = 0; i < OS_ARRAY_LEN(cases); i++) {
        struct net_addr a = addr(cases[i].text);
        if (destination_classify(&a) != cases[i].want)
            fail_msg("%s has class %d", cases[i].text, destination_classify(&a));
    }
}

static struct destination_gateway gateway;

/* Checks host:port with these addresses (up to two); NULL kind = admitted. */
static void check(const struct policy_l4 *l4, const char *host, uint16_t port, const char *a, const char *b,
                  const char *want_kind, const char *want_reason)
{
    struct net_addrs addrs = {0};
    struct os_error cleanup_error reason = {0};
    const char *kind = NULL;
    for (size_t i = 0; i < 2; i++) {
        const char *text = i ? b : a;
        struct net_addr x;
        if (!text)
            continue;
        x = addr(text);
        net_addrs_add(&addrs, &x);
    }
    int rc = destination_check(l4, &gateway, host, port, &addrs, &kind, &reason);
    assert_int_equal(rc, want_kind ? -1 : 0);
    if (!want_kind)
        return;
    assert_string_equal(kind, want_kind);
    assert_string_equal(os_error_text(&reason), want_reason);
}

static void public_hosts(void **state)
{
    const struct policy_l4 l4 = {.allow = true};
    check(&l4, "a.test", 443, "8.8.8.8", "2606:4700::1", NULL, NULL);
    check(&l4, "a.test", 6443, "8.8.8.8", NULL, NULL, NULL);
    check(&l4, "a.test", 443, "8.8.8.8", "10.0.0.1", "internal address",
          "a.test resolves to internal address 10.0.0.1, connection rejected");
    check(&l4, "a.test", 443, "127.0.0.1", NULL, "internal address",
          "a.test resolves to internal address 127.0.0.1, connection rejected");
    check(&l4, "a.test", 443, NULL, NULL, "internal address",
          "DNS resolution returned no addresses for a.test");
}

static void declared_hosts(void **state)
{
    const struct policy_l4 l4 = {.allow = true, .declared_host = true};
    check(&l4, "db.lan", 443, "10.0.0.1", "8.8.8.8", NULL, NULL);
    check(&l4, "db.lan", 443, "fd00::1", NULL, NULL, NULL);
    check(&l4, "db.lan", 443, "10.0.0.1", "::1", "declared endpoint check failed",
          "db.lan resolves to always-blocked address ::1, connection rejected");
    static const uint16_t ports[] = {2379, 2380, 6443, 10250, 10255};
    for (size_t i = 0; i < OS_ARRAY_LEN(ports); i++) {
        char reason[80];
        snprintf(reason, sizeof(reason), "port %u is a blocked control-plane port, connection rejected",
                 ports[i]);
        check(&l4, "db.lan", ports[i], "10.0.0.1", NULL, "declared endpoint check failed", reason);
    }
}

static void literal_hosts(void **state)
{
    const struct policy_l4 l4 = {.allow = true};
    check(&l4, "10.0.0.9", 443, "10.0.0.9", NULL, NULL, NULL);
    check(&l4, "10.0.0.9", 443, "10.0.0.8", NULL, "allowed_ips check failed",
          "10.0.0.9 resolves to 10.0.0.8 which is not in allowed_ips, connection rejected");
    check(&l4, "127.0.0.1", 443, "127.0.0.1", NULL, "internal address",
          "127.0.0.1 resolves to internal address 127.0.0.1, connection rejected");
    check(&l4, "::ffff:169.254.169.254", 80, "::ffff:169.254.169.254", NULL, "internal address",
          "::ffff:169.254.169.254 resolves to internal address ::ffff:169.254.169.254, connection rejected");
}

static void listed_addresses(void **state)
{
    const struct policy_cidr list[] = {{AF_INET, {10, 1, 0, 0}, 16}, {AF_INET6, {0xfd, 0, 0, 1}, 32}};
    struct policy_endpoint ep = {.allowed_ips = list, .n_allowed_ips = OS_ARRAY_LEN(list)};
    struct policy_l4 l4 = {.allow = true, .declared_host = true, .configs = {&ep}, .n_configs = 1};
    check(&l4, "x.lan", 443, "10.1.255.255", "fd00:1::7", NULL, NULL);
    check(&l4, "x.lan", 443, "::ffff:10.1.2.3", NULL, NULL, NULL);
    check(&l4, "x.lan", 443, "10.1.0.1", "10.2.0.0", "allowed_ips check failed",
          "x.lan resolves to 10.2.0.0 which is not in allowed_ips, connection rejected");
    check(&l4, "x.lan", 443, "8.8.8.8", NULL, "allowed_ips check failed",
          "x.lan resolves to 8.8.8.8 which is not in allowed_ips, connection rejected");
    check(&l4, "x.lan", 443, "169.254.169.254", NULL, "allowed_ips check failed",
          "x.lan resolves to always-blocked address 169.254.169.254, connection rejected");
    check(&l4, "x.lan", 10250, "10.1.0.1", NULL, "allowed_ips check failed",
          "port 10250 is a blocked control-plane port, connection rejected");
    ep.allowed_ips_invalid = true;
    check(&l4, "x.lan", 443, "10.1.0.1", NULL, "invalid allowed_ips in policy",
          "allowed_ips of the endpoint are unusable: every entry must be an address or CIDR outside the "
          "always-blocked ranges");
    ep.n_allowed_ips = 0;
    check(&l4, "x.lan", 443, "8.8.8.8", NULL, "invalid allowed_ips in policy",
          "allowed_ips of the endpoint are unusable: every entry must be an address or CIDR outside the "
          "always-blocked ranges");
}

static void trusted_gateway(void **state)
{
    const struct policy_l4 l4 = {.allow = true};
    destination_gateway_read("172.17.0.1 host.openshell.internal\n", &gateway);
    assert_false(gateway.trusted);
    destination_gateway_read("169.254.169.254 host.openshell.internal\n", &gateway);
    assert_false(gateway.trusted);
    destination_gateway_read("127.0.0.1 localhost\n169.254.1.2 Host.OpenShell.Internal\n", &gateway);
    assert_true(gateway.trusted);
    check(&l4, "host.openshell.internal", 443, "169.254.1.2", NULL, NULL, NULL);
    check(&l4, "host.docker.internal", 443, "169.254.1.2", NULL, NULL, NULL);
    check(&l4, "host.openshell.internal", 443, "169.254.1.3", NULL, "trusted-gateway check failed",
          "host.openshell.internal resolves to 169.254.1.3 which does not match trusted host gateway "
          "169.254.1.2, "
          "connection rejected");
    check(&l4, "host.openshell.internal", 443, "169.254.169.254", NULL, "trusted-gateway check failed",
          "host.openshell.internal resolves to cloud metadata address 169.254.169.254, connection rejected");
    check(&l4, "host.openshell.internal", 443, "10.0.0.1", NULL, "trusted-gateway check failed",
          "host.openshell.internal resolves to non-link-local address 10.0.0.1, connection rejected");
    check(&l4, "host.openshell.internal", 2379, "169.254.1.2", NULL, "trusted-gateway check failed",
          "port 2379 is a blocked control-plane port, connection rejected");
    check(&l4, "other.internal", 443, "169.254.1.2", NULL, "internal address",
          "other.internal resolves to internal address 169.254.1.2, connection rejected");
    gateway.trusted = false;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(classes),          cmocka_unit_test(public_hosts),
        cmocka_unit_test(declared_hosts),   cmocka_unit_test(literal_hosts),
        cmocka_unit_test(listed_addresses), cmocka_unit_test(trusted_gateway),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
