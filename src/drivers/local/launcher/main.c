/* openshell-local-launcher: pid 1 of a new sandbox until it becomes the supervisor. The driver has made the
 * pid, mount, ipc and uts namespaces; this program applies the driver's plan (plan.h) in order, waits for the
 * word to go and executes. It takes no decisions and parses nothing that a sandbox wrote. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/buf.h"
#include "core/cleanup.h"
#include "core/error.h"
#include "core/str.h"
#include "drivers/local/launcher/inside.h"
#include "drivers/local/launcher/mounts.h"
#include "drivers/local/launcher/plan.h"
#include "drivers/local/tree.h"
#include "sys/file.h"

#define PLAN_MAX ((size_t)8 << 20)
#define OWNERS_MAX ((size_t)512 << 20)

struct launch {
    int root; /* the new root; -1 until `root` */
    struct os_strv argv, env;
};

static unsigned number(const char *text, unsigned base)
{
    unsigned n = 0;
    for (; *text; text++)
        n = n * base + (unsigned)(*text - '0');
    return n;
}

/* One word from the driver; anything else means that nobody waits any more. */
static void expect_word(const char *word)
{
    char text[8];
    ssize_t n;
    do
        n = recv(LAUNCH_CONTROL_FD, text, sizeof(text), 0);
    while (n < 0 && errno == EINTR);
    if (n != (ssize_t)strlen(word) || memcmp(text, word, (size_t)n) != 0)
        _exit(1);
}

static int op_user(struct launch *l, char *const *a, struct os_error *err)
{
    expect_word(LAUNCH_MAPPED);
    if (setgroups(0, NULL) < 0 || setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0 ||
        prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
        return os_error_sys(err, errno, "cannot become root of the user namespace");
    mounts_in_user_namespace();
    return 0;
}

static int op_remove(struct launch *l, char *const *a, struct os_error *err)
{
    if (tree_remove(a[0], a[1], err) < 0)
        return -1;
    _exit(0);
}

static int op_owners(struct launch *l, char *const *a, struct os_error *err)
{
    cleanup_buf struct os_buf list = {.max = OWNERS_MAX};
    cleanup_close int root = open(a[0], O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root < 0)
        return os_error_sys(err, errno, "cannot open '%s'", a[0]);
    if (os_file_read(a[1], OWNERS_MAX, &list, err) < 0 ||
        inside_owners(root, os_buf_str(&list), list.len, err) < 0)
        return -1;
    _exit(0);
}

static int op_own(struct launch *l, char *const *a, struct os_error *err)
{
    return inside_own(l->root, a[0], number(a[1], 10), number(a[2], 10), err);
}

/* Through `tasks`: moving one's own single thread takes no machine-wide lock, which cgroup.procs does for
 * many milliseconds. */
static int op_cgroup(struct launch *l, char *const *a, struct os_error *err)
{
    cleanup_free char *path = os_asprintf("%s/tasks", a[0]);
    cleanup_close int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || os_write_all(fd, "0", 1) < 0)
        return os_error_sys(err, errno, "cannot enter control group '%s'", a[0]);
    return 0;
}

static int op_cgroupns(struct launch *l, char *const *a, struct os_error *err)
{
    if (unshare(CLONE_NEWCGROUP) < 0)
        return os_error_sys(err, errno,
                            "cannot make a control group namespace (see user.max_cgroup_namespaces)");
    return 0;
}

static int op_hostname(struct launch *l, char *const *a, struct os_error *err)
{
    if (sethostname(a[0], strlen(a[0])) < 0)
        return os_error_sys(err, errno, "cannot set the host name '%s'", a[0]);
    return 0;
}

static int op_private(struct launch *l, char *const *a, struct os_error *err)
{
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return os_error_sys(err, errno, "cannot make the mounts private");
    return 0;
}

static int op_root(struct launch *l, char *const *a, struct os_error *err)
{
    l->root = mounts_root(a[0], a[1], a[2], a[3], err);
    return l->root < 0 ? -1 : 0;
}

static int op_overlay(struct launch *l, char *const *a, struct os_error *err)
{
    return mounts_overlay(l->root, a[0], a[1], a[2], a[3], a[4], err);
}

static int op_bind(struct launch *l, char *const *a, struct os_error *err)
{
    return mounts_bind(l->root, a[0], a[1], strcmp(a[2], "rw") != 0, err);
}

static int op_share(struct launch *l, char *const *a, struct os_error *err)
{
    return mounts_share(l->root, a[0], a[1], strcmp(a[2], "rw") != 0, err);
}

static int op_point(struct launch *l, char *const *a, struct os_error *err)
{
    return inside_point(l->root, a[0], err);
}

static int op_tmpfs(struct launch *l, char *const *a, struct os_error *err)
{
    return mounts_tmpfs(l->root, a[0], a[1], a[2], err);
}

static int op_proc(struct launch *l, char *const *a, struct os_error *err)
{
    return mounts_proc(l->root, a[0], err);
}

static int op_sysfs(struct launch *l, char *const *a, struct os_error *err)
{
    return mounts_sysfs(l->root, a[0], err);
}

static int op_dev(struct launch *l, char *const *a, struct os_error *err)
{
    return mounts_dev(l->root, a[0], err);
}

static int op_mask(struct launch *l, char *const *a, struct os_error *err)
{
    return mounts_mask(l->root, a[0], err);
}

static int op_readonly(struct launch *l, char *const *a, struct os_error *err)
{
    return mounts_readonly(l->root, a[0], err);
}

static int op_dir(struct launch *l, char *const *a, struct os_error *err)
{
    return inside_dir(l->root, a[0], number(a[1], 8), number(a[2], 10), number(a[3], 10), err);
}

static int op_file(struct launch *l, char *const *a, struct os_error *err)
{
    return inside_file(l->root, a[0], number(a[1], 8), number(a[2], 10), number(a[3], 10), a[4], err);
}

static int op_link(struct launch *l, char *const *a, struct os_error *err)
{
    return inside_link(l->root, a[0], a[1], err);
}

static int op_pivot(struct launch *l, char *const *a, struct os_error *err)
{
    return mounts_pivot(l->root, err);
}

static int op_drop(struct launch *l, char *const *a, struct os_error *err)
{
    static const int unneeded[] = {
        CAP_SYS_MODULE,        CAP_SYS_RAWIO,    CAP_SYS_BOOT,       CAP_SYS_TIME,      CAP_SYS_PACCT,
        CAP_MAC_ADMIN,         CAP_MAC_OVERRIDE, CAP_WAKE_ALARM,     CAP_BLOCK_SUSPEND, CAP_LEASE,
        CAP_LINUX_IMMUTABLE,   CAP_MKNOD,        CAP_SYS_TTY_CONFIG, CAP_PERFMON,       CAP_BPF,
        CAP_CHECKPOINT_RESTORE};
    for (size_t i = 0; i < OS_ARRAY_LEN(unneeded); i++)
        if (prctl(PR_CAPBSET_DROP, unneeded[i], 0, 0, 0) < 0 && errno != EINVAL)
            return os_error_sys(err, errno, "cannot drop capability %d", unneeded[i]);
    return 0;
}

/* What a process inherits from the gateway beyond descriptors and signals: keys in its keyring, and a
 * protection from the OOM killer that a service manager may have given it. */
static int op_settle(struct launch *l, char *const *a, struct os_error *err)
{
    if (syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL, 0, 0, 0) < 0 && errno != ENOSYS)
        return os_error_sys(err, errno, "cannot make a session keyring (see kernel.keys.root_maxkeys)");
    cleanup_close int fd = inside_open(l->root, "/proc/self/oom_score_adj", O_RDWR);
    char text[16] = "";
    if (fd >= 0 && read(fd, text, sizeof(text) - 1) > 0 && *text == '-' && os_write_all(fd, "0", 1) < 0)
        return os_error_sys(err, errno, "cannot reset the OOM score");
    return 0;
}

static int op_env(struct launch *l, char *const *a, struct os_error *err)
{
    os_strv_add(&l->env, a[0]);
    return 0;
}

static int op_arg(struct launch *l, char *const *a, struct os_error *err)
{
    os_strv_add(&l->argv, a[0]);
    return 0;
}

/* The driver lets go only once it has written down who we are; without it there is nobody to stop us later.
 */
static int op_exec(struct launch *l, char *const *a, struct os_error *err)
{
    expect_word(LAUNCH_GO);
    if (send(LAUNCH_CONTROL_FD, LAUNCH_EXEC, strlen(LAUNCH_EXEC), MSG_NOSIGNAL) < 0)
        _exit(1);
    execve(a[0], l->argv.v, l->env.v);
    return os_error_sys(err, errno, "cannot execute the supervisor '%s'", a[0]);
}

static const struct op {
    const char *name;
    unsigned args;
    int (*run)(struct launch *l, char *const *args, struct os_error *err);
} ops[] = {
#define X(name, args) {#name, args, op_##name},
    LAUNCH_OPS(X)
#undef X
};

static const struct op *find(const char *name)
{
    for (size_t i = 0; i < OS_ARRAY_LEN(ops); i++)
        if (strcmp(ops[i].name, name) == 0)
            return &ops[i];
    return NULL;
}

static int run(struct launch *l, struct os_buf *plan, struct os_error *err)
{
    char *p = plan->data, *end = p + plan->len;
    while (p < end) {
        const struct op *op = find(p);
        char *args[LAUNCH_ARGS_MAX];
        p += strlen(p) + 1;
        for (unsigned i = 0; op && i < op->args; i++) {
            if (p >= end)
                return os_error_set(err, OS_INTERNAL, "the launch plan ends within operation '%s'", op->name);
            args[i] = p;
            p += strlen(p) + 1;
        }
        if (!op)
            return os_error_set(err, OS_INTERNAL,
                                "the launch plan has an unknown operation; gateway and launcher "
                                "are of different versions");
        if (op->run(l, args, err) < 0)
            return -1;
    }
    return os_error_set(err, OS_INTERNAL, "the launch plan names no program");
}

/* exec keeps blocked and ignored signals: the supervisor starts with neither. */
static void reset_signals(void)
{
    sigset_t none;
    for (int s = 1; s < NSIG; s++)
        signal(s, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

int main(void)
{
    struct os_error err = {0};
    struct os_buf plan = {.max = PLAN_MAX};
    struct launch l = {.root = -1};
    struct stat st;
    if (fstat(LAUNCH_PLAN_FD, &st) < 0 || fcntl(LAUNCH_CONTROL_FD, F_SETFD, FD_CLOEXEC) < 0) {
        fputs("openshell-local-launcher is started by the gateway, not by hand\n", stderr);
        return 2;
    }
    reset_signals();
    umask(022);
    if (os_buf_reserve(&plan, (size_t)st.st_size) &&
        pread(LAUNCH_PLAN_FD, plan.data, (size_t)st.st_size, 0) == (ssize_t)st.st_size) {
        plan.len = (size_t)st.st_size;
        close(LAUNCH_PLAN_FD);
        run(&l, &plan, &err);
    } else {
        os_error_sys(&err, errno, "cannot read the launch plan");
    }
    const char *text = os_error_text(&err);
    size_t n = strlen(text);
    send(LAUNCH_CONTROL_FD, text, n < LAUNCH_ERROR_MAX ? n : LAUNCH_ERROR_MAX, MSG_NOSIGNAL);
    return 1;
}
