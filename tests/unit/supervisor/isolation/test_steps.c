/* The isolation steps one by one, each in a child of its own: what is true after it that was not before. That
 * all of them together hold an agent is tests/e2e/isolation's matter. */
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <pty.h>
#include <seccomp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/cleanup.h"
#include "core/str.h"
#include "supervisor/isolation/filter.h"
#include "supervisor/isolation/landlock.h"
#include "supervisor/isolation/plan.h"
#include "supervisor/isolation/selftest.h"

/* Ends a child. exit() writes the counters of a coverage build and checks a sanitised one for leaks, which
 * needs calls that a filter refuses. */
static bool filtered;

static _Noreturn void leave(int code)
{
#ifdef __SANITIZE_ADDRESS__
    if (filtered)
        _exit(code);
#endif
    exit(code);
}

/* In a child: a failed expectation is its exit code, the line modulo 256. */
#define EXPECT(x)                                                                                            \
    do {                                                                                                     \
        if (!(x)) {                                                                                          \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x);                                          \
            leave(1);                                                                                        \
        }                                                                                                    \
    } while (0)

static void in_child(void (*fn)(void))
{
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        fn();
        leave(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* Value of a line of /proc/self/status. */
static void status_line(const char *name, char *out, size_t n)
{
    char line[256];
    FILE *f = fopen("/proc/self/status", "r");
    EXPECT(f);
    *out = '\0';
    while (fgets(line, sizeof(line), f))
        if (!strncmp(line, name, strlen(name)) && line[strlen(name)] == ':') {
            line[strcspn(line, "\n")] = '\0';
            snprintf(out, n, "%s", line + strlen(name) + 1 + strspn(line + strlen(name) + 1, "\t "));
        }
    fclose(f);
}

/* From here on the call fails with this error, as on another kernel or in another container. */
static void refuse(int call, int error)
{
    scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
    EXPECT(ctx && seccomp_rule_add(ctx, SCMP_ACT_ERRNO((unsigned)error), call, 0) == 0 &&
           seccomp_load(ctx) == 0);
    seccomp_release(ctx);
}

static bool root(void)
{
    if (geteuid() == 0)
        return true;
    print_message("skip: needs root\n");
    return false;
}

/* --- session, descriptors, signals --- */

static void session_child(void)
{
    struct isolation i = {.tty = false};
    EXPECT(isolation_session(&i) == 0);
    EXPECT(getsid(0) == getpid() && getpgrp() == getpid());
    EXPECT(isolation_session(&i) == EPERM); /* a leader already */
}

static void terminal_child(void)
{
    int master, slave;
    EXPECT(openpty(&master, &slave, NULL, NULL, NULL) == 0);
    struct isolation i = {.tty = true, .in = slave};
    EXPECT(isolation_session(&i) == 0);
    EXPECT(tcgetpgrp(slave) == getpid());
    int fd = open("/dev/tty", O_RDWR);
    EXPECT(fd >= 0);
    struct isolation no_terminal = {.tty = true, .in = open("/dev/null", O_RDWR)};
    pid_t pid = fork();
    if (pid == 0)
        _exit(isolation_session(&no_terminal) == ENOTTY ? 0 : 1);
    int status;
    EXPECT(waitpid(pid, &status, 0) == pid && status == 0);
}

static void session_is_its_own(void **state)
{
    in_child(session_child);
    in_child(terminal_child);
}

static void descriptors_child(void)
{
    int p[2], q[2];
    EXPECT(pipe(p) == 0 && pipe(q) == 0);
    struct isolation bad = {.in = 0, .out = p[1], .err = p[1], .keep = q[1]};
    EXPECT(isolation_stdio(&bad) == EBADF);
    bad.in = 1000;
    EXPECT(isolation_stdio(&bad) == EBADF);
    int keep = dup(2);
    struct isolation i = {.in = p[0], .out = p[1], .err = keep, .keep = q[1]};
    EXPECT(isolation_stdio(&i) == 0);
    EXPECT(write(1, "x", 1) == 1);
    char c = 0;
    EXPECT(read(0, &c, 1) == 1 && c == 'x');
    EXPECT(isolation_descriptors(&i) == 0);
    for (int fd = 3; fd < 20; fd++) {
        int flags = fcntl(fd, F_GETFD);
        EXPECT(flags < 0 || (flags & FD_CLOEXEC));
    }
    for (int fd = 0; fd < 3; fd++)
        EXPECT((fcntl(fd, F_GETFD) & FD_CLOEXEC) == 0);
}

/* Without close_range the table is walked; when neither works the step says so. */
static void old_kernel_child(void)
{
    struct rlimit few = {64, 64};
    EXPECT(setrlimit(RLIMIT_NOFILE, &few) == 0);
    struct isolation i = {0};
    refuse(SCMP_SYS(close_range), ENOSYS);
    int fd = open("/dev/null", O_RDONLY);
    EXPECT(fd > 2 && isolation_descriptors(&i) == 0);
    EXPECT(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    refuse(SCMP_SYS(close_range), EPERM);
    EXPECT(isolation_descriptors(&i) == EPERM);
}

static void only_standard_descriptors_pass_exec(void **state)
{
    in_child(descriptors_child);
    in_child(old_kernel_child);
}

static void signals_child(void)
{
    sigset_t all, now;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    struct isolation i = {.uid = 1};
    EXPECT(isolation_signals(&i) == 0);
    sigprocmask(SIG_SETMASK, NULL, &now);
    EXPECT(sigisemptyset(&now));
    for (int s = 1; s < NSIG; s++) {
        struct sigaction a;
        if (sigaction(s, NULL, &a) == 0)
            EXPECT(a.sa_handler == SIG_DFL);
    }
}

static void no_signals_child(void)
{
    struct isolation i = {0};
    refuse(SCMP_SYS(rt_sigaction), EPERM);
    EXPECT(isolation_signals(&i) == EPERM);
}

static void signals_are_as_after_boot(void **state)
{
    in_child(signals_child);
    in_child(no_signals_child);
}

/* --- user, groups, capabilities --- */

#define AGENT 64999

static void identity_child(void)
{
    char text[128];
    umask(0);
    struct isolation nobody = {.uid = 0, .gid = 0};
    EXPECT(isolation_groups(&nobody) == EINVAL && isolation_user(&nobody) == EINVAL);
    nobody.uid = (uid_t)-1;
    nobody.gid = (gid_t)-1;
    EXPECT(isolation_groups(&nobody) == EINVAL && isolation_user(&nobody) == EINVAL);
    struct isolation i = {.uid = AGENT, .gid = AGENT};
    EXPECT(isolation_groups(&i) == 0);
    EXPECT(isolation_bounding_set(&i) == 0);
    status_line("CapBnd", text, sizeof(text));
    EXPECT(!strcmp(text, "0000000000000000"));
    EXPECT(isolation_user(&i) == 0);
    EXPECT(isolation_capabilities(&i) == 0);
    static const char *const sets[] = {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"};
    for (size_t k = 0; k < sizeof(sets) / sizeof(sets[0]); k++) {
        status_line(sets[k], text, sizeof(text));
        EXPECT(!strcmp(text, "0000000000000000"));
    }
    status_line("Uid", text, sizeof(text));
    EXPECT(!strcmp(text, "64999\t64999\t64999\t64999"));
    status_line("Gid", text, sizeof(text));
    EXPECT(!strcmp(text, "64999\t64999\t64999\t64999"));
    status_line("Groups", text, sizeof(text));
    EXPECT(text[strspn(text, " ")] == '\0');
    EXPECT(setuid(0) < 0 && setgid(0) < 0);
    /* Without the privilege the steps say so instead of going on. */
    struct isolation other = {.uid = AGENT - 1, .gid = AGENT - 1};
    EXPECT(isolation_groups(&other) == EPERM && isolation_user(&other) == EPERM);
}

/* A kernel or a container that takes a call for a step and does nothing, or refuses it, is found out. */
static void fooled_child(void)
{
    struct isolation i = {.uid = AGENT, .gid = AGENT};
    refuse(SCMP_SYS(capset), 0);
    EXPECT(isolation_capabilities(&i) == EPERM);
    refuse(SCMP_SYS(setresgid), 0);
    EXPECT(isolation_groups(&i) == EPERM);
    refuse(SCMP_SYS(setgroups), EPERM);
    EXPECT(isolation_groups(&i) == EPERM);
    refuse(SCMP_SYS(setresuid), 0);
    EXPECT(isolation_user(&i) == EPERM);
}

static void refused_child(void)
{
    struct isolation i = {.workdir = "/usr"};
    refuse(SCMP_SYS(capget), EPERM);
    EXPECT(isolation_capabilities(&i) == EPERM);
    refuse(SCMP_SYS(capset), EPERM);
    EXPECT(isolation_capabilities(&i) == EPERM);
    refuse(SCMP_SYS(prlimit64), EPERM);
    EXPECT(isolation_limits(&i) == EPERM);
    refuse(SCMP_SYS(prctl), EPERM);
    EXPECT(isolation_no_new_privs(&i) == EPERM && isolation_capabilities(&i) == EPERM);
}

static void identity_and_capabilities_are_gone_for_good(void **state)
{
    if (!root())
        return;
    in_child(identity_child);
    in_child(fooled_child);
    in_child(refused_child);
}

static void limits_child(void)
{
    struct rlimit core;
    struct isolation i = {.workdir = "/usr"};
    EXPECT(isolation_limits(&i) == 0);
    EXPECT(getrlimit(RLIMIT_CORE, &core) == 0 && core.rlim_cur == 0 && core.rlim_max == 0);
    EXPECT(prctl(PR_GET_DUMPABLE) == 0);
    prctl(PR_SET_DUMPABLE, 1); /* the counters of a coverage build are written at exit */
    char dir[64];
    EXPECT(isolation_workdir(&i) == 0 && getcwd(dir, sizeof(dir)) && !strcmp(dir, "/usr"));
    struct isolation missing = {.workdir = "/no/such/directory"}, none = {.workdir = NULL};
    EXPECT(isolation_workdir(&missing) == ENOENT && isolation_workdir(&none) == 0);
    EXPECT(isolation_no_new_privs(&i) == 0 && prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);
}

static void limits_and_no_new_privileges(void **state)
{
    in_child(limits_child);
}

/* --- Landlock --- */

static char scratch[] = "/tmp/isolation-steps-XXXXXX";

static bool opens(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC, 0600);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

static void landlock_child(void)
{
    char file[64];
    /* /proc: a leak check at exit looks there */
    const char *read_only[] = {"/usr", "/etc/passwd", "/proc", "/no/such/path"},
               *read_write[] = {"/tmp", BUILD_ROOT};
    struct isolation_paths paths = {.read_only = read_only,
                                    .n_read_only = 4,
                                    .read_write = read_write,
                                    .n_read_write = 2,
                                    .agent = AGENT};
    struct isolation_ruleset rules;
    cleanup_error struct os_error err = {0};
    EXPECT(isolation_landlock_prepare(&paths, &rules, &err) == 0);
    EXPECT(rules.fd >= 0 && rules.abi >= 1 && rules.skipped == 1 && rules.rules == 5);
    struct isolation i = {.landlock = rules.fd};
    EXPECT(isolation_no_new_privs(&i) == 0);
    snprintf(file, sizeof(file), "%s/made", scratch);
    EXPECT(isolation_landlock(&i) == 0);
    EXPECT(opens("/etc/passwd", O_RDONLY) && opens("/usr/bin/env", O_RDONLY));
    EXPECT(!opens("/etc/hostname", O_RDONLY) && errno == EACCES);
    EXPECT(!opens("/etc/passwd", O_WRONLY) && errno == EACCES);
    EXPECT(opens(file, O_CREAT | O_RDWR));
}

static void required_child(void)
{
    const char *missing[] = {"/no/such/path"};
    struct isolation_paths paths = {.read_only = missing, .n_read_only = 1, .hard_requirement = true};
    struct isolation_ruleset rules;
    cleanup_error struct os_error err = {0};
    EXPECT(isolation_landlock_prepare(&paths, &rules, &err) == -1);
    EXPECT(strstr(os_error_text(&err), "/no/such/path"));
    paths.hard_requirement = false;
    EXPECT(isolation_landlock_prepare(&paths, &rules, NULL) == 0);
    EXPECT(rules.fd < 0 && *rules.why);
    struct isolation none = {.landlock = -1}, wanted = {.landlock = -1, .landlock_required = true},
                     broken = {.landlock = 1000, .landlock_required = true};
    EXPECT(isolation_landlock(&none) == 0);
    EXPECT(isolation_landlock(&wanted) != 0);
    EXPECT(isolation_landlock(&broken) != 0);
}

/* A link that the agent owns leads nowhere; somebody else's is followed. */
static void links_child(void)
{
    char mine[64], theirs[64];
    snprintf(mine, sizeof(mine), "%s/mine", scratch);
    snprintf(theirs, sizeof(theirs), "%s/theirs", scratch);
    EXPECT(symlink("/etc", mine) == 0 && symlink("/etc", theirs) == 0);
    EXPECT(lchown(mine, AGENT, AGENT) == 0);
    const char *paths_of[] = {mine, theirs};
    struct isolation_paths paths = {.read_only = paths_of, .n_read_only = 2, .agent = AGENT};
    struct isolation_ruleset rules;
    EXPECT(isolation_landlock_prepare(&paths, &rules, NULL) == 0);
    EXPECT(rules.rules == 1 && rules.skipped == 1);
}

static void unavailable_child(int error, const char *why)
{
    const char *path[] = {"/usr"};
    struct isolation_paths paths = {.read_only = path, .n_read_only = 1};
    struct isolation_ruleset rules;
    struct os_error err = {0};
    refuse(SCMP_SYS(landlock_create_ruleset), error);
    EXPECT(isolation_landlock_prepare(&paths, &rules, &err) == 0);
    EXPECT(rules.fd < 0 && rules.abi == 0 && strstr(rules.why, why));
    paths.hard_requirement = true;
    EXPECT(isolation_landlock_prepare(&paths, &rules, &err) == -1 && strstr(os_error_text(&err), why));
    os_error_clear(&err);
}

static void not_built_child(void)
{
    unavailable_child(ENOSYS, "not implemented");
}

static void not_enabled_child(void)
{
    unavailable_child(EOPNOTSUPP, "not enabled");
}

static void container_child(void)
{
    unavailable_child(EPERM, "blocked");
}

static void strange_child(void)
{
    unavailable_child(EIO, "errno 5");
}

/* A rule that the kernel does not take is no reason to go on with fewer. */
static void no_rules_child(void)
{
    const char *path[] = {"/usr"};
    struct isolation_paths paths = {.read_only = path, .n_read_only = 1};
    struct isolation_ruleset rules;
    struct os_error err = {0};
    refuse(SCMP_SYS(landlock_add_rule), EINVAL);
    EXPECT(isolation_landlock_prepare(&paths, &rules, NULL) == 0 && rules.fd < 0 && *rules.why);
    paths.hard_requirement = true;
    EXPECT(isolation_landlock_prepare(&paths, &rules, &err) == -1 && strstr(os_error_text(&err), "rule"));
    os_error_clear(&err);
}

static void bad_paths_child(void)
{
    char *endless = os_calloc(1, 8192), link[64];
    memset(endless, 'a', 8000);
    endless[0] = '/';
    snprintf(link, sizeof(link), "%s/loop", scratch);
    EXPECT(symlink(link, link) == 0);
    const char *const bad[] = {"/etc/passwd/below", endless, link};
    const char *const texts[] = {"not a directory", "too long", "symlink"};
    for (size_t i = 0; i < OS_ARRAY_LEN(bad); i++) {
        struct os_error err = {0};
        struct isolation_ruleset rules;
        struct isolation_paths paths = {
            .read_write = &bad[i], .n_read_write = 1, .hard_requirement = true, .agent = AGENT};
        EXPECT(isolation_landlock_prepare(&paths, &rules, &err) == -1);
        EXPECT(strstr(os_error_text(&err), texts[i]));
        os_error_clear(&err);
    }
    unlink(link);
    free(endless);
}

static void landlock_that_is_not_there_is_named(void **state)
{
    in_child(not_built_child);
    in_child(not_enabled_child);
    in_child(container_child);
    in_child(strange_child);
    in_child(no_rules_child);
}

static void landlock_allows_what_is_listed(void **state)
{
    assert_non_null(mkdtemp(scratch));
    in_child(landlock_child);
    in_child(required_child);
    in_child(bad_paths_child);
    if (root())
        in_child(links_child);
    cleanup_free char *remove = os_asprintf("rm -rf %s", scratch);
    assert_int_equal(system(remove), 0);
}

/* --- seccomp --- */

static void load(enum isolation_profile profile)
{
    struct os_error err = {0};
    struct isolation i = {0};
    EXPECT(isolation_seccomp(&i) == EINVAL); /* no filter is no way to go on */
    EXPECT(isolation_filter_compile(profile, &i.seccomp, &err) == 0 && i.seccomp.len > 0);
    EXPECT(isolation_no_new_privs(&i) == 0 && isolation_seccomp(&i) == 0);
    filtered = true;
    free(i.seccomp.filter);
}

static bool makes_socket(int family, int type, int protocol)
{
    int fd = socket(family, type, protocol);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

static void agent_filter_child(void)
{
    load(PROFILE_AGENT);
    EXPECT(syscall(SYS_clone3, NULL, 0) < 0 && errno == ENOSYS);
    EXPECT(syscall(SYS_add_key, NULL, NULL, NULL, 0, 0) < 0 && errno == EPERM);
    EXPECT(syscall(SYS_unshare, 0x10000000 /* CLONE_NEWUSER */) < 0 && errno == EPERM);
    EXPECT(!makes_socket(AF_PACKET, SOCK_RAW, 0) && !makes_socket(AF_VSOCK, SOCK_STREAM, 0));
    EXPECT(!makes_socket(AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG));
    EXPECT(makes_socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE) && makes_socket(AF_INET, SOCK_STREAM, 0));
    pid_t pid = fork(); /* processes it may have */
    if (pid == 0)
        _exit(0);
    EXPECT(pid > 0 && waitpid(pid, NULL, 0) == pid);
}

static void worker_filter_child(void)
{
    load(PROFILE_WORKER);
    EXPECT(fork() < 0 && errno == EPERM);
    EXPECT(syscall(SYS_execve, "/bin/true", NULL, NULL) < 0 && errno == EPERM);
    EXPECT(!makes_socket(AF_ALG, SOCK_SEQPACKET, 0) && makes_socket(AF_UNIX, SOCK_STREAM, 0));
}

static void monitor_filter_child(void)
{
    load(PROFILE_MONITOR);
    EXPECT(syscall(SYS_mount, NULL, NULL, NULL, 0, NULL) < 0 && errno == EPERM);
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    EXPECT(pid > 0 && waitpid(pid, NULL, 0) == pid);
}

static void each_filter_refuses_what_its_process_has_no_use_for(void **state)
{
    in_child(agent_filter_child);
    in_child(worker_filter_child);
    in_child(monitor_filter_child);
}

/* --- the self-test --- */

/* What it may write tells what there is to try. */
static void choice_child(void)
{
    const char *all[] = {"/"}, *dev[] = {"/dev"};
    struct isolation_ruleset none = {.fd = -1}, some = {.fd = 0};
    struct isolation_paths paths = {0};
    struct selftest_plan plan = selftest_choose(&paths, &none);
    EXPECT(!plan.write_path && !plan.read_root);
    plan = selftest_choose(&paths, &some);
    EXPECT(plan.write_path && plan.read_root && selftest_tried(&plan) == (1u << SELFTEST_COUNT) - 1);
    paths = (struct isolation_paths){.read_write = dev, .n_read_write = 1};
    EXPECT(!selftest_choose(&paths, &some).write_path);
    paths = (struct isolation_paths){.read_only = all, .n_read_only = 1};
    plan = selftest_choose(&paths, &some);
    EXPECT(plan.write_path && !plan.read_root && !(selftest_tried(&plan) & 1u << SELFTEST_READ));
}

/* Where nothing holds it, everything that can be tried here goes through. */
static void free_child(void)
{
    struct selftest_plan plan = {.write_path = "/dev/null", .read_root = true, .supervisor = getpid()};
    uint32_t passed = selftest_run(&plan);
    EXPECT(passed & 1u << SELFTEST_WRITE && passed & 1u << SELFTEST_READ && passed & 1u << SELFTEST_SYSCALL);
    EXPECT(passed & 1u << SELFTEST_SOCKET && passed & 1u << SELFTEST_PRIVILEGE);
}

/* With what the plan does to an agent, files, sockets, system calls and privileges are closed. */
static void held_child(void)
{
    const char *read_only[] = {"/usr"}, *read_write[] = {BUILD_ROOT};
    struct isolation_paths paths = {.read_only = read_only,
                                    .n_read_only = 1,
                                    .read_write = read_write,
                                    .n_read_write = 1,
                                    .agent = AGENT};
    struct isolation_ruleset rules;
    struct isolation i = {.uid = AGENT, .gid = AGENT};
    EXPECT(isolation_filter_compile(PROFILE_AGENT, &i.seccomp, NULL) == 0);
    EXPECT(isolation_landlock_prepare(&paths, &rules, NULL) == 0 && rules.fd >= 0);
    i.landlock = rules.fd;
    struct selftest_plan plan = selftest_choose(&paths, &rules);
    plan.supervisor = 1;
    filtered = true;
    EXPECT(isolation_groups(&i) == 0 && isolation_bounding_set(&i) == 0 && isolation_user(&i) == 0 &&
           isolation_capabilities(&i) == 0 && isolation_no_new_privs(&i) == 0 &&
           isolation_landlock(&i) == 0 && isolation_seccomp(&i) == 0);
    free(i.seccomp.filter);
    EXPECT((selftest_run(&plan) & ~(1u << SELFTEST_NETWORK)) == 0); /* this network is the machine's */
}

static void the_self_test_tells_a_held_process_from_a_free_one(void **state)
{
    in_child(choice_child);
    for (int t = 0; t < SELFTEST_COUNT; t++)
        assert_true(strlen(selftest_text((enum selftest)t)) > 0);
    if (!root())
        return;
    in_child(free_child);
    in_child(held_child);
}

/* --- the plan --- */

static void plan_child(void)
{
    int error = 0;
    struct isolation i = {.in = 0, .out = 1, .err = 2, .keep = 3, .uid = AGENT, .gid = AGENT};
    int step = isolation_apply(&i, &error);
    EXPECT(step == 1 && error == EBADF && !strcmp(isolation_plan[step].name, "stdio"));
}

static void the_plan_names_what_failed(void **state)
{
    in_child(plan_child);
    int n = 0;
    while (isolation_plan[n].name)
        n++;
    assert_int_equal(n, 13);
    assert_string_equal(isolation_plan[n - 1].name, "seccomp");
}

int main(void)
{
    umask(0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(session_is_its_own),
        cmocka_unit_test(only_standard_descriptors_pass_exec),
        cmocka_unit_test(signals_are_as_after_boot),
        cmocka_unit_test(identity_and_capabilities_are_gone_for_good),
        cmocka_unit_test(limits_and_no_new_privileges),
        cmocka_unit_test(landlock_that_is_not_there_is_named),
        cmocka_unit_test(landlock_allows_what_is_listed),
        cmocka_unit_test(each_filter_refuses_what_its_process_has_no_use_for),
        cmocka_unit_test(the_self_test_tells_a_held_process_from_a_free_one),
        cmocka_unit_test(the_plan_names_what_failed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
