/* The isolation steps one by one, each in a child of its own: what is true after it that was not before. That
 * all of them together hold an agent is tests/e2e/isolation's matter. */
#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/cleanup.h"
#include "core/str.h"
#include "supervisor/isolation/landlock.h"
#include "supervisor/isolation/plan.h"

/* In a child: a failed expectation is its exit code, the line modulo 256. */
#define EXPECT(x)                                                                                            \
    do {                                                                                                     \
        if (!(x)) {                                                                                          \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x);                                          \
            exit(1);                                                                                         \
        }                                                                                                    \
    } while (0)

static void in_child(void (*fn)(void))
{
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        fn();
        exit(0);
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

static void only_standard_descriptors_pass_exec(void **state)
{
    in_child(descriptors_child);
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

static void signals_are_as_after_boot(void **state)
{
    in_child(signals_child);
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

static void identity_and_capabilities_are_gone_for_good(void **state)
{
    if (root())
        in_child(identity_child);
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

static void landlock_allows_what_is_listed(void **state)
{
    assert_non_null(mkdtemp(scratch));
    in_child(landlock_child);
    in_child(required_child);
    if (root())
        in_child(links_child);
    cleanup_free char *remove = os_asprintf("rm -rf %s", scratch);
    assert_int_equal(system(remove), 0);
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
        cmocka_unit_test(landlock_allows_what_is_listed),
        cmocka_unit_test(the_plan_names_what_failed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
