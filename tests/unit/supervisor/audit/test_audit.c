/* The published audit lines, letter by letter, and the sinks that keep them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/cleanup.h"
#include "core/str.h"
#include "supervisor/audit/file.h"
#include "sys/file.h"

static void expect_line(const struct audit_event *ev, const char *want)
{
    cleanup_buf struct os_buf line = {0};
    audit_shorthand(ev, &line);
    assert_string_equal(os_buf_str(&line), want);
}

static const struct audit_event denied = {.cls = AUDIT_NET,
                                          .activity = "Open",
                                          .severity = AUDIT_SEV_MEDIUM,
                                          .action = AUDIT_DENIED,
                                          .process = "/usr/bin/curl",
                                          .pid = 64,
                                          .host = "httpbin.org",
                                          .port = 443,
                                          .rule = "-",
                                          .rule_type = "opa",
                                          .detail = "no matching policy",
                                          .message = "CONNECT denied httpbin.org:443"};

static void network_lines(void **state)
{
    expect_line(&denied, "NET:OPEN [MED] DENIED /usr/bin/curl(64) -> httpbin.org:443 [policy:- engine:opa] "
                         "[reason:no matching policy]");
    struct audit_event ev = denied;
    ev.detail = NULL;
    ev.protocol = "tcp";
    ev.host = "2001:db8::1";
    expect_line(&ev, "NET:OPEN [MED] DENIED /usr/bin/curl(64) -> [2001:db8::1]:443/tcp [policy:- engine:opa] "
                     "[reason:CONNECT denied httpbin.org:443]");
    ev = denied;
    ev.action = AUDIT_ALLOWED;
    ev.severity = AUDIT_SEV_INFO;
    ev.rule = "github";
    expect_line(&ev,
                "NET:OPEN [INFO] ALLOWED /usr/bin/curl(64) -> httpbin.org:443 [policy:github engine:opa]");
    ev.process = "-";
    ev.pid = 0;
    expect_line(&ev, "NET:OPEN [INFO] ALLOWED - -> httpbin.org:443 [policy:github engine:opa]");
    expect_line(&(struct audit_event){.cls = AUDIT_NET,
                                      .activity = "Listen",
                                      .severity = AUDIT_SEV_INFO,
                                      .host = "10.200.0.1",
                                      .port = 3128,
                                      .message = "x"},
                "NET:LISTEN [INFO] 10.200.0.1:3128");
    expect_line(&(struct audit_event){.cls = AUDIT_NET,
                                      .activity = "Fail",
                                      .severity = AUDIT_SEV_LOW,
                                      .message = "Proxy connection error: x"},
                "NET:FAIL [LOW] [msg:Proxy connection error: x]");
}

static void http_lines(void **state)
{
    struct audit_event ev = {.cls = AUDIT_HTTP,
                             .activity = "GET",
                             .severity = AUDIT_SEV_INFO,
                             .action = AUDIT_ALLOWED,
                             .process = "/usr/bin/curl",
                             .pid = 9,
                             .url = "https://api.test/v1",
                             .rule = "api",
                             .rule_type = "l7",
                             .message = "L7_REQUEST allow"};
    expect_line(&ev,
                "HTTP:GET [INFO] ALLOWED /usr/bin/curl(9) -> GET https://api.test/v1 [policy:api engine:l7]");
    ev.action = AUDIT_DENIED;
    ev.severity = AUDIT_SEV_MEDIUM;
    ev.detail = "GET /v1 not permitted by policy";
    expect_line(&ev,
                "HTTP:GET [MED] DENIED /usr/bin/curl(9) -> GET https://api.test/v1 [policy:api engine:l7] "
                "[reason:GET /v1 not permitted by policy]");
    expect_line(&(struct audit_event){.cls = AUDIT_HTTP, .severity = AUDIT_SEV_HIGH, .action = AUDIT_DENIED},
                "HTTP:UNKNOWN [HIGH] DENIED UNKNOWN");
    ev.action = AUDIT_ALLOWED;
    ev.rule_type = "l7-mcp";
    expect_line(&ev, "HTTP:GET [MED] ALLOWED /usr/bin/curl(9) -> GET https://api.test/v1 "
                     "[policy:api engine:l7-mcp] [msg:L7_REQUEST allow]");
}

static void other_lines(void **state)
{
    expect_line(
        &(struct audit_event){
            .cls = AUDIT_SSH, .activity = "Open", .severity = AUDIT_SEV_INFO, .action = AUDIT_ALLOWED},
        "SSH:OPEN [INFO] ALLOWED");
    expect_line(&(struct audit_event){.cls = AUDIT_SSH, .activity = "Listen", .severity = AUDIT_SEV_INFO},
                "SSH:LISTEN [INFO]");
    expect_line(&(struct audit_event){.cls = AUDIT_PROC,
                                      .activity = "Launch",
                                      .severity = AUDIT_SEV_INFO,
                                      .process = "sleep",
                                      .pid = 49},
                "PROC:LAUNCH [INFO] sleep(49)");
    expect_line(&(struct audit_event){.cls = AUDIT_PROC,
                                      .activity = "Terminate",
                                      .severity = AUDIT_SEV_INFO,
                                      .process = "sleep",
                                      .pid = 49,
                                      .has_exit_code = true,
                                      .exit_code = 0,
                                      .cmdline = "sleep 1"},
                "PROC:TERMINATE [INFO] sleep(49) [exit:0] [cmd:sleep 1]");
    expect_line(&(struct audit_event){.cls = AUDIT_CONFIG,
                                      .state = "loaded",
                                      .severity = AUDIT_SEV_INFO,
                                      .message = "Policy reloaded successfully [policy_hash:H]",
                                      .policy_hash = "H"},
                "CONFIG:LOADED [INFO] Policy reloaded successfully [policy_hash:H] [hash:H]");
    expect_line(&(struct audit_event){.cls = AUDIT_CONFIG,
                                      .state = "loaded",
                                      .severity = AUDIT_SEV_CRITICAL,
                                      .message = "m",
                                      .policy_version = "3",
                                      .policy_hash = "H"},
                "CONFIG:LOADED [CRIT] m [version:3 hash:H]");
    expect_line(
        &(struct audit_event){.cls = AUDIT_LIFECYCLE, .activity = "Start", .severity = AUDIT_SEV_INFO},
        "LIFECYCLE:START [INFO] OpenShell Sandbox Supervisor success");
    expect_line(&(struct audit_event){.cls = AUDIT_FINDING,
                                      .severity = AUDIT_SEV_MEDIUM,
                                      .action = AUDIT_DENIED,
                                      .finding_uid = "bypass-detect",
                                      .title = "Proxy \"Bypass\"\n"},
                "FINDING:BLOCKED [MED] \"Proxy \\\"Bypass\\\"\\n\" [type:bypass-detect]");
    expect_line(&(struct audit_event){.cls = AUDIT_EVENT, .severity = AUDIT_SEV_FATAL, .message = "m"},
                "EVENT [FATAL] m");
    expect_line(
        &(struct audit_event){
            .cls = AUDIT_API, .activity = "Inference", .severity = AUDIT_SEV_INFO, .message = "chat"},
        "API:INFERENCE [INFO] [chat]");
}

/* An attacker's bytes stay on their line and within their size. */
static void hostile_texts(void **state)
{
    struct audit_event ev = denied;
    ev.process = "/tmp/a\n2026 OCSF NET:OPEN [INFO] ALLOWED \x1b[31m\xff";
    ev.pid = 1;
    ev.detail = "a\r\nb\xc2\x85";
    expect_line(&ev, "NET:OPEN [MED] DENIED /tmp/a 2026 OCSF NET:OPEN [INFO] ALLOWED ?[31m?(1) -> "
                     "httpbin.org:443 [policy:- engine:opa] [reason:a  b??]");
    char longer[400];
    memset(longer, 'r', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = '\0';
    memcpy(longer + 255, "\xc3\xa9", 2);
    ev = denied;
    ev.detail = longer;
    cleanup_buf struct os_buf line = {0};
    audit_shorthand(&ev, &line);
    const char *reason = strstr(line.data, "[reason:") + strlen("[reason:");
    assert_int_equal(strspn(reason, "r"), 255);
    assert_string_equal(reason + 255, "...]");
    ev.detail = longer + 100;
    longer[sizeof(longer) - 50] = '\0';
    os_buf_clear(&line);
    audit_shorthand(&ev, &line);
    assert_null(strstr(line.data, "..."));
}

static void collect(void *ctx, int64_t time_ms, const struct audit_event *ev, const char *shorthand)
{
    os_buf_addf(ctx, "%d %s\n", time_ms > 0, shorthand);
}

static void tells_every_sink(void **state)
{
    cleanup_buf struct os_buf a = {0}, b = {0};
    struct audit *audit = audit_new();
    audit_add_sink(audit, collect, &a);
    audit_add_sink(audit, collect, &b);
    audit_emit(audit, &(struct audit_event){.cls = AUDIT_EVENT, .severity = AUDIT_SEV_LOW, .message = "m"});
    audit_free(audit);
    assert_string_equal(os_buf_str(&a), "1 EVENT [LOW] m\n");
    assert_string_equal(os_buf_str(&b), os_buf_str(&a));
}

static void rotates_daily_files(void **state)
{
    char dir[] = "/tmp/openshell-audit-XXXXXX";
    assert_non_null(mkdtemp(dir));
    struct audit_file *f = audit_file_new(dir, "openshell");
    const int64_t day = 86400000, first = 1767225600000; /* 2026-01-01 */
    for (int64_t i = 0; i < 5; i++)
        audit_file_sink(f, first + i * day + 1, NULL, i == 4 ? "last" : "line");
    audit_file_sink(f, first + 4 * day + 2, NULL, "last");
    audit_file_log(f, first + 4 * day + 3, "INFO", "session", "connected");
    audit_file_free(f);
    for (int i = 1; i <= 5; i++) {
        cleanup_free char *path = os_asprintf("%s/openshell.2026-01-0%d.log", dir, i);
        assert_int_equal(os_file_exists(path), i > 2);
    }
    cleanup_free char *path = os_asprintf("%s/openshell.2026-01-05.log", dir);
    cleanup_buf struct os_buf text = {0};
    assert_int_equal(os_file_read(path, 4096, &text, NULL), 0);
    assert_string_equal(os_buf_str(&text),
                        "2026-01-05T00:00:00.001Z OCSF last\n2026-01-05T00:00:00.002Z OCSF last\n"
                        "2026-01-05T00:00:00.003Z INFO session: connected\n");
    assert_int_equal(os_dir_remove(dir, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(network_lines),    cmocka_unit_test(http_lines),
        cmocka_unit_test(other_lines),      cmocka_unit_test(hostile_texts),
        cmocka_unit_test(tells_every_sink), cmocka_unit_test(rotates_daily_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
