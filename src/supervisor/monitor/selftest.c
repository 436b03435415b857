/* Runs the self-test in a child like any of the agent's, before there is one. */
#include <errno.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/str.h"
#include "supervisor/isolation/plan.h"
#include "supervisor/isolation/selftest.h"
#include "supervisor/monitor/internal.h"

struct finding {
    int step, error; /* step < 0: all steps ran */
    uint32_t passed;
};

static _Noreturn void attempt(const struct isolation *i, const struct selftest_plan *plan)
{
    struct finding f = {0};
    f.step = isolation_apply(i, &f.error);
    if (f.step < 0)
        f.passed = selftest_run(plan);
    ssize_t written = write(i->keep, &f, sizeof(f));
    _exit(written == sizeof(f) ? 0 : 1);
}

static int await(int report, struct finding *f, struct os_error *err)
{
    ssize_t n = monitor_report_read(report, f, sizeof(*f));
    if (n < 0 && errno == ETIMEDOUT)
        return os_error_set(err, OS_DEADLINE_EXCEEDED,
                            "the self-test of the isolation did not end within %d s",
                            OS_SPAWN_TIMEOUT_MS / 1000);
    return n == sizeof(*f)
               ? 0
               : os_error_set(err, OS_INTERNAL, "the self-test of the isolation ended without a result");
}

static int judge(const struct finding *f, const struct selftest_plan *plan, struct os_error *err)
{
    if (f->step >= 0)
        return os_error_sys(err, f->error, "isolation step '%s' failed in the self-test",
                            isolation_plan[f->step].name);
    struct os_strv cleanup_strv passed = {0};
    for (int t = 0; t < SELFTEST_COUNT; t++)
        if (f->passed & 1u << t)
            os_strv_addf(&passed, "%s%s%s", selftest_text(t), t == SELFTEST_WRITE ? ": " : "",
                         t == SELFTEST_WRITE ? plan->write_path : "");
    if (!passed.n)
        return 0;
    cleanup_free char *all = os_strv_join(&passed, ", ");
    return os_error_set(err, OS_FAILED_PRECONDITION,
                        "the isolation does not hold: its self-test was not kept from %s; nothing is started",
                        all);
}

int monitor_selftest(struct monitor *m, const struct isolation_paths *paths, uint32_t *tried,
                     struct os_error *err)
{
    struct selftest_plan plan = selftest_choose(paths, &m->landlock);
    cleanup_close int report = -1, keep = -1;
    if (monitor_pipe(&report, &keep) < 0)
        return os_error_sys(err, errno, "cannot make the pipe of the self-test");
    struct isolation i = {
        .uid = m->cfg->agent_uid,
        .gid = m->cfg->agent_gid,
        .in = keep,
        .out = keep,
        .err = keep,
        .keep = keep,
        .landlock = m->landlock.fd,
        .landlock_required = m->landlock_required,
        .seccomp = m->filter,
    };
    pid_t child = fork();
    if (child < 0)
        return os_error_sys(err, errno, "cannot fork for the self-test");
    if (child == 0)
        attempt(&i, &plan);
    close(os_steal_fd(keep));
    struct finding f = {0};
    int rc = await(report, &f, err);
    monitor_kill(child);
    *tried = selftest_tried(&plan);
    return rc < 0 ? -1 : judge(&f, &plan, err);
}
