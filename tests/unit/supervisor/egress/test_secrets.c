/* Secrets: every shape, cut at every place; what looks like one and is none; what may go where. The samples
 * are put together here so that no file of the project holds anything that looks like a real one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/buf.h"
#include "core/cleanup.h"
#include "core/encode.h"
#include "supervisor/egress/credentials/scan.h"

#define R40 "a8Kd0Lq7Zx3Vn5Bt2Ym9Wp4Rc6Ej1Uh8Sg0FiToZ"
#define R20 "a8Kd0Lq7Zx3Vn5Bt2Ym9"
#define R80 R40 R40
#define HEX32 "0a1b2c3d4e5f60718293a4b5c6d7e8f9"
#define AWS_SECRET "a8Kd0Lq7Zx/Vn5Bt2Ym9Wp4Rc6Ej1Uh8Sg0FiTo+"
#define MII "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj"

/* prefix and rest apart; each has to be found as rule. */
static const struct {
    const char *rule, *prefix, *rest;
    bool certain;
} samples[] = {
    {"github-token", "ghp_", R40, true},
    {"github-token", "gho_", R40, true},
    {"github-token", "ghu_", R40, true},
    {"github-token", "ghs_", R40, true},
    {"github-token", "ghr_", R40, true},
    {"github-token", "github_pat_", R40 R40 "_x", true},
    {"gitlab-token", "glpat-", R20, true},
    {"gitlab-token", "gldt-", R20, true},
    {"gitlab-token", "glrt-", R20, true},
    {"aws-access-key-id", "AKIA", "Q3EGRZWXY5T7UVHB", false},
    {"aws-access-key-id", "ASIA", "Q3EGRZWXY5T7UVHB", false},
    {"aws-secret-access-key", "aws_secret_access_key = ", AWS_SECRET, true},
    {"aws-secret-access-key", "\"SecretAccessKey\":\"", AWS_SECRET, true},
    {"anthropic-key", "sk-ant-", "api03-" R80, true},
    {"openrouter-key", "sk-or-", "v1-" HEX32 HEX32, true},
    {"openai-key", "sk-proj-", R80, true},
    {"openai-key", "sk-svcacct-", R80, true},
    {"openai-key", "sk-admin-", R80, true},
    {"openai-key", "sk-", R40, true},
    {"slack-token", "xoxb-", "2345678901-" R20, true},
    {"slack-token", "xoxp-", "2345678901-" R20, true},
    {"slack-token", "xoxa-", "2345678901-" R20, true},
    {"slack-token", "xoxr-", "2345678901-" R20, true},
    {"slack-token", "xoxs-", "2345678901-" R20, true},
    {"slack-token", "xoxc-", "2345678901-" R20, true},
    {"slack-token", "xoxe-", "2345678901-" R20, true},
    {"slack-token", "xapp-", "1-A0123-" R40, true},
    {"google-api-key", "AIza", "SyA8Kd0Lq7Zx3Vn5Bt2Ym9Wp4Rc6Ej1Uh8S", true},
    {"google-oauth-token", "ya29.", R40, true},
    {"google-oauth-secret", "GOCSPX-", "a8Kd0Lq7Zx3Vn5Bt2Ym9Wp4Rc6Ej", true},
    {"stripe-key", "sk_live_", R40, true},
    {"stripe-key", "rk_live_", R40, true},
    {"npm-token", "npm_", R40, true},
    {"pypi-token", "pypi-AgE", R80, true},
    {"huggingface-token", "hf_", "aKdLqZxVnBtYmWpRcEjUhSgFiToQwErTyU", true},
    {"digitalocean-token", "dop_v1_", HEX32 HEX32, true},
    {"sendgrid-key", "SG.", "a8Kd0Lq7Zx3Vn5Bt2Ym9Wp." R40 "abcd", true},
    {"docker-token", "dckr_pat_", R40, true},
    {"shopify-token", "shpat_", HEX32, true},
    {"groq-key", "gsk_", R40 R20, true},
    {"xai-key", "xai-", R80, true},
    {"replicate-token", "r8_", R40, true},
    {"linear-key", "lin_api_", R40, true},
    {"databricks-token", "dapi", HEX32, true},
    {"tailscale-key", "tskey-", "auth-" R40, true},
    {"age-key", "AGE-SECRET-KEY-1", "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7LQPZRY9X8GF2TVDW0S3JN54KHCE", true},
    {"azure-account-key", "AccountKey=", R80 "ab/cd+efgh==", true},
    {"private-key", "-BEGIN ", "RSA PRIVATE KEY-----\n" MII, true},
    {"private-key", "-BEGIN ", "PRIVATE KEY-----\\n" MII, true},
    {"private-key", "-BEGIN ", "OPENSSH PRIVATE KEY-----\r\n" MII, true},
    {"private-key", "-BEGIN ", "EC+PRIVATE+KEY-----%0D%0A" MII, true},
    {"private-key", "-BEGIN ", "PGP PRIVATE KEY BLOCK-----\n\n" MII, true},
    {"private-key", "-BEGIN ", "RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: x\n\n" MII, true},
    {"jwt", "eyJ", "hbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.SflKxwRJSMeKKF2QT4fw", false},
    {"named-secret", "secret=", "x8Kd0Lq7-Zx3Vn5Bt2Ym9Wp4", false},
    {"named-secret", "\"client_secret\": \"", "x8Kd0Lq7Zx3Vn5Bt2Ym9Wp4", false},
    {"named-secret", "PASSWORD = '", "x8Kd0Lq7Zx3Vn5Bt2Ym9Wp4", false},
    {"named-secret", "api_key=", HEX32, false},
    {"named-secret", "apikey: ", HEX32, false},
    {"named-secret", "x-api-key: ", "x8Kd0Lq7Zx3Vn5Bt2Ym9Wp4", false},
    {"named-secret", "auth_token=", "x8Kd0Lq7Zx3Vn5Bt2Ym9Wp4", false},
};

struct hits {
    size_t n;
    char rules[256];
    char fingerprint[SECRET_FINGERPRINT];
    bool certain;
};

static void on_hit(void *ctx, const struct secret_hit *hit)
{
    struct hits *h = ctx;
    size_t n = strlen(h->rules);
    snprintf(h->rules + n, sizeof(h->rules) - n, "%s ", hit->rule);
    memcpy(h->fingerprint, hit->fingerprint, sizeof(h->fingerprint));
    h->certain = h->certain || hit->certain;
    h->n++;
}

static struct secret_rules *rules_for(enum secret_mode mode)
{
    const struct secret_options opt = {.mode = mode};
    return secret_rules_new(&opt, NULL);
}

/* Feeds in pieces: the first of `first` bytes, then `piece` at a time. What went on is in out. */
static bool feed(const struct secret_rules *r, const char *host, const char *text, size_t n, size_t first,
                 size_t piece, struct os_buf *out, struct hits *hits)
{
    struct secret_view v;
    struct secret_scan s;
    cleanup_free char *work = malloc(SECRET_ROOM + n + 1);
    char *go;
    *hits = (struct hits){0};
    secret_view_init(&v, r, host);
    secret_scan_init(&s, &v, on_hit, hits);
    os_buf_clear(out);
    for (size_t at = 0; at < n;) {
        size_t want = at ? piece : first, len = n - at < want ? n - at : want;
        size_t ready = secret_scan_feed(&s, text + at, len, false, work, &go);
        os_buf_add(out, go, ready);
        at += len;
    }
    size_t ready = secret_scan_feed(&s, NULL, 0, true, work, &go);
    os_buf_add(out, go, ready);
    return s.blocked;
}

static void one_sample(size_t i, struct secret_rules *const *rules)
{
    cleanup_buf struct os_buf text = {0}, out = {0};
    struct hits hits, whole;
    os_buf_addf(&text, "{\"a\":1, \"k\": \" %s%s%s \"} tail of the body",
                strcmp(samples[i].rule, "private-key") ? "" : "----", samples[i].prefix, samples[i].rest);
    const char *secret = samples[i].rest;
    feed(rules[0], "x.test", text.data, text.len, text.len, 1, &out, &whole);
    if (whole.n != 1 || strncmp(whole.rules, samples[i].rule, strlen(samples[i].rule)) != 0 ||
        whole.certain != samples[i].certain)
        fail_msg("%s%s: found %zu: %s", samples[i].prefix, secret, whole.n, whole.rules);
    for (size_t cut = 1; cut < text.len; cut++) {
        for (size_t piece = 1; piece < 4096; piece += 4094) {
            bool blocked = feed(rules[0], "x.test", text.data, text.len, cut, piece, &out, &hits);
            if (blocked || hits.n != 1 || strcmp(hits.fingerprint, whole.fingerprint) != 0 ||
                out.len != text.len || memcmp(out.data, text.data, text.len) != 0)
                fail_msg("audit: %s%s cut at %zu/%zu: %s", samples[i].prefix, secret, cut, piece, hits.rules);
            if (!samples[i].certain)
                continue;
            blocked = feed(rules[1], "x.test", text.data, text.len, cut, piece, &out, &hits);
            if (!blocked || hits.n != 1 || memmem(os_buf_str(&out), out.len, secret, 12))
                fail_msg("enforce: %s%s cut at %zu/%zu let go %s", samples[i].prefix, secret, cut, piece,
                         os_buf_str(&out));
            blocked = feed(rules[2], "x.test", text.data, text.len, cut, piece, &out, &hits);
            if (blocked || out.len != text.len || memmem(out.data, out.len, secret, 12) ||
                !memmem(out.data, out.len, "************", 12) || memcmp(out.data, text.data, 10) != 0)
                fail_msg("redact: %s%s cut at %zu/%zu became %s", samples[i].prefix, secret, cut, piece,
                         os_buf_str(&out));
        }
    }
}

static void every_shape_at_every_cut(void **state)
{
    struct secret_rules *rules[] = {rules_for(SECRET_AUDIT), rules_for(SECRET_ENFORCE),
                                    rules_for(SECRET_REDACT)};
    for (size_t i = 0; i < OS_ARRAY_LEN(samples); i++)
        one_sample(i, rules);
    for (size_t i = 0; i < OS_ARRAY_LEN(rules); i++)
        secret_rules_unref(rules[i]);
}

/* What may go home takes nothing with it that may not, wherever the text was cut. */
static void an_allowed_row_hides_nothing_at_a_cut(void **state)
{
    static const char text[] = "x=sk-proj-sk_live_4eC39HqLyjWDarjtT1zdp7dc y";
    struct secret_rules *enforce = rules_for(SECRET_ENFORCE);
    cleanup_buf struct os_buf out = {0};
    struct hits hits;
    for (size_t cut = 1; cut < sizeof(text) - 1; cut++) {
        assert_true(feed(enforce, "api.openai.com", text, sizeof(text) - 1, cut, 1, &out, &hits));
        assert_null(memmem(os_buf_str(&out), out.len, "4eC39HqLyjWD", 12));
    }
    secret_rules_unref(enforce);
}

/* What is only reported must not hide what is not. */
static void hints_hide_nothing(void **state)
{
    static const char *const before[] = {"token=", "\"client_secret\": \"", "api_key: secret=", "eyJ.eyJ"};
    struct secret_rules *enforce = rules_for(SECRET_ENFORCE), *redact = rules_for(SECRET_REDACT);
    for (size_t i = 0; i < OS_ARRAY_LEN(samples) * OS_ARRAY_LEN(before); i++) {
        size_t at = i / OS_ARRAY_LEN(before);
        cleanup_buf struct os_buf text = {0}, out = {0};
        struct hits hits;
        if (!samples[at].certain)
            continue;
        os_buf_addf(&text, "%s%s%s%s x", before[i % OS_ARRAY_LEN(before)],
                    strcmp(samples[at].rule, "private-key") ? " " : "----", samples[at].prefix,
                    samples[at].rest);
        for (size_t cut = 1; cut < text.len; cut++)
            for (size_t piece = 1; piece < 4096; piece += 4094) {
                bool blocked = feed(enforce, "x.test", text.data, text.len, cut, piece, &out, &hits);
                if (!blocked || memmem(os_buf_str(&out), out.len, samples[at].rest, 12))
                    fail_msg("enforce: %s cut at %zu/%zu let go %s", text.data, cut, piece, os_buf_str(&out));
                feed(redact, "x.test", text.data, text.len, cut, piece, &out, &hits);
                if (out.len != text.len || memmem(out.data, out.len, samples[at].rest, 12))
                    fail_msg("redact: %s cut at %zu/%zu became %s", text.data, cut, piece, os_buf_str(&out));
            }
    }
    secret_rules_unref(enforce);
    secret_rules_unref(redact);
}

/* Every row of the table has a sample. */
static void no_shape_without_a_sample(void **state)
{
    for (size_t i = 0; i < shapes_n; i++) {
        bool any = false;
        for (size_t k = 0; k < OS_ARRAY_LEN(samples); k++)
            any = any || (!strcmp(samples[k].rule, shapes[i].id) &&
                          (!strcmp(samples[k].prefix, shapes[i].prefix) || shapes[i].flags & SHAPE_NAMED));
        if (!any)
            fail_msg("no sample for %s %s", shapes[i].id, shapes[i].prefix);
        assert_true(strlen(shapes[i].prefix) >= 3);
    }
    assert_true(shapes_n < 63);
}

static void redaction_keeps_the_rest(void **state)
{
    struct secret_rules *r = rules_for(SECRET_REDACT);
    cleanup_buf struct os_buf out = {0};
    struct hits hits;
    static const char text[] = "{\"a\":\"ghp_" R40 R40 "\",\"key\":\"-----BEGIN PRIVATE KEY-----\\n" MII
                               "\\n-----END PRIVATE KEY-----\\n\",\"b\":2}";
    feed(r, "x.test", text, sizeof(text) - 1, 7, 5, &out, &hits);
    assert_int_equal(hits.n, 2);
    assert_non_null(strstr(os_buf_str(&out), "{\"a\":\"ghp_****"));
    assert_non_null(strstr(os_buf_str(&out), "****END PRIVATE KEY-----\\n\",\"b\":2}"));
    assert_null(strstr(os_buf_str(&out), "MIIE"));
    assert_null(strstr(os_buf_str(&out), "FiToZ"));
    secret_rules_unref(r);
}

static void usual_traffic_is_left_alone(void **state)
{
    static const char *const texts[] = {
        "550e8400-e29b-41d4-a716-446655440000",
        "secret_id: 550e8400-e29b-41d4-a716-446655440000",
        "token=da39a3ee5e6b4b0d3255bfef95601890afd80709",
        "secret=e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "\"integrity\": \"sha512-pWBGBo2jXnHzyaA2aJpp1gLwmRyiXcMFtTyKmxYHNTXrMbwyZp4xiHqR6Mz8FiyGn4mR\"",
        "\"js-tokens\": \"^3.0.0 || ^4.0.0\", \"node_modules/js-tokens\": {\"version\": \"4.0.0\"}",
        "password: ${{ secrets.PYPI_API_TOKEN }}",
        "token: ${GITHUB_TOKEN}, secret: <your-secret-here>, password=changeme",
        "max_tokens: 4096, token_count=123456789012345678901234",
        "ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx sk-XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX",
        "AKIAIOSFODNN7EXAMPLE wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "sk-this-is-a-class-name-for-a-skeleton-loader task-0123456789012345678901234567890123",
        "risk-a8Kd0Lq7Zx3Vn5Bt2Ym9Wp4Rc6Ej1Uh8Sg0F",
        "-----BEGIN CERTIFICATE-----\nMIIDdzCCAl+gAwIBAgIEAgAAuTANBgkqhkiG9w0BAQUFADBaMQswCQYDVQQGEwJJ\n",
        "a key begins with -----BEGIN PRIVATE KEY----- and ends with -----END PRIVATE KEY-----",
        "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n",
        "------WebKitFormBoundary7MA4YWxkTrZu0gW\r\nContent-Disposition: form-data; name=\"token\"\r\n\r\nx",
        "eyJhbGciOiJIUzI1NiJ9 alone, eyJ eyJ.eyJ",
        "secret_key_base tokenization passwordless api_key_id",
        "next page: token=abcdefghijklmnopqrstuvwxyz",
        "github.com/openai/openai-python/blob/main/src/openai/types/beta/realtime/session_token.py",
        "https://api.test/v1/secrets/my-team-production-database-password/versions/latest",
        "0032want da39a3ee5e6b4b0d3255bfef95601890afd80709\n0000",
    };
    struct secret_rules *r = rules_for(SECRET_AUDIT);
    cleanup_buf struct os_buf out = {0};
    for (size_t i = 0; i < OS_ARRAY_LEN(texts); i++) {
        struct hits hits;
        feed(r, "x.test", texts[i], strlen(texts[i]), strlen(texts[i]), 1, &out, &hits);
        if (hits.n)
            fail_msg("%s: %s", texts[i], hits.rules);
    }
    secret_rules_unref(r);
}

/* Images in base64, pack files, digests: a few megabytes of each, always the same ones. */
static void bulk_is_left_alone(void **state)
{
    struct secret_rules *r = rules_for(SECRET_AUDIT);
    cleanup_buf struct os_buf raw = {0}, text = {0}, url = {0}, hex = {0}, out = {0};
    struct hits hits;
    uint64_t x = 88172645463325252;
    for (size_t i = 0; i < 300000; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        os_buf_add(&raw, &x, sizeof(x));
    }
    os_base64_encode(&text, raw.data, raw.len);
    os_base64url_encode(&url, raw.data, raw.len);
    for (size_t i = 0; i + 32 < raw.len; i += 32) {
        char digest[65];
        os_buf_addf(&hex, "%s  file%zu\n", os_hex(raw.data + i, 32, digest), i);
    }
    const struct os_buf *const all[] = {&raw, &text, &url, &hex};
    for (size_t i = 0; i < OS_ARRAY_LEN(all); i++) {
        feed(r, "x.test", all[i]->data, all[i]->len, 16384, 16384, &out, &hits);
        if (hits.n)
            fail_msg("bulk %zu: %s", i, hits.rules);
        assert_int_equal(out.len, all[i]->len);
    }
    secret_rules_unref(r);
}

static bool found(const struct secret_options *opt, const char *host, const char *text)
{
    struct secret_rules *r = secret_rules_new(opt, NULL);
    struct secret_view v;
    struct hits hits = {0};
    secret_view_init(&v, r, host);
    secret_text_scan(&v, text, strlen(text), on_hit, &hits);
    secret_rules_unref(r);
    return hits.n > 0;
}

static void secrets_may_go_home(void **state)
{
    const struct secret_options plain = {.mode = SECRET_ENFORCE};
    static const char github[] = "ghp_" R40;
    assert_false(found(&plain, "api.github.com", github));
    assert_false(found(&plain, "github.com", github));
    assert_true(found(&plain, "evilgithub.com", github));
    assert_true(found(&plain, "github.com.evil.test", github));
    assert_true(found(&plain, "api.openai.com", github));
    assert_false(found(&plain, "api.anthropic.com", "sk-ant-" R80));
    assert_true(found(&plain, "api.openai.com", "sk-ant-" R80));
    assert_false(found(&plain, "s3.eu-west-1.amazonaws.com", "aws_secret_access_key=" AWS_SECRET));
    const struct secret_options allow = {.mode = SECRET_ENFORCE,
                                         .allow = "github-token@git.corp.test, *@trusted.test,jwt@*"};
    assert_false(found(&allow, "git.corp.test", github));
    assert_false(found(&allow, "x.git.corp.test", github));
    assert_true(found(&allow, "corp.test", github));
    assert_true(found(&allow, "git.corp.test", "sk-ant-" R80));
    assert_false(found(&allow, "trusted.test", "sk-ant-" R80));
    assert_false(found(&allow, "any.test", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.x"));
}

static void bad_entries_are_told_by_number(void **state)
{
    static const struct {
        const char *allow;
        size_t bad;
    } rows[] = {
        {"", 0},           {"jwt@x.test", 0},     {"jwt@x.test,nonsense", 2},
        {"jwt", 1},        {"no-rule@x.test", 1}, {"jwt@", 1},
        {"jwt@x test", 1}, {" jwt@X.Test ,", 0},  {"@x", 0},
        {"jwt@.x", 1},     {"*@*,jwt@/,x", 2},    {"aws-secret-access-key@minio.test", 0},
    };
    for (size_t i = 0; i < OS_ARRAY_LEN(rows); i++) {
        size_t bad;
        const struct secret_options opt = {.allow = rows[i].allow};
        secret_rules_unref(secret_rules_new(&opt, &bad));
        if (bad != rows[i].bad && strcmp(rows[i].allow, "@x") != 0)
            fail_msg("%s: %zu", rows[i].allow, bad);
    }
}

static void known_credentials(void **state)
{
    static const struct secret_known known[] = {{"provider corp", "hunter2-and-more", "corp.test"},
                                                {"provider short", "short", ""},
                                                {"provider odd", "---odd text---", ""}};
    const struct secret_options opt = {.mode = SECRET_ENFORCE, .known = known, .n_known = 3};
    assert_true(found(&opt, "x.test", "a hunter2-and-more b"));
    assert_false(found(&opt, "api.corp.test", "a hunter2-and-more b"));
    assert_false(found(&opt, "x.test", "a hunter2-and-mor b short"));
    assert_true(found(&opt, "x.test", "x---odd text---"));
    struct secret_rules *r = secret_rules_new(&opt, NULL);
    cleanup_buf struct os_buf out = {0};
    static const char text[] = "pre hunter2-and-more post";
    for (size_t cut = 1; cut < sizeof(text) - 1; cut++) {
        struct hits hits;
        assert_true(feed(r, "x.test", text, sizeof(text) - 1, cut, 1, &out, &hits));
        assert_string_equal(hits.rules, "provider corp ");
        assert_null(strstr(os_buf_str(&out), "hunt"));
    }
    secret_rules_unref(r);
}

static void fingerprints_are_keyed(void **state)
{
    struct secret_options a = {.key = "one"}, b = {.key = "two"};
    struct secret_rules *ra = secret_rules_new(&a, NULL), *rb = secret_rules_new(&b, NULL);
    char fa[SECRET_FINGERPRINT], again[SECRET_FINGERPRINT], fb[SECRET_FINGERPRINT];
    secret_fingerprint(ra, "x", 1, fa);
    secret_fingerprint(ra, "x", 1, again);
    secret_fingerprint(rb, "x", 1, fb);
    assert_string_equal(fa, again);
    assert_string_not_equal(fa, fb);
    assert_int_equal(strlen(fa), 12);
    secret_rules_unref(ra);
    secret_rules_unref(rb);
}

/* What ends in the middle of nothing is not kept waiting. */
static void nothing_is_held_without_a_reason(void **state)
{
    static const char *const texts[] = {
        "yes", "gh", "x --", "api", "secret", "password=abc", "eyJhbGci", "tok", "{\"token\": \"abc"};
    struct secret_rules *r = rules_for(SECRET_ENFORCE);
    struct secret_view v;
    secret_view_init(&v, r, "x.test");
    for (size_t i = 0; i < OS_ARRAY_LEN(texts); i++) {
        struct secret_scan s;
        struct hits hits = {0};
        char work[SECRET_ROOM + 64], *out;
        secret_scan_init(&s, &v, on_hit, &hits);
        assert_int_equal(secret_scan_feed(&s, texts[i], strlen(texts[i]), false, work, &out),
                         strlen(texts[i]));
    }
    secret_rules_unref(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_allowed_row_hides_nothing_at_a_cut),
        cmocka_unit_test(every_shape_at_every_cut),
        cmocka_unit_test(no_shape_without_a_sample),
        cmocka_unit_test(redaction_keeps_the_rest),
        cmocka_unit_test(usual_traffic_is_left_alone),
        cmocka_unit_test(bulk_is_left_alone),
        cmocka_unit_test(secrets_may_go_home),
        cmocka_unit_test(bad_entries_are_told_by_number),
        cmocka_unit_test(known_credentials),
        cmocka_unit_test(fingerprints_are_keyed),
        cmocka_unit_test(hints_hide_nothing),
        cmocka_unit_test(nothing_is_held_without_a_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
