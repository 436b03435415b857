/* Paths below the new root: see inside.h. */
#include "drivers/local/launcher/inside.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/str.h"
#include "sys/file.h"

int inside_open(int root, const char *path, int flags)
{
    const struct open_how how = {.flags = (unsigned)(flags | O_CLOEXEC),
                                 .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
    return (int)syscall(SYS_openat2, root, path, &how, sizeof(how));
}

/* Opens the directory that holds path; *name points at the last component inside path. */
static int open_parent(int root, const char *path, const char **name, struct os_error *err)
{
    const char *slash = strrchr(path, '/');
    *name = slash ? slash + 1 : path;
    if (!**name)
        return os_error_set(err, OS_INTERNAL, "'%s' ends in '/' and so names no file in the sandbox", path);
    cleanup_free char *dir =
        slash && slash > path ? os_strndup(path, (size_t)(slash - path)) : os_strdup("/");
    int fd = inside_open(root, dir, O_PATH | O_DIRECTORY);
    return fd < 0 ? os_error_sys(err, errno, "cannot open directory '%s' in the sandbox", dir) : fd;
}

int inside_dir(int root, const char *path, mode_t mode, uid_t uid, gid_t gid, struct os_error *err)
{
    const char *name;
    cleanup_close int dir = open_parent(root, path, &name, err);
    if (dir < 0)
        return -1;
    if (mkdirat(dir, name, 0700) < 0) {
        int why = errno;
        cleanup_close int there = why == EEXIST ? inside_open(root, path, O_PATH | O_DIRECTORY) : -1;
        if (there >= 0)
            return 0;
        errno = why;
        return os_error_sys(err, errno, "cannot create directory '%s' in the sandbox", path);
    }
    if (fchownat(dir, name, uid, gid, AT_SYMLINK_NOFOLLOW) < 0 || fchmodat(dir, name, mode, 0) < 0)
        return os_error_sys(err, errno, "cannot set up directory '%s' in the sandbox", path);
    return 0;
}

int inside_point(int root, const char *path, struct os_error *err)
{
    cleanup_close int dir = inside_open(root, "/", O_PATH | O_DIRECTORY);
    for (const char *p = path; dir >= 0 && *p; p += strspn(p, "/")) {
        size_t n = strcspn(p, "/");
        cleanup_free char *name = os_strndup(p, n);
        if (mkdirat(dir, name, 0755) < 0 && errno != EEXIST)
            return os_error_sys(err, errno, "cannot create mount point '/%s' in the sandbox", path);
        int next = openat(dir, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        close(dir);
        dir = next;
        p += n;
    }
    return dir < 0 ? os_error_sys(err, errno, "cannot use '/%s' in the sandbox as a mount point", path) : 0;
}

int inside_file(int root, const char *path, mode_t mode, uid_t uid, gid_t gid, const char *content,
                struct os_error *err)
{
    const char *name;
    cleanup_close int dir = open_parent(root, path, &name, err);
    if (dir < 0)
        return -1;
    if (unlinkat(dir, name, 0) < 0 && errno != ENOENT)
        return os_error_sys(err, errno, "cannot replace '%s' in the sandbox", path);
    cleanup_close int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0 || os_write_all(fd, content, strlen(content)) < 0 || fchown(fd, uid, gid) < 0 ||
        fchmod(fd, mode) < 0)
        return os_error_sys(err, errno, "cannot write '%s' in the sandbox", path);
    return 0;
}

int inside_own(int root, const char *path, uid_t uid, gid_t gid, struct os_error *err)
{
    const char *name;
    cleanup_close int dir = open_parent(root, path, &name, err);
    if (dir < 0)
        return -1;
    if (fchownat(dir, name, uid, gid, AT_SYMLINK_NOFOLLOW) < 0)
        return os_error_sys(err, errno, "cannot give '%s' in the sandbox to %u", path, uid);
    return 0;
}

static int set_owner(int root, uid_t uid, gid_t gid, mode_t mode, const char *path, struct os_error *err)
{
    struct stat st;
    const char *name;
    cleanup_close int dir = open_parent(root, path, &name, NULL);
    if (dir < 0 || fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return 0;
    if (fchownat(dir, name, uid, gid, AT_SYMLINK_NOFOLLOW) < 0 && errno != EINVAL)
        return os_error_sys(err, errno, "cannot give '%s' of the image its owner", path);
    if (!S_ISLNK(st.st_mode) && fchmodat(dir, name, mode, 0) < 0)
        return os_error_sys(err, errno, "cannot give '%s' of the image its mode", path);
    return 0;
}

int inside_owners(int root, const char *list, size_t size, struct os_error *err)
{
    for (const char *p = list, *end = list + size; p < end; p += strlen(p) + 1) {
        unsigned uid, gid, mode;
        int at = 0;
        if (sscanf(p, "%u %u %o %n", &uid, &gid, &mode, &at) != 3 || !at)
            return os_error_set(err, OS_INTERNAL, "the list of the image's owners is damaged");
        if (set_owner(root, uid, gid, mode, p + at, err) < 0)
            return -1;
    }
    return 0;
}

int inside_link(int root, const char *path, const char *target, struct os_error *err)
{
    const char *name;
    cleanup_close int dir = open_parent(root, path, &name, err);
    if (dir < 0)
        return -1;
    if (symlinkat(target, dir, name) < 0 && errno != EEXIST)
        return os_error_sys(err, errno, "cannot create link '%s' in the sandbox", path);
    return 0;
}
