/* Unit tests of src/net/tls and cert: real handshakes between contexts made from issued certificates. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "core/str.h"
#include "net/tls.h"

/* --- one small PKI for all tests --- */

struct identity {
    EVP_PKEY *key;
    X509 *cert;
    char *cert_pem, *key_pem;
};

static struct identity ca, other_ca, server, client, stranger;

static struct identity issue(const struct net_cert_request *req, const struct identity *by)
{
    struct identity id = {.key = net_key_new_p256()};
    assert_non_null(id.key);
    id.cert = net_cert_issue(req, id.key, by ? by->cert : NULL, by ? by->key : NULL, NULL);
    assert_non_null(id.cert);
    id.cert_pem = net_cert_pem(id.cert);
    id.key_pem = net_key_pem(id.key);
    return id;
}

static void drop(struct identity *id)
{
    EVP_PKEY_free(id->key);
    X509_free(id->cert);
    free(id->cert_pem);
    free(id->key_pem);
    *id = (struct identity){0};
}

static const char *const server_sans[] = {"gateway.test", "*.wild.test", "127.0.0.1", "2001:db8::1", NULL};
static const char *const h2[] = {"h2", NULL}, *const h1[] = {"http/1.1", NULL};
static const char *const either[] = {"h2", "http/1.1", NULL}, *const reversed[] = {"http/1.1", "h2", NULL};

static int setup(void **state)
{
    ca = issue(&(struct net_cert_request){.cn = "Test CA", .o = "OpenShell", .ca = true, .years = 2}, NULL);
    other_ca = issue(&(struct net_cert_request){.cn = "Other CA", .ca = true, .years = 2}, NULL);
    server = issue(
        &(struct net_cert_request){
            .cn = "only-in-cn.test", .sans = server_sans, .server_auth = true, .years = 2},
        &ca);
    client = issue(&(struct net_cert_request){.cn = "client", .client_auth = true, .years = 2}, &ca);
    stranger = issue(&(struct net_cert_request){.cn = "client", .client_auth = true, .years = 2}, &other_ca);
    return 0;
}

static int teardown(void **state)
{
    drop(&ca);
    drop(&other_ca);
    drop(&server);
    drop(&client);
    drop(&stranger);
    return 0;
}

/* --- handshakes --- */

struct pair {
    SSL_CTX *server_ctx, *client_ctx;
    SSL *server, *client;
    int fds[2];
    bool ok; /* both ends finished and a byte went each way */
    struct os_error client_err;
};

static SSL_CTX *server_context(const struct identity *id, const char *client_ca, const char *const *alpn,
                               bool require)
{
    struct net_tls_pem pem = {.cert = id->cert_pem, .key = id->key_pem, .ca = client_ca};
    return net_tls_server(&pem, alpn, require, NULL);
}

static SSL_CTX *client_context(const struct identity *id, const char *trust, const char *const *alpn)
{
    struct net_tls_pem pem = {.cert = id ? id->cert_pem : NULL, .key = id ? id->key_pem : NULL, .ca = trust};
    return net_tls_client(&pem, alpn, false, NULL);
}

/* True when the step is finished; *failed when it cannot finish any more. */
static bool step(SSL *ssl, int rc, bool *failed)
{
    if (rc == 1)
        return true;
    int why = SSL_get_error(ssl, rc);
    if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE)
        *failed = true;
    return false;
}

/* TLS 1.3 clients finish before the server has judged them: a byte each way shows what really holds. */
static bool exchange(struct pair *p)
{
    char c = 0, s = 0;
    bool failed = false, got_s = false, got_c = false;
    if (SSL_write(p->client, "c", 1) != 1 || SSL_write(p->server, "s", 1) != 1)
        return false;
    for (int i = 0; i < 20 && !failed && !(got_s && got_c); i++) {
        got_s = got_s || step(p->server, SSL_read(p->server, &s, 1), &failed);
        got_c = got_c || step(p->client, SSL_read(p->client, &c, 1), &failed);
    }
    return got_s && got_c && s == 'c' && c == 's';
}

/* Takes both contexts over. name NULL = verify no name. */
static struct pair *shake(SSL_CTX *server_ctx, SSL_CTX *client_ctx, const char *name)
{
    struct pair *p = os_calloc(1, sizeof(*p));
    bool failed = false, s_done = false, c_done = false;
    p->server_ctx = server_ctx;
    p->client_ctx = client_ctx;
    assert_non_null(server_ctx);
    assert_non_null(client_ctx);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, p->fds), 0);
    p->server = SSL_new(server_ctx);
    p->client = SSL_new(client_ctx);
    SSL_set_fd(p->server, p->fds[0]);
    SSL_set_fd(p->client, p->fds[1]);
    SSL_set_accept_state(p->server);
    SSL_set_connect_state(p->client);
    if (name)
        assert_int_equal(net_tls_expect_name(p->client, name, NULL), 0);
    for (int i = 0; i < 50 && !failed && !(s_done && c_done); i++) {
        c_done = c_done || step(p->client, SSL_do_handshake(p->client), &failed);
        if (failed) {
            net_tls_error_of(p->client, &p->client_err, "handshake");
            break;
        }
        s_done = s_done || step(p->server, SSL_do_handshake(p->server), &failed);
    }
    p->ok = s_done && c_done && exchange(p);
    return p;
}

static void end(struct pair *p)
{
    SSL_free(p->server);
    SSL_free(p->client);
    SSL_CTX_free(p->server_ctx);
    SSL_CTX_free(p->client_ctx);
    close(p->fds[0]);
    close(p->fds[1]);
    os_error_clear(&p->client_err);
    free(p);
}

static bool name_accepted(const char *name)
{
    struct pair *p =
        shake(server_context(&server, NULL, NULL, false), client_context(NULL, ca.cert_pem, NULL), name);
    bool ok = p->ok;
    end(p);
    return ok;
}

/* --- tests --- */

static void the_expected_name_is_verified(void **state)
{
    assert_true(name_accepted("gateway.test"));
    assert_true(name_accepted("GATEWAY.test."));
    assert_true(name_accepted("a.wild.test"));
    assert_true(name_accepted("127.0.0.1"));
    assert_true(name_accepted("2001:db8::1"));
    assert_true(name_accepted("[2001:db8::1]"));
    assert_false(name_accepted("other.test"));
    assert_false(name_accepted("wild.test"));
    assert_false(name_accepted("a.b.wild.test"));
    assert_false(name_accepted("127.0.0.2"));
    assert_false(name_accepted("2001:db8::2"));
    assert_false(name_accepted("only-in-cn.test"));
}

static void the_reason_of_a_refusal_is_told(void **state)
{
    struct pair *p = shake(server_context(&server, NULL, NULL, false),
                           client_context(NULL, ca.cert_pem, NULL), "other.test");
    assert_false(p->ok);
    assert_int_equal(p->client_err.code, OS_UNAVAILABLE);
    assert_string_equal(os_error_text(&p->client_err),
                        "handshake: hostname mismatch: certificate verify failed");
    end(p);
}

static void server_names_are_sent_for_names_only(void **state)
{
    struct pair *p = shake(server_context(&server, NULL, NULL, false),
                           client_context(NULL, ca.cert_pem, NULL), "gateway.test.");
    assert_string_equal(SSL_get_servername(p->server, TLSEXT_NAMETYPE_host_name), "gateway.test");
    end(p);
    p = shake(server_context(&server, NULL, NULL, false), client_context(NULL, ca.cert_pem, NULL),
              "127.0.0.1");
    assert_true(p->ok);
    assert_null(SSL_get_servername(p->server, TLSEXT_NAMETYPE_host_name));
    end(p);
}

static void empty_and_overlong_names_are_refused(void **state)
{
    SSL_CTX *ctx = client_context(NULL, ca.cert_pem, NULL);
    SSL *ssl = SSL_new(ctx);
    char name[300];
    memset(name, 'a', 254);
    name[254] = '\0';
    assert_int_equal(net_tls_expect_name(ssl, "", NULL), -1);
    assert_int_equal(net_tls_expect_name(ssl, ".", NULL), -1);
    assert_int_equal(net_tls_expect_name(ssl, name, NULL), -1);
    SSL_free(ssl);
    SSL_CTX_free(ctx);
}

static void a_foreign_issuer_is_refused(void **state)
{
    struct pair *p = shake(server_context(&server, NULL, NULL, false),
                           client_context(NULL, other_ca.cert_pem, NULL), "gateway.test");
    assert_false(p->ok);
    end(p);
}

static void a_client_without_verification_accepts_it(void **state)
{
    SSL_CTX *ctx = net_tls_client(&(struct net_tls_pem){0}, NULL, true, NULL);
    struct pair *p = shake(server_context(&server, NULL, NULL, false), ctx, "other.test");
    assert_true(p->ok);
    end(p);
}

static void expired_and_future_certificates_are_refused(void **state)
{
    static const struct {
        long from_days, to_days;
        bool ok;
    } cases[] = {{-10, 10, true}, {-10, -1, false}, {1, 10, false}};
    for (size_t i = 0; i < 3; i++) {
        struct identity id =
            issue(&(struct net_cert_request){.sans = server_sans, .server_auth = true, .years = 1}, &ca);
        X509_time_adj_ex(X509_getm_notBefore(id.cert), (int)cases[i].from_days, 0, NULL);
        X509_time_adj_ex(X509_getm_notAfter(id.cert), (int)cases[i].to_days, 0, NULL);
        assert_true(X509_sign(id.cert, ca.key, EVP_sha256()) > 0);
        free(id.cert_pem);
        id.cert_pem = net_cert_pem(id.cert);
        struct pair *p = shake(server_context(&id, NULL, NULL, false),
                               client_context(NULL, ca.cert_pem, NULL), "gateway.test");
        assert_int_equal(p->ok, cases[i].ok);
        end(p);
        drop(&id);
    }
}

static bool client_accepted(const struct identity *id, bool require)
{
    struct pair *p = shake(server_context(&server, ca.cert_pem, NULL, require),
                           client_context(id, ca.cert_pem, NULL), "gateway.test");
    bool ok = p->ok;
    if (ok && id) {
        X509 *peer = SSL_get1_peer_certificate(p->server);
        assert_int_equal(X509_cmp(peer, id->cert), 0);
        X509_free(peer);
    }
    end(p);
    return ok;
}

static void client_certificates_are_required_or_optional_but_always_verified(void **state)
{
    assert_true(client_accepted(&client, true));
    assert_false(client_accepted(NULL, true));
    assert_false(client_accepted(&stranger, true));
    assert_true(client_accepted(&client, false));
    assert_true(client_accepted(NULL, false));
    assert_false(client_accepted(&stranger, false));
}

static void certificates_serve_only_their_purpose(void **state)
{
    assert_false(client_accepted(&server, true));
    struct pair *p =
        shake(server_context(&client, NULL, NULL, false), client_context(NULL, ca.cert_pem, NULL), NULL);
    assert_false(p->ok);
    end(p);
}

/* The protocol agreed on, "-" for none, "!" when the handshake failed. Static storage. */
static const char *agreed(const char *const *server_alpn, const char *const *client_alpn)
{
    static char text[32];
    const unsigned char *proto;
    unsigned n;
    struct pair *p = shake(server_context(&server, NULL, server_alpn, false),
                           client_context(NULL, ca.cert_pem, client_alpn), "gateway.test");
    SSL_get0_alpn_selected(p->client, &proto, &n);
    if (!p->ok)
        strcpy(text, "!");
    else if (!n)
        strcpy(text, "-");
    else
        *(char *)mempcpy(text, proto, n) = '\0';
    end(p);
    return text;
}

static void the_server_chooses_the_protocol(void **state)
{
    assert_string_equal(agreed(either, reversed), "h2");
    assert_string_equal(agreed(reversed, either), "http/1.1");
    assert_string_equal(agreed(either, h1), "http/1.1");
    assert_string_equal(agreed(h2, NULL), "-");
    assert_string_equal(agreed(NULL, h2), "-");
    assert_string_equal(agreed(h2, h1), "!");
}

static void old_protocol_versions_are_refused(void **state)
{
    for (int refused = 0; refused < 2; refused++) {
        SSL_CTX *s = server_context(&server, NULL, NULL, false), *c = client_context(NULL, ca.cert_pem, NULL);
        SSL_CTX_set_security_level(s, 0);
        SSL_CTX_set_security_level(c, 0);
        SSL_CTX_set_min_proto_version(c, TLS1_VERSION);
        SSL_CTX_set_max_proto_version(c, refused ? TLS1_1_VERSION : TLS1_2_VERSION);
        struct pair *p = shake(s, c, "gateway.test");
        assert_int_equal(p->ok, !refused);
        end(p);
    }
}

static void chains_with_intermediates_work(void **state)
{
    struct identity mid = issue(&(struct net_cert_request){.cn = "Mid CA", .ca = true, .years = 1}, &ca);
    struct identity leaf =
        issue(&(struct net_cert_request){.sans = server_sans, .server_auth = true, .years = 1}, &mid);
    struct identity chained = {.cert_pem = os_asprintf("%s%s", leaf.cert_pem, mid.cert_pem),
                               .key_pem = os_strdup(leaf.key_pem)};
    struct pair *p = shake(server_context(&chained, NULL, NULL, false),
                           client_context(NULL, ca.cert_pem, NULL), "gateway.test");
    assert_true(p->ok);
    end(p);
    p = shake(server_context(&leaf, NULL, NULL, false), client_context(NULL, ca.cert_pem, NULL),
              "gateway.test");
    assert_false(p->ok);
    end(p);
    p = shake(server_context(&leaf, NULL, NULL, false), client_context(NULL, mid.cert_pem, NULL),
              "gateway.test");
    assert_true(p->ok); /* an intermediate that the user trusts is enough */
    end(p);
    drop(&mid);
    drop(&leaf);
    drop(&chained);
}

static void a_leaf_cannot_issue(void **state)
{
    struct identity forged =
        issue(&(struct net_cert_request){.sans = server_sans, .server_auth = true, .years = 1}, &server);
    struct identity chained = {.cert_pem = os_asprintf("%s%s", forged.cert_pem, server.cert_pem),
                               .key_pem = os_strdup(forged.key_pem)};
    struct pair *p = shake(server_context(&chained, NULL, NULL, false),
                           client_context(NULL, ca.cert_pem, NULL), "gateway.test");
    assert_false(p->ok);
    end(p);
    drop(&forged);
    drop(&chained);
}

static void assert_server_refused(const char *cert, const char *key, const char *trust, bool require,
                                  const char *text)
{
    struct os_error err = {0};
    struct net_tls_pem pem = {.cert = cert, .key = key, .ca = trust};
    assert_null(net_tls_server(&pem, NULL, require, &err));
    if (!strstr(os_error_text(&err), text))
        fail_msg("'%s' does not say '%s'", os_error_text(&err), text);
    os_error_clear(&err);
}

static char *encrypted_key(EVP_PKEY *key)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *data, *text;
    PEM_write_bio_PKCS8PrivateKey(bio, key, EVP_aes_128_cbc(), "pw", 2, NULL, NULL);
    long n = BIO_get_mem_data(bio, &data);
    text = os_strndup(data, (size_t)n);
    BIO_free(bio);
    return text;
}

static void bad_identities_are_refused(void **state)
{
    char *locked = encrypted_key(server.key);
    char *cut = os_strndup(server.cert_pem, strlen(server.cert_pem) - 40);
    char *broken_chain =
        os_asprintf("%s-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", server.cert_pem);
    assert_server_refused(server.cert_pem, client.key_pem, NULL, false, "private key");
    assert_server_refused(server.cert_pem, locked, NULL, false, "private key");
    assert_server_refused(server.cert_pem, "", NULL, false, "private key");
    assert_server_refused(server.cert_pem, NULL, NULL, false, "together");
    assert_server_refused(NULL, server.key_pem, NULL, false, "together");
    assert_server_refused("", server.key_pem, NULL, false, "certificate chain");
    assert_server_refused(cut, server.key_pem, NULL, false, "certificate chain");
    assert_server_refused(broken_chain, server.key_pem, NULL, false, "certificate chain");
    assert_server_refused(server.cert_pem, server.key_pem, "", true, "trust roots");
    assert_server_refused(server.cert_pem, server.key_pem, NULL, true, "need a CA");
    free(locked);
    free(cut);
    free(broken_chain);
}

static void trust_keeps_the_good_certificates(void **state)
{
    SSL_CTX *ctx = client_context(NULL, ca.cert_pem, NULL);
    char *mixed = os_asprintf("junk\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n%s",
                              other_ca.cert_pem);
    int before = sk_X509_OBJECT_num(X509_STORE_get0_objects(SSL_CTX_get_cert_store(ctx)));
    assert_int_equal(net_tls_trust(ctx, mixed, NULL), 0);
    assert_int_equal(sk_X509_OBJECT_num(X509_STORE_get0_objects(SSL_CTX_get_cert_store(ctx))), before + 1);
    assert_int_equal(net_tls_trust(ctx, "no certificate here", NULL), -1);
    assert_int_equal(net_tls_trust(ctx, server.key_pem, NULL), -1);
    free(mixed);
    SSL_CTX_free(ctx);
}

static void the_error_queue_ends_up_in_the_text(void **state)
{
    struct os_error err = {0};
    SSL_CTX *ctx = client_context(NULL, ca.cert_pem, NULL);
    assert_int_equal(net_tls_trust(ctx, "nothing", &err), -1);
    assert_non_null(strstr(os_error_text(&err), "no start line"));
    assert_int_equal(net_tls_error(&err, "next"), -1);
    assert_string_equal(os_error_text(&err), "next");
    os_error_clear(&err);
    SSL_CTX_free(ctx);
}

static void issued_certificates_say_what_was_asked(void **state)
{
    char text[256];
    X509 *cert = ca.cert;
    assert_int_equal(X509_get_version(cert), 2);
    assert_int_equal(X509_check_ca(cert), 1);
    assert_int_equal(X509_get_key_usage(cert), KU_KEY_CERT_SIGN | KU_CRL_SIGN);
    X509_NAME_oneline(X509_get_subject_name(cert), text, sizeof(text));
    assert_string_equal(text, "/O=OpenShell/CN=Test CA");
    assert_int_equal(X509_check_ca(server.cert), 0);
    assert_int_equal(X509_get_key_usage(server.cert), KU_DIGITAL_SIGNATURE);
    assert_int_equal(X509_get_extended_key_usage(server.cert), XKU_SSL_SERVER);
    assert_int_equal(X509_get_extended_key_usage(client.cert), XKU_SSL_CLIENT);
    assert_int_equal(X509_check_ip_asc(server.cert, "127.0.0.1", 0), 1);
    assert_int_equal(X509_check_host(server.cert, "127.0.0.1", 0, 0, NULL), 0);
    assert_true(X509_cmp_current_time(X509_get0_notBefore(server.cert)) < 0);
    assert_int_equal(
        ASN1_STRING_cmp(X509_get0_authority_key_id(server.cert), X509_get0_subject_key_id(ca.cert)), 0);
    assert_int_not_equal(
        ASN1_INTEGER_cmp(X509_get0_serialNumber(server.cert), X509_get0_serialNumber(client.cert)), 0);
}

static void hostile_names_do_not_become_certificates(void **state)
{
    static const char *const bad[] = {"", "a b", "a\nb", "t\xc3\xa4st", "fe80::1%lo"};
    char name[300];
    struct os_error err = {0};
    for (size_t i = 0; i < 4; i++) {
        const char *sans[] = {bad[i], NULL};
        assert_null(net_cert_issue(&(struct net_cert_request){.cn = "x", .sans = sans, .years = 1},
                                   server.key, ca.cert, ca.key, &err));
        assert_non_null(strstr(os_error_text(&err), "certificate"));
    }
    memset(name, 'a', 254);
    name[254] = '\0';
    const char *too_long[] = {name, NULL};
    assert_null(net_cert_issue(&(struct net_cert_request){.sans = too_long, .years = 1}, server.key, ca.cert,
                               ca.key, &err));
    assert_null(
        net_cert_issue(&(struct net_cert_request){.cn = "x", .years = 0}, server.key, ca.cert, ca.key, &err));
    os_error_clear(&err);
    /* no injection: the comma belongs to the one name */
    const char *comma[] = {"a.test,DNS:evil.test", NULL};
    X509 *cert = net_cert_issue(&(struct net_cert_request){.sans = comma, .years = 1}, server.key, ca.cert,
                                ca.key, NULL);
    assert_non_null(cert);
    assert_int_equal(X509_check_host(cert, "evil.test", 0, 0, NULL), 0);
    X509_free(cert);
}

static void a_long_host_name_gets_a_certificate_without_common_name(void **state)
{
    const char *host =
        "a-very-long-label-that-makes-this-name-longer.than-the-sixty-four.characters-of-a-cn.test";
    const char *sans[] = {host, NULL};
    X509 *cert = net_cert_issue(&(struct net_cert_request){.cn = host, .sans = sans, .years = 1}, server.key,
                                ca.cert, ca.key, NULL);
    assert_non_null(cert);
    assert_int_equal(X509_NAME_entry_count(X509_get_subject_name(cert)), 0);
    assert_int_equal(X509_check_host(cert, host, 0, 0, NULL), 1);
    int at = X509_get_ext_by_NID(cert, NID_subject_alt_name, -1);
    assert_int_equal(X509_EXTENSION_get_critical(X509_get_ext(cert, at)), 1);
    X509_free(cert);
}

static void keys_have_their_pem_forms(void **state)
{
    EVP_PKEY *key = net_key_new_ed25519();
    char *secret = net_key_pem(key), *public = net_pubkey_pem(key);
    assert_true(os_str_starts(secret, "-----BEGIN PRIVATE KEY-----\n"));
    assert_true(os_str_starts(public, "-----BEGIN PUBLIC KEY-----\n"));
    BIO *bio = BIO_new_mem_buf(secret, -1);
    EVP_PKEY *back = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
    assert_int_equal(EVP_PKEY_eq(key, back), 1);
    X509 *cert = net_cert_issue(&(struct net_cert_request){.cn = "ed", .years = 1}, key, NULL, NULL, NULL);
    assert_int_equal(X509_verify(cert, key), 1);
    X509_free(cert);
    BIO_free(bio);
    EVP_PKEY_free(back);
    EVP_PKEY_free(key);
    free(secret);
    free(public);
}

static void the_system_bundle_is_trusted_without_a_ca(void **state)
{
    struct os_buf bundle = {0};
    struct os_error err = {0};
    bool have = net_tls_system_bundle(&bundle);
    SSL_CTX *ctx = net_tls_client(&(struct net_tls_pem){0}, NULL, false, &err);
    assert_int_equal(ctx != NULL, have);
    if (have) {
        assert_non_null(strstr(os_buf_str(&bundle), "-----BEGIN CERTIFICATE-----"));
        assert_true(sk_X509_OBJECT_num(X509_STORE_get0_objects(SSL_CTX_get_cert_store(ctx))) > 10);
    } else {
        assert_int_equal(err.code, OS_FAILED_PRECONDITION);
    }
    os_error_clear(&err);
    os_buf_free(&bundle);
    SSL_CTX_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_expected_name_is_verified),
        cmocka_unit_test(the_reason_of_a_refusal_is_told),
        cmocka_unit_test(server_names_are_sent_for_names_only),
        cmocka_unit_test(empty_and_overlong_names_are_refused),
        cmocka_unit_test(a_foreign_issuer_is_refused),
        cmocka_unit_test(a_client_without_verification_accepts_it),
        cmocka_unit_test(expired_and_future_certificates_are_refused),
        cmocka_unit_test(client_certificates_are_required_or_optional_but_always_verified),
        cmocka_unit_test(certificates_serve_only_their_purpose),
        cmocka_unit_test(the_server_chooses_the_protocol),
        cmocka_unit_test(old_protocol_versions_are_refused),
        cmocka_unit_test(chains_with_intermediates_work),
        cmocka_unit_test(a_leaf_cannot_issue),
        cmocka_unit_test(bad_identities_are_refused),
        cmocka_unit_test(trust_keeps_the_good_certificates),
        cmocka_unit_test(the_error_queue_ends_up_in_the_text),
        cmocka_unit_test(issued_certificates_say_what_was_asked),
        cmocka_unit_test(hostile_names_do_not_become_certificates),
        cmocka_unit_test(a_long_host_name_gets_a_certificate_without_common_name),
        cmocka_unit_test(keys_have_their_pem_forms),
        cmocka_unit_test(the_system_bundle_is_trusted_without_a_ca),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
