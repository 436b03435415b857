/* Unit tests of the supervisor's command line and main process specification. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/cleanup.h"
#include "supervisor/options.h"

static const char *refusal(const char *text)
{
    static char kept[256];
    struct os_strv command = {0};
    struct os_error err = {0};
    bool tty;
    assert_int_equal(options_main_process(text, &command, &tty, &err), -1);
    strncpy(kept, os_error_text(&err), sizeof(kept) - 1);
    os_error_clear(&err);
    os_strv_free(&command);
    return kept;
}

static void a_specification_is_json_or_base64_of_it(void **state)
{
    static const char *const forms[] = {
        "{\"version\":1,\"command\":[\"sh\",\"-c\"],\"tty\":true}",
        "base64url:eyJ2ZXJzaW9uIjoxLCJjb21tYW5kIjpbInNoIiwiLWMiXSwidHR5Ijp0cnVlfQ",
    };
    for (size_t i = 0; i < OS_ARRAY_LEN(forms); i++) {
        struct os_strv command = {0};
        bool tty = false;
        assert_int_equal(options_main_process(forms[i], &command, &tty, NULL), 0);
        assert_int_equal(command.n, 2);
        assert_string_equal(command.v[1], "-c");
        assert_true(tty);
        os_strv_free(&command);
    }
}

static void a_bad_specification_says_what_is_wrong(void **state)
{
    assert_string_equal(refusal("{\"version\":2,\"command\":[\"a\"],\"tty\":false}"),
                        "unsupported OPENSHELL_MAIN_PROCESS_SPEC version 2");
    assert_string_equal(refusal("{\"version\":1,\"command\":[],\"tty\":false}"),
                        "OPENSHELL_MAIN_PROCESS_SPEC command must not be empty");
    assert_string_equal(refusal("{\"version\":1,\"command\":[\"\"],\"tty\":false}"),
                        "OPENSHELL_MAIN_PROCESS_SPEC command must not be empty");
    assert_string_equal(refusal("{\"version\":1,\"command\":[\"a\",1],\"tty\":false}"),
                        "invalid OPENSHELL_MAIN_PROCESS_SPEC: command[1] is not a string");
    assert_non_null(strstr(refusal("{"), "invalid OPENSHELL_MAIN_PROCESS_SPEC: "));
    assert_non_null(strstr(refusal("base64url:*"), "invalid OPENSHELL_MAIN_PROCESS_SPEC base64url: "));
    assert_string_equal(refusal("base64url:_w"), "invalid OPENSHELL_MAIN_PROCESS_SPEC UTF-8");
}

static enum options_result read_line(char **argv, struct supervisor_options *o, struct os_error *err)
{
    int argc = 0;
    while (argv[argc])
        argc++;
    return options_read(argc, argv, o, err);
}

static void discard(struct supervisor_options *o, struct os_error *err)
{
    options_wipe(o);
    os_strv_free(&o->command);
    os_buf_free(&o->tls_ca);
    os_buf_free(&o->tls_cert);
    os_buf_free(&o->extra_hosts);
    os_buf_free(&o->rules);
    os_buf_free(&o->data);
    os_error_clear(err);
}

static int set_environment(void **state)
{
    setenv("OPENSHELL_SANDBOX_TOKEN", " secret\n", 1);
    setenv("OPENSHELL_SANDBOX_UID", "1000", 1);
    setenv("OPENSHELL_SANDBOX_GID", "1001", 1);
    return 0;
}

static void everything_behind_the_command_belongs_to_it(void **state)
{
    struct supervisor_options o;
    struct os_error err = {0};
    char *argv[] = {"x",         "-w", "/w", "--sandbox-id", "i", "--openshell-endpoint", "http://g", "cmd",
                    "--timeout", "9",  NULL};
    assert_int_equal(read_line(argv, &o, &err), OPTIONS_RUN);
    assert_int_equal(o.command.n, 3);
    assert_string_equal(o.command.v[1], "--timeout");
    assert_int_equal(o.timeout_seconds, 0);
    assert_string_equal(o.workdir, "/w");
    assert_string_equal(os_buf_str(&o.token), "secret");
    assert_int_equal(o.identity.agent_uid, 1000);
    assert_int_equal(o.identity.agent_gid, 1001);
    assert_int_equal(o.identity.worker_uid, 1337);
    assert_true(o.binary_identity);
    discard(&o, &err);
}

static void identities_must_differ_and_not_be_root(void **state)
{
    struct supervisor_options o;
    struct os_error err = {0};
    char *same[] = {"x",    "--sandbox-id", "i", "--openshell-endpoint", "http://g", "--worker-uid",
                    "1000", "cmd",          NULL};
    assert_int_equal(read_line(same, &o, &err), OPTIONS_FAILED);
    discard(&o, &err);
    char *root[] = {"x", "--sandbox-id", "i", "--openshell-endpoint", "http://g", "--agent-uid",
                    "0", "cmd",          NULL};
    assert_int_equal(read_line(root, &o, &err), OPTIONS_FAILED);
    assert_string_equal(os_error_text(&err),
                        "--agent-uid '0' must be a numeric identity in range [1, 4294967294]");
    discard(&o, &err);
}

static void what_is_not_enforced_is_refused(void **state)
{
    struct supervisor_options o;
    struct os_error err = {0};
    char *routes[] = {"x", "--inference-routes", "r.yaml", NULL};
    assert_int_equal(read_line(routes, &o, &err), OPTIONS_FAILED);
    assert_string_equal(os_error_text(&err), "--inference-routes is not supported by this version");
    discard(&o, &err);
    char *mode[] = {"x", "--mode", "network,magic", NULL};
    assert_int_equal(read_line(mode, &o, &err), OPTIONS_USAGE);
    assert_string_equal(os_error_text(&err),
                        "unknown mode component 'magic' (expected 'network', 'process', or 'network-init')");
    discard(&o, &err);
    char *unknown[] = {"x", "--nope", NULL};
    assert_int_equal(read_line(unknown, &o, &err), OPTIONS_USAGE);
    discard(&o, &err);
}

static const char *proxy_refusal(char **more)
{
    static char kept[512];
    struct supervisor_options o;
    struct os_error err = {0};
    char *argv[16] = {(char *)"x", (char *)"--sandbox-id", (char *)"i", (char *)"--openshell-endpoint",
                      (char *)"http://g"};
    for (size_t i = 0; more[i]; i++)
        argv[5 + i] = more[i];
    enum options_result r = read_line(argv, &o, &err);
    strncpy(kept, r == OPTIONS_RUN ? "" : os_error_text(&err), sizeof(kept) - 1);
    if (r == OPTIONS_RUN)
        assert_string_equal(o.upstream_proxy.url.host, "proxy.corp");
    forward_proxy_clear(&o.upstream_proxy);
    discard(&o, &err);
    return kept;
}

static void the_upstream_proxy_is_checked_at_the_start(void **state)
{
    char file[] = "/tmp/openshell-test-credential.XXXXXX";
    int fd = mkstemp(file);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "user:pass\n", 10), 10);
    close(fd);
    setenv("OPENSHELL_UPSTREAM_PROXY", "http://elsewhere:1", 1); /* ignored, as all of these */
    setenv("HTTPS_PROXY", "http://elsewhere:1", 1);
    char *good[] = {"--upstream-proxy", "http://proxy.corp:3128", "--upstream-no-proxy", "corp,10.0.0.0/8",
                    NULL};
    assert_string_equal(proxy_refusal(good), "");
    char *secret[] = {"--upstream-proxy",
                      "http://proxy.corp:3128",
                      "--upstream-proxy-auth-file",
                      file,
                      "--upstream-proxy-auth-allow-insecure",
                      NULL};
    assert_string_equal(proxy_refusal(secret), "");
    char *alone[] = {"--upstream-proxy-connect-by-hostname", NULL};
    assert_string_equal(proxy_refusal(alone),
                        "invalid upstream corporate proxy configuration: "
                        "--upstream-proxy-connect-by-hostname is set but no upstream proxy is configured");
    char *empty[] = {"--upstream-proxy", "", NULL};
    assert_string_equal(proxy_refusal(empty), "invalid upstream corporate proxy configuration: "
                                              "--upstream-proxy must not be empty when set");
    unlink(file);
    assert_non_null(strstr(proxy_refusal(secret), "--upstream-proxy-auth-file: cannot read '/tmp/"));
    unsetenv("OPENSHELL_UPSTREAM_PROXY");
    unsetenv("HTTPS_PROXY");
}

static void rules_need_a_policy_agent_that_is_safe(void **state)
{
    struct supervisor_options o;
    struct os_error err = {0};
    char file[] = "/tmp/openshell-test-options.XXXXXX";
    int fd = mkstemp(file);
    assert_true(fd >= 0);
    char *empty[] = {
        "x",          "--sandbox-id", "s", "--openshell-endpoint", "http://h", "--policy-rules", file,
        "--opa-path", "/bin/sh",      NULL};
    assert_int_equal(read_line(empty, &o, &err), OPTIONS_FAILED);
    assert_non_null(strstr(os_error_text(&err), "holds no text in UTF-8"));
    discard(&o, &err);
    assert_int_equal(write(fd, "package openshell.sandbox\n", 26), 26);
    assert_int_equal(read_line(empty, &o, &err), OPTIONS_RUN);
    assert_string_equal(o.opa, "/bin/sh");
    assert_string_equal(o.rules.data, "package openshell.sandbox\n");
    discard(&o, &err);
    assert_int_equal(fchmod(fd, 0777), 0);
    char *writable[] = {
        "x",          "--sandbox-id", "s", "--openshell-endpoint", "http://h", "--policy-rules", file,
        "--opa-path", file,           NULL};
    assert_int_equal(read_line(writable, &o, &err), OPTIONS_FAILED);
    assert_non_null(strstr(os_error_text(&err), "must belong to root, and nobody else may write it"));
    discard(&o, &err);
    char *relative[] = {
        "x",          "--sandbox-id", "s", "--openshell-endpoint", "http://h", "--policy-rules", file,
        "--opa-path", "opa",          NULL};
    assert_int_equal(read_line(relative, &o, &err), OPTIONS_FAILED);
    assert_string_equal(os_error_text(&err), "--opa-path 'opa' is not the absolute path of a program");
    discard(&o, &err);
    char *missing[] = {
        "x", "--sandbox-id", "s", "--openshell-endpoint", "http://h", "--policy-rules", "/nonexistent", NULL};
    assert_int_equal(read_line(missing, &o, &err), OPTIONS_FAILED);
    assert_non_null(strstr(os_error_text(&err), "--policy-rules"));
    discard(&o, &err);
    char *data[] = {"x",        "--sandbox-id",  "s",  "--openshell-endpoint",
                    "http://h", "--policy-data", file, NULL};
    assert_int_equal(read_line(data, &o, &err), OPTIONS_FAILED);
    assert_non_null(strstr(os_error_text(&err), "needs --policy-rules, the rules that decide over it"));
    discard(&o, &err);
    char *both[] = {"x",  "--sandbox-id",   "s",  "--openshell-endpoint", "http://h", "--policy-data",
                    file, "--policy-rules", file, "--opa-path",           "/bin/sh",  NULL};
    assert_int_equal(read_line(both, &o, &err), OPTIONS_RUN);
    assert_string_equal(o.data.data, "package openshell.sandbox\n");
    discard(&o, &err);
    both[6] = "/nonexistent";
    assert_int_equal(read_line(both, &o, &err), OPTIONS_FAILED);
    assert_non_null(strstr(os_error_text(&err), "--policy-data"));
    discard(&o, &err);
    close(fd);
    unlink(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_specification_is_json_or_base64_of_it),
        cmocka_unit_test(a_bad_specification_says_what_is_wrong),
        cmocka_unit_test_setup(everything_behind_the_command_belongs_to_it, set_environment),
        cmocka_unit_test_setup(identities_must_differ_and_not_be_root, set_environment),
        cmocka_unit_test_setup(what_is_not_enforced_is_refused, set_environment),
        cmocka_unit_test_setup(the_upstream_proxy_is_checked_at_the_start, set_environment),
        cmocka_unit_test_setup(rules_need_a_policy_agent_that_is_safe, set_environment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
