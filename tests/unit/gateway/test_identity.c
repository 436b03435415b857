/* Unit tests of generated certificates and sandbox tokens (spec/identity.md 5, 11). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "core/cleanup.h"
#include "core/id.h"
#include "core/str.h"
#include "gateway/identity/certs.h"
#include "gateway/identity/jwt.h"
#include "sys/file.h"

#define SANDBOX "0b7c7a52-3f0e-4b1e-9d5e-2f7d6c1a9e10"

struct place {
    char dir[64];
    char *pki;
};

static int make_place(void **state)
{
    struct place *p = calloc(1, sizeof(*p));
    struct os_error err = {0};
    struct os_strv none = {0};
    bool created = false;
    strcpy(p->dir, "/tmp/openshell-pki.XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    setenv("XDG_CONFIG_HOME", p->dir, 1);
    p->pki = os_asprintf("%s/pki", p->dir);
    assert_int_equal(certs_ensure(p->pki, &none, &created, &err), 0);
    assert_true(created);
    *state = p;
    return 0;
}

static int remove_place(void **state)
{
    struct place *p = *state;
    struct os_error err = {0};
    os_dir_remove(p->dir, &err);
    os_error_clear(&err);
    free(p->pki);
    free(p);
    return 0;
}

static char *contents(const struct place *p, const char *name)
{
    struct os_buf b = {0};
    struct os_error err = {0};
    cleanup_free char *path = os_asprintf("%s/%s", p->dir, name);
    assert_int_equal(os_file_read(path, 1 << 20, &b, &err), 0);
    return os_buf_take(&b);
}

static void files_are_made_once_with_their_modes(void **state)
{
    struct place *p = *state;
    struct os_error err = {0};
    struct os_strv none = {0};
    bool created = true;
    cleanup_free char *before = contents(p, "pki/ca.crt");
    assert_int_equal(certs_ensure(p->pki, &none, &created, &err), 0);
    assert_false(created);
    cleanup_free char *after = contents(p, "pki/ca.crt");
    assert_string_equal(before, after);
    static const char *const secrets[] = {"ca.key", "server/tls.key", "client/tls.key", "jwt/signing.pem"};
    for (size_t i = 0; i < OS_ARRAY_LEN(secrets); i++) {
        cleanup_free char *path = os_asprintf("%s/%s", p->pki, secrets[i]);
        struct stat st;
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
    }
    cleanup_free char *bundle = contents(p, "openshell/gateways/openshell/mtls/ca.crt");
    assert_string_equal(bundle, after);
}

static void a_new_name_makes_new_certificates_and_keeps_token_keys(void **state)
{
    struct place *p = *state;
    struct os_error err = {0};
    struct os_strv more = {0};
    bool created = false;
    os_strv_add(&more, "gateway.example.com");
    cleanup_free char *ca = contents(p, "pki/ca.crt");
    cleanup_free char *kid = contents(p, "pki/jwt/kid");
    assert_int_equal(certs_ensure(p->pki, &more, &created, &err), 0);
    assert_true(created);
    cleanup_free char *ca2 = contents(p, "pki/ca.crt");
    cleanup_free char *kid2 = contents(p, "pki/jwt/kid");
    assert_string_not_equal(ca, ca2);
    assert_string_equal(kid, kid2);
    os_strv_free(&more);
}

static void partial_files_are_refused(void **state)
{
    struct place *p = *state;
    struct os_error err = {0};
    struct os_strv none = {0};
    bool created;
    cleanup_free char *path = os_asprintf("%s/client/tls.key", p->pki);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(certs_ensure(p->pki, &none, &created, &err), -1);
    assert_non_null(strstr(os_error_text(&err), "partial PKI state in "));
    os_error_clear(&err);
}

static struct jwt_keys *keys_of(struct place *p)
{
    struct jwt_keys *k = NULL;
    struct os_error err = {0};
    cleanup_free char *dir = os_asprintf("%s/jwt", p->pki);
    assert_int_equal(jwt_keys_load(dir, &k, &err), 0);
    assert_non_null(k);
    return k;
}

static void tokens_verify_and_name_their_sandbox(void **state)
{
    struct jwt_keys *k = keys_of(*state);
    struct os_error err = {0};
    char id[OS_UUID_LEN];
    int64_t expires = -1;
    cleanup_free char *token = jwt_mint_sandbox(k, SANDBOX, 0, &expires, &err);
    assert_non_null(token);
    assert_int_equal(expires, 0);
    assert_int_equal(jwt_verify_sandbox(k, token, id, &err), JWT_OK);
    assert_string_equal(id, SANDBOX);
    jwt_keys_free(k);
}

static void tampered_and_expired_tokens_are_refused(void **state)
{
    struct jwt_keys *k = keys_of(*state);
    struct os_error err = {0};
    char id[OS_UUID_LEN];
    cleanup_free char *token = jwt_mint_sandbox(k, SANDBOX, 0, NULL, &err);
    char *payload = strchr(token, '.') + 1;
    payload[10] = payload[10] == 'A' ? 'B' : 'A';
    assert_int_equal(jwt_verify_sandbox(k, token, id, &err), JWT_BAD);
    assert_int_equal(err.code, OS_UNAUTHENTICATED);
    os_error_clear(&err);
    cleanup_free char *old = jwt_mint_sandbox(k, SANDBOX, -3600, NULL, &err);
    assert_int_equal(jwt_verify_sandbox(k, old, id, &err), JWT_BAD);
    assert_string_equal(os_error_text(&err), "invalid token: ExpiredSignature");
    os_error_clear(&err);
    static const char *const garbage[] = {"", ".", "..", "a.b.c", "e30.e30.AAAA", "e30.e30"};
    for (size_t i = 0; i < OS_ARRAY_LEN(garbage); i++) {
        assert_int_not_equal(jwt_verify_sandbox(k, garbage[i], id, &err), JWT_OK);
        os_error_clear(&err);
    }
    jwt_keys_free(k);
}

static void tokens_of_other_keys_are_not_ours(void **state)
{
    struct place *p = *state;
    struct jwt_keys *mine = keys_of(p), *theirs = NULL;
    struct os_error err = {0};
    struct os_strv none = {0};
    bool created;
    char id[OS_UUID_LEN];
    cleanup_free char *other = os_asprintf("%s/other", p->dir);
    cleanup_free char *dir = os_asprintf("%s/jwt", other);
    assert_int_equal(certs_ensure(other, &none, &created, &err), 0);
    assert_int_equal(jwt_keys_load(dir, &theirs, &err), 0);
    cleanup_free char *token = jwt_mint_sandbox(theirs, SANDBOX, 0, NULL, &err);
    assert_int_equal(jwt_verify_sandbox(mine, token, id, &err), JWT_NOT_MINE);
    jwt_keys_free(mine);
    jwt_keys_free(theirs);
    os_error_clear(&err);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, make_place, remove_place)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(files_are_made_once_with_their_modes),
        TEST(a_new_name_makes_new_certificates_and_keeps_token_keys),
        TEST(partial_files_are_refused),
        TEST(tokens_verify_and_name_their_sandbox),
        TEST(tampered_and_expired_tokens_are_refused),
        TEST(tokens_of_other_keys_are_not_ours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
