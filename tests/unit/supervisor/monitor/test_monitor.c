/* Unit tests of the monitor's parts that need no privilege: the order of the isolation plan, the filters as
 * programs, account files, and trust on first use. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "supervisor/isolation/filter.h"
#include "supervisor/isolation/plan.h"
#include "supervisor/monitor/account.h"
#include "supervisor/monitor/integrity.h"

static int position(const char *name)
{
    for (int i = 0; isolation_plan[i].name; i++)
        if (strcmp(isolation_plan[i].name, name) == 0)
            return i;
    fail_msg("no step '%s'", name);
    return -1;
}

static void privileges_are_used_before_they_are_given_up(void **state)
{
    assert_true(position("groups") < position("user"));
    assert_true(position("bounding set") < position("user"));
    assert_true(position("user") < position("capabilities"));
    assert_true(position("user") < position("workdir"));
    assert_true(position("no new privileges") < position("landlock"));
    assert_true(position("landlock") < position("seccomp"));
    assert_null(isolation_plan[position("seccomp") + 1].name);
    assert_ptr_equal(isolation_plan[position("seccomp")].run, isolation_seccomp);
}

static void every_step_is_there_once(void **state)
{
    static const char *const all[] = {"session",           "stdio",    "descriptors",  "signals", "groups",
                                      "bounding set",      "user",     "capabilities", "limits",  "workdir",
                                      "no new privileges", "landlock", "seccomp"};
    size_t n = 0;
    while (isolation_plan[n].name)
        n++;
    assert_int_equal(n, sizeof(all) / sizeof(all[0]));
    for (size_t i = 0; i < n; i++)
        assert_string_equal(isolation_plan[i].name, all[i]);
}

static void steps_refuse_what_would_not_isolate(void **state)
{
    struct isolation root = {.uid = 0, .gid = 0, .landlock = -1};
    assert_int_equal(isolation_user(&root), EINVAL);
    assert_int_equal(isolation_groups(&root), EINVAL);
    struct isolation required = {.landlock = -1, .landlock_required = true};
    assert_int_equal(isolation_landlock(&required), EPERM);
    struct isolation no_filter = {0};
    assert_int_equal(isolation_seccomp(&no_filter), EINVAL);
    struct isolation low = {.in = 1, .out = 5, .err = 6, .keep = 7};
    assert_int_equal(isolation_stdio(&low), EBADF);
}

static void filters_compile_and_check_the_architecture_first(void **state)
{
    for (int profile = PROFILE_AGENT; profile <= PROFILE_MONITOR; profile++) {
        struct sock_fprog f;
        assert_int_equal(isolation_filter_compile(profile, &f, NULL), 0);
        assert_true(f.len > 30);
        assert_int_equal(f.filter[0].k, 4); /* offsetof(struct seccomp_data, arch) */
        free(f.filter);
    }
}

static void the_sandbox_line_is_set_or_appended(void **state)
{
    struct os_buf out = {0};
    account_passwd_set(
        "root:x:0:0:root:/root:/bin/bash\nsandbox:x:5:6:Agent:/home/s:/bin/zsh\nz:x:9:9::/:/x\n", 70000,
        70001, &out);
    assert_string_equal(
        os_buf_str(&out),
        "root:x:0:0:root:/root:/bin/bash\nsandbox:x:70000:70001:Agent:/home/s:/bin/zsh\nz:x:9:9::/:/x\n");
    os_buf_clear(&out);
    account_passwd_set("root:x:0:0:root:/root:/bin/bash", 7, 8, &out);
    assert_string_equal(os_buf_str(&out),
                        "root:x:0:0:root:/root:/bin/bash\nsandbox:x:7:8::/sandbox:/bin/sh\n");
    os_buf_clear(&out);
    account_passwd_set("sandbox:x:1:1::/:/a\nsandbox:x:2:2::/:/b\n", 3, 3, &out);
    assert_string_equal(os_buf_str(&out), "sandbox:x:3:3::/:/a\n");
    os_buf_clear(&out);
    account_group_set("", 8, &out);
    assert_string_equal(os_buf_str(&out), "sandbox:x:8:\n");
    os_buf_clear(&out);
    account_group_set("sandboxes:x:1:\nsandbox:x:2:a,b\n", 9, &out);
    assert_string_equal(os_buf_str(&out), "sandboxes:x:1:\nsandbox:x:9:a,b\n");
    os_buf_free(&out);
}

static void the_sandbox_user_is_found_unless_it_is_root(void **state)
{
    uid_t uid = 0;
    gid_t gid = 0;
    struct os_error err = {0};
    assert_int_equal(
        account_passwd_find("a:x:1:1::/:/\nsandbox:x:12:34::/sandbox:/bin/sh\n", &uid, &gid, &err), 0);
    assert_int_equal(uid, 12);
    assert_int_equal(gid, 34);
    assert_int_equal(account_passwd_find("sandbox:x:0:34::/sandbox:/bin/sh\n", &uid, &gid, &err), -1);
    assert_int_equal(account_passwd_find("sandbox:x:12:34::/sandbox\n", &uid, &gid, &err), -1);
    assert_int_equal(account_passwd_find("sandbox:x:1:1::/:/\nsandbox:x:2:2::/:/\n", &uid, &gid, &err), -1);
    assert_int_equal(account_passwd_find("other:x:1:1::/:/\n", &uid, &gid, &err), -1);
    assert_int_equal(err.code, OS_NOT_FOUND);
    os_error_clear(&err);
}

static int file_with(char *path, const char *text)
{
    strcpy(path, "/tmp/openshell-integrity-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    return fd;
}

static void the_first_content_under_a_path_counts(void **state)
{
    char one[64], same[64], other[64];
    int a = file_with(one, "program"), b = file_with(same, "program"), c = file_with(other, "PROGRAM");
    struct integrity *t = integrity_new();
    struct os_error err = {0};
    assert_int_equal(integrity_check(t, "/bin/p", a, &err), 0);
    assert_int_equal(integrity_check(t, "/bin/p", a, &err), 0);
    assert_int_equal(integrity_check(t, "/bin/p", b, &err), 0); /* another file, same content */
    assert_int_equal(integrity_check(t, "/bin/p", c, &err), -1);
    assert_int_equal(err.code, OS_PERMISSION_DENIED);
    assert_non_null(strstr(os_error_text(&err), "Binary integrity violation: /bin/p hash changed (cached: "));
    assert_int_equal(integrity_check(t, "/bin/p", c, &err), -1); /* and stays refused */
    assert_int_equal(integrity_check(t, "/bin/q", c, &err), 0);
    assert_int_equal(integrity_check(t, "/bin/p", a, &err), 0);
    assert_int_equal(pwrite(a, "P", 1, 0), 1); /* the trusted file itself changes */
    assert_int_equal(integrity_check(t, "/bin/p", a, &err), -1);
    integrity_free(t);
    os_error_clear(&err);
    close(a), close(b), close(c);
    unlink(one), unlink(same), unlink(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(privileges_are_used_before_they_are_given_up),
        cmocka_unit_test(every_step_is_there_once),
        cmocka_unit_test(steps_refuse_what_would_not_isolate),
        cmocka_unit_test(filters_compile_and_check_the_architecture_first),
        cmocka_unit_test(the_sandbox_line_is_set_or_appended),
        cmocka_unit_test(the_sandbox_user_is_found_unless_it_is_root),
        cmocka_unit_test(the_first_content_under_a_path_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
