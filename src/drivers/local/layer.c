/* The writable part of a sandbox's file system: see layer.h. Works in fresh directories only the gateway can
 * reach, so plain paths are safe here; nothing in this file runs again once the sandbox has run. */
#include "drivers/local/layer.h"

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
#include "drivers/local/accounts.h"
#include "drivers/local/tree.h"
#include "sys/file.h"

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

/* The sandbox's own directories and links, below root. */
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
};

static int make_dir(const char *path, mode_t mode, uid_t uid, gid_t gid, struct os_error *err)
{
    if (mkdir(path, 0700) < 0 || chown(path, uid, gid) < 0 || chmod(path, mode) < 0)
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
    if (setxattr(path, "trusted.overlay.opaque", "y", 1, 0) < 0)
        return os_error_sys(
            err, errno,
            "cannot hide host files in '%s': overlayfs needs trusted extended attributes; put the "
            "state directory on ext4, xfs, btrfs or tmpfs",
            path);
    return 0;
}

/* --- hiding --- */

/* Splits an absolute host path at its first component; NULL when that directory has no layer. */
static char *upper_of(const char *dir, const char *path, const char **below)
{
    const char *slash = strchr(path + 1, '/');
    if (!slash)
        return NULL;
    char *upper = os_asprintf("%s/layers/%.*s/upper", dir, (int)(slash - path - 1), path + 1);
    if (!os_file_exists(upper)) {
        free(upper);
        return NULL;
    }
    *below = slash;
    return upper;
}

/* Directories of the host above the hidden path, repeated in the upper layer. False in *there when one of
 * them does not exist. */
static int copy_parents(const char *upper, const char *path, const char *below, bool *there,
                        struct os_error *err)
{
    size_t top = (size_t)(below - path);
    *there = true;
    for (const char *slash = strchr(below + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        cleanup_free char *host = os_strndup(path, (size_t)(slash - path));
        cleanup_free char *copy = os_asprintf("%s%s", upper, host + top);
        struct stat st;
        if (lstat(host, &st) < 0 || !S_ISDIR(st.st_mode)) {
            *there = false;
            return 0;
        }
        if (copy_dir(copy, &st, err) < 0)
            return -1;
    }
    return 0;
}

/* A directory shows as empty, anything else is gone. */
static int hide(const char *dir, const char *path, struct os_error *err)
{
    struct stat st;
    const char *below;
    bool there;
    cleanup_free char *upper = upper_of(dir, path, &below);
    if (!upper || lstat(path, &st) < 0)
        return 0;
    if (copy_parents(upper, path, below, &there, err) < 0)
        return -1;
    if (!there)
        return 0;
    cleanup_free char *cover = os_asprintf("%s%s", upper, below);
    if (S_ISDIR(st.st_mode))
        return copy_dir(cover, &st, err) < 0 ? -1 : make_opaque(cover, err);
    if (mknod(cover, S_IFCHR, makedev(0, 0)) < 0 && errno != EEXIST)
        return os_error_sys(err, errno, "cannot hide '%s' from the sandbox (the gateway needs CAP_MKNOD)",
                            path);
    return 0;
}

static int hide_all(const struct local_settings *cfg, const char *dir, struct os_error *err)
{
    for (size_t i = 0; i < cfg->mask.n; i++)
        if (hide(dir, cfg->mask.v[i], err) < 0)
            return -1;
    for (size_t i = 0; i < OS_ARRAY_LEN(hidden); i++) {
        glob_t g;
        if (!strchr(hidden[i], '*')) {
            if (hide(dir, hidden[i], err) < 0)
                return -1;
            continue;
        }
        int rc = 0;
        if (glob(hidden[i], GLOB_NOSORT, NULL, &g) == 0) {
            for (size_t k = 0; k < g.gl_pathc && rc == 0; k++)
                rc = hide(dir, g.gl_pathv[k], err);
            globfree(&g);
        }
        if (rc < 0)
            return -1;
    }
    return 0;
}

/* --- the parts --- */

static int make_own(const char *dir, struct os_error *err)
{
    for (size_t i = 0; i < OS_ARRAY_LEN(own); i++) {
        cleanup_free char *path = os_asprintf("%s/root/%s", dir, own[i].path);
        if (own[i].link) {
            if (symlink(own[i].link, path) < 0)
                return os_error_sys(err, errno, "cannot create link '%s'", path);
        } else if (make_dir(path, own[i].mode, 0, 0, err) < 0) {
            return -1;
        }
    }
    return 0;
}

static int make_layer(const char *dir, const char *top, const struct stat *host, struct os_error *err)
{
    cleanup_free char *point = os_asprintf("%s/root/%s", dir, top),
                      *layer = os_asprintf("%s/layers/%s", dir, top);
    cleanup_free char *upper = os_asprintf("%s/upper", layer), *work = os_asprintf("%s/work", layer);
    if (make_dir(point, 0755, 0, 0, err) < 0 || make_dir(layer, 0700, 0, 0, err) < 0 ||
        make_dir(upper, host->st_mode & 07777, host->st_uid, host->st_gid, err) < 0)
        return -1;
    return make_dir(work, 0700, 0, 0, err);
}

static int make_shared(const char *dir, struct os_error *err)
{
    for (size_t i = 0; i < OS_ARRAY_LEN(shared); i++) {
        cleanup_free char *host = os_asprintf("/%s", shared[i]);
        cleanup_free char *inside = os_asprintf("%s/root/%s", dir, shared[i]);
        char target[256];
        struct stat st;
        if (lstat(host, &st) < 0)
            continue;
        if (S_ISDIR(st.st_mode)) {
            if (make_layer(dir, shared[i], &st, err) < 0)
                return -1;
            continue;
        }
        ssize_t n = readlink(host, target, sizeof(target) - 1);
        if (n <= 0)
            continue;
        target[n] = '\0';
        if (symlink(target, inside) < 0)
            return os_error_sys(err, errno, "cannot create link '%s'", inside);
    }
    return 0;
}

/* Directory of the sandbox's own in a layer (or in root, when the host has no such top directory); what the
 * host has at that place is hidden. */
static char *private_dir(const char *dir, const char *top, const char *name, struct os_error *err)
{
    char *path = os_asprintf("%s/layers/%s/upper/%s", dir, top, name);
    cleanup_free char *layer = os_asprintf("%s/layers/%s", dir, top);
    if (os_file_exists(layer)) {
        if (make_dir(path, 0755, 0, 0, err) == 0 && make_opaque(path, err) == 0)
            return path;
        free(path);
        return NULL;
    }
    free(path);
    cleanup_free char *parent = os_asprintf("%s/root/%s", dir, top);
    path = os_asprintf("%s/%s", parent, name);
    if ((!os_file_exists(parent) && make_dir(parent, 0755, 0, 0, err) < 0) ||
        make_dir(path, 0755, 0, 0, err) < 0) {
        free(path);
        return NULL;
    }
    return path;
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
    cleanup_close int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);
    if (fd < 0 || os_write_all(fd, text, 2 * sizeof(random) + 1) < 0)
        return os_error_sys(err, errno, "cannot write '%s'", path);
    return 0;
}

static int make_private(const char *dir, struct os_error *err)
{
    cleanup_free char *control = private_dir(dir, "etc", "openshell", err);
    cleanup_free char *ca = control ? private_dir(dir, "etc", "openshell-tls", err) : NULL;
    cleanup_free char *opt = ca ? private_dir(dir, "opt", "openshell", err) : NULL;
    if (!opt)
        return -1;
    cleanup_free char *bin = os_asprintf("%s/bin", opt), *program = os_asprintf("%s/openshell-sandbox", bin);
    if (make_dir(bin, 0755, 0, 0, err) < 0)
        return -1;
    cleanup_close int fd = open(program, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
    return fd < 0 ? os_error_sys(err, errno, "cannot create '%s'", program) : 0;
}

int layer_make(const struct local_settings *cfg, const char *dir, struct os_error *err)
{
    cleanup_free char *root = os_asprintf("%s/root", dir), *layers = os_asprintf("%s/layers", dir);
    cleanup_free char *workspace = os_asprintf("%s/workspace", dir);
    cleanup_free char *etc = os_asprintf("%s/layers/etc/upper", dir);
    if (make_dir(root, 0755, 0, 0, err) < 0 || make_dir(layers, 0700, 0, 0, err) < 0 ||
        make_dir(workspace, 0755, cfg->agent_uid, cfg->agent_uid, err) < 0 || make_own(dir, err) < 0 ||
        make_shared(dir, err) < 0)
        return -1;
    if (!os_file_exists(etc))
        return os_error_set(err, OS_FAILED_PRECONDITION, "'/etc' of this machine is not a directory");
    if (make_private(dir, err) < 0 || hide_all(cfg, dir, err) < 0)
        return -1;
    return make_machine_id(etc, err) < 0 ? -1 : accounts_write(cfg, etc, err);
}

void layer_list(const char *dir, struct os_strv *tops)
{
    for (size_t i = 0; i < OS_ARRAY_LEN(shared); i++) {
        cleanup_free char *layer = os_asprintf("%s/layers/%s", dir, shared[i]);
        if (os_file_exists(layer))
            os_strv_add(tops, shared[i]);
    }
}

int layer_renew(const char *dir, struct os_error *err)
{
    cleanup_strv struct os_strv tops = {0};
    layer_list(dir, &tops);
    for (size_t i = 0; i < tops.n; i++) {
        cleanup_free char *work = os_asprintf("%s/layers/%s/work", dir, tops.v[i]);
        if (tree_remove(work, "work", err) < 0)
            return -1;
    }
    return 0;
}
