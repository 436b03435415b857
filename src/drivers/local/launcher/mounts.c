/* Mount operations of the launcher, on the descriptor-based mount interface (Linux 5.12): what is mounted is
 * made first, given its flags, and only then attached to a directory that was opened below the new root. */
#include "drivers/local/launcher/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/str.h"
#include "drivers/local/launcher/inside.h"

#define SHM_SIZE "512m"
#define FD_PATH_MAX 40

static bool user_namespace; /* set once, before the first mount */

void mounts_in_user_namespace(void)
{
    user_namespace = true;
}

struct option {
    const char *key;
    const char *value; /* NULL = flag */
};

/* The kernel says in the context's log why it refuses a file system; errno alone rarely tells. */
static int fs_error(int fs, int e, const char *type, const char *target, struct os_error *err)
{
    char log[512];
    ssize_t n = read(fs, log, sizeof(log) - 1);
    while (n > 0 && (log[n - 1] == '\n' || log[n - 1] == ' '))
        n--;
    const char *hint = "";
    if (e == ENODEV)
        hint = "; the kernel has no such file system: load its module (modprobe) or build it in";
    else if (e == EPERM)
        hint = "; the gateway needs CAP_SYS_ADMIN in the initial user namespace: run it as root, outside of "
               "unprivileged containers";
    else if (e == EINVAL && strcmp(type, "overlay") == 0)
        hint = "; overlayfs cannot write to the file system of the state directory: put it on ext4, xfs, "
               "btrfs or "
               "tmpfs";
    if (n > 2)
        return os_error_sys(err, e, "cannot mount %s on '%s' in the sandbox: %.*s%s", type, target, (int)n,
                            log, hint);
    return os_error_sys(err, e, "cannot mount %s on '%s' in the sandbox%s", type, target, hint);
}

static int attach(int mount_fd, int root, const char *target, struct os_error *err)
{
    cleanup_close int at = inside_open(root, target, O_PATH);
    if (at < 0)
        return os_error_sys(err, errno, "cannot open mount point '%s' in the sandbox", target);
    if (move_mount(mount_fd, "", at, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
        return os_error_sys(err, errno, "cannot mount on '%s' in the sandbox", target);
    return 0;
}

/* Makes a file system and returns its mount, not attached yet. */
static int make(const char *type, const struct option *options, unsigned attr, const char *target,
                struct os_error *err)
{
    cleanup_close int fs = fsopen(type, FSOPEN_CLOEXEC);
    if (fs < 0)
        return fs_error(-1, errno, type, target, err);
    for (const struct option *o = options; o && o->key; o++)
        if ((o->value ? fsconfig(fs, FSCONFIG_SET_STRING, o->key, o->value, 0)
                      : fsconfig(fs, FSCONFIG_SET_FLAG, o->key, NULL, 0)) < 0)
            return fs_error(fs, errno, type, target, err);
    if (fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
        return fs_error(fs, errno, type, target, err);
    int fd = fsmount(fs, FSMOUNT_CLOEXEC, attr);
    return fd < 0 ? fs_error(fs, errno, type, target, err) : fd;
}

static int mount_new(int root, const char *type, const struct option *options, unsigned attr,
                     const char *target, struct os_error *err)
{
    cleanup_close int fd = make(type, options, attr, target, err);
    return fd < 0 ? -1 : attach(fd, root, target, err);
}

static int clone_mount(int dir, const char *path, unsigned attr, struct os_error *err)
{
    const unsigned recursive = user_namespace ? AT_RECURSIVE : 0;
    cleanup_close int fd =
        open_tree(dir, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | recursive | (*path ? 0 : AT_EMPTY_PATH));
    struct mount_attr set = {.attr_set = attr};
    if (fd < 0 || mount_setattr(fd, "", AT_EMPTY_PATH | recursive, &set, sizeof(set)) < 0)
        return os_error_sys(err, errno, "cannot bind '%s'%s", path,
                            errno == ENOSYS ? " (Linux 5.12 or later is needed)" : "");
    return os_steal_fd(fd);
}

/* The directories are named by descriptor: no character of their paths has a meaning to overlayfs, and the
 * sandbox's mount table does not show where the host keeps them. */
static int open_layer(const char *path, char text[FD_PATH_MAX], struct os_error *err)
{
    int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return os_error_sys(err, errno, "cannot open '%s'", path);
    snprintf(text, FD_PATH_MAX, "/proc/self/fd/%d", fd);
    return fd;
}

/* volatile: without it the end of every sandbox waits until the whole file system of the state directory is
 * written out. What must last is in the workspace, which is no overlay. */
static int make_overlay(const char *lower, const char *upper, const char *work, const char *target,
                        struct os_error *err)
{
    char u[FD_PATH_MAX], w[FD_PATH_MAX];
    const unsigned attr = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
    const struct option notes = {user_namespace ? "userxattr" : NULL, NULL};
    const struct option read_only[] = {
        {"lowerdir", lower}, {"redirect_dir", "nofollow"}, {"metacopy", "off"}, {"index", "off"}, notes, {0}};
    if (!*upper)
        return make("overlay", read_only, attr | MOUNT_ATTR_RDONLY, target, err);
    cleanup_close int upper_fd = open_layer(upper, u, err);
    cleanup_close int work_fd = upper_fd < 0 ? -1 : open_layer(work, w, err);
    const struct option writable[] = {{"lowerdir", lower},
                                      {"upperdir", u},
                                      {"workdir", w},
                                      {"redirect_dir", "nofollow"},
                                      {"metacopy", "off"},
                                      {"index", "off"},
                                      {"volatile", NULL},
                                      notes,
                                      {0}};
    return work_fd < 0 ? -1 : make("overlay", writable, attr, target, err);
}

/* Not attached yet. below: "" = nothing. */
static int make_stack(const char *lower, const char *below, const char *upper, const char *work,
                      const char *target, struct os_error *err)
{
    char l[FD_PATH_MAX], b[FD_PATH_MAX];
    cleanup_close int lower_fd = open_layer(lower, l, err);
    if (lower_fd < 0)
        return -1;
    if (!*below)
        return make_overlay(l, upper, work, target, err);
    cleanup_close int below_fd = open_layer(below, b, err);
    cleanup_free char *stack = os_asprintf("%s:%s", l, b);
    return below_fd < 0 ? -1 : make_overlay(stack, upper, work, target, err);
}

int mounts_root(const char *lower, const char *below, const char *upper, const char *work,
                struct os_error *err)
{
    cleanup_close int fd = make_stack(lower, below, upper, work, "/", err);
    if (fd < 0)
        return -1;
    if (move_mount(fd, "", AT_FDCWD, lower, MOVE_MOUNT_F_EMPTY_PATH) < 0)
        return os_error_sys(err, errno, "cannot mount the new root");
    return os_steal_fd(fd);
}

int mounts_overlay(int root, const char *lower, const char *below, const char *upper, const char *work,
                   const char *target, struct os_error *err)
{
    cleanup_close int fd = make_stack(lower, below, upper, work, target, err);
    return fd < 0 ? -1 : attach(fd, root, target, err);
}

int mounts_bind(int root, const char *host, const char *target, bool read_only, struct os_error *err)
{
    cleanup_close int fd = clone_mount(
        AT_FDCWD, host, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | (read_only ? MOUNT_ATTR_RDONLY : 0), err);
    return fd < 0 ? -1 : attach(fd, root, target, err);
}

/* The driver resolved the path; whoever can put a link into it since then must not choose what is mounted. */
int mounts_share(int root, const char *host, const char *target, bool read_only, struct os_error *err)
{
    const struct open_how how = {.flags = O_PATH | O_DIRECTORY | O_CLOEXEC, .resolve = RESOLVE_NO_SYMLINKS};
    cleanup_close int source = (int)syscall(SYS_openat2, AT_FDCWD, host, &how, sizeof(how));
    if (source < 0)
        return os_error_sys(err, errno, "cannot open the directory '%s'", host);
    cleanup_close int fd = clone_mount(
        source, "", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | (read_only ? MOUNT_ATTR_RDONLY : 0), err);
    return fd < 0 ? -1 : attach(fd, root, target, err);
}

int mounts_tmpfs(int root, const char *target, const char *mode, const char *size, struct os_error *err)
{
    const struct option options[] = {{"mode", mode}, {"size", size}, {0}};
    return mount_new(root, "tmpfs", options, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, target, err);
}

int mounts_proc(int root, const char *target, struct os_error *err)
{
    return mount_new(root, "proc", NULL, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC, target,
                     err);
}

int mounts_sysfs(int root, const char *target, struct os_error *err)
{
    if (user_namespace)
        return mounts_bind(root, "/sys", target, true, err);
    return mount_new(root, "sysfs", NULL,
                     MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC, target,
                     err);
}

/* --- /dev --- */

static const struct node {
    const char *name;
    unsigned minor; /* character devices of major 1, tty of major 5 */
} nodes[] = {{"null", 3}, {"zero", 5}, {"full", 7}, {"random", 8}, {"urandom", 9}, {"tty", 0}};

/* Device nodes of our own; where the gateway may not make any, those of the host are bound. */
static int make_node(int root, const char *dev, const struct node *n, struct os_error *err)
{
    cleanup_free char *path = os_asprintf("%s/%s", dev, n->name), *host = os_asprintf("/dev/%s", n->name);
    cleanup_close int dir = inside_open(root, dev, O_PATH | O_DIRECTORY);
    if (dir < 0)
        return os_error_sys(err, errno, "cannot open '%s' in the sandbox", dev);
    unsigned major_number = strcmp(n->name, "tty") == 0 ? 5 : 1;
    if (mknodat(dir, n->name, S_IFCHR | 0666, makedev(major_number, n->minor)) == 0)
        return fchmodat(dir, n->name, 0666, 0) < 0
                   ? os_error_sys(err, errno, "cannot set the mode of '%s' in the sandbox", path)
                   : 0;
    if (errno != EPERM)
        return os_error_sys(err, errno, "cannot make device '%s' in the sandbox", path);
    if (inside_file(root, path, 0644, 0, 0, "", err) < 0)
        return -1;
    cleanup_close int fd = clone_mount(AT_FDCWD, host, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, err);
    return fd < 0 ? -1 : attach(fd, root, path, err);
}

int mounts_dev(int root, const char *target, struct os_error *err)
{
    static const struct option dev[] = {{"mode", "0755"}, {"size", "64k"}, {0}};
    static const struct option pts[] = {
        {"newinstance", NULL}, {"ptmxmode", "0666"}, {"mode", "0620"}, {"gid", "5"}, {0}};
    static const struct option shm[] = {{"mode", "1777"}, {"size", SHM_SIZE}, {0}};
    static const char *const links[][2] = {{"ptmx", "pts/ptmx"},
                                           {"fd", "/proc/self/fd"},
                                           {"stdin", "/proc/self/fd/0"},
                                           {"stdout", "/proc/self/fd/1"},
                                           {"stderr", "/proc/self/fd/2"}};
    if (mount_new(root, "tmpfs", dev, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, target, err) < 0)
        return -1;
    for (size_t i = 0; i < OS_ARRAY_LEN(nodes); i++)
        if (make_node(root, target, &nodes[i], err) < 0)
            return -1;
    for (size_t i = 0; i < OS_ARRAY_LEN(links); i++) {
        cleanup_free char *path = os_asprintf("%s/%s", target, links[i][0]);
        if (inside_link(root, path, links[i][1], err) < 0)
            return -1;
    }
    cleanup_free char *pts_dir = os_asprintf("%s/pts", target), *shm_dir = os_asprintf("%s/shm", target);
    if (inside_dir(root, pts_dir, 0755, 0, 0, err) < 0 || inside_dir(root, shm_dir, 01777, 0, 0, err) < 0 ||
        mount_new(root, "devpts", pts, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, pts_dir, err) < 0)
        return -1;
    return mount_new(root, "tmpfs", shm, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC, shm_dir,
                     err);
}

/* --- what a kernel file system shows --- */

int mounts_mask(int root, const char *target, struct os_error *err)
{
    cleanup_close int at = inside_open(root, target, O_PATH | O_NOFOLLOW);
    struct stat st;
    if (at < 0 || fstat(at, &st) < 0)
        return errno == ENOENT || (errno == EACCES && user_namespace)
                   ? 0
                   : os_error_sys(err, errno, "cannot open '%s' in the sandbox", target);
    if (S_ISDIR(st.st_mode)) {
        static const struct option options[] = {{"mode", "0555"}, {"size", "4k"}, {0}};
        return mount_new(root, "tmpfs", options,
                         MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC, target,
                         err);
    }
    cleanup_close int fd = clone_mount(AT_FDCWD, "/dev/null", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, err);
    return fd < 0 ? -1 : attach(fd, root, target, err);
}

int mounts_readonly(int root, const char *target, struct os_error *err)
{
    cleanup_close int at = inside_open(root, target, O_PATH | O_NOFOLLOW);
    if (at < 0)
        return errno == ENOENT ? 0 : os_error_sys(err, errno, "cannot open '%s' in the sandbox", target);
    cleanup_close int fd = clone_mount(
        at, "", MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC, err);
    return fd < 0 ? -1 : attach(fd, root, target, err);
}

/* Both roots end up on the same directory; the host's, below, is then detached with everything in it. */
int mounts_pivot(int root, struct os_error *err)
{
    if (fchdir(root) < 0 || syscall(SYS_pivot_root, ".", ".") < 0)
        return os_error_sys(err, errno, "cannot change to the new root%s",
                            errno == EINVAL ? " (the gateway must not run from an initial RAM disk)" : "");
    if (umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
        return os_error_sys(err, errno, "cannot detach the host's root");
    return 0;
}
