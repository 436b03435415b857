/* Archive members to files, each opened through the destination's descriptor with every link refused. */
#include "cli/extract.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/cleanup.h"

#define PRIVATE_FILE 0600 /* until the content is there */
#define PRIVATE_DIR 0700

struct directory {
    char *path;
    uint32_t mode;
    int64_t mtime;
};

struct extract {
    struct tar_reader *reader;
    int root;
    bool own_root;
    const char *only;
    bool got_only;
    int fd; /* file being written, -1 = none */
    char *path;
    uint32_t mode;
    int64_t mtime;
    struct directory *dirs; /* their modes may forbid writing: set at the end */
    size_t n_dirs, cap_dirs;
};

static int failed(struct os_error *err, const char *path)
{
    if (errno == ELOOP || errno == EXDEV)
        return os_error_set(
            err, OS_INVALID_ARGUMENT,
            "refused an archive member from the sandbox: '%.200s' lies behind a symbolic link", path);
    return os_error_sys(err, errno, "cannot write '%s'", path);
}

static int open_inside(int root, const char *path, uint64_t flags)
{
    struct open_how how = {.flags = flags | O_CLOEXEC,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
    return (int)syscall(SYS_openat2, root, *path ? path : ".", &how, sizeof(how));
}

/* The directory that holds `path`, made where it is missing; *base is its last component. */
static int open_parent(struct extract *x, const char *path, const char **base)
{
    const char *slash = strrchr(path, '/');
    *base = slash ? slash + 1 : path;
    cleanup_free char *parent = os_strndup(path, slash ? (size_t)(slash - path) : 0);
    int fd = open_inside(x->root, parent, O_PATH | O_DIRECTORY);
    if (fd >= 0 || errno != ENOENT)
        return fd;
    const char *inner;
    cleanup_close int above = open_parent(x, parent, &inner);
    if (above < 0 || (mkdirat(above, inner, 0755) < 0 && errno != EEXIST))
        return -1;
    return open_inside(x->root, parent, O_PATH | O_DIRECTORY);
}

/* Makes room for a new file or link; a directory stays. */
static int clear_place(int parent, const char *base, const char *path, struct os_error *err)
{
    if (unlinkat(parent, base, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno == EISDIR || errno == EPERM)
        return os_error_set(err, OS_FAILED_PRECONDITION, "cannot overwrite directory '%s' with a file", path);
    return failed(err, path);
}

static int add_directory(struct extract *x, const struct tar_entry *e, struct os_error *err)
{
    const char *base;
    if (*e->path) {
        cleanup_close int parent = open_parent(x, e->path, &base);
        if (parent < 0 || (mkdirat(parent, base, PRIVATE_DIR) < 0 && errno != EEXIST))
            return failed(err, e->path);
        cleanup_close int dir = open_inside(x->root, e->path, O_PATH | O_DIRECTORY);
        if (dir < 0)
            return failed(err, e->path);
    }
    if (!*e->path && !x->own_root)
        return 0;
    if (x->n_dirs == x->cap_dirs) {
        x->cap_dirs = x->cap_dirs ? 2 * x->cap_dirs : 64;
        x->dirs = os_realloc(x->dirs, x->cap_dirs, sizeof(*x->dirs));
    }
    x->dirs[x->n_dirs++] = (struct directory){os_strdup(e->path), e->mode, e->mtime};
    return 0;
}

static int add_hardlink(struct extract *x, const struct tar_entry *e, int parent, const char *base,
                        struct os_error *err)
{
    const char *target;
    cleanup_close int from = open_parent(x, e->link, &target);
    if (from < 0 || linkat(from, target, parent, base, 0) < 0)
        return failed(err, e->path);
    return 0;
}

static int on_entry(void *ctx, const struct tar_entry *e, struct os_error *err)
{
    struct extract *x = ctx;
    const char *base;
    if (x->only && (x->got_only || e->type != TAR_FILE || strcmp(e->path, x->only) != 0))
        return os_error_set(err, OS_INVALID_ARGUMENT,
                            "refused an archive member from the sandbox: '%.200s' is not the file '%.200s'",
                            e->path, x->only);
    x->got_only = true;
    if (e->type == TAR_DIRECTORY)
        return add_directory(x, e, err);
    cleanup_close int parent = open_parent(x, e->path, &base);
    if (parent < 0)
        return failed(err, e->path);
    if (clear_place(parent, base, e->path, err) < 0)
        return -1;
    if (e->type == TAR_HARDLINK)
        return add_hardlink(x, e, parent, base, err);
    if (e->type == TAR_SYMLINK) {
        const struct timespec times[] = {{.tv_sec = e->mtime}, {.tv_sec = e->mtime}};
        if (symlinkat(e->link, parent, base) < 0)
            return failed(err, e->path);
        utimensat(parent, base, times, AT_SYMLINK_NOFOLLOW);
        return 0;
    }
    x->fd = openat(parent, base, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, PRIVATE_FILE);
    if (x->fd < 0)
        return failed(err, e->path);
    free(x->path);
    x->path = os_strdup(e->path);
    x->mode = e->mode;
    x->mtime = e->mtime;
    return 0;
}

static int on_data(void *ctx, const uint8_t *data, size_t n, struct os_error *err)
{
    struct extract *x = ctx;
    while (n) {
        ssize_t k = write(x->fd, data, n);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return failed(err, x->path);
        data += k;
        n -= (size_t)k;
    }
    return 0;
}

static int on_end(void *ctx, struct os_error *err)
{
    struct extract *x = ctx;
    const struct timespec times[] = {{.tv_sec = x->mtime}, {.tv_sec = x->mtime}};
    bool good = fchmod(x->fd, x->mode) == 0 && futimens(x->fd, times) == 0;
    int fd = x->fd;
    x->fd = -1;
    if (close(fd) < 0 || !good)
        return failed(err, x->path);
    return 0;
}

struct extract *extract_new(int root, bool own_root, const char *only)
{
    static const struct tar_ops ops = {on_entry, on_data, on_end};
    struct extract *x = os_calloc(1, sizeof(*x));
    x->reader = tar_reader_new(&ops, x);
    x->root = root;
    x->own_root = own_root;
    x->only = only;
    x->fd = -1;
    return x;
}

int extract_feed(struct extract *x, const void *data, size_t n, struct os_error *err)
{
    return tar_reader_feed(x->reader, data, n, err);
}

int extract_finish(struct extract *x, struct os_error *err)
{
    if (tar_reader_finish(x->reader, err) < 0)
        return -1;
    if (x->only && !x->got_only)
        return os_error_set(err, OS_DATA_LOSS, "the archive from the sandbox is empty");
    for (size_t i = x->n_dirs; i-- > 0;) {
        const struct directory *d = &x->dirs[i];
        const struct timespec times[] = {{.tv_sec = d->mtime}, {.tv_sec = d->mtime}};
        cleanup_close int fd = open_inside(x->root, d->path, O_RDONLY | O_DIRECTORY);
        if (fd < 0 || futimens(fd, times) < 0 || fchmod(fd, d->mode) < 0)
            return failed(err, *d->path ? d->path : ".");
    }
    return 0;
}

void extract_free(struct extract *x)
{
    if (!x)
        return;
    if (x->fd >= 0) { /* half a file looks like a whole one */
        const char *base;
        cleanup_close int parent = open_parent(x, x->path, &base);
        close(x->fd);
        if (parent >= 0)
            unlinkat(parent, base, 0);
    }
    for (size_t i = 0; i < x->n_dirs; i++)
        free(x->dirs[i].path);
    free(x->dirs);
    free(x->path);
    tar_reader_free(x->reader);
    free(x);
}
