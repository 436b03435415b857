/* What the two processes of the supervisor give up themselves: the monitor every privilege its later work
 * does not need, the worker all of them. */
#include <errno.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "supervisor/isolation/filter.h"
#include "supervisor/isolation/plan.h"
#include "supervisor/monitor/internal.h"

/* setuid, setgid, setpcap: isolating children; chown, fowner, dac_override, dac_read_search: the directories
 * of the policy and terminals; kill: signals; sys_ptrace: /proc of the agent's processes. */
static const int KEPT[] = {CAP_SETUID,       CAP_SETGID, CAP_SETPCAP,         CAP_CHOWN,     CAP_FOWNER,
                           CAP_DAC_OVERRIDE, CAP_KILL,   CAP_DAC_READ_SEARCH, CAP_SYS_PTRACE};

static int keep_capabilities(void)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3];
    if (syscall(SYS_capget, &head, sets) < 0)
        return errno;
    uint32_t keep[_LINUX_CAPABILITY_U32S_3] = {0};
    for (size_t i = 0; i < OS_ARRAY_LEN(KEPT); i++)
        keep[CAP_TO_INDEX(KEPT[i])] |= CAP_TO_MASK(KEPT[i]);
    for (int i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
        sets[i].permitted &= keep[i];
        sets[i].effective = sets[i].permitted;
        sets[i].inheritable = 0;
    }
    return syscall(SYS_capset, &head, sets) < 0 ? errno : 0;
}

static int load_filter(enum isolation_profile profile, struct os_error *err)
{
    struct sock_fprog program;
    if (isolation_filter_compile(profile, &program, err) < 0)
        return -1;
    int bad = isolation_filter_load(&program);
    free(program.filter);
    return bad ? os_error_sys(err, bad, "cannot load the seccomp filter") : 0;
}

int monitor_confine(struct os_error *err)
{
    int bad = keep_capabilities();
    if (!bad)
        bad = isolation_no_new_privs(NULL);
    if (!bad)
        bad = isolation_limits(NULL);
    if (bad)
        return os_error_sys(err, bad, "the monitor cannot give up privileges");
    return load_filter(PROFILE_MONITOR, err);
}

static int give_up(const char *who, uid_t uid, gid_t gid, enum isolation_profile profile,
                   struct os_error *err)
{
    static const struct {
        const char *name;
        isolation_step_fn *run;
    } steps[] = {
        {"groups", isolation_groups}, {"bounding set", isolation_bounding_set},
        {"user", isolation_user},     {"capabilities", isolation_capabilities},
        {"limits", isolation_limits}, {"no new privileges", isolation_no_new_privs},
    };
    struct isolation i = {.uid = uid, .gid = gid, .landlock = -1};
    for (size_t n = 0; n < OS_ARRAY_LEN(steps); n++) {
        int bad = steps[n].run(&i);
        if (bad)
            return os_error_sys(err, bad, "the %s cannot give up privileges (%s)", who, steps[n].name);
    }
    return load_filter(profile, err);
}

int monitor_confine_worker(uid_t uid, gid_t gid, struct os_error *err)
{
    return give_up("worker", uid, gid, PROFILE_WORKER, err);
}

int monitor_confine_keeper(uid_t uid, gid_t gid, struct os_error *err)
{
    return give_up("keeper of the policy agent", uid, gid, PROFILE_AGENT, err);
}
