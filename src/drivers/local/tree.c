/* Removal of directory trees that a sandbox filled: see tree.h. Directories that lie too deep are first moved
 * up to the tree's own root, so that no path ever needs more than TREE_DEPTH open directories. */
#include "drivers/local/tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/cleanup.h"

#define TREE_DEPTH 32

struct removal {
    int top; /* root of the tree */
    dev_t dev;
    uint64_t moved; /* directories moved up so far; names them */
    bool again;     /* something was moved up since the last pass over the root */
};

static int remove_entries(struct removal *r, int dir, int depth);

static int move_up(struct removal *r, int dir, const char *name)
{
    for (;;) {
        char up[40];
        snprintf(up, sizeof(up), ".up-%llu", (unsigned long long)r->moved++);
        if (renameat2(dir, name, r->top, up, RENAME_NOREPLACE) == 0) {
            r->again = true;
            return 0;
        }
        if (errno != EEXIST)
            return -1;
    }
}

static int remove_dir(struct removal *r, int dir, const char *name, int depth)
{
    if (unlinkat(dir, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
        return 0;
    if (errno != ENOTEMPTY && errno != EEXIST)
        return -1;
    if (depth == TREE_DEPTH)
        return move_up(r, dir, name);
    cleanup_close int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return -1;
    if (st.st_dev != r->dev) {
        errno = EXDEV;
        return -1;
    }
    if (remove_entries(r, fd, depth + 1) < 0)
        return -1;
    return unlinkat(dir, name, AT_REMOVEDIR) == 0 || errno == ENOENT ? 0 : -1;
}

static int remove_entry(struct removal *r, int dir, const struct dirent *e, int depth)
{
    bool directory = e->d_type == DT_DIR;
    if (e->d_type == DT_UNKNOWN) {
        struct stat st;
        if (fstatat(dir, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            return errno == ENOENT ? 0 : -1;
        directory = S_ISDIR(st.st_mode);
    }
    if (directory)
        return remove_dir(r, dir, e->d_name, depth);
    return unlinkat(dir, e->d_name, 0) == 0 || errno == ENOENT ? 0 : -1;
}

static int remove_entries(struct removal *r, int dir, int depth)
{
    int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = copy < 0 ? NULL : fdopendir(copy);
    if (!d) {
        if (copy >= 0)
            close(copy);
        return -1;
    }
    int rc = 0;
    for (struct dirent *e; rc == 0 && (e = readdir(d));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            rc = remove_entry(r, dir, e, depth);
    int saved = errno;
    closedir(d);
    errno = saved;
    return rc;
}

int tree_remove(const char *dir, const char *name, struct os_error *err)
{
    cleanup_close int parent = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (parent < 0)
        return errno == ENOENT ? 0 : os_error_sys(err, errno, "cannot open '%s'", dir);
    cleanup_close int top = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (top < 0)
        return errno == ENOENT ? 0 : os_error_sys(err, errno, "cannot open '%s/%s'", dir, name);
    struct stat st;
    struct removal r = {.top = top};
    int rc = fstat(top, &st);
    r.dev = st.st_dev;
    do {
        r.again = false;
        rc = rc < 0 ? rc : remove_entries(&r, top, 0);
    } while (rc == 0 && r.again);
    if (rc < 0 || (unlinkat(parent, name, AT_REMOVEDIR) < 0 && errno != ENOENT))
        return os_error_sys(err, errno, "cannot remove everything in '%s/%s'%s", dir, name,
                            errno == EXDEV ? " (something is mounted in it: unmount it)" : "");
    return 0;
}
