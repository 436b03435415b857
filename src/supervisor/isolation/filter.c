/* Seccomp filters: the lists of spec/supervisor.md 6, compiled with libseccomp and exported as BPF. */
#include "supervisor/isolation/filter.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/str.h"
#include "supervisor/isolation/plan.h"

#define OPEN_TREE_ATTR_NUMBER 467 /* the same on every architecture; younger than the library */
#define PROGRAM_MAX (4096 * sizeof(struct sock_filter)) /* the kernel's own maximum */
/* The kernel looks at the low 32 bits of an int; the library's own 32-bit comparisons look at all 64. */
#define LOW_EQ(arg, value) SCMP_CMP64(arg, SCMP_CMP_MASKED_EQ, 0xffffffffu, value)
#define LOW_BITS(arg, mask, value) SCMP_CMP64(arg, SCMP_CMP_MASKED_EQ, mask, value)
#define EPERM_ACTION SCMP_ACT_ERRNO(EPERM)

struct denied {
    const char *name;
    bool in[3]; /* by enum isolation_profile */
};

static const struct denied DENIED[] = {
#define DENY(name, agent, worker, monitor) {#name, {agent, worker, monitor}},
#include "supervisor/isolation/tbl/filter.h"
#undef DENY
};

static int rule(scmp_filter_ctx ctx, uint32_t action, int number, unsigned n, const struct scmp_arg_cmp *args)
{
    int r = seccomp_rule_add_array(ctx, action, number, n, args);
    return r == -EEXIST ? 0 : r;
}

static int deny_listed(scmp_filter_ctx ctx, enum isolation_profile profile)
{
    int r = 0;
    for (size_t i = 0; i < OS_ARRAY_LEN(DENIED) && r == 0; i++) {
        if (!DENIED[i].in[profile])
            continue;
        int number = seccomp_syscall_resolve_name(DENIED[i].name);
        if (number == __NR_SCMP_ERROR)
            return -ENOSYS;
        if (number >= 0) /* negative: does not exist on this architecture */
            r = rule(ctx, EPERM_ACTION, number, 0, NULL);
    }
    return r;
}

/* Socket families that are attack surface and no way to the proxy. */
static int deny_sockets(scmp_filter_ctx ctx, enum isolation_profile profile)
{
    static const unsigned FAMILIES[] = {AF_PACKET, AF_BLUETOOTH, AF_VSOCK};
    int number = SCMP_SYS(socket), r = 0;
    if (profile == PROFILE_WORKER) { /* AF_UNIX, AF_INET, AF_INET6 and NETLINK_ROUTE are all it uses */
        static const unsigned USED[] = {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK};
        for (unsigned family = 0; family < AF_MAX && r == 0; family++) {
            bool used = false;
            for (size_t i = 0; i < OS_ARRAY_LEN(USED); i++)
                used |= USED[i] == family;
            if (!used)
                r = rule(ctx, EPERM_ACTION, number, 1, (struct scmp_arg_cmp[]){LOW_EQ(0, family)});
        }
    } else {
        for (size_t i = 0; i < OS_ARRAY_LEN(FAMILIES) && r == 0; i++)
            r = rule(ctx, EPERM_ACTION, number, 1, (struct scmp_arg_cmp[]){LOW_EQ(0, FAMILIES[i])});
    }
    if (r == 0) /* NETLINK_ROUTE (0) is what getifaddrs needs */
        r = rule(ctx, EPERM_ACTION, number, 2,
                 (struct scmp_arg_cmp[]){LOW_EQ(0, AF_NETLINK), SCMP_CMP64(2, SCMP_CMP_NE, 0, 0)});
    return r;
}

static int deny_agent_arguments(scmp_filter_ctx ctx)
{
    const struct {
        int number;
        struct scmp_arg_cmp arg;
    } masked[] = {
        {SCMP_SYS(execveat), LOW_BITS(4, AT_EMPTY_PATH, AT_EMPTY_PATH)},
        {SCMP_SYS(unshare), LOW_BITS(0, CLONE_NEWUSER, CLONE_NEWUSER)},
        {SCMP_SYS(clone), LOW_BITS(0, CLONE_NEWUSER, CLONE_NEWUSER)},
        {SCMP_SYS(seccomp), LOW_EQ(0, SECCOMP_SET_MODE_FILTER)},
    };
    int r = 0;
    for (size_t i = 0; i < OS_ARRAY_LEN(masked) && r == 0; i++)
        r = rule(ctx, EPERM_ACTION, masked[i].number, 1, &masked[i].arg);
    if (r == 0)
        r = rule(ctx, EPERM_ACTION, SCMP_SYS(prctl), 2,
                 (struct scmp_arg_cmp[]){LOW_EQ(0, PR_SET_SECCOMP), LOW_EQ(1, SECCOMP_MODE_FILTER)});
    return r;
}

static int add_rules(scmp_filter_ctx ctx, enum isolation_profile profile)
{
    int r = deny_listed(ctx, profile);
    if (r == 0)
        r = rule(ctx, EPERM_ACTION, OPEN_TREE_ATTR_NUMBER, 0, NULL);
    if (profile == PROFILE_MONITOR)
        return r;
    /* clone3 hides its flags in memory; libc falls back to clone. */
    if (r == 0)
        r = rule(ctx, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0, NULL);
    if (r == 0)
        r = deny_sockets(ctx, profile);
    if (r == 0 && profile == PROFILE_AGENT)
        r = deny_agent_arguments(ctx);
    if (r == 0 && profile == PROFILE_WORKER) /* threads, no processes */
        r = rule(ctx, EPERM_ACTION, SCMP_SYS(clone), 1,
                 (struct scmp_arg_cmp[]){LOW_BITS(0, CLONE_THREAD, 0)});
    return r;
}

static int export(scmp_filter_ctx ctx, struct sock_fprog *out)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    cleanup_close int in = ends[0], to = ends[1];
    /* The program is smaller than the pipe, so that writing it all before reading cannot block. */
    int r = fcntl(to, F_SETPIPE_SZ, (int)PROGRAM_MAX) < 0 ? -errno : seccomp_export_bpf(ctx, to);
    if (r < 0)
        return r;
    struct sock_filter *code = os_calloc(1, PROGRAM_MAX);
    ssize_t n = read(in, code, PROGRAM_MAX);
    if (n <= 0 || (size_t)n % sizeof(*code)) {
        free(code);
        return -EIO;
    }
    *out = (struct sock_fprog){.len = (unsigned short)((size_t)n / sizeof(*code)), .filter = code};
    return 0;
}

int isolation_filter_compile(enum isolation_profile profile, struct sock_fprog *out, struct os_error *err)
{
    *out = (struct sock_fprog){0};
    scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
    if (!ctx)
        return os_error_set(err, OS_INTERNAL, "cannot start a seccomp filter");
    int r = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    if (r == 0)
        r = add_rules(ctx, profile);
    if (r == 0)
        r = export(ctx, out);
    seccomp_release(ctx);
    return r < 0 ? os_error_sys(err, -r, "cannot compile the seccomp filter") : 0;
}

int isolation_filter_load(const struct sock_fprog *program)
{
    if (program->len == 0)
        return EINVAL;
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program, 0, 0) < 0 ? errno : 0;
}

int isolation_seccomp(const struct isolation *i)
{
    return isolation_filter_load(&i->seccomp);
}
