/* The `local` compute driver: the operations the gateway calls, in terms of the files beside this one. */
#include "drivers/local/local.h"

#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/limits.h"
#include "core/log.h"
#include "drivers/local/base.h"
#include "drivers/local/run.h"
#include "drivers/local/settings.h"
#include "drivers/local/spec.h"
#include "drivers/local/userns.h"

#define DEFAULT_IMAGE "host"

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
    return spec_validate(&d->cfg, s, &d->cgroups, err);
}

static int create_files(struct local_driver *d, const driver_sandbox *s, const struct rootfs *rootfs,
                        struct os_error *err)
{
    cleanup_free char *dir = state_path(&d->cfg, s->id), *record = rootfs_record(rootfs);
    return state_make(&d->cfg, s->id, err) < 0 || layer_make(dir, rootfs->uid, rootfs->gid, err) < 0 ||
                   state_write_rootfs(&d->cfg, s->id, record, err) < 0
               ? -1
               : state_write_spec(&d->cfg, s, err);
}

static int create_taken(struct local_driver *d, struct sandbox *s, const driver_sandbox *spec,
                        struct os_error *err)
{
    struct rootfs rootfs;
    const char *image = *spec_image(spec) ? spec_image(spec) : DEFAULT_IMAGE;
    snapshot_emit_progress(d->fn, d->fn_ctx, s->id, image, PROGRESS_SCHEDULED);
    int rc = rootfs_acquire(&d->cfg, d->images, image, &rootfs, err);
    if (rc == 0)
        snapshot_emit_progress(d->fn, d->fn_ctx, s->id, image, PROGRESS_IMAGE);
    if (rc == 0 &&
        (create_files(d, spec, &rootfs, err) < 0 || run_start(d, s, spec, &rootfs, true, err) < 0)) {
        bool existed;
        state_remove(&d->cfg, s->id, &existed, NULL);
        if (*rootfs.digest)
            images_release(d->images, rootfs.digest);
        rc = -1;
    }
    rootfs_clear(&rootfs);
    return rc;
}

static int local_create(void *self, const driver_sandbox *spec, struct os_error *err)
{
    struct local_driver *d = self;
    if (spec_validate(&d->cfg, spec, &d->cgroups, err) < 0)
        return -1;
    struct sandbox *s = table_add(&d->table, spec->id, spec->name, spec->workspace);
    if (!s)
        return os_error_set(err, OS_ALREADY_EXISTS, "sandbox already exists");
    if (create_taken(d, s, spec, err) < 0) {
        table_drop(&d->table, s);
        return -1;
    }
    snapshot_emit_progress(d->fn, d->fn_ctx, s->id, s->name, PROGRESS_CREATED);
    snapshot_emit_progress(d->fn, d->fn_ctx, s->id, s->name, PROGRESS_STARTED);
    run_emit(d, s);
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
    int rc = run_end(d, s, OS_LOCAL_STOP_MS, &e, err);
    if (rc == 0 && s->phase != LOCAL_STOPPED) {
        rc = state_write_ended(&d->cfg, id, &e, err);
        table_set(&d->table, s, LOCAL_STOPPED, NULL, NULL);
        run_emit(d, s);
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
    cleanup_free char *dir = state_path(&d->cfg, s->id), *record = state_read_rootfs(&d->cfg, s->id);
    struct rootfs rootfs;
    warn_after_crash(d, s);
    int rc = rootfs_open(&d->cfg, d->images, record, &rootfs, err);
    rc = rc < 0 || layer_renew(&d->cfg, dir, err) < 0 ? -1 : run_start(d, s, spec, &rootfs, false, err);
    rootfs_clear(&rootfs);
    openshell__compute__v1__driver_sandbox__free_unpacked(spec, NULL);
    if (rc == 0) {
        snapshot_emit_progress(d->fn, d->fn_ctx, s->id, s->name, PROGRESS_STARTED);
        run_emit(d, s);
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
    cleanup_free char *image = state_read_image(&d->cfg, id);
    if (cgroups_remove(&d->cgroups, id, err) < 0 || state_remove(&d->cfg, id, deleted, err) < 0)
        return -1;
    if (*image)
        images_release(d->images, image);
    return 0;
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
    int rc = run_end(d, s, 0, &(struct state_ended){.stopped = true}, err);
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
    images_free(d->images);
    settings_clear(&d->cfg);
    free(d);
}

static const struct driver_ops local_ops = {
    .name = "local",
    .version = OPENSHELL_VERSION,
    .default_image = DEFAULT_IMAGE,
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

/* An ordinary user learns at the start, not at the first sandbox, that the kernel forbids it. */
static int can_run(const struct local_driver *d, struct os_error *err)
{
    return userns_remove(&d->cfg, d->cfg.state_dir, ".nothing", err);
}

struct driver *local_driver_new(const struct local_driver_config *cfg, struct os_error *err)
{
    struct local_driver *d = os_calloc(1, sizeof(*d));
    d->driver = (struct driver){&local_ops, d};
    table_init(&d->table);
    if (settings_load(cfg, &d->cfg, err) == 0 && (d->exits = exits_new(run_on_exit, d, err)) &&
        (d->images = images_new(&d->cfg, err))) {
        cgroups_detect(&d->cgroups);
        if (!(d->cgroups.controllers & CGROUP_PIDS))
            os_log_warn("local-driver",
                        "no writable control group with the pids controller: the number of processes "
                        "of a sandbox is not limited");
        if (can_run(d, err) == 0 && adopt_all(d, err) == 0)
            return &d->driver;
    }
    local_free(d);
    return NULL;
}
