/* The sandbox CA: files, certificates per host, the bounded cache. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/x509v3.h>

#include "core/cleanup.h"
#include "core/limits.h"
#include "core/str.h"
#include "supervisor/egress/ca.h"
#include "sys/file.h"

struct fixture {
    char dir[40];
    struct egress_ca *ca;
};

static int set_up(void **state)
{
    struct fixture *f = os_calloc(1, sizeof(*f));
    struct os_error cleanup_error err = {0};
    const char *what;
    strcpy(f->dir, "/tmp/openshell-ca-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    f->ca = egress_ca_new(f->dir, NULL, &what, &err);
    if (!f->ca)
        fail_msg("%s: %s", what, os_error_text(&err));
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    egress_ca_free(f->ca);
    os_dir_remove(f->dir, NULL);
    free(f);
    return 0;
}

/* The certificate that a connection for host is served with; new reference. */
static X509 *served(struct egress_ca *ca, const char *host)
{
    struct os_error cleanup_error err = {0};
    struct egress_hello hello = {.host = host};
    SSL *ssl = egress_ca_server(ca, &hello, &err);
    if (!ssl)
        fail_msg("%s: %s", host, os_error_text(&err));
    X509 *cert = SSL_get_certificate(ssl);
    X509_up_ref(cert);
    SSL_free(ssl);
    return cert;
}

static void certifies_names_and_addresses(void **state)
{
    struct fixture *f = *state;
    char longest[254];
    for (size_t i = 0; i < 253; i++)
        longest[i] = i % 50 == 49 ? '.' : 'a';
    longest[253] = '\0';
    const char *const hosts[] = {"api.test", longest, "10.1.2.3", "2001:db8::1"};
    for (size_t i = 0; i < OS_ARRAY_LEN(hosts); i++) {
        X509 *cert = served(f->ca, hosts[i]);
        assert_int_equal(i < 2 ? X509_check_host(cert, hosts[i], 0, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT, NULL)
                               : X509_check_ip_asc(cert, hosts[i], 0),
                         1);
        assert_int_equal(X509_check_purpose(cert, X509_PURPOSE_SSL_SERVER, 0), 1);
        assert_int_equal(X509_check_ca(cert), 0);
        X509_free(cert);
    }
}

static void keeps_the_recently_used(void **state)
{
    struct fixture *f = *state;
    X509 *first = served(f->ca, "first.test"), *second = served(f->ca, "second.test");
    assert_ptr_not_equal(first, second);
    for (int i = 0; i < OS_LEAF_CACHE - 1; i++) {
        cleanup_free char *host = os_asprintf("h%d.test", i);
        X509_free(served(f->ca, host));
        X509 *again = served(f->ca, "first.test");
        assert_ptr_equal(again, first);
        X509_free(again);
    }
    assert_int_equal(egress_ca_cached(f->ca), OS_LEAF_CACHE);
    X509 *fresh = served(f->ca, "second.test"); /* pushed out, so made anew */
    assert_int_not_equal(X509_cmp(fresh, second), 0);
    X509_free(first);
    X509_free(second);
    X509_free(fresh);
}

static void writes_the_files(void **state)
{
    struct fixture *f = *state;
    cleanup_free char *alone = os_asprintf("%s/openshell-ca.pem", f->dir);
    cleanup_free char *both = os_asprintf("%s/ca-bundle.pem", f->dir);
    cleanup_buf struct os_buf a = {0}, b = {0};
    assert_int_equal(os_file_read(alone, 1 << 20, &a, NULL), 0);
    assert_int_equal(os_file_read(both, 8 << 20, &b, NULL), 0);
    assert_true(b.len >= a.len && !memcmp(b.data + b.len - a.len, a.data, a.len));
    assert_null(strstr(b.data, "PRIVATE"));
}

static void names_the_step_that_failed(void **state)
{
    struct os_error cleanup_error err = {0};
    const char *what = NULL;
    assert_null(egress_ca_new("/proc/none", NULL, &what, &err));
    assert_string_equal(what, "Failed to write CA files");
    assert_null(egress_ca_new("/tmp", "/nonexistent/roots.pem", &what, &err));
    assert_string_equal(what, "Failed to load TLS root certificates");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(certifies_names_and_addresses, set_up, tear_down),
        cmocka_unit_test_setup_teardown(keeps_the_recently_used, set_up, tear_down),
        cmocka_unit_test_setup_teardown(writes_the_files, set_up, tear_down),
        cmocka_unit_test(names_the_step_that_failed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
