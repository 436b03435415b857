/* Control groups of the sandboxes: see cgroup.h. */
#include "drivers/local/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/limits.h"
#include "core/log.h"
#include "drivers/local/mountinfo.h"
#include "sys/file.h"

#define PARENT "openshell"
#define PROC_FILE_MAX ((size_t)4 << 20)
#define MAKE_TRIES 8
#define CPU_PERIOD_US 100000

static const struct controller {
    const char *name;
    unsigned bit;
} controllers[] = {{"pids", CGROUP_PIDS}, {"memory", CGROUP_MEMORY}, {"cpu", CGROUP_CPU}};

static unsigned named_controllers(const char *list)
{
    unsigned found = 0;
    struct os_strv names = {0};
    cleanup_free char *copy = os_strdup(list);
    for (char *p = copy; *p; p++)
        if (*p == ' ' || *p == '\n')
            *p = ',';
    os_strv_split(&names, copy, ',');
    for (size_t i = 0; i < OS_ARRAY_LEN(controllers); i++)
        if (os_strv_has(&names, controllers[i].name))
            found |= controllers[i].bit;
    os_strv_free(&names);
    return found;
}

/* The gateway's own group in the hierarchy whose controller list holds `controller` ("" = version 2), from
 * lines "id:controllers:path". NULL when there is none. */
static char *own_group(const char *membership, const char *controller)
{
    for (const char *line = membership; *line;) {
        size_t n = strcspn(line, "\n");
        const char *list = memchr(line, ':', n),
                   *path = list ? memchr(list + 1, ':', n - (size_t)(list + 1 - line)) : NULL;
        if (path) {
            cleanup_free char *text = os_strndup(list + 1, (size_t)(path - list - 1));
            struct os_strv names = {0};
            os_strv_split(&names, text, ',');
            bool match = *controller ? os_strv_has(&names, controller) : !*text;
            os_strv_free(&names);
            if (match)
                return os_strndup(path + 1, n - (size_t)(path + 1 - line));
        }
        line += n + (line[n] == '\n');
    }
    return NULL;
}

static void add(struct cgroups *c, char *base, const char *label, bool v2, unsigned bits)
{
    if (c->n == CGROUP_HIERARCHIES) {
        free(base);
        return;
    }
    c->h[c->n++] = (struct cgroup_hierarchy){base, os_strdup(label), v2, bits};
}

struct parse {
    struct cgroups *c;
    const char *membership;
};

static void on_mount(void *ctx, const struct mountinfo *m)
{
    struct parse *p = ctx;
    if (strcmp(m->type, "cgroup2") == 0) {
        add(p->c, os_strdup(m->point), "unified", true, 0);
        return;
    }
    unsigned bits = strcmp(m->type, "cgroup") == 0 ? named_controllers(m->super) : 0;
    for (size_t i = 0; bits && i < OS_ARRAY_LEN(controllers); i++) {
        if (!(bits & controllers[i].bit))
            continue;
        cleanup_free char *group = own_group(p->membership, controllers[i].name);
        size_t root = strcmp(m->root, "/") == 0 ? 0 : strlen(m->root);
        if (!group || strncmp(group, m->root, root) != 0)
            return;
        const char *below = strcmp(group + root, "/") == 0 ? "" : group + root;
        const char *label = strrchr(m->point, '/');
        add(p->c, os_asprintf("%s%s", m->point, below), label ? label + 1 : m->point, false, bits);
        return;
    }
}

void cgroups_parse(struct cgroups *c, const char *mountinfo, const char *membership)
{
    struct parse p = {c, membership};
    mountinfo_each(mountinfo, on_mount, &p);
}

static int set(const char *dir, const char *file, const char *value)
{
    cleanup_free char *path = os_asprintf("%s/%s", dir, file);
    cleanup_close int fd = open(path, O_WRONLY | O_CLOEXEC);
    return fd < 0 ? -1 : os_write_all(fd, value, strlen(value));
}

static bool get(const char *dir, const char *file, struct os_buf *out)
{
    cleanup_free char *path = os_asprintf("%s/%s", dir, file);
    cleanup_error struct os_error err = {0};
    return os_file_read(path, PROC_FILE_MAX, out, &err) == 0;
}

/* Version 2: a controller can be set in a leaf when every group above passes it on. */
static void enable(const char *dir)
{
    for (size_t i = 0; i < OS_ARRAY_LEN(controllers); i++) {
        cleanup_free char *text = os_asprintf("+%s", controllers[i].name);
        set(dir, "cgroup.subtree_control", text);
    }
}

static unsigned enabled(const char *dir)
{
    cleanup_buf struct os_buf b = {0};
    return get(dir, "cgroup.subtree_control", &b) ? named_controllers(os_buf_str(&b)) : 0;
}

static bool make_parent(const struct cgroup_hierarchy *h, char **parent)
{
    *parent = os_asprintf("%s/" PARENT, h->base);
    if (mkdir(*parent, 0755) < 0 && errno != EEXIST)
        return false;
    if (h->v2) {
        enable(h->base);
        enable(*parent);
    }
    return true;
}

/* Keeps the hierarchies that can limit something. */
static void probe(struct cgroups *c)
{
    size_t kept = 0;
    for (size_t i = 0; i < c->n; i++) {
        struct cgroup_hierarchy h = c->h[i];
        cleanup_free char *parent = NULL;
        if (!make_parent(&h, &parent) || access(parent, W_OK) < 0)
            h.controllers = 0;
        else if (h.v2)
            h.controllers = enabled(parent);
        rmdir(parent);
        c->controllers |= h.controllers;
        if (h.controllers) {
            c->h[kept++] = h;
        } else {
            os_log_debug("local-driver", "control groups below %s are not used", h.base);
            free(h.base);
            free(h.label);
        }
    }
    c->n = kept;
}

static bool delegated(const char *dir)
{
    cleanup_free char *procs = os_asprintf("%s/cgroup.procs", dir);
    cleanup_free char *control = os_asprintf("%s/cgroup.subtree_control", dir);
    return access(dir, W_OK) == 0 && access(procs, W_OK) == 0 && access(control, W_OK) == 0;
}

/* An ordinary user may own a part of the version 2 hierarchy above the gateway's own group; the sandboxes go
 * to the top of it. */
static void find_delegated(struct cgroup_hierarchy *h, const char *membership)
{
    cleanup_free char *group = h->v2 && access(h->base, W_OK) < 0 ? own_group(membership, "") : NULL;
    cleanup_free char *path = group ? os_asprintf("%s%s", h->base, group) : NULL;
    char *best = NULL;
    for (size_t top = strlen(h->base); path && strlen(path) > top; *strrchr(path, '/') = '\0')
        if (delegated(path)) {
            free(best);
            best = os_strdup(path);
        }
    if (best) {
        free(h->base);
        h->base = best;
    }
}

void cgroups_detect(struct cgroups *c)
{
    cleanup_buf struct os_buf mounts = {0}, own = {0};
    if (!get("/proc/self", "mountinfo", &mounts) || !get("/proc/self", "cgroup", &own))
        return;
    cgroups_parse(c, os_buf_str(&mounts), os_buf_str(&own));
    for (size_t i = 0; i < c->n; i++)
        find_delegated(&c->h[i], os_buf_str(&own));
    probe(c);
}

void cgroups_clear(struct cgroups *c)
{
    for (size_t i = 0; i < c->n; i++) {
        free(c->h[i].base);
        free(c->h[i].label);
    }
    *c = (struct cgroups){0};
}

/* --- leaves --- */

static int set_number(const char *dir, const char *file, uint64_t value, struct os_error *err)
{
    char text[24];
    snprintf(text, sizeof(text), "%" PRIu64, value);
    return set(dir, file, text) < 0 ? os_error_sys(err, errno, "cannot write %s to '%s/%s'", text, dir, file)
                                    : 0;
}

static int set_limits(const struct cgroup_hierarchy *h, const char *dir, const struct local_limits *l,
                      struct os_error *err)
{
    if (l->pids && (h->controllers & CGROUP_PIDS) && set_number(dir, "pids.max", l->pids, err) < 0)
        return -1;
    if (l->memory && (h->controllers & CGROUP_MEMORY) &&
        set_number(dir, h->v2 ? "memory.max" : "memory.limit_in_bytes", l->memory, err) < 0)
        return -1;
    if (!l->cpu || !(h->controllers & CGROUP_CPU))
        return 0;
    uint64_t quota = l->cpu * (CPU_PERIOD_US / 1000);
    if (!h->v2)
        return set_number(dir, "cpu.cfs_period_us", CPU_PERIOD_US, err) < 0
                   ? -1
                   : set_number(dir, "cpu.cfs_quota_us", quota, err);
    char text[48];
    snprintf(text, sizeof(text), "%" PRIu64 " %d", quota, CPU_PERIOD_US);
    return set(dir, "cpu.max", text) < 0
               ? os_error_sys(err, errno, "cannot write %s to '%s/cpu.max'", text, dir)
               : 0;
}

/* The parent goes with its last leaf, so it may vanish between the two steps. */
static int make_leaf(const struct cgroup_hierarchy *h, const char *id, char **leaf, struct os_error *err)
{
    *leaf = os_asprintf("%s/" PARENT "/%s", h->base, id);
    for (int i = 0; i < MAKE_TRIES; i++) {
        cleanup_free char *parent = NULL;
        if (!make_parent(h, &parent))
            return os_error_sys(err, errno, "cannot create control group '%s'", parent);
        if (mkdir(*leaf, 0755) == 0 || errno == EEXIST)
            return 0;
        if (errno != ENOENT)
            break;
    }
    return os_error_sys(err, errno, "cannot create control group '%s'", *leaf);
}

int cgroups_make(const struct cgroups *c, const char *id, const struct local_limits *limits,
                 struct os_strv *dirs, struct os_error *err)
{
    for (size_t i = 0; i < c->n; i++) {
        char *leaf = NULL;
        if (make_leaf(&c->h[i], id, &leaf, err) < 0) {
            free(leaf);
            return -1;
        }
        os_strv_take(dirs, leaf);
        if (set_limits(&c->h[i], leaf, limits, err) < 0)
            return -1;
    }
    return 0;
}

const char *cgroups_v2(const struct cgroups *c, const struct os_strv *dirs)
{
    for (size_t i = 0; i < c->n && i < dirs->n; i++)
        if (c->h[i].v2)
            return dirs->v[i];
    return NULL;
}

/* The last process is gone for its parent a moment before it is gone for its control group. */
static int remove_leaf(const char *leaf, struct os_error *err)
{
    int64_t end = os_clock_mono_ms() + OS_LOCAL_CGROUP_WAIT_MS;
    while (rmdir(leaf) < 0) {
        if (errno == ENOENT)
            return 0;
        if (errno != EBUSY || os_clock_mono_ms() >= end)
            return os_error_sys(err, errno, "cannot remove control group '%s'", leaf);
        set(leaf, "cgroup.kill", "1");
        poll(NULL, 0, 1);
    }
    return 0;
}

int cgroups_remove(const struct cgroups *c, const char *id, struct os_error *err)
{
    int rc = 0;
    for (size_t i = 0; i < c->n; i++) {
        cleanup_free char *parent = os_asprintf("%s/" PARENT, c->h[i].base);
        cleanup_free char *leaf = os_asprintf("%s/%s", parent, id);
        if (remove_leaf(leaf, rc < 0 ? NULL : err) < 0)
            rc = -1;
        rmdir(parent);
    }
    return rc;
}

bool cgroups_oom_killed(const struct cgroups *c, const char *id)
{
    for (size_t i = 0; i < c->n; i++) {
        if (!(c->h[i].controllers & CGROUP_MEMORY))
            continue;
        cleanup_free char *leaf = os_asprintf("%s/" PARENT "/%s", c->h[i].base, id);
        cleanup_buf struct os_buf b = {0};
        if (!get(leaf, c->h[i].v2 ? "memory.events" : "memory.oom_control", &b))
            continue;
        const char *count = strstr(os_buf_str(&b), "oom_kill ");
        if (count && strtoull(count + strlen("oom_kill "), NULL, 10) > 0)
            return true;
    }
    return false;
}
