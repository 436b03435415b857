/* Adoption of what another driver left: see adopt_all in run.h. */
#include "drivers/local/run.h"

#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/log.h"
#include "drivers/local/base.h"

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
        run_report_exit(d, s, &e);
}

static void adopt_rootfs(struct local_driver *d, const char *id)
{
    cleanup_free char *digest = state_read_image(&d->cfg, id);
    if (*digest)
        images_adopt(d->images, digest);
}

static int adopt(struct local_driver *d, const char *id, struct os_strv *bases, struct os_error *err)
{
    cleanup_error struct os_error damage = {0};
    driver_sandbox *spec = state_read_spec(&d->cfg, id, &damage);
    struct sandbox *s = table_add(&d->table, id, spec ? spec->name : id, spec ? spec->workspace : "");
    struct local_process p;
    adopt_rootfs(d, id);
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
    } else if ((rc = run_watch(d, s, pidfd, p.instance_id, err)) == 0) {
        os_log_info("local-driver", "%s: adopted the running sandbox '%s' (process %d)", id, s->name,
                    (int)p.pid);
        table_set(&d->table, s, LOCAL_RUNNING, NULL, NULL);
        os_strv_add(bases, p.base);
    }
    table_give(&d->table, s);
    return rc;
}

int adopt_all(struct local_driver *d, struct os_error *err)
{
    cleanup_strv struct os_strv ids = {0}, bases = {0};
    if (state_scan(&d->cfg, &ids, err) < 0)
        return -1;
    for (size_t i = 0; i < ids.n; i++)
        if (adopt(d, ids.v[i], &bases, err) < 0)
            return -1;
    images_collect(d->images);
    base_collect(&d->cfg, &bases);
    return base_make(&d->cfg, err);
}
