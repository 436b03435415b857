/* The `local` compute driver: the operations the gateway calls, in terms of the files beside this one. */
#include "drivers/local/local.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/limits.h"
#include "core/log.h"
#include "drivers/local/base.h"
#include "drivers/local/cgroup.h"
#include "drivers/local/exits.h"
#include "drivers/local/launch.h"
#include "drivers/local/plan.h"
#include "drivers/local/settings.h"
#include "drivers/local/spec.h"
#include "drivers/local/state.h"
#include "drivers/local/table.h"

struct local_driver {
    struct local_settings cfg;
    struct cgroups cgroups;
    struct table table;
    struct exits *exits;
    driver_watch_fn *fn; /* set once, before the other operations */
    void *fn_ctx;
    struct driver driver;
};

static void emit(struct local_driver *d, const struct sandbox *s)
{
    struct snapshot snap = table_snapshot(s);
    snapshot_emit(d->fn, d->fn_ctx, &snap);
}

/* --- the end of a supervisor --- */

static void report_exit(struct local_driver *d, struct sandbox *s, const struct state_ended *e)
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

/* Runs on the thread of exits. An operation that has the sandbox comes first: if it ends the process itself,
 * there is nothing to report. */
static void on_exit_of(void *ctx, uint64_t run)
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
    report_exit(d, s, &e);
    snapshot_emit_warning(d->fn, d->fn_ctx, s->id, s->reason, s->message);
    emit(d, s);
    table_give(&d->table, s);
}

/* Ends the process of a sandbox the caller has; grace in milliseconds before it is killed. */
static int end_process(struct local_driver *d, struct sandbox *s, int grace, struct state_ended *e,
                       struct os_error *err)
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
    if (log < 0 || launch_begin(d->cfg.launcher, plan, log, cgroup, l, err) < 0)
        return -1;
    if (record(d, id, l, p, err) < 0 || (created && state_sync(&d->cfg, id, err) < 0) ||
        state_write_ended(&d->cfg, id, NULL, err) < 0) {
        launch_abort(l);
        return -1;
    }
    return launch_go(l, err);
}

static int watch_process(struct local_driver *d, struct sandbox *s, int pidfd, const char *instance_id,
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

static int launch_sandbox(struct local_driver *d, struct sandbox *s, const driver_sandbox *spec, bool created,
                          struct os_error *err)
{
    cleanup_strv struct os_strv leaves = {0};
    cleanup_buf struct os_buf plan = {0};
    struct local_limits limits;
    struct local_process process = {0};
    struct launch l;
    spec_limits(spec, &limits);
    int rc = cgroups_make(&d->cgroups, s->id, &limits, &leaves, err);
    rc = rc < 0 ? rc : plan_build(&d->cfg, spec, &d->cgroups, &leaves, &plan, err);
    rc = rc < 0
             ? rc
             : launch_recorded(d, s->id, &plan, cgroups_v2(&d->cgroups, &leaves), created, &l, &process, err);
    if (plan.data)
        explicit_bzero(plan.data, plan.len);
    if (rc < 0) {
        cgroups_remove(&d->cgroups, s->id, NULL);
        return os_error_wrap(err, "cannot start sandbox '%s'", s->name);
    }
    if (watch_process(d, s, l.pidfd, process.instance_id, err) < 0) {
        end_process(d, s, 0, &(struct state_ended){0}, NULL);
        return -1;
    }
    table_set(&d->table, s, LOCAL_RUNNING, NULL, NULL);
    return 0;
}

/* --- operations --- */

static void local_watch(void *self, driver_watch_fn *fn, void *ctx)
{
    struct local_driver *d = self;
    d->fn_ctx = ctx;
    d->fn = fn;
}

static int local_validate(void *self, const driver_sandbox *s, struct os_error *err)
{
    const struct local_driver *d = self;
    return spec_validate(s, &d->cgroups, err);
}

static int create_files(struct local_driver *d, const driver_sandbox *s, struct os_error *err)
{
    cleanup_free char *dir = state_path(&d->cfg, s->id);
    return state_make(&d->cfg, s->id, err) < 0 || layer_make(&d->cfg, dir, err) < 0
               ? -1
               : state_write_spec(&d->cfg, s, err);
}

static int local_create(void *self, const driver_sandbox *spec, struct os_error *err)
{
    struct local_driver *d = self;
    if (spec_validate(spec, &d->cgroups, err) < 0)
        return -1;
    struct sandbox *s = table_add(&d->table, spec->id, spec->name, spec->workspace);
    if (!s)
        return os_error_set(err, OS_ALREADY_EXISTS, "sandbox already exists");
    snapshot_emit_progress(d->fn, d->fn_ctx, s->id, s->name, PROGRESS_SCHEDULED);
    snapshot_emit_progress(d->fn, d->fn_ctx, s->id, s->name, PROGRESS_IMAGE);
    if (create_files(d, spec, err) < 0 || launch_sandbox(d, s, spec, true, err) < 0) {
        bool existed;
        state_remove(&d->cfg, s->id, &existed, NULL);
        table_drop(&d->table, s);
        return -1;
    }
    snapshot_emit_progress(d->fn, d->fn_ctx, s->id, s->name, PROGRESS_CREATED);
    snapshot_emit_progress(d->fn, d->fn_ctx, s->id, s->name, PROGRESS_STARTED);
    emit(d, s);
    table_give(&d->table, s);
    return 0;
}

static struct sandbox *take(struct local_driver *d, const char *id, struct os_error *err)
{
    struct sandbox *s = table_take(&d->table, id);
    if (!s)
        os_error_set(err, OS_NOT_FOUND, "sandbox not found");
    return s;
}

static int local_stop(void *self, const char *id, struct os_error *err)
{
    struct local_driver *d = self;
    struct sandbox *s = take(d, id, err);
    struct state_ended e = {.stopped = true};
    if (!s)
        return -1;
    int rc = end_process(d, s, OS_LOCAL_STOP_MS, &e, err);
    if (rc == 0 && s->phase != LOCAL_STOPPED) {
        rc = state_write_ended(&d->cfg, id, &e, err);
        table_set(&d->table, s, LOCAL_STOPPED, NULL, NULL);
        emit(d, s);
    }
    table_give(&d->table, s);
    return rc;
}

/* Layers are volatile (see mounts_overlay): a machine that went down takes their last writes along. */
static void warn_after_crash(struct local_driver *d, const struct sandbox *s)
{
    struct local_process p;
    struct state_ended e;
    char boot_id[OS_UUID_LEN];
    state_boot_id(boot_id);
    if (!state_read_process(&d->cfg, s->id, &p) || strcmp(p.boot_id, boot_id) == 0 ||
        (state_read_ended(&d->cfg, s->id, &e) && e.stopped))
        return;
    snapshot_emit_warning(
        d->fn, d->fn_ctx, s->id, "UncleanShutdown",
        "The machine went down while the sandbox ran; files outside of /sandbox that were written "
        "shortly before may be incomplete");
}

static int start_taken(struct local_driver *d, struct sandbox *s, struct os_error *err)
{
    driver_sandbox *spec = state_read_spec(&d->cfg, s->id, err);
    if (!spec)
        return -1;
    cleanup_free char *dir = state_path(&d->cfg, s->id);
    warn_after_crash(d, s);
    int rc = layer_renew(dir, err) < 0 ? -1 : launch_sandbox(d, s, spec, false, err);
    openshell__compute__v1__driver_sandbox__free_unpacked(spec, NULL);
    if (rc == 0) {
        snapshot_emit_progress(d->fn, d->fn_ctx, s->id, s->name, PROGRESS_STARTED);
        emit(d, s);
    }
    return rc;
}

static int local_start(void *self, const char *id, struct os_error *err)
{
    struct local_driver *d = self;
    struct sandbox *s = take(d, id, err);
    if (!s)
        return -1;
    int rc = s->phase == LOCAL_RUNNING ? 0 : start_taken(d, s, err);
    table_give(&d->table, s);
    return rc;
}

/* Nothing in the table: there may still be what a create or remove of another time left. */
static int remove_rest(struct local_driver *d, const char *id, bool *deleted, struct os_error *err)
{
    if (cgroups_remove(&d->cgroups, id, err) < 0)
        return -1;
    return state_remove(&d->cfg, id, deleted, err);
}

static int local_remove(void *self, const char *id, bool *deleted, struct os_error *err)
{
    struct local_driver *d = self;
    *deleted = false;
    if (!spec_id_valid(id))
        return os_error_set(err, OS_INVALID_ARGUMENT, "sandbox id '%.64s' is not valid", id);
    struct sandbox *s = table_take(&d->table, id);
    if (!s)
        return remove_rest(d, id, deleted, err);
    bool existed;
    int rc = end_process(d, s, 0, &(struct state_ended){.stopped = true}, err);
    if (rc == 0) {
        table_set(&d->table, s, LOCAL_REMOVING, NULL, NULL);
        rc = remove_rest(d, id, &existed, err);
    }
    if (rc < 0) {
        table_give(&d->table, s);
        return os_error_wrap(err, "cannot remove sandbox '%s'", id);
    }
    table_drop(&d->table, s);
    snapshot_emit_deleted(d->fn, d->fn_ctx, id);
    *deleted = true;
    return 0;
}

static driver_sandbox *local_get(void *self, const char *id, struct os_arena *arena, struct os_error *err)
{
    struct local_driver *d = self;
    driver_sandbox *m = NULL;
    pthread_mutex_lock(&d->table.lock);
    const struct sandbox *s = table_find(&d->table, id);
    if (s) {
        struct snapshot snap = table_snapshot(s);
        m = snapshot_message(arena, &snap);
    }
    pthread_mutex_unlock(&d->table.lock);
    if (!m)
        os_error_set(err, OS_NOT_FOUND, "sandbox not found");
    return m;
}

static int by_id(const void *a, const void *b)
{
    return strcmp((*(driver_sandbox *const *)a)->id, (*(driver_sandbox *const *)b)->id);
}

static int local_list(void *self, struct os_arena *arena, driver_sandbox ***out, size_t *n,
                      struct os_error *err)
{
    struct local_driver *d = self;
    pthread_mutex_lock(&d->table.lock);
    *n = d->table.n;
    *out = os_arena_alloc(arena, (*n + 1) * sizeof(**out));
    for (size_t i = 0; i < *n; i++) {
        struct snapshot snap = table_snapshot(d->table.v[i]);
        (*out)[i] = snapshot_message(arena, &snap);
    }
    pthread_mutex_unlock(&d->table.lock);
    qsort(*out, *n, sizeof(**out), by_id);
    return 0;
}

static void local_free(void *self)
{
    struct local_driver *d = self;
    if (!d)
        return;
    exits_free(d->exits);
    table_free(&d->table);
    cgroups_clear(&d->cgroups);
    settings_clear(&d->cfg);
    free(d);
}

static const struct driver_ops local_ops = {
    .name = "local",
    .version = OPENSHELL_VERSION,
    .default_image = "host",
    .watch = local_watch,
    .validate = local_validate,
    .create = local_create,
    .stop = local_stop,
    .start = local_start,
    .remove = local_remove,
    .get = local_get,
    .list = local_list,
    .free = local_free,
};

/* --- adoption --- */

/* A descriptor of the recorded process when it still runs, -1 otherwise. The descriptor is taken first: what
 * it names cannot change any more while the start time is compared. */
static int find_process(const struct local_process *p)
{
    char boot_id[OS_UUID_LEN];
    state_boot_id(boot_id);
    int pidfd = strcmp(boot_id, p->boot_id) == 0 ? pidfd_open(p->pid, 0) : -1;
    if (pidfd < 0)
        return -1;
    uint64_t start = state_start_time(p->pid);
    if (start && start == p->start_time)
        return pidfd;
    close(pidfd);
    return -1;
}

/* restarted: it ran when the machine went down, so nothing is known of how it ended. */
static void adopt_dead(struct local_driver *d, struct sandbox *s, bool restarted)
{
    cleanup_error struct os_error err = {0};
    struct state_ended e;
    if (cgroups_remove(&d->cgroups, s->id, &err) < 0)
        os_log_warn("local-driver", "%s: %s", s->id, os_error_text(&err));
    bool ended = state_read_ended(&d->cfg, s->id, &e);
    if (!ended && restarted) {
        table_set(&d->table, s, LOCAL_EXITED, "HostRestarted",
                  "The machine was restarted while the sandbox ran; start it again");
        return;
    }
    if (!ended)
        state_write_ended(&d->cfg, s->id, &e, NULL);
    if (e.stopped)
        table_set(&d->table, s, LOCAL_STOPPED, NULL, NULL);
    else
        report_exit(d, s, &e);
}

static int adopt(struct local_driver *d, const char *id, struct os_strv *bases, struct os_error *err)
{
    cleanup_error struct os_error damage = {0};
    driver_sandbox *spec = state_read_spec(&d->cfg, id, &damage);
    struct sandbox *s = table_add(&d->table, id, spec ? spec->name : id, spec ? spec->workspace : "");
    struct local_process p;
    if (spec)
        openshell__compute__v1__driver_sandbox__free_unpacked(spec, NULL);
    else
        os_log_error("local-driver", "%s", os_error_text(&damage));
    char boot_id[OS_UUID_LEN];
    state_boot_id(boot_id);
    bool recorded = state_read_process(&d->cfg, id, &p);
    int pidfd = recorded ? find_process(&p) : -1;
    int rc = 0;
    if (pidfd < 0) {
        adopt_dead(d, s, recorded && strcmp(p.boot_id, boot_id) != 0);
    } else if ((rc = watch_process(d, s, pidfd, p.instance_id, err)) == 0) {
        os_log_info("local-driver", "%s: adopted the running sandbox '%s' (process %d)", id, s->name,
                    (int)p.pid);
        table_set(&d->table, s, LOCAL_RUNNING, NULL, NULL);
        os_strv_add(bases, p.base);
    }
    table_give(&d->table, s);
    return rc;
}

/* Everything another driver left: its sandboxes and, below those that run, its lower layers. */
static int adopt_all(struct local_driver *d, struct os_error *err)
{
    cleanup_strv struct os_strv ids = {0}, bases = {0};
    if (state_scan(&d->cfg, &ids, err) < 0)
        return -1;
    for (size_t i = 0; i < ids.n; i++)
        if (adopt(d, ids.v[i], &bases, err) < 0)
            return -1;
    base_collect(&d->cfg, &bases);
    return base_make(&d->cfg, err);
}

struct driver *local_driver_new(const struct local_driver_config *cfg, struct os_error *err)
{
    struct local_driver *d = os_calloc(1, sizeof(*d));
    d->driver = (struct driver){&local_ops, d};
    table_init(&d->table);
    if (settings_load(cfg, &d->cfg, err) == 0 && (d->exits = exits_new(on_exit_of, d, err))) {
        cgroups_detect(&d->cgroups);
        if (!(d->cgroups.controllers & CGROUP_PIDS))
            os_log_warn("local-driver",
                        "no writable control group with the pids controller: the number of processes "
                        "of a sandbox is not limited");
        if (adopt_all(d, err) == 0)
            return &d->driver;
    }
    local_free(d);
    return NULL;
}
