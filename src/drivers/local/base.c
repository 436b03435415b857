/* Lower layers common to all sandboxes, and the layers of one: see base.h. Works in fresh directories only
 * the gateway can reach, so plain paths are safe here; nothing in this file touches what a sandbox has
 * written. */
#include "drivers/local/base.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/encode.h"
#include "core/log.h"
#include "drivers/local/accounts.h"
#include "drivers/local/etc.h"
#include "drivers/local/tree.h"
#include "drivers/local/userns.h"
#include "sys/file.h"

#define OPT_MAX 256 /* entries of /opt that are shared */

static const char *const shared[] = {
#define X(name) name,
#include "drivers/local/tbl/shared.h"
#undef X
};

static const char *const hidden[] = {
#define X(path) path,
#include "drivers/local/tbl/hidden.h"
#undef X
};

/* What a sandbox has of its own, below root. */
static const struct own {
    const char *path;
    mode_t mode;
    const char *link; /* symbolic link to this instead of a directory */
} own[] = {
    {"dev", 0755, NULL},     {"proc", 0755, NULL},      {"sys", 0755, NULL},     {"run", 0755, NULL},
    {"tmp", 01777, NULL},    {"root", 0700, NULL},      {"home", 0755, NULL},    {"mnt", 0755, NULL},
    {"srv", 0755, NULL},     {"sandbox", 0755, NULL},   {"var", 0755, NULL},     {"var/cache", 0755, NULL},
    {"var/lib", 0755, NULL}, {"var/local", 0755, NULL}, {"var/log", 0755, NULL}, {"var/spool", 0755, NULL},
    {"var/opt", 0755, NULL}, {"var/tmp", 01777, NULL},  {"var/run", 0, "/run"},  {"var/lock", 0, "/run/lock"},
#define X(path) {path, 0755, NULL},
#include "drivers/local/tbl/var.h"
#undef X
};

static int make_dir(const char *path, mode_t mode, uid_t uid, gid_t gid, struct os_error *err)
{
    if (mkdir(path, 0700) < 0 || (geteuid() == 0 && chown(path, uid, gid) < 0) || chmod(path, mode) < 0)
        return os_error_sys(err, errno, "cannot create directory '%s'", path);
    return 0;
}

/* As make_dir with mode and owner of the host's directory; an existing one is fine. */
static int copy_dir(const char *path, const struct stat *host, struct os_error *err)
{
    if (os_file_exists(path))
        return 0;
    return make_dir(path, host->st_mode & 07777, host->st_uid, host->st_gid, err);
}

static int make_opaque(const char *path, struct os_error *err)
{
    if (setxattr(path, geteuid() == 0 ? "trusted.overlay.opaque" : "user.overlay.opaque", "y", 1, 0) == 0)
        return 0;
    if (errno == EPERM)
        return os_error_sys(
            err, errno,
            "cannot hide files from sandboxes: as root the gateway needs CAP_SYS_ADMIN in the initial "
            "user namespace; start it outside of unprivileged containers, or as an ordinary user");
    return os_error_sys(err, errno,
                        "cannot hide host files in '%s': overlayfs needs extended attributes; put the state "
                        "directory on ext4, xfs, btrfs or tmpfs",
                        path);
}

static int make_file(const char *path, mode_t mode, const void *data, size_t n, struct os_error *err)
{
    cleanup_close int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd < 0 || os_write_all(fd, data, n) < 0 || fchmod(fd, mode) < 0)
        return os_error_sys(err, errno, "cannot write '%s'", path);
    return 0;
}

char *base_path(const struct local_settings *cfg, const char *name)
{
    return os_asprintf("%s/%s/%s", cfg->base_dir, cfg->base, name);
}

/* --- hiding --- */

static bool is_shared(const char *name, size_t n)
{
    for (size_t i = 0; i < OS_ARRAY_LEN(shared); i++)
        if (strlen(shared[i]) == n && memcmp(shared[i], name, n) == 0)
            return true;
    return false;
}

/* The directories of the host from the top to the one that holds path, repeated in the base. False in *there
 * when there is no such directory, or when it is not shared in the first place. */
static int copy_parents(const struct local_settings *cfg, const char *path, bool *there, struct os_error *err)
{
    const char *slash = strchr(path + 1, '/');
    *there = slash && is_shared(path + 1, (size_t)(slash - path - 1));
    for (; *there && slash; slash = strchr(slash + 1, '/')) {
        cleanup_free char *host = os_strndup(path, (size_t)(slash - path)), *copy = base_path(cfg, host + 1);
        struct stat st;
        *there = lstat(host, &st) == 0 && S_ISDIR(st.st_mode);
        if (*there && copy_dir(copy, &st, err) < 0)
            return -1;
    }
    return 0;
}

/* A directory shows as empty, anything else is gone. */
static int hide(const struct local_settings *cfg, const char *path, struct os_error *err)
{
    struct stat st;
    bool there;
    if (lstat(path, &st) < 0)
        return 0;
    if (copy_parents(cfg, path, &there, err) < 0)
        return -1;
    if (!there)
        return 0;
    cleanup_free char *cover = base_path(cfg, path + 1);
    if (S_ISDIR(st.st_mode))
        return copy_dir(cover, &st, err) < 0 ? -1 : make_opaque(cover, err);
    if (mknod(cover, S_IFCHR, makedev(0, 0)) < 0 && errno != EEXIST)
        return os_error_sys(err, errno, "cannot hide '%s' from sandboxes (the gateway needs CAP_MKNOD)",
                            path);
    return 0;
}

static int hide_pattern(const struct local_settings *cfg, const char *pattern, struct os_error *err)
{
    glob_t g;
    int rc = 0;
    if (!strchr(pattern, '*'))
        return hide(cfg, pattern, err);
    if (glob(pattern, GLOB_NOSORT, NULL, &g) != 0)
        return 0;
    for (size_t i = 0; i < g.gl_pathc && rc == 0; i++)
        rc = hide(cfg, g.gl_pathv[i], err);
    globfree(&g);
    return rc;
}

static int hide_all(const struct local_settings *cfg, struct os_error *err)
{
    for (size_t i = 0; i < cfg->mask.n; i++)
        if (hide(cfg, cfg->mask.v[i], err) < 0)
            return -1;
    for (size_t i = 0; i < OS_ARRAY_LEN(hidden); i++)
        if (hide_pattern(cfg, hidden[i], err) < 0)
            return -1;
    return 0;
}

/* --- the parts --- */

static int make_own(const struct local_settings *cfg, struct os_error *err)
{
    for (size_t i = 0; i < OS_ARRAY_LEN(own); i++) {
        cleanup_free char *below = os_asprintf("root/%s", own[i].path), *path = base_path(cfg, below);
        if (own[i].link) {
            if (symlink(own[i].link, path) < 0)
                return os_error_sys(err, errno, "cannot create link '%s'", path);
        } else if (make_dir(path, own[i].mode, 0, 0, err) < 0) {
            return -1;
        }
    }
    return 0;
}

/* Mount points and links at the top for what is the host's. */
static int make_shared(const struct local_settings *cfg, struct os_error *err)
{
    for (size_t i = 0; i < OS_ARRAY_LEN(shared); i++) {
        cleanup_free char *host = os_asprintf("/%s", shared[i]), *below = os_asprintf("root/%s", shared[i]);
        cleanup_free char *path = base_path(cfg, below);
        char target[256];
        struct stat st;
        if (lstat(host, &st) < 0)
            continue;
        if (S_ISDIR(st.st_mode) && make_dir(path, 0755, 0, 0, err) < 0)
            return -1;
        ssize_t n = S_ISLNK(st.st_mode) ? readlink(host, target, sizeof(target) - 1) : 0;
        if (n <= 0)
            continue;
        target[n] = '\0';
        if (symlink(target, path) < 0)
            return os_error_sys(err, errno, "cannot create link '%s'", path);
    }
    return 0;
}

/* A directory of our own below a shared one, which covers what the host has there; or below root, when the
 * host has no such shared directory. */
static char *private_dir(const struct local_settings *cfg, const char *top, const char *name,
                         struct os_error *err)
{
    cleanup_free char *host = os_asprintf("/%s", top);
    struct stat st;
    bool host_has = lstat(host, &st) == 0 && S_ISDIR(st.st_mode);
    cleanup_free char *below = os_asprintf("%s%s", host_has ? "" : "root/", top);
    cleanup_free char *parent = base_path(cfg, below);
    char *path = os_asprintf("%s/%s", parent, name);
    if (!host_has)
        st = (struct stat){.st_mode = 0755};
    if (copy_dir(parent, &st, err) == 0 && make_dir(path, 0755, 0, 0, err) == 0 &&
        (!host_has || make_opaque(path, err) == 0))
        return path;
    free(path);
    return NULL;
}

/* Mount points of what the driver brings along. */
static int make_programs(const struct local_settings *cfg, const char *bin, struct os_error *err)
{
    cleanup_free char *supervisor = os_asprintf("%s/openshell-sandbox", bin);
    cleanup_free char *opa = os_asprintf("%s/opa", bin);
    if (make_dir(bin, 0755, 0, 0, err) < 0 || make_file(supervisor, 0755, "", 0, err) < 0)
        return -1;
    return cfg->opa ? make_file(opa, 0755, "", 0, err) : 0;
}

static int make_private(const struct local_settings *cfg, struct os_error *err)
{
    cleanup_free char *control = private_dir(cfg, "etc", "openshell", err);
    cleanup_free char *ca = control ? private_dir(cfg, "etc", "openshell-tls", err) : NULL;
    cleanup_free char *opt = ca ? private_dir(cfg, "opt", "openshell", err) : NULL;
    if (!opt)
        return -1;
    cleanup_free char *bin = os_asprintf("%s/bin", opt);
    return make_programs(cfg, bin, err);
}

/* Programs want a machine id; the machine's own would tie sandboxes and host together. */
static int make_machine_id(const char *etc, struct os_error *err)
{
    unsigned char random[16];
    char text[2 * sizeof(random) + 2];
    os_random(random, sizeof(random));
    os_hex(random, sizeof(random), text);
    text[2 * sizeof(random)] = '\n';
    cleanup_free char *path = os_asprintf("%s/machine-id", etc);
    return make_file(path, 0444, text, 2 * sizeof(random) + 1, err);
}

/* What the runtime needs in any root file system: mount points, and places of its own in which nothing of
 * the image shows. */
static int make_image_cover(const struct local_settings *cfg, struct os_error *err)
{
    static const struct {
        const char *path;
        mode_t mode;
        bool opaque;
    } cover[] = {{"image", 0755, false},
                 {"image/dev", 0755, false},
                 {"image/proc", 0755, false},
                 {"image/sys", 0755, false},
                 {"image/run", 0755, false},
                 {"image/tmp", 01777, false},
                 {"image/sandbox", 0755, false},
                 {"image/etc", 0755, false},
                 {"image/opt", 0755, false},
                 {"image/etc/openshell", 0755, true},
                 {"image/etc/openshell-tls", 0755, true},
                 {"image/opt/openshell", 0755, true}};
    for (size_t i = 0; i < OS_ARRAY_LEN(cover); i++) {
        cleanup_free char *path = base_path(cfg, cover[i].path);
        if (make_dir(path, cover[i].mode, 0, 0, err) < 0 || (cover[i].opaque && make_opaque(path, err) < 0))
            return -1;
    }
    cleanup_free char *bin = base_path(cfg, "image/opt/openshell/bin");
    cleanup_free char *etc = base_path(cfg, "image/etc");
    return make_programs(cfg, bin, err) < 0 ? -1 : make_machine_id(etc, err);
}

void base_opt(struct os_strv *names)
{
    DIR *d = opendir("/opt");
    for (const struct dirent *e; d && (e = readdir(d));) {
        struct stat st;
        if (e->d_name[0] != '.' && strcmp(e->d_name, "openshell") != 0 &&
            fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode) &&
            names->n < OPT_MAX)
            os_strv_add(names, e->d_name);
    }
    if (d)
        closedir(d);
}

static int make_opt_points(const char *opt, struct os_error *err)
{
    cleanup_strv struct os_strv names = {0};
    if (!os_file_exists(opt) && make_dir(opt, 0755, 0, 0, err) < 0)
        return -1;
    base_opt(&names);
    for (size_t i = 0; i < names.n; i++) {
        cleanup_free char *path = os_asprintf("%s/%s", opt, names.v[i]);
        if (make_dir(path, 0755, 0, 0, err) < 0)
            return -1;
    }
    return 0;
}

/* As an ordinary user: an overlay cannot have the host's directories below it, so /etc is a copy of what the
 * user may read of it, and what is in /opt is bound entry by entry (plan.c). */
static int make_user_base(const struct local_settings *cfg, struct os_error *err)
{
    cleanup_free char *etc = base_path(cfg, "root/etc"), *opt = base_path(cfg, "root/opt");
    cleanup_free char *control = os_asprintf("%s/openshell", etc), *ca = os_asprintf("%s/openshell-tls", etc);
    cleanup_free char *own_opt = os_asprintf("%s/openshell", opt), *bin = os_asprintf("%s/bin", own_opt);
    if (etc_copy(cfg, hidden, OS_ARRAY_LEN(hidden), etc, err) < 0 || make_dir(control, 0755, 0, 0, err) < 0 ||
        make_dir(ca, 0755, 0, 0, err) < 0 || make_opt_points(opt, err) < 0 ||
        make_dir(own_opt, 0755, 0, 0, err) < 0 || make_programs(cfg, bin, err) < 0 ||
        make_machine_id(etc, err) < 0)
        return -1;
    return accounts_write(cfg, etc, err);
}

static int make_host_base(const struct local_settings *cfg, struct os_error *err)
{
    cleanup_free char *etc = base_path(cfg, "etc");
    if (make_private(cfg, err) < 0 || hide_all(cfg, err) < 0 || make_machine_id(etc, err) < 0)
        return -1;
    return accounts_write(cfg, etc, err);
}

int base_make(struct local_settings *cfg, struct os_error *err)
{
    os_uuid(cfg->base);
    cleanup_free char *dir = base_path(cfg, ""), *root = base_path(cfg, "root");
    struct stat st;
    if (lstat("/etc", &st) < 0 || !S_ISDIR(st.st_mode))
        return os_error_set(err, OS_FAILED_PRECONDITION, "'/etc' of this machine is not a directory");
    if (make_dir(dir, 0700, 0, 0, err) < 0 || make_dir(root, 0755, 0, 0, err) < 0 || make_own(cfg, err) < 0 ||
        make_shared(cfg, err) < 0 || make_image_cover(cfg, err) < 0)
        return -1;
    return cfg->userns.on ? make_user_base(cfg, err) : make_host_base(cfg, err);
}

void base_shared(const struct local_settings *cfg, struct os_strv *tops)
{
    for (size_t i = 0; i < OS_ARRAY_LEN(shared); i++) {
        cleanup_free char *below = os_asprintf("root/%s", shared[i]), *path = base_path(cfg, below);
        cleanup_free char *host = os_asprintf("/%s", shared[i]);
        struct stat point, top;
        if (lstat(path, &point) == 0 && S_ISDIR(point.st_mode) && lstat(host, &top) == 0 &&
            S_ISDIR(top.st_mode))
            os_strv_add(tops, shared[i]);
    }
}

void base_collect(const struct local_settings *cfg, const struct os_strv *keep)
{
    struct os_strv old = {0};
    DIR *d = opendir(cfg->base_dir);
    for (const struct dirent *e; d && (e = readdir(d));)
        if (e->d_name[0] != '.' && !os_strv_has(keep, e->d_name))
            os_strv_add(&old, e->d_name);
    if (d)
        closedir(d);
    for (size_t i = 0; i < old.n; i++) {
        cleanup_error struct os_error err = {0};
        if (tree_remove(cfg->base_dir, old.v[i], &err) < 0)
            os_log_warn("local-driver", "%s", os_error_text(&err));
    }
    os_strv_free(&old);
}

/* --- one sandbox --- */

int layer_make(const char *dir, uid_t uid, gid_t gid, struct os_error *err)
{
    static const char *const names[] = {"root", "root-work", "etc", "etc-work"};
    for (size_t i = 0; i < OS_ARRAY_LEN(names); i++) {
        cleanup_free char *path = os_asprintf("%s/%s", dir, names[i]);
        if (mkdir(path, 0755) < 0 || chmod(path, 0755) < 0)
            return os_error_sys(err, errno, "cannot create directory '%s'", path);
    }
    cleanup_free char *workspace = os_asprintf("%s/workspace", dir);
    return make_dir(workspace, 0755, uid, gid, err);
}

int layer_renew(const struct local_settings *cfg, const char *dir, struct os_error *err)
{
    cleanup_free char *root = os_asprintf("%s/root-work", dir), *etc = os_asprintf("%s/etc-work", dir);
    return userns_remove(cfg, root, "work", err) < 0 ? -1 : userns_remove(cfg, etc, "work", err);
}
