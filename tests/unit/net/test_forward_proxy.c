/* Unit tests of the operator's forward proxy as it is written down: URL, exceptions, credential. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/cleanup.h"
#include "core/str.h"
#include "net/forward_proxy.h"

static const char *url_refusal(const char *text)
{
    static char kept[256];
    struct forward_proxy_url url;
    struct os_error err = {0};
    if (forward_proxy_url_parse(text, &url, &err) == 0)
        return "";
    assert_int_equal(url.port, 0);
    snprintf(kept, sizeof(kept), "%s", os_error_text(&err));
    os_error_clear(&err);
    return kept;
}

static void urls_are_scheme_host_and_port(void **state)
{
    static const struct {
        const char *text;
        bool tls;
        const char *host;
        unsigned port;
    } good[] = {{"http://proxy.corp.com:3128", false, "proxy.corp.com", 3128},
                {"HTTP://PROXY.Corp:1/", false, "proxy.corp", 1},
                {"https://proxy:65535", true, "proxy", 65535},
                {"http://10.0.0.1:8080", false, "10.0.0.1", 8080},
                {"http://[::1]:80/", false, "::1", 80},
                {"https://[FD00::A]:443", true, "fd00::a", 443}};
    for (size_t i = 0; i < OS_ARRAY_LEN(good); i++) {
        struct forward_proxy_url url;
        struct os_error err = {0};
        if (forward_proxy_url_parse(good[i].text, &url, &err) < 0)
            fail_msg("%s: %s", good[i].text, os_error_text(&err));
        assert_int_equal(url.tls, good[i].tls);
        assert_string_equal(url.host, good[i].host);
        assert_int_equal(url.port, good[i].port);
    }
}

static void everything_else_says_what_is_wrong(void **state)
{
    static const struct {
        const char *text, *why;
    } bad[] = {
        {"proxy.corp.com:3128", "proxy URL must include an explicit scheme"},
        {"", "proxy URL must include an explicit scheme"},
        {"://x:1", "proxy URL must include an explicit scheme"},
        {"socks5://x:1", "unsupported proxy scheme 'socks5': only http:// and https:// forward proxies"},
        {"httpss://x:1", "unsupported proxy scheme 'httpss'"},
        {"http://", "proxy URL is missing a proxy host"},
        {"http://:3128", "proxy URL is missing a proxy host"},
        {"http://[]:3128", "proxy URL is missing a proxy host"},
        {"http://x", "proxy URL must include an explicit proxy port"},
        {"http://x:", "proxy URL must include an explicit proxy port"},
        {"http://[::1]", "proxy URL must include an explicit proxy port"},
        {"http://x:0", "proxy URL port must not be 0"},
        {"http://x:65536", "proxy URL port must be a number from 1 to 65535"},
        {"http://x:-1", "proxy URL port must be a number from 1 to 65535"},
        {"http://x:80a", "proxy URL port must be a number from 1 to 65535"},
        {"http://x:1/p", "proxy URL must not contain a path"},
        {"http://x:1//", "proxy URL must not contain a path"},
        {"http://x:1?q", "proxy URL must not contain a query"},
        {"http://x:1/?q", "proxy URL must not contain a query"},
        {"http://x:1#f", "proxy URL must not contain a fragment"},
        {"http://[::1:80", "proxy URL has an unclosed '['"},
        {"http://[::1]x:80", "proxy URL has an invalid proxy host"},
        {"http://[x.y]:80", "proxy URL has an invalid proxy host"},
        {"http://a b:80", "proxy URL has an invalid proxy host"},
        {"http://a\r\nX-Y:80", "proxy URL has an invalid proxy host"},
        {"http://::1:80", "proxy URL is missing a proxy host"},
        {"http://user:pass@x:1", "proxy URL must not contain credentials"},
    };
    for (size_t i = 0; i < OS_ARRAY_LEN(bad); i++)
        if (!os_str_starts(url_refusal(bad[i].text), bad[i].why))
            fail_msg("%s: got '%s', want '%s'", bad[i].text, url_refusal(bad[i].text), bad[i].why);
    char longest[400] = "http://";
    memset(longest + 7, 'a', 300);
    strcpy(longest + 307, ":1");
    assert_string_equal(url_refusal(longest), "proxy URL has an invalid proxy host");
    /* Whatever is wrong with it, a secret in it is not repeated. */
    static const char *const secret[] = {"http://u:s3cret@x", "s3cret s3cret s3cret s3cret://x:1",
                                         "http://u:s3c/ret@x:1", "http://s3cret:80x"};
    for (size_t i = 0; i < OS_ARRAY_LEN(secret); i++)
        assert_null(strstr(url_refusal(secret[i]), "s3c"));
}

static bool goes_around(const char *list, const char *host, uint16_t port)
{
    struct forward_proxy p = {0};
    struct os_error err = {0};
    if (forward_proxy_add_exceptions(&p, list, &err) < 0)
        fail_msg("%s: %s", list, os_error_text(&err));
    bool yes = forward_proxy_bypasses(&p, host, port);
    forward_proxy_clear(&p);
    return yes;
}

static void domains_cover_what_is_below_them(void **state)
{
    static const char *const same[] = {"corp.com", ".corp.com", "*.corp.com", " CORP.com. ",
                                       "x.y,,corp.com,"};
    for (size_t i = 0; i < OS_ARRAY_LEN(same); i++) {
        assert_true(goes_around(same[i], "corp.com", 443));
        assert_true(goes_around(same[i], "a.corp.com", 443));
        assert_true(goes_around(same[i], "a.b.corp.com", 80));
        assert_false(goes_around(same[i], "notcorp.com", 443));
        assert_false(goes_around(same[i], "corp.com.evil.net", 443));
        assert_false(goes_around(same[i], "com", 443));
    }
    assert_true(goes_around("corp.com:8443", "a.corp.com", 8443));
    assert_false(goes_around("corp.com:8443", "a.corp.com", 443));
    assert_true(goes_around("*", "anything.net", 1));
    assert_true(goes_around("*:22", "anything.net", 22));
    assert_false(goes_around("*:22", "anything.net", 443));
    assert_false(goes_around("1.corp", "10.1.2.1", 443));
}

static void addresses_match_literals(void **state)
{
    assert_true(goes_around("10.0.0.0/8", "10.255.0.1", 443));
    assert_false(goes_around("10.0.0.0/8", "11.0.0.1", 443));
    assert_true(goes_around("10.1.2.3", "10.1.2.3", 443));
    assert_true(goes_around("10.1.2.3:443", "10.1.2.3", 443));
    assert_false(goes_around("10.1.2.3:443", "10.1.2.3", 80));
    assert_true(goes_around("10.0.0.0/9:80", "10.127.0.1", 80));
    assert_false(goes_around("10.0.0.0/9:80", "10.128.0.1", 80));
    assert_true(goes_around("0.0.0.0/0", "1.2.3.4", 80));
    assert_false(goes_around("0.0.0.0/0", "name", 80));
    assert_false(goes_around("0.0.0.0/0", "fd00::1", 80));
    assert_true(goes_around("fd00::/8", "fd12::1", 80));
    assert_true(goes_around("[fd00::1]:80", "fd00::1", 80));
    assert_false(goes_around("[fd00::1]:80", "fd00::1", 81));
    assert_true(goes_around("fd00::1", "fd00::1", 81));
    assert_true(goes_around("10.0.0.0/8", "::ffff:10.0.0.1", 80));
    assert_true(goes_around("::ffff:10.0.0.1", "10.0.0.1", 80));
}

static void loopback_always_goes_around(void **state)
{
    assert_true(goes_around("", "127.0.0.1", 443));
    assert_true(goes_around("", "127.9.9.9", 443));
    assert_true(goes_around("", "::1", 443));
    assert_true(goes_around("", "::ffff:127.0.0.1", 443));
    assert_false(goes_around("", "128.0.0.1", 443));
    assert_false(goes_around("", "localhost", 443)); /* that depends on its addresses */
}

static void resolved_addresses_are_sorted_out(void **state)
{
    struct forward_proxy p = {0};
    struct net_addrs in = {0}, out;
    static const char *const all[] = {"10.0.0.1", "93.184.216.34", "fd00::1", "::ffff:10.0.0.2"};
    struct net_addr a;
    char text[INET6_ADDRSTRLEN];
    for (size_t i = 0; i < OS_ARRAY_LEN(all); i++) {
        assert_int_equal(net_addr_parse(all[i], &a), 0);
        net_addrs_add(&in, &a);
    }
    assert_int_equal(forward_proxy_add_exceptions(&p, "*,10.0.0.0/8,fd00::/16:80,corp", NULL), 0);
    forward_proxy_direct_addresses(&p, &in, 443, &out);
    assert_int_equal(out.n, 2);
    assert_string_equal(net_addr_text(&out.v[0], text), "10.0.0.1");
    assert_string_equal(net_addr_text(&out.v[1], text), "::ffff:10.0.0.2");
    forward_proxy_direct_addresses(&p, &in, 80, &out);
    assert_int_equal(out.n, 3);
    forward_proxy_clear(&p);
}

static void wrong_exceptions_are_refused(void **state)
{
    static const char *const bad[] = {
        "a b",    "10.0.0.0/33", "fd00::/129", "10.0.0.0/",           "10.0.0.0/x", "corp:0", "corp:65536",
        "corp:x", "corp:",       ":80",        "http://corp",         "corp/path",  "*corp",  "a*.corp",
        "[corp]", "corp;other",  "ok.com,b@d", "::ffff:10.0.0.0/104", "..",         "*."};
    for (size_t i = 0; i < OS_ARRAY_LEN(bad); i++) {
        struct forward_proxy p = {0};
        struct os_error err = {0};
        if (forward_proxy_add_exceptions(&p, bad[i], &err) == 0)
            fail_msg("accepted: %s", bad[i]);
        assert_true(os_str_starts(os_error_text(&err), "entry '"));
        os_error_clear(&err);
        forward_proxy_clear(&p);
    }
    cleanup_buf struct os_buf many = {0};
    struct forward_proxy p = {0};
    struct os_error err = {0};
    for (int i = 0; i <= OS_NO_PROXY_ENTRIES; i++)
        os_buf_addf(&many, "h%d,", i);
    assert_int_equal(forward_proxy_add_exceptions(&p, many.data, &err), -1);
    assert_string_equal(os_error_text(&err), "has more than 1024 entries");
    os_error_clear(&err);
    forward_proxy_clear(&p);
}

static const char *credential(const char *text, size_t n)
{
    static char kept[256];
    struct forward_proxy p = {0};
    struct os_error err = {0};
    if (forward_proxy_set_credential(&p, text, n, &err) == 0)
        snprintf(kept, sizeof(kept), "%s", p.authorization.data);
    else
        snprintf(kept, sizeof(kept), "%s", os_error_text(&err));
    os_error_clear(&err);
    forward_proxy_clear(&p);
    return kept;
}

static void credentials_are_user_and_password(void **state)
{
    assert_string_equal(credential("user:pass", 9), "Basic dXNlcjpwYXNz");
    assert_string_equal(credential(" user:pass\r\n", 12), "Basic dXNlcjpwYXNz");
    assert_string_equal(credential("user:", 5), "Basic dXNlcjo=");
    assert_string_equal(credential("u:a:b c", 7), "Basic dTphOmIgYw==");
    assert_string_equal(credential(" \n", 2), "credential is empty");
    assert_string_equal(credential("a:b\nc:d", 7), "credential contains control characters");
    assert_string_equal(credential("a:b\0c", 5), "credential contains control characters");
    assert_string_equal(credential("user", 4), "credential must use the user:pass form (missing ':')");
    assert_string_equal(credential(":pass", 5), "credential must use the user:pass form (empty user)");
}

static const char *load(struct forward_proxy_given given)
{
    static const struct forward_proxy_names names = {"--p", "--n", "--a", "--i", "--h", "upstream proxy"};
    static char kept[512];
    struct forward_proxy p;
    struct os_error err = {0};
    int rc = forward_proxy_load(&p, &given, &names, &err);
    snprintf(kept, sizeof(kept), "%s", rc < 0 ? os_error_text(&err) : "");
    if (rc < 0)
        assert_true(!p.url.host[0] && !p.direct && !p.authorization.data);
    os_error_clear(&err);
    forward_proxy_clear(&p);
    return kept;
}

#define LOAD(...) load((struct forward_proxy_given){__VA_ARGS__})

static void options_depend_on_each_other(void **state)
{
    char dir[] = "/tmp/openshell-test-proxy.XXXXXX";
    assert_non_null(mkdtemp(dir));
    cleanup_free char *file = os_asprintf("%s/secret", dir), *fifo = os_asprintf("%s/fifo", dir);
    FILE *f = fopen(file, "w");
    fputs("user:pass\n", f);
    fclose(f);
    assert_string_equal(LOAD(.url = NULL), "");
    assert_string_equal(LOAD(.url = "http://p:1"), "");
    assert_string_equal(LOAD(.url = "http://p:1", .auth_file = file, .auth_allow_insecure = true), "");
    assert_string_equal(LOAD(.url = "https://p:1", .auth_file = file), "");
    assert_string_equal(LOAD(.url = "https://p:1", .auth_file = file, .auth_allow_insecure = true), "");
    assert_string_equal(LOAD(.url = ""), "--p must not be empty when set");
    assert_string_equal(LOAD(.url = "http://p:1", .no_proxy = " "), "--n must not be empty when set");
    assert_string_equal(LOAD(.url = "http://p:1", .auth_file = ""), "--a must not be empty when set");
    assert_string_equal(LOAD(.no_proxy = "x"), "--n is set but no upstream proxy is configured");
    assert_string_equal(LOAD(.auth_file = file), "--a is set but no upstream proxy is configured");
    assert_string_equal(LOAD(.auth_allow_insecure = true), "--i is set but no upstream proxy is configured");
    assert_string_equal(LOAD(.connect_by_hostname = true), "--h is set but no upstream proxy is configured");
    assert_string_equal(LOAD(.url = "http://p:1", .auth_allow_insecure = true),
                        "--i is set but no --a is configured");
    assert_string_equal(LOAD(.url = "http://p:1", .auth_file = file),
                        "--a would send the credential to an http:// proxy in the clear; that needs --i");
    assert_string_equal(LOAD(.url = "http://p:0"), "--p proxy URL port must not be 0");
    assert_true(os_str_starts(LOAD(.url = "http://p:1", .no_proxy = "a b"), "--n entry 'a b' is neither"));
    assert_true(os_str_starts(LOAD(.url = "https://p:1", .auth_file = dir), "--a: '/tmp/"));
    assert_int_equal(mkfifo(fifo, 0600), 0); /* nobody writes: must not wait */
    assert_non_null(strstr(LOAD(.url = "https://p:1", .auth_file = fifo), "is not a regular file"));
    f = fopen(file, "w");
    fputs("user:", f);
    for (int i = 0; i < OS_PROXY_CREDENTIAL; i++)
        fputc('x', f);
    fclose(f);
    assert_non_null(strstr(LOAD(.url = "https://p:1", .auth_file = file), "is larger than 4096 bytes"));
    unlink(file);
    assert_non_null(strstr(LOAD(.url = "https://p:1", .auth_file = file), "No such file"));
    unlink(fifo);
    rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls_are_scheme_host_and_port),
        cmocka_unit_test(everything_else_says_what_is_wrong),
        cmocka_unit_test(domains_cover_what_is_below_them),
        cmocka_unit_test(addresses_match_literals),
        cmocka_unit_test(loopback_always_goes_around),
        cmocka_unit_test(resolved_addresses_are_sorted_out),
        cmocka_unit_test(wrong_exceptions_are_refused),
        cmocka_unit_test(credentials_are_user_and_password),
        cmocka_unit_test(options_depend_on_each_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
