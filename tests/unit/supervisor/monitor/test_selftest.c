/* The self-test of the isolation must notice what does not hold: it is run where nothing is isolated, and by
 * a monitor whose filter lets everything pass. Needs root, as the monitor does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <linux/filter.h>
#include <linux/netlink.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net/netlink/message.h"
#include "net/netlink/route.h"
#include "supervisor/isolation/selftest.h"
#include "supervisor/monitor/internal.h"

#define ALL ((1u << SELFTEST_COUNT) - 1)
#define AGENT 64998

static const char *const NOTHING[] = {NULL};

static struct selftest_plan choose(const char *const *ro, size_t n_ro, const char *const *rw, size_t n_rw)
{
    const struct isolation_paths paths = {
        .read_only = ro, .n_read_only = n_ro, .read_write = rw, .n_read_write = n_rw};
    const struct isolation_ruleset rules = {.fd = 0};
    return selftest_choose(&paths, &rules);
}

static void what_the_policy_grants_is_not_tried(void **state)
{
    static const char *const usual[] = {"/usr", "/dev/null"}, *const root[] = {"/"},
                             *const device[] = {"/dev/full"}, *const devices[] = {"/dev"};
    struct selftest_plan p = choose(usual, 1, usual + 1, 1);
    assert_non_null(p.write_path);
    assert_true(p.read_root);
    assert_int_equal(selftest_tried(&p), ALL);
    p = choose(root, 1, usual + 1, 1); /* reading all of it, writing not */
    assert_non_null(p.write_path);
    assert_false(p.read_root);
    assert_int_equal(selftest_tried(&p), ALL & ~(1u << SELFTEST_READ));
    p = choose(usual, 1, device, 1);
    assert_string_not_equal(p.write_path, "/dev/full");
    p = choose(usual, 1, devices, 1);
    assert_null(p.write_path);
    p = choose(usual, 1, root, 1);
    assert_int_equal(selftest_tried(&p), ALL & ~(1u << SELFTEST_READ | 1u << SELFTEST_WRITE));
}

static void without_a_ruleset_files_are_not_tried(void **state)
{
    const struct isolation_paths paths = {.read_only = NOTHING, .read_write = NOTHING};
    const struct isolation_ruleset none = {.fd = -1};
    struct selftest_plan p = selftest_choose(&paths, &none);
    assert_int_equal(selftest_tried(&p), ALL & ~(1u << SELFTEST_READ | 1u << SELFTEST_WRITE));
}

/* A network with a way out: an address of its own answers for 192.0.2.1. */
static void make_way_out(void)
{
    static const uint8_t mine[4] = {192, 0, 2, 77};
    int fd = netlink_socket(NETLINK_ROUTE, NULL), lo = (int)if_nametoindex("lo");
    if (fd < 0 || netlink_link_up(fd, lo, NULL) < 0 ||
        netlink_address_add(fd, lo, AF_INET, mine, 24, NULL) < 0)
        _exit(98);
    close(fd);
}

static void everything_goes_through_where_nothing_is_isolated(void **state)
{
    struct selftest_plan p = choose(NOTHING, 0, NOTHING, 0);
    pid_t child = fork();
    if (child == 0) {
        if (unshare(CLONE_NEWNET) < 0)
            _exit(99);
        make_way_out();
        _exit((int)selftest_run(&p));
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), ALL);
}

static void a_filter_that_filters_nothing_is_refused(void **state)
{
    struct sock_filter pass = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    const struct monitor_config cfg = {.agent_uid = AGENT, .agent_gid = AGENT};
    struct monitor m = {.cfg = &cfg, .landlock = {.fd = -1}, .filter = {.len = 1, .filter = &pass}};
    const struct isolation_paths paths = {.read_only = NOTHING, .read_write = NOTHING};
    struct os_error err = {0};
    uint32_t tried = 0;
    assert_int_equal(monitor_selftest(&m, &paths, &tried, &err), -1);
    assert_int_equal(err.code, OS_FAILED_PRECONDITION);
    assert_non_null(strstr(os_error_text(&err), "forbidden system calls"));
    assert_null(strstr(os_error_text(&err), "becoming root"));
    os_error_clear(&err);
    m.filter.len = 0; /* a step that fails is told by name */
    assert_int_equal(monitor_selftest(&m, &paths, &tried, &err), -1);
    assert_non_null(strstr(os_error_text(&err), "isolation step 'seccomp' failed in the self-test"));
    os_error_clear(&err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_the_policy_grants_is_not_tried),
        cmocka_unit_test(without_a_ruleset_files_are_not_tried),
        cmocka_unit_test(everything_goes_through_where_nothing_is_isolated),
        cmocka_unit_test(a_filter_that_filters_nothing_is_refused),
    };
    if (geteuid() != 0) {
        printf("skip selftest: needs root\n");
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
