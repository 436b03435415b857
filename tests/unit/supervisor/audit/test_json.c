/* The published JSON form: what every object must have, enums in pairs, nothing null, and the file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/limits.h"
#include "core/str.h"
#include "supervisor/audit/json.h"
#include "sys/file.h"

static const struct audit_origin origin = {
    .version = "9.9", .sandbox_id = "id-1", .sandbox_name = "box", .hostname = "h", .image = "img"};

static const struct audit_event network = {.cls = AUDIT_NET,
                                           .activity = "Open",
                                           .severity = AUDIT_SEV_MEDIUM,
                                           .action = AUDIT_DENIED,
                                           .process = "/usr/bin/curl",
                                           .pid = 64,
                                           .ancestors = "/bin/sh -> /init",
                                           .cmdline = "/srv/a, /srv/b",
                                           .source = "10.200.0.2",
                                           .source_port = 40000,
                                           .host = "api.test",
                                           .port = 443,
                                           .protocol = "tcp",
                                           .rule = "-",
                                           .rule_type = "opa",
                                           .detail = "no matching policy",
                                           .message = "CONNECT denied api.test:443"};

static json_t *object(const struct audit_event *ev)
{
    cleanup_buf struct os_buf line = {0};
    json_error_t bad;
    audit_json(ev, &origin, 1767225600123, &line);
    assert_null(memchr(line.data, '\n', line.len));
    json_t *o = json_loadb(line.data, line.len, JSON_REJECT_DUPLICATES, &bad);
    if (!o)
        fail_msg("%s: %s", os_buf_str(&line), bad.text);
    return o;
}

/* The value behind "a.b.c"; NULL when there is none. */
static json_t *at(json_t *o, const char *path)
{
    cleanup_strv struct os_strv keys = {0};
    os_strv_split(&keys, path, '.');
    for (size_t i = 0; i < keys.n; i++)
        o = json_is_array(o) ? json_array_get(o, (size_t)atoi(keys.v[i])) : json_object_get(o, keys.v[i]);
    return o;
}

static void expect_text(json_t *o, const char *path, const char *want)
{
    const char *got = json_string_value(at(o, path));
    if (!os_str_eq(got, want))
        fail_msg("%s is %s, not %s", path, got ? got : "absent", want ? want : "absent");
}

static void expect_number(json_t *o, const char *path, json_int_t want)
{
    if (!json_is_integer(at(o, path)) || json_integer_value(at(o, path)) != want)
        fail_msg("%s is not %lld", path, (long long)want);
}

/* No null and no empty object anywhere; every <x>_id of an enum has its label. */
static void check_value(const char *name, json_t *v)
{
    const char *key;
    json_t *member;
    size_t i;
    if (json_is_null(v) || (json_is_object(v) && !json_object_size(v)))
        fail_msg("%s is empty", name);
    json_array_foreach(v, i, member) check_value(name, member);
    json_object_foreach(v, key, member)
    {
        check_value(key, member);
        size_t n = strlen(key);
        if (n < 4 || strcmp(key + n - 3, "_id") != 0 || os_str_eq(key, "observation_point_id"))
            continue;
        cleanup_free char *label =
            os_str_eq(key, "activity_id") ? os_strdup("activity_name") : os_strndup(key, n - 3);
        if (!json_is_integer(member) || !json_is_string(json_object_get(v, label)))
            fail_msg("%s has no label", key);
    }
}

static void check_common(json_t *o)
{
    static const char *const texts[] = {"class_name", "category_name", "activity_name", "type_name",
                                        "severity"};
    check_value("event", o);
    for (size_t i = 0; i < OS_ARRAY_LEN(texts); i++)
        assert_true(json_is_string(json_object_get(o, texts[i])));
    json_int_t class = json_integer_value(json_object_get(o, "class_uid"));
    json_int_t activity = json_integer_value(json_object_get(o, "activity_id"));
    expect_number(o, "type_uid", class * 100 + activity);
    cleanup_free char *type = os_asprintf("%s: %s", json_string_value(json_object_get(o, "class_name")),
                                          json_string_value(json_object_get(o, "activity_name")));
    expect_text(o, "type_name", type);
    expect_number(o, "time", 1767225600123);
    expect_text(o, "metadata.version", "1.8.0");
    expect_text(o, "metadata.product.name", "OpenShell Sandbox Supervisor");
    expect_text(o, "metadata.product.vendor_name", "OpenShell");
    expect_text(o, "metadata.product.version", "9.9");
    expect_text(o, "metadata.uid", "id-1");
    assert_true(json_array_size(at(o, "metadata.profiles")) >= 2);
    expect_text(o, "device.hostname", "h");
    expect_text(o, "device.os.name", "Linux");
    expect_text(o, "container.name", "box");
    expect_text(o, "container.uid", "id-1");
    expect_text(o, "container.image.name", "img");
}

static void every_class_keeps_the_schema(void **state)
{
    static const struct {
        struct audit_event ev;
        json_int_t class, category, activity;
        const char *required[4];
    } rows[] = {
        {{.cls = AUDIT_NET, .activity = "Listen"},
         4001,
         4,
         7,
         {"proxy_endpoint", "observation_point_id", "is_src_dst_assignment_known"}},
        {{.cls = AUDIT_HTTP, .activity = "PATCH", .url = "https://h/p", .host = "h", .port = 443},
         4002,
         4,
         9,
         {"proxy_endpoint", "http_request", "dst_endpoint", "is_src_dst_assignment_known"}},
        {{.cls = AUDIT_HTTP, .activity = "PURGE"}, 4002, 4, 99, {"http_request"}},
        {{.cls = AUDIT_SSH, .activity = "Open", .host = "10.0.0.1", .port = 5}, 4007, 4, 1, {"src_endpoint"}},
        {{.cls = AUDIT_PROC, .activity = "Launch", .process = "sleep", .pid = 49},
         1007,
         1,
         1,
         {"process", "launch_type", "launch_type_id"}},
        {{.cls = AUDIT_PROC, .activity = "Terminate", .process = "x", .has_exit_code = true, .exit_code = 3},
         1007,
         1,
         2,
         {"process", "exit_code", "status"}},
        {{.cls = AUDIT_FINDING, .activity = "Create", .finding_uid = "u", .title = "t", .message = "m"},
         2004,
         2,
         1,
         {"finding_info", "is_alert"}},
        {{.cls = AUDIT_CONFIG, .activity = "Log", .state = "loaded", .message = "m", .policy_hash = "H"},
         5019,
         5,
         1,
         {"state", "state_id", "unmapped"}},
        {{.cls = AUDIT_LIFECYCLE, .activity = "Start"}, 6002, 6, 3, {"app", "status"}},
        {{.cls = AUDIT_API, .activity = "Inference", .message = "m"}, 6003, 6, 99, {"message"}},
        {{.cls = AUDIT_EVENT, .message = "m"}, 0, 0, 99, {"message"}},
    };
    for (size_t i = 0; i < OS_ARRAY_LEN(rows); i++) {
        struct audit_event ev = rows[i].ev;
        ev.severity = AUDIT_SEV_INFO;
        json_t *o = object(&ev);
        check_common(o);
        expect_number(o, "class_uid", rows[i].class);
        expect_number(o, "category_uid", rows[i].category);
        expect_number(o, "activity_id", rows[i].activity);
        expect_text(o, "severity", "Informational");
        for (size_t k = 0; k < OS_ARRAY_LEN(rows[i].required) && rows[i].required[k]; k++)
            if (!json_object_get(o, rows[i].required[k]))
                fail_msg("row %zu has no %s", i, rows[i].required[k]);
        json_decref(o);
    }
}

static void a_denied_connection(void **state)
{
    json_t *o = object(&network);
    check_common(o);
    expect_text(o, "type_name", "Network Activity: Open");
    expect_text(o, "severity", "Medium");
    expect_text(o, "status", "Failure");
    expect_text(o, "status_detail", "no matching policy");
    expect_text(o, "message", "CONNECT denied api.test:443");
    expect_text(o, "src_endpoint.ip", "10.200.0.2");
    expect_number(o, "src_endpoint.port", 40000);
    expect_text(o, "dst_endpoint.domain", "api.test");
    expect_number(o, "dst_endpoint.port", 443);
    expect_text(o, "proxy_endpoint.ip", "127.0.0.1");
    expect_number(o, "proxy_endpoint.port", 3128);
    expect_text(o, "actor.process.name", "/usr/bin/curl");
    expect_number(o, "actor.process.pid", 64);
    expect_text(o, "actor.process.cmd_line", "/srv/a, /srv/b");
    expect_text(o, "actor.process.parent_process.name", "/bin/sh");
    expect_text(o, "actor.process.parent_process.parent_process.name", "/init");
    expect_text(o, "firewall_rule.name", "-");
    expect_text(o, "firewall_rule.type", "opa");
    expect_text(o, "action", "Denied");
    expect_number(o, "disposition_id", 2);
    expect_text(o, "disposition", "Blocked");
    expect_text(o, "connection_info.protocol_name", "tcp");
    expect_text(o, "metadata.profiles.3", "network_proxy");
    json_decref(o);
}

static void an_http_request(void **state)
{
    struct audit_event ev = network;
    ev.cls = AUDIT_HTTP;
    ev.activity = "GET";
    ev.action = AUDIT_ALLOWED;
    ev.host = "2001:db8::1";
    ev.port = 8443;
    ev.url = "https://[2001:db8::1]:8443/v1/x";
    json_t *o = object(&ev);
    expect_text(o, "type_name", "HTTP Activity: Get");
    expect_text(o, "status", "Success");
    expect_text(o, "dst_endpoint.ip", "2001:db8::1");
    expect_text(o, "http_request.http_method", "GET");
    expect_text(o, "http_request.url.scheme", "https");
    expect_text(o, "http_request.url.hostname", "2001:db8::1");
    expect_text(o, "http_request.url.path", "/v1/x");
    expect_number(o, "http_request.url.port", 8443);
    assert_null(json_object_get(o, "connection_info"));
    json_decref(o);
}

static void a_finding_has_its_evidence(void **state)
{
    struct audit_event ev = network;
    ev.cls = AUDIT_FINDING;
    ev.finding_uid = "bypass-detect";
    ev.title = "Proxy Bypass Detected";
    json_t *o = object(&ev);
    check_common(o);
    expect_text(o, "finding_info.uid", "bypass-detect");
    expect_text(o, "finding_info.desc", "CONNECT denied api.test:443");
    expect_text(o, "evidences.0.data.dst_addr", "api.test");
    expect_number(o, "evidences.0.data.dst_port", 443);
    expect_text(o, "evidences.0.data.proto", "tcp");
    expect_text(o, "evidences.0.data.binary", "/usr/bin/curl");
    expect_number(o, "evidences.0.data.binary_pid", 64);
    expect_text(o, "evidences.0.data.ancestors", "/bin/sh -> /init");
    json_decref(o);
}

static void states_and_hostile_texts(void **state)
{
    struct audit_event ev = {.cls = AUDIT_CONFIG,
                             .severity = AUDIT_SEV_HIGH,
                             .state = "disabled",
                             .message = "a\"b\\c\n\x01 \xff\xc3\xbc"};
    json_t *o = object(&ev);
    expect_number(o, "state_id", 1);
    expect_text(o, "state", "Disabled");
    expect_text(o, "message", "a\"b\\c\n\x01 ???");
    assert_null(json_object_get(o, "unmapped"));
    json_decref(o);
    ev.state = "loaded";
    ev.policy_version = "7";
    o = object(&ev);
    expect_number(o, "state_id", 99);
    expect_text(o, "state", "loaded");
    expect_text(o, "unmapped.policy_version", "7");
    json_decref(o);
    struct audit_event unknown = network;
    unknown.process = unknown.ancestors = unknown.cmdline = "-";
    unknown.pid = 0;
    o = object(&unknown);
    assert_null(json_object_get(o, "actor"));
    json_decref(o);
}

static void long_texts_are_cut_until_the_line_is_short(void **state)
{
    static char path[20000], escaped[4000];
    memset(path, 'p', sizeof(path) - 1);
    memset(escaped, '\x1b', sizeof(escaped) - 1); /* six bytes each, as JSON writes it */
    memcpy(path + 1023, "\xc3\xbc", 2);
    struct audit_event ev = network;
    ev.message = path;
    cleanup_buf struct os_buf line = {0};
    audit_json(&ev, &origin, 0, &line);
    assert_true(line.len < OS_AUDIT_JSON);
    const char *message = strstr(os_buf_str(&line), "\"message\":\"") + strlen("\"message\":\"");
    assert_int_equal(strspn(message, "p"), 1023);
    assert_memory_equal(message + 1023, "...\"", 4);
    ev.message = ev.process = ev.cmdline = ev.ancestors = ev.detail = escaped;
    ev.host = ev.url = ev.rule = path;
    os_buf_clear(&line);
    audit_json(&ev, &origin, 0, &line);
    assert_true(line.len < OS_AUDIT_JSON);
    json_t *o = json_loads(os_buf_str(&line), 0, NULL);
    assert_non_null(o);
    json_decref(o);
}

static void the_file_is_there_and_written_when_enabled(void **state)
{
    char dir[] = "/tmp/openshell-audit-json-XXXXXX", stamp[OS_CLOCK_TEXT_LEN];
    assert_non_null(mkdtemp(dir));
    int64_t now = os_clock_ms();
    struct audit_json_file *f = audit_json_file_new(dir, "openshell-ocsf", &origin);
    cleanup_free char *path = os_asprintf("%s/openshell-ocsf.%.10s.log", dir, os_clock_iso(now, stamp));
    cleanup_buf struct os_buf text = {0};
    assert_true(os_file_exists(path));
    audit_json_file_sink(f, now, &network, "");
    audit_json_file_enable(f, true);
    audit_json_file_sink(f, now, &network, "");
    audit_json_file_sink(f, now, &network, "");
    audit_json_file_enable(f, false);
    audit_json_file_sink(f, now, &network, "");
    audit_json_file_free(f);
    assert_int_equal(os_file_read(path, 65536, &text, NULL), 0);
    cleanup_strv struct os_strv lines = {0};
    os_strv_split(&lines, os_buf_str(&text), '\n');
    assert_int_equal(lines.n, 3); /* and nothing behind the last line end */
    assert_string_equal(lines.v[0], lines.v[1]);
    assert_int_equal(os_dir_remove(dir, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_class_keeps_the_schema),
        cmocka_unit_test(a_denied_connection),
        cmocka_unit_test(an_http_request),
        cmocka_unit_test(a_finding_has_its_evidence),
        cmocka_unit_test(states_and_hostile_texts),
        cmocka_unit_test(long_texts_are_cut_until_the_line_is_short),
        cmocka_unit_test(the_file_is_there_and_written_when_enabled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
