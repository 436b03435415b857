/* The parts without I/O: environment, retained output, back-off, token schedule, relay targets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/encode.h"
#include "supervisor/agent/env.h"
#include "supervisor/agent/retain.h"
#include "supervisor/agent/target.h"
#include "supervisor/session/backoff.h"
#include "supervisor/session/token.h"

static const char *value(const struct os_strv *l, const char *key)
{
    const char *found = NULL;
    size_t n = strlen(key);
    for (size_t i = 0; i < l->n; i++) {
        if (strncmp(l->v[i], key, n) != 0 || l->v[i][n] != '=')
            continue;
        assert_null(found); /* one entry per key */
        found = l->v[i] + n + 1;
    }
    return found;
}

static const char *const inherited[] = {
    "PATH=/opt/bin:/bin",
    "HOME=/root",
    "USER=root",
    "TERM=screen",
    "EDITOR=vi",
    "HTTP_PROXY=http://elsewhere:1",
    "OPENSHELL_SANDBOX_TOKEN=secret",
    "OPENSHELL_TLS_KEY=/k",
    "OPENSHELL_SANDBOX_UID=1000",
    "OPENSHELL_ENDPOINT=http://gw",
    "OPENSHELL_USER_ENVIRONMENT={\"EDITOR\":\"vi\",\"HOME\":\"/mine\",\"A\":\"x=y\","
    "\"OPENSHELL_X\":\"no\"}",
    "malformed",
    NULL};
static const struct agent_environment environment = {.inherited = inherited,
                                                     .user = "sandbox",
                                                     .home = "/sandbox",
                                                     .proxy_url = "http://10.200.0.1:3128",
                                                     .ca_dir = "/etc/openshell-tls"};

static void env_of_main(void **state)
{
    cleanup_strv struct os_strv l = {0};
    agent_env_main(&environment, true, &l);
    assert_string_equal(value(&l, "PATH"), "/opt/bin:/bin");
    assert_string_equal(value(&l, "EDITOR"), "vi");
    assert_string_equal(value(&l, "OPENSHELL_ENDPOINT"), "http://gw");
    assert_string_equal(value(&l, "OPENSHELL_SANDBOX"), "1");
    assert_string_equal(value(&l, "HOME"),
                        "/root"); /* named by the user environment: inherited value stays */
    assert_string_equal(value(&l, "USER"), "sandbox");
    assert_string_equal(value(&l, "LOGNAME"), "sandbox");
    assert_string_equal(value(&l, "LANG"), "C.UTF-8");
    assert_string_equal(value(&l, "TERM"), "xterm-256color");
    assert_string_equal(value(&l, "SHELL"), "/bin/bash");
    assert_null(value(&l, "OPENSHELL_SANDBOX_TOKEN"));
    assert_null(value(&l, "OPENSHELL_TLS_KEY"));
    assert_null(value(&l, "OPENSHELL_SANDBOX_UID"));
    static const char *const proxy[] = {"ALL_PROXY",  "HTTP_PROXY",  "HTTPS_PROXY",
                                        "http_proxy", "https_proxy", "grpc_proxy"};
    for (size_t i = 0; i < 6; i++)
        assert_string_equal(value(&l, proxy[i]), "http://10.200.0.1:3128");
    assert_null(value(&l, "all_proxy"));
    assert_string_equal(value(&l, "NO_PROXY"), "127.0.0.1,localhost,::1");
    assert_string_equal(value(&l, "no_proxy"), "127.0.0.1,localhost,::1");
    assert_string_equal(value(&l, "NODE_USE_ENV_PROXY"), "1");
    assert_string_equal(value(&l, "NODE_EXTRA_CA_CERTS"), "/etc/openshell-tls/openshell-ca.pem");
    assert_string_equal(value(&l, "DENO_CERT"), "/etc/openshell-tls/openshell-ca.pem");
    assert_string_equal(value(&l, "SSL_CERT_FILE"), "/etc/openshell-tls/ca-bundle.pem");
    assert_string_equal(value(&l, "GIT_SSL_CAINFO"), "/etc/openshell-tls/ca-bundle.pem");
}

static void env_of_exec(void **state)
{
    cleanup_strv struct os_strv l = {0};
    cleanup_error struct os_error err = {0};
    const struct agent_variable extra[] = {{"A", "mine"}, {"http_proxy", "http://other"}, {"EMPTY", ""}};
    assert_int_equal(agent_env_exec(&environment, false, extra, 3, &l, &err), 0);
    assert_string_equal(value(&l, "HOME"), "/mine");
    assert_string_equal(value(&l, "EDITOR"), "vi");
    assert_string_equal(value(&l, "A"), "mine");
    assert_string_equal(value(&l, "EMPTY"), "");
    assert_string_equal(value(&l, "USER"), "sandbox");
    assert_string_equal(value(&l, "LOGNAME"), "sandbox");
    assert_string_equal(value(&l, "LANG"), "C.UTF-8");
    assert_string_equal(value(&l, "TERM"), "dumb");
    assert_string_equal(value(&l, "PATH"), "/opt/bin:/bin");
    assert_string_equal(value(&l, "http_proxy"), "http://other");
    assert_string_equal(value(&l, "HTTP_PROXY"), "http://10.200.0.1:3128");
    assert_null(value(&l, "OPENSHELL_X"));
    assert_null(value(&l, "OPENSHELL_ENDPOINT"));
}

static void env_of_exec_is_checked(void **state)
{
    static const struct agent_variable bad[] = {{"", "x"}, {"A=B", "x"}, {"OPENSHELL_SANDBOX_TOKEN", "x"}};
    for (size_t i = 0; i < 3; i++) {
        cleanup_strv struct os_strv l = {0};
        cleanup_error struct os_error err = {0};
        assert_int_equal(agent_env_exec(&environment, false, &bad[i], 1, &l, &err), -1);
        assert_int_equal(err.code, OS_INVALID_ARGUMENT);
        assert_int_equal(l.n, 0);
    }
}

static void env_without_anything(void **state)
{
    static const char *const broken[] = {"OPENSHELL_USER_ENVIRONMENT={\"A\":1}", NULL};
    const struct agent_environment e = {.inherited = broken};
    cleanup_strv struct os_strv m = {0}, x = {0};
    agent_env_main(&e, false, &m);
    assert_string_equal(value(&m, "PATH"), "/usr/local/bin:/usr/bin:/bin");
    assert_string_equal(value(&m, "HOME"), "/sandbox");
    assert_string_equal(value(&m, "TERM"), "dumb");
    assert_null(value(&m, "HTTP_PROXY"));
    assert_null(value(&m, "SSL_CERT_FILE"));
    assert_int_equal(agent_env_exec(&e, true, NULL, 0, &x, NULL), 0);
    assert_string_equal(value(&x, "TERM"), "xterm-256color");
    assert_null(value(&x, "A"));
}

static void env_keeps_a_locale(void **state)
{
    static const char *const own[] = {"LANG=de_DE.UTF-8",
                                      "OPENSHELL_USER_ENVIRONMENT={\"LANG\":\"de_DE.UTF-8\"}", NULL};
    const struct agent_environment e = {.inherited = own};
    cleanup_strv struct os_strv m = {0}, x = {0};
    agent_env_main(&e, false, &m);
    assert_string_equal(value(&m, "LANG"), "de_DE.UTF-8");
    assert_int_equal(agent_env_exec(&e, false, NULL, 0, &x, NULL), 0);
    assert_string_equal(value(&x, "LANG"), "de_DE.UTF-8");
}

static size_t piece(const struct retain *r, uint64_t pos, const char **data, bool *is_err)
{
    const uint8_t *p = NULL;
    size_t n = retain_at(r, pos, 1000000, &p, is_err);
    *data = (const char *)p;
    return n;
}

static void retain_keeps_streams_apart(void **state)
{
    struct retain r;
    const char *d;
    bool is_err;
    retain_init(&r);
    assert_int_equal(piece(&r, 0, &d, &is_err), 0);
    retain_add(&r, false, (const uint8_t *)"ab", 2);
    retain_add(&r, false, (const uint8_t *)"cd", 2);
    retain_add(&r, true, (const uint8_t *)"EF", 2);
    retain_add(&r, false, (const uint8_t *)"g", 1);
    assert_int_equal(piece(&r, 0, &d, &is_err), 4);
    assert_memory_equal(d, "abcd", 4);
    assert_false(is_err);
    assert_int_equal(piece(&r, 1, &d, &is_err), 3);
    assert_int_equal(piece(&r, 4, &d, &is_err), 2);
    assert_memory_equal(d, "EF", 2);
    assert_true(is_err);
    assert_int_equal(piece(&r, 6, &d, &is_err), 1);
    assert_false(is_err);
    assert_int_equal(piece(&r, 7, &d, &is_err), 0);
    retain_free(&r);
}

static void retain_drops_the_oldest(void **state)
{
    static uint8_t block[3 * OS_MAIN_RETAINED / 2];
    struct retain r;
    const char *d;
    bool is_err;
    retain_init(&r);
    memset(block, 'x', sizeof(block));
    retain_add(&r, true, (const uint8_t *)"start", 5);
    retain_add(&r, false, block, OS_MAIN_RETAINED - 2);
    assert_int_equal(r.head, 3);
    assert_int_equal(piece(&r, 3, &d, &is_err), 2);
    assert_memory_equal(d, "rt", 2);
    assert_true(is_err);
    block[sizeof(block) - 1] = 'z';
    retain_add(&r, true, block, sizeof(block)); /* more than the ring holds */
    assert_int_equal(r.tail - r.head, OS_MAIN_RETAINED);
    uint64_t pos = r.head;
    char last = 0;
    for (size_t n; (n = piece(&r, pos, &d, &is_err)) > 0; pos += n) {
        assert_true(is_err);
        last = d[n - 1];
    }
    assert_int_equal(pos, r.tail);
    assert_int_equal(last, 'z');
    for (int i = 0; i < 3 * RETAIN_RUNS; i++) /* tiny alternating writes stay bounded */
        retain_add(&r, i % 2, (const uint8_t *)"y", 1);
    assert_int_equal(r.n_runs, RETAIN_RUNS);
    assert_int_equal(r.tail - r.head, RETAIN_RUNS);
    retain_free(&r);
}

static void backoff_doubles_to_its_cap(void **state)
{
    struct backoff b = {.first_ms = 100, .max_ms = 1000};
    static const uint32_t middle[] = {100, 200, 400, 800, 1000, 1000};
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(backoff_next(&b, middle[i] / 5), middle[i]);
    backoff_reset(&b);
    assert_int_equal(backoff_next(&b, 0), 80);
    backoff_reset(&b);
    assert_int_equal(backoff_next(&b, 40), 120);
    b.max_ms = 300; /* changed under way */
    backoff_next(&b, 0);
    backoff_next(&b, 0);
    assert_int_equal(backoff_next(&b, 60), 300);
    struct backoff huge = {.first_ms = 3000000000u, .max_ms = 4000000000u};
    backoff_next(&huge, 0);
    assert_int_equal(huge.next_ms, 4000000000u);
}

static void token_schedule(void **state)
{
    cleanup_buf struct os_buf t = {0};
    os_buf_adds(&t, "e30.");
    os_base64url_encode(&t, "{\"exp\":2000000000,\"sub\":\"x\"}", 28);
    os_buf_adds(&t, ".sig");
    assert_int_equal(token_expiry(os_buf_str(&t)), 2000000000);
    assert_int_equal(token_expiry("plain"), 0);
    assert_int_equal(token_expiry("a.!!!.c"), 0);
    assert_int_equal(token_expiry("e30.e30.x"), 0);
    assert_int_equal(token_expiry(""), 0);
    assert_int_equal(token_renew_in(100000, 0, 0), 80000);
    assert_int_equal(token_renew_in(100000, 0, 9), 80000 + 7200);
    assert_int_equal(token_renew_in(500, 0, 0), 1000);
    assert_int_equal(token_renew_in(500, 501, 5), 1000);
    assert_int_equal(token_renew_in(0, 501, 0), 6 * 3600 * 1000);
    assert_int_equal(token_renew_in(1000LL * 86400 * 365, 0, 0), 12 * 3600 * 1000);
}

static void relay_targets(void **state)
{
    static const struct {
        const char *host;
        uint32_t port;
        const char *ip, *error;
    } cases[] = {
        {"localhost", 80, "127.0.0.1", NULL},
        {"LocalHost", 65535, "127.0.0.1", NULL},
        {"127.0.0.1", 1, "127.0.0.1", NULL},
        {"127.9.8.7", 1, "127.9.8.7", NULL},
        {"::1", 1, "::1", NULL},
        {"[::1]", 1, "::1", NULL},
        {"0:0:0:0:0:0:0:1", 1, "::1", NULL},
        {"::ffff:127.0.0.5", 1, "127.0.0.5", NULL},
        {"[::ffff:127.0.0.5]", 1, "127.0.0.5", NULL},
        {"localhost", 0, NULL, "tcp target port must be between 1 and 65535"},
        {"localhost", 65536, NULL, "tcp target port must be between 1 and 65535"},
        {"", 80, NULL, "tcp target host is required"},
        {"10.200.0.1", 3128, NULL, "tcp target host must be loopback"},
        {"::ffff:10.0.0.1", 1, NULL, "tcp target host must be loopback"},
        {"[127.0.0.1]", 1, NULL, "tcp target host must be loopback"},
        {"[", 1, NULL, "tcp target host must be loopback"},
        {"[]", 1, NULL, "tcp target host must be loopback"},
        {"example.com", 1, NULL, "tcp target host must be loopback"},
        {"0.0.0.0", 1, NULL, "tcp target host must be loopback"},
        {"127.0.0.1.example.com", 1, NULL, "tcp target host must be loopback"},
        {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 1, NULL,
         "tcp target host must be loopback"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        cleanup_error struct os_error err = {0};
        char ip[TARGET_IP_LEN] = "";
        int rc = target_resolve(cases[i].host, cases[i].port, ip, &err);
        assert_int_equal(rc, cases[i].ip ? 0 : -1);
        if (cases[i].ip)
            assert_string_equal(ip, cases[i].ip);
        else
            assert_string_equal(os_error_text(&err), cases[i].error);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(env_of_main),
        cmocka_unit_test(env_of_exec),
        cmocka_unit_test(env_of_exec_is_checked),
        cmocka_unit_test(env_without_anything),
        cmocka_unit_test(env_keeps_a_locale),
        cmocka_unit_test(retain_keeps_streams_apart),
        cmocka_unit_test(retain_drops_the_oldest),
        cmocka_unit_test(backoff_doubles_to_its_cap),
        cmocka_unit_test(token_schedule),
        cmocka_unit_test(relay_targets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
