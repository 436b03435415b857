/* Parts of the local driver that need no sandbox: quantities, parsers, accounts, removal of hostile trees. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <sys/stat.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/limits.h"
#include "drivers/local/accounts.h"
#include "drivers/local/cgroup.h"
#include "drivers/local/environ.h"
#include "drivers/local/mountinfo.h"
#include "drivers/local/operator_rules.h"
#include "drivers/local/settings.h"
#include "drivers/local/spec.h"
#include "drivers/local/state.h"
#include "drivers/local/tree.h"
#include "sys/file.h"

static void quantities_are_read_exactly(void **state)
{
    static const struct {
        const char *text;
        uint64_t value; /* 0 = refused */
    } cpu[] = {{"1", 1000}, {"0.5", 500}, {"250m", 250}, {"1.2345", 1234}, {"0", 0},
               {"5m", 0},   {"1.5m", 0},  {"", 0},       {"-1", 0},        {"1e3", 0},
               {" 1", 0},   {"1 ", 0},    {"1..2", 0},   {".5", 500},      {"99999999999", 0}},
      memory[] = {{"64Mi", 67108864},
                  {"1G", 1000000000},
                  {"1.5Gi", 1610612736},
                  {"16777216", 16777216},
                  {"0", 0},
                  {"1Ki", 0},
                  {"12Xi", 0},
                  {"1GiB", 0},
                  {"9999999999Ei", 0},
                  {"1Ti", 1099511627776},
                  {"", 0},
                  {"Mi", 0}};
    for (size_t i = 0; i < OS_ARRAY_LEN(cpu); i++) {
        cleanup_error struct os_error err = {0};
        uint64_t v = 0;
        int rc = spec_parse_cpu(cpu[i].text, &v, &err);
        if ((rc == 0) != (cpu[i].value != 0) || v != cpu[i].value)
            fail_msg("cpu '%s': %d %llu", cpu[i].text, rc, (unsigned long long)v);
    }
    for (size_t i = 0; i < OS_ARRAY_LEN(memory); i++) {
        cleanup_error struct os_error err = {0};
        uint64_t v = 0;
        int rc = spec_parse_memory(memory[i].text, &v, &err);
        if ((rc == 0) != (memory[i].value != 0) || v != memory[i].value)
            fail_msg("memory '%s': %d %llu", memory[i].text, rc, (unsigned long long)v);
    }
}

static void collect(void *ctx, const struct mountinfo *m)
{
    os_strv_addf(ctx, "%s|%s|%s|%s", m->root, m->point, m->type, m->super);
}

static void mount_tables_are_read_with_escapes(void **state)
{
    cleanup_strv struct os_strv l = {0};
    mountinfo_each("36 35 98:0 /mnt1 /mnt\\0402 rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n"
                   "broken line\n"
                   "37 35 0:1 / /x rw - tmpfs none rw",
                   collect, &l);
    assert_int_equal(l.n, 2);
    assert_string_equal(l.v[0], "/mnt1|/mnt 2|ext3|rw,errors=continue");
    assert_string_equal(l.v[1], "/|/x|tmpfs|rw");
}

static void control_groups_are_found_in_both_versions(void **state)
{
    struct cgroups c = {0};
    cgroups_parse(&c,
                  "1 0 0:1 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"
                  "2 0 0:2 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer\n"
                  "3 0 0:3 /docker/a /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n"
                  "4 0 0:4 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
                  "4:pids:/docker/a\n3:cpu,cpuacct:/system.slice/gw\n0::/system.slice/gw\n");
    assert_int_equal(c.n, 3);
    assert_string_equal(c.h[0].base, "/sys/fs/cgroup/cpu/system.slice/gw");
    assert_int_equal(c.h[0].controllers, CGROUP_CPU);
    assert_string_equal(c.h[1].base, "/sys/fs/cgroup/pids");
    assert_int_equal(c.h[1].controllers, CGROUP_PIDS);
    assert_string_equal(c.h[2].base, "/sys/fs/cgroup/unified");
    assert_true(c.h[2].v2);
    cgroups_clear(&c);
}

static void people_are_left_out_of_accounts(void **state)
{
    const struct local_settings cfg = {.agent_uid = 500, .worker_uid = 501};
    cleanup_buf struct os_buf users = {0}, groups = {0};
    accounts_filter(
        &cfg,
        "root:x:0:0:root:/root:/bin/bash\nalice:x:1000:1000:Alice:/home/alice:/bin/sh\n"
        "sandbox:x:7:7::/:/bin/sh\nother:x:500:500::/:/bin/sh\nnobody:HASH:65534:65534:n:/:/x\nbad\n::::\n",
        false, &users);
    assert_string_equal(os_buf_str(&users), "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:n:/:/x\n");
    accounts_filter(&cfg, "sudo:x:27:alice,bob\nalice:x:1000:\nadm:x:4:", true, &groups);
    assert_string_equal(os_buf_str(&groups), "sudo:x:27:\nadm:x:4:\n");
}

static void variables_that_steer_a_privileged_process_are_told_apart(void **state)
{
    static const char *const bad[] = {
        "LD_PRELOAD", "OPENSHELL_POLICY_RULES", "OPENSSL_CONF", "GLIBC_TUNABLES",
        "PATH",       "SSL_CERT_FILE",          "RES_OPTIONS",  "GCONV_PATH"};
    static const char *const good[] = {"LANG", "HOME", "EDITOR", "LDFLAGS", "API_KEY", "PATHS"};
    for (size_t i = 0; i < OS_ARRAY_LEN(bad); i++)
        if (environ_harmless(bad[i]))
            fail_msg("%s", bad[i]);
    for (size_t i = 0; i < OS_ARRAY_LEN(good); i++)
        if (!environ_harmless(good[i]))
            fail_msg("%s", good[i]);
}

static void trees_of_any_depth_go_and_links_are_not_followed(void **state)
{
    cleanup_error struct os_error err = {0};
    char dir[] = "/tmp/openshell-tree-XXXXXX", cwd[4096];
    assert_non_null(mkdtemp(dir));
    assert_non_null(getcwd(cwd, sizeof(cwd)));
    cleanup_free char *kept = os_asprintf("%s/kept", dir), *tree = os_asprintf("%s/tree", dir);
    assert_int_equal(mkdir(kept, 0755), 0);
    assert_int_equal(mkdir(tree, 0755), 0);
    assert_int_equal(chdir(kept), 0);
    assert_int_equal(symlink("nowhere", "inner"), 0);
    assert_int_equal(chdir(tree), 0);
    assert_int_equal(mkdir(".up-0", 0755), 0); /* names the removal itself would use */
    for (int i = 0; i < 5000; i++) {
        assert_int_equal(symlink(kept, "link"), 0);
        assert_int_equal(mkdir("d", 0000), 0);
        assert_int_equal(chdir("d"), 0);
    }
    assert_int_equal(chdir(cwd), 0);
    if (tree_remove(dir, "tree", &err) < 0)
        fail_msg("%s", os_error_text(&err));
    assert_false(os_file_exists(tree));
    cleanup_free char *inner = os_asprintf("%s/inner", kept);
    assert_int_equal(readlink(inner, cwd, sizeof(cwd)), 7);
    assert_int_equal(tree_remove(dir, "tree", &err), 0);
    assert_int_equal(os_dir_remove(dir, &err), 0);
}

static void a_tree_that_is_a_link_is_refused(void **state)
{
    cleanup_error struct os_error err = {0};
    char dir[] = "/tmp/openshell-tree-XXXXXX";
    assert_non_null(mkdtemp(dir));
    cleanup_free char *link = os_asprintf("%s/link", dir), *kept = os_asprintf("%s/kept", dir);
    assert_int_equal(mkdir(kept, 0755), 0);
    assert_int_equal(symlink(kept, link), 0);
    assert_int_equal(tree_remove(dir, "link", &err), -1);
    assert_true(os_file_exists(kept));
    assert_int_equal(os_dir_remove(dir, &err), 0);
}

static void start_times_tell_processes_apart(void **state)
{
    uint64_t mine = state_start_time(getpid());
    assert_true(mine > 0);
    assert_true(state_start_time(getppid()) <= mine);
    assert_int_equal(state_start_time(0x3fffffff), 0);
}

/* --- the operator's rules --- */

static void expect_rules(const char *rules, const char *data, const char *opa, const char *complaint)
{
    cleanup_error struct os_error err = {0};
    struct local_settings out = {0};
    const struct local_driver_config cfg = {
        .policy_rules_file = rules, .policy_data_file = data, .opa_path = opa};
    int rc = operator_rules_load(&cfg, &out, &err);
    settings_clear(&out);
    if (!complaint && rc < 0)
        fail_msg("refused: %s", os_error_text(&err));
    if (complaint && (rc == 0 || !strstr(os_error_text(&err), complaint)))
        fail_msg("'%s' instead of '%s'", rc ? os_error_text(&err) : "accepted", complaint);
    if (complaint && strchr(os_error_text(&err), '\n'))
        fail_msg("more than one line: %s", os_error_text(&err));
}

static void rules_of_the_operator_are_checked_before_any_sandbox(void **state)
{
    cleanup_error struct os_error err = {0};
    char dir[] = "/tmp/openshell-rules-XXXXXX";
    assert_non_null(mkdtemp(dir));
    cleanup_free char *rules = os_asprintf("%s/r.rego", dir), *bad = os_asprintf("%s/bad", dir);
    cleanup_free char *nul = os_asprintf("%s/nul", dir), *long_one = os_asprintf("%s/long", dir);
    cleanup_free char *opa = os_asprintf("%s/opa", dir), *many = os_calloc(1, OS_RULES_TEXT + 1);
    memset(many, '#', OS_RULES_TEXT + 1);
    assert_int_equal(os_file_write_atomic(rules, "package x\n", 10, 0600, &err), 0);
    assert_int_equal(os_file_write_atomic(bad, "\xff\xfe", 2, 0600, &err), 0);
    assert_int_equal(os_file_write_atomic(nul, "a\0b", 3, 0600, &err), 0);
    assert_int_equal(os_file_write_atomic(long_one, many, OS_RULES_TEXT + 1, 0600, &err), 0);
    assert_int_equal(os_file_write_atomic(opa, "#!/bin/true\n", 12, 0700, &err), 0);
    expect_rules(NULL, NULL, NULL, NULL);
    expect_rules(NULL, NULL, "/nonexistent", NULL);
    expect_rules(rules, NULL, opa, NULL);
    expect_rules(rules, rules, opa, NULL);
    expect_rules(NULL, rules, opa, "needs policy_rules_file, the rules that decide over it");
    expect_rules("/nonexistent.rego", NULL, opa, "/nonexistent.rego");
    expect_rules(rules, "/nonexistent.yaml", opa, "/nonexistent.yaml");
    expect_rules(dir, NULL, opa, "policy_rules_file");
    expect_rules(bad, NULL, opa, "holds no text in UTF-8");
    expect_rules(nul, NULL, opa, "holds no text in UTF-8");
    expect_rules(rules, nul, opa, "policy_data_file: ");
    expect_rules(long_one, NULL, opa, "policy_rules_file");
    expect_rules("/dev/null", NULL, opa, "policy_rules_file");
    expect_rules(rules, NULL, "opa", "opa_path: 'opa' is not the absolute path of a program");
    expect_rules(rules, NULL, rules, "is not the absolute path of a program");
    expect_rules(rules, NULL, dir, "is not the absolute path of a program");
    assert_int_equal(chmod(opa, 0722), 0);
    expect_rules(rules, NULL, opa, "nobody else may write it");
    assert_int_equal(os_dir_remove(dir, &err), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantities_are_read_exactly),
        cmocka_unit_test(mount_tables_are_read_with_escapes),
        cmocka_unit_test(control_groups_are_found_in_both_versions),
        cmocka_unit_test(people_are_left_out_of_accounts),
        cmocka_unit_test(variables_that_steer_a_privileged_process_are_told_apart),
        cmocka_unit_test(trees_of_any_depth_go_and_links_are_not_followed),
        cmocka_unit_test(a_tree_that_is_a_link_is_refused),
        cmocka_unit_test(rules_of_the_operator_are_checked_before_any_sandbox),
        cmocka_unit_test(start_times_tell_processes_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
