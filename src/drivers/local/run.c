/* The life of a sandbox's supervisor process: see run.h. */
#include "drivers/local/run.h"

#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/limits.h"
#include "core/log.h"
#include "drivers/local/launch.h"
#include "drivers/local/plan.h"
#include "drivers/local/spec.h"

void run_emit(struct local_driver *d, const struct sandbox *s)
{
    struct snapshot snap = table_snapshot(s);
    snapshot_emit(d->fn, d->fn_ctx, &snap);
}

/* --- the end of a supervisor --- */

void run_report_exit(struct local_driver *d, struct sandbox *s, const struct state_ended *e)
{
    cleanup_free char *line = state_last_line(&d->cfg, s->id);
    cleanup_free char *message =
        e->oom ? os_strdup("Sandbox ran out of memory and was killed; raise its memory limit")
        : e->status < 0
            ? os_asprintf("Supervisor ended; its exit status is not known%s%s",
                          *line ? ". Its last line: " : "", line)
            : os_asprintf("Supervisor exited with status %d%s%s", e->status, *line ? ": " : "", line);
    table_set(&d->table, s, LOCAL_EXITED, e->oom ? "OOMKilled" : "ContainerExited", message);
}

/* The process is dead: drops what belonged to it and returns how it ended. */
static void bury(struct local_driver *d, struct sandbox *s, struct state_ended *e)
{
    cleanup_error struct os_error err = {0};
    int pidfd;
    pthread_mutex_lock(&d->table.lock);
    pidfd = s->pidfd;
    s->pidfd = -1;
    s->run = 0;
    s->ending = false;
    pthread_mutex_unlock(&d->table.lock);
    exits_remove(d->exits, pidfd);
    e->status = launch_collect(pidfd);
    close(pidfd);
    e->oom = !e->stopped && cgroups_oom_killed(&d->cgroups, s->id);
    if (cgroups_remove(&d->cgroups, s->id, &err) < 0)
        os_log_warn("local-driver", "%s: %s", s->id, os_error_text(&err));
}

/* An operation that has the sandbox comes first: if it ends the process itself,
 * there is nothing to report. */
void run_on_exit(void *ctx, uint64_t run)
{
    struct local_driver *d = ctx;
    cleanup_error struct os_error err = {0};
    struct sandbox *s;
    pthread_mutex_lock(&d->table.lock);
    while ((s = table_find_run(&d->table, run)) && s->busy && !s->ending)
        pthread_cond_wait(&d->table.idle, &d->table.lock);
    if (s && !s->ending)
        s->busy = true;
    else
        s = NULL;
    pthread_mutex_unlock(&d->table.lock);
    if (!s)
        return;
    struct state_ended e = {0};
    bury(d, s, &e);
    if (state_write_ended(&d->cfg, s->id, &e, &err) < 0)
        os_log_warn("local-driver", "%s: %s", s->id, os_error_text(&err));
    run_report_exit(d, s, &e);
    snapshot_emit_warning(d->fn, d->fn_ctx, s->id, s->reason, s->message);
    run_emit(d, s);
    table_give(&d->table, s);
}

int run_end(struct local_driver *d, struct sandbox *s, int grace, struct state_ended *e, struct os_error *err)
{
    pthread_mutex_lock(&d->table.lock);
    bool runs = s->pidfd >= 0;
    s->ending = runs;
    pthread_cond_broadcast(&d->table.idle);
    pthread_mutex_unlock(&d->table.lock);
    if (!runs)
        return 0;
    bool ended = false;
    if (grace > 0) {
        pidfd_send_signal(s->pidfd, SIGTERM, NULL, 0);
        ended = launch_wait_end(s->pidfd, grace);
    }
    /* pid 1 of the namespace takes everything in it along, and ends last. */
    if (!ended) {
        pidfd_send_signal(s->pidfd, SIGKILL, NULL, 0);
        ended = launch_wait_end(s->pidfd, OS_LOCAL_KILL_MS);
    }
    if (ended) {
        bury(d, s, e);
        return 0;
    }
    pthread_mutex_lock(&d->table.lock);
    s->ending = false;
    pthread_mutex_unlock(&d->table.lock);
    return os_error_set(
        err, OS_DEADLINE_EXCEEDED,
        "the processes of the sandbox do not end within %d s of being killed; one of them hangs in "
        "the kernel (look for state D in ps)",
        OS_LOCAL_KILL_MS / 1000);
}

/* --- launching --- */

static int record(struct local_driver *d, const char *id, const struct launch *l, struct local_process *p,
                  struct os_error *err)
{
    p->pid = l->pid;
    p->start_time = state_start_time(l->pid);
    state_boot_id(p->boot_id);
    os_uuid(p->instance_id);
    memcpy(p->base, d->cfg.base, sizeof(p->base));
    return state_write_process(&d->cfg, id, p, err);
}

/* The launcher already works while its process is recorded and a new sandbox is brought to the disk. */
static int launch_recorded(struct local_driver *d, const char *id, const struct os_buf *plan,
                           const char *cgroup, bool created, struct launch *l, struct local_process *p,
                           struct os_error *err)
{
    cleanup_close int log = state_open_log(&d->cfg, id, err);
    if (log < 0 || launch_begin(&d->cfg, plan, log, cgroup, l, err) < 0)
        return -1;
    if (record(d, id, l, p, err) < 0 || (created && state_sync(&d->cfg, id, err) < 0) ||
        state_write_ended(&d->cfg, id, NULL, err) < 0) {
        launch_abort(l);
        return -1;
    }
    return launch_go(l, err);
}

int run_watch(struct local_driver *d, struct sandbox *s, int pidfd, const char *instance_id,
              struct os_error *err)
{
    pthread_mutex_lock(&d->table.lock);
    uint64_t run = d->table.runs++;
    s->pidfd = pidfd;
    s->run = run;
    memcpy(s->instance_id, instance_id, sizeof(s->instance_id));
    pthread_mutex_unlock(&d->table.lock);
    return exits_add(d->exits, pidfd, run, err);
}

int run_start(struct local_driver *d, struct sandbox *s, const driver_sandbox *spec,
              const struct rootfs *rootfs, bool created, struct os_error *err)
{
    cleanup_strv struct os_strv leaves = {0};
    cleanup_buf struct os_buf plan = {0};
    struct local_limits limits;
    struct local_process process = {0};
    struct launch l;
    spec_limits(spec, &limits);
    int rc = cgroups_make(&d->cgroups, s->id, &limits, &leaves, err);
    rc = rc < 0 ? rc : plan_build(&d->cfg, spec, rootfs, &d->cgroups, &leaves, &plan, err);
    rc = rc < 0
             ? rc
             : launch_recorded(d, s->id, &plan, cgroups_v2(&d->cgroups, &leaves), created, &l, &process, err);
    if (plan.data)
        explicit_bzero(plan.data, plan.len);
    if (rc < 0) {
        cgroups_remove(&d->cgroups, s->id, NULL);
        return os_error_wrap(err, "cannot start sandbox '%s'", s->name);
    }
    if (run_watch(d, s, l.pidfd, process.instance_id, err) < 0) {
        run_end(d, s, 0, &(struct state_ended){0}, NULL);
        return -1;
    }
    table_set(&d->table, s, LOCAL_RUNNING, NULL, NULL);
    return 0;
}
