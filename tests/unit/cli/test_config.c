/* Registrations, active gateway, client certificates, last-used sandbox: real files in a private directory.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "cli/config.h"
#include "cli/endpoint.h"
#include "sys/file.h"

static char dir[64];
static struct os_arena arena;
static struct os_error err;

static int setup(void **state)
{
    strcpy(dir, "/tmp/openshell-cli-test-XXXXXX");
    assert_non_null(mkdtemp(dir));
    char *system = os_asprintf("%s/system", dir);
    setenv("XDG_CONFIG_HOME", dir, 1);
    setenv("XDG_STATE_HOME", dir, 1);
    setenv("OPENSHELL_SYSTEM_GATEWAY_DIR", system, 1);
    unsetenv("OPENSHELL_LOCAL_TLS_DIR");
    free(system);
    return 0;
}

static int teardown(void **state)
{
    os_arena_free(&arena);
    os_error_clear(&err);
    return os_dir_remove(dir, NULL);
}

/* Writes dir/<path>, directories included. */
static void put(const char *path, const char *text)
{
    char *full = os_asprintf("%s/%s", dir, path), *parent = os_strdup(full);
    *strrchr(parent, '/') = '\0';
    assert_int_equal(os_dir_make(parent, 0700, NULL), 0);
    assert_int_equal(os_file_write_atomic(full, text, strlen(text), 0600, NULL), 0);
    free(full);
    free(parent);
}

#define META(name, more)                                                                                     \
    "{\"name\":\"" name                                                                                      \
    "\",\"gateway_endpoint\":\"https://h:1\",\"is_remote\":false,\"gateway_port\":0" more "}"

static void test_save_and_load(void **state)
{
    const struct gateway_record in = {.name = "prod",
                                      .endpoint = "https://host:17670",
                                      .is_remote = true,
                                      .auth_mode = "mtls",
                                      .remote_host = "u@h"};
    struct gateway_record r;
    assert_int_equal(config_save(&in, &err), 0);
    assert_int_equal(config_load(&arena, "prod", &r, &err), 0);
    assert_string_equal(r.endpoint, "https://host:17670");
    assert_string_equal(r.auth_mode, "mtls");
    assert_string_equal(r.remote_host, "u@h");
    assert_true(r.is_remote);
    assert_false(r.system);
    assert_null(r.oidc_issuer);

    char *path = os_asprintf("%s/openshell/gateways/prod", dir);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    free(path);

    path = os_asprintf("%s/openshell/gateways/prod/metadata.json", dir);
    struct os_buf text = {0};
    assert_int_equal(os_file_read(path, 4096, &text, &err), 0);
    assert_string_equal(os_buf_str(&text),
                        "{\n  \"name\": \"prod\",\n  \"gateway_endpoint\": \"https://host:17670\",\n"
                        "  \"is_remote\": true,\n  \"gateway_port\": 0,\n"
                        "  \"remote_host\": \"u@h\",\n  \"auth_mode\": \"mtls\"\n}");
    os_buf_free(&text);
    free(path);
}

static void test_malformed(void **state)
{
    static const struct {
        const char *text, *want;
    } cases[] = {
        {"{", "is not valid JSON"},
        {"[]", "is not a JSON object"},
        {"", "is not valid JSON"},
        {"{\"name\":\"x\"}", "key \"gateway_endpoint\" must be a string"},
        {"{\"name\":1,\"gateway_endpoint\":\"e\",\"is_remote\":false,\"gateway_port\":0}",
         "key \"name\" must be a string"},
        {"{\"name\":\"x\",\"gateway_endpoint\":\"e\",\"is_remote\":0,\"gateway_port\":0}",
         "key \"is_remote\" must be true or false"},
        {"{\"name\":\"x\",\"gateway_endpoint\":\"e\",\"is_remote\":false,\"gateway_port\":65536}",
         "key \"gateway_port\" must be a number from 0 to 65535"},
        {META("x", ",\"auth_mode\":7"), "key \"auth_mode\" must be a string"},
        {META("x", ",\"name\":\"y\""), "is not valid JSON"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct gateway_record r;
        put("openshell/gateways/x/metadata.json", cases[i].text);
        os_error_clear(&err);
        assert_int_equal(config_load(&arena, "x", &r, &err), -1);
        assert_int_not_equal(err.code, OS_NOT_FOUND);
        if (!strstr(os_error_text(&err), cases[i].want))
            fail_msg("case %zu: %s", i, os_error_text(&err));
    }
}

static void test_hostile_names(void **state)
{
    static const char *const names[] = {"", ".", "..", "a/b", "../../etc", "/etc"};
    struct gateway_record r;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const struct gateway_record bad = {.name = names[i], .endpoint = "https://h"};
        os_error_clear(&err);
        assert_int_equal(config_load(&arena, names[i], &r, &err), -1);
        assert_int_equal(err.code, OS_INVALID_ARGUMENT);
        assert_int_equal(config_save(&bad, &err), -1);
        assert_int_equal(config_set_active(names[i], &err), -1);
        assert_int_equal(config_remove(names[i], &err), -1);
        config_set_last_sandbox(names[i], "default", "sb");
        assert_null(config_last_sandbox(&arena, names[i], "default"));
    }
    os_error_clear(&err);
    config_load(&arena, "a/b", &r, &err);
    assert_string_equal(os_error_text(&err), "invalid gateway name 'a/b': expected a single path component");
    /* Content of active_gateway is checked as well. */
    put("openshell/active_gateway", "../x\n");
    assert_null(config_active(&arena));
}

static void test_user_over_system(void **state)
{
    struct gateway_record r, *list;
    size_t n;
    put("system/gateways/a/metadata.json", META("a", ""));
    put("system/gateways/b/metadata.json", META("b", ""));
    put("system/active_gateway", "b\n");
    put("openshell/gateways/a/metadata.json", "broken");
    put("openshell/gateways/c/metadata.json", META("other", ",\"cf_auth_url\":\"https://x\",\"unknown\":[]"));
    assert_int_equal(config_list(&arena, &list, &n, &err), 0);
    assert_int_equal(n, 2); /* the broken user entry hides the system one */
    assert_string_equal(list[0].name, "b");
    assert_true(list[0].system);
    assert_string_equal(list[1].name, "c"); /* the directory names it */
    assert_string_equal(list[1].edge_auth_url, "https://x");
    assert_int_equal(config_load(&arena, "a", &r, &err), -1);
    assert_string_equal(config_active(&arena), "b");
    assert_int_equal(config_set_active("c", &err), 0);
    assert_string_equal(config_active(&arena), "c");
    assert_int_equal(config_remove("c", &err), 0);
    assert_false(config_user_has("c"));
}

static void test_certificates(void **state)
{
    struct config_tls tls;
    assert_int_equal(config_tls_load(&arena, "gw", &tls, &err), -1);
    assert_non_null(strstr(os_error_text(&err), "failed to read TLS CA from "));
    put("openshell/gateways/gw/mtls/ca.crt", "CA");
    put("openshell/gateways/gw/mtls/tls.crt", "CERT");
    put("openshell/gateways/gw/mtls/tls.key", "");
    assert_int_equal(config_tls_load(&arena, "gw", &tls, &err), -1);
    assert_non_null(strstr(os_error_text(&err), "failed to read TLS key from "));
    put("openshell/gateways/gw/mtls/tls.key", "KEY");
    assert_int_equal(config_tls_load(&arena, "gw", &tls, &err), 0);
    assert_string_equal(tls.key, "KEY");
    /* An endpoint stands in for a name. */
    put("openshell/gateways/https___h_1/mtls/ca.crt", "X");
    assert_int_equal(config_tls_load(&arena, "https://h:1", &tls, &err), -1);
    assert_non_null(strstr(os_error_text(&err), "https___h_1/mtls/tls.crt"));
}

static void test_import(void **state)
{
    struct config_tls tls;
    assert_int_equal(config_tls_import("gw", &err), 0); /* nothing to import is fine */
    assert_false(config_tls_exists("gw"));
    put("openshell/tls/ca.crt", "new-ca");
    put("openshell/tls/client/tls.crt", "new-cert");
    put("openshell/tls/client/tls.key", "new-key");
    put("openshell/gateways/gw/mtls/ca.crt", "old");
    assert_int_equal(config_tls_import("gw", &err), 0);
    assert_int_equal(config_tls_load(&arena, "gw", &tls, &err), 0);
    assert_string_equal(tls.ca, "new-ca");
    char *left = os_asprintf("%s/openshell/gateways/gw/mtls.bak", dir);
    assert_false(os_file_exists(left));
    free(left);
}

static void test_last_sandbox(void **state)
{
    config_set_last_sandbox("gw", "default", "demo");
    assert_string_equal(config_last_sandbox(&arena, "gw", "default"), "demo");
    assert_null(config_last_sandbox(&arena, "gw", "team"));
    assert_null(config_last_sandbox(&arena, "gw", "defaul"));
    config_forget_sandbox("gw", "default", "other");
    assert_string_equal(config_last_sandbox(&arena, "gw", "default"), "demo");
    config_forget_sandbox("gw", "default", "demo");
    assert_null(config_last_sandbox(&arena, "gw", "default"));
}

static void test_oidc_token(void **state)
{
    bool expired;
    assert_null(config_oidc_token(&arena, "gw", &expired));
    put("openshell/gateways/gw/oidc_token.json", "{\"access_token\":\"t\",\"expires_at\":1}");
    assert_string_equal(config_oidc_token(&arena, "gw", &expired), "t");
    assert_true(expired);
    put("openshell/gateways/gw/oidc_token.json", "{\"access_token\":\"t\"}");
    config_oidc_token(&arena, "gw", &expired);
    assert_false(expired);
}

static void test_endpoints(void **state)
{
    char host[64];
    assert_true(endpoint_is_loopback("https://127.8.9.1:17670"));
    assert_true(endpoint_is_loopback("http://[::1]:1"));
    assert_true(endpoint_is_loopback("https://LOCALHOST/"));
    assert_false(endpoint_is_loopback("https://127.0.0.1.evil.test"));
    assert_false(endpoint_is_loopback("https://10.0.0.1"));
    assert_true(endpoint_host("https://[fe80::1]:4/x", host, sizeof(host)));
    assert_string_equal(host, "fe80::1");
    assert_false(endpoint_host("https://:4", host, sizeof(host)));
    assert_false(endpoint_host("nothing", host, sizeof(host)));
    assert_true(endpoint_same("https://a", "https://a//"));
    assert_false(endpoint_same("https://a", "https://ab"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_save_and_load, setup, teardown),
        cmocka_unit_test_setup_teardown(test_malformed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hostile_names, setup, teardown),
        cmocka_unit_test_setup_teardown(test_user_over_system, setup, teardown),
        cmocka_unit_test_setup_teardown(test_certificates, setup, teardown),
        cmocka_unit_test_setup_teardown(test_import, setup, teardown),
        cmocka_unit_test_setup_teardown(test_last_sandbox, setup, teardown),
        cmocka_unit_test_setup_teardown(test_oidc_token, setup, teardown),
        cmocka_unit_test(test_endpoints),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
