/* Layers of an image into a directory: see unpack.h. A layer is read twice: first its whiteouts, which only
 * concern the layers below wherever they stand in the archive, then everything else. Both times its digests
 * are checked. */
#include "drivers/local/image/unpack.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/str.h"
#include "drivers/local/launcher/inside.h"
#include "drivers/local/tree.h"
#include "sys/file.h"

#define WHITEOUT ".wh."
#define OPAQUE ".wh..wh..opq"
#define COPY ((size_t)64 << 10)

struct unpack {
    int root;
    struct os_buf *owners; /* NULL = owners are set as they come */
    char parent[TAR_NAME_MAX + 1];
    int parent_fd; /* of parent; -1 = none */
};

static const char *base_of(const char *name)
{
    const char *slash = strrchr(name, '/');
    return slash ? slash + 1 : name;
}

static void forget_parent(struct unpack *u)
{
    if (u->parent_fd >= 0)
        close(u->parent_fd);
    u->parent_fd = -1;
}

static int no_directory(const char *path, struct os_error *err)
{
    return os_error_set(err, OS_DATA_LOSS,
                        "the image has files below '/%.128s', which is no directory in it: %s", path,
                        strerror(errno));
}

/* Directories that no entry describes get the usual mode. Links among the components stay within the root. */
static int open_dir(struct unpack *u, const char *path, bool create, struct os_error *err)
{
    int fd = inside_open(u->root, *path ? path : "/", O_PATH | O_DIRECTORY);
    if (fd >= 0 || errno != ENOENT || !create)
        return fd < 0 && create ? no_directory(path, err) : fd;
    cleanup_free char *up = os_strndup(path, base_of(path) > path ? (size_t)(base_of(path) - path - 1) : 0);
    cleanup_close int above = open_dir(u, up, true, err);
    if (above < 0)
        return -1;
    if (mkdirat(above, base_of(path), 0755) < 0 && errno != EEXIST)
        return os_error_sys(err, errno, "cannot create '/%s' of the image", path);
    fd = inside_open(u->root, path, O_PATH | O_DIRECTORY);
    return fd < 0 ? no_directory(path, err) : fd;
}

/* Borrowed descriptor of the directory that holds name; entries of one directory follow each other. */
static int parent_of(struct unpack *u, const char *name, bool create, struct os_error *err)
{
    const char *base = base_of(name);
    size_t n = base > name ? (size_t)(base - name - 1) : 0;
    if (u->parent_fd >= 0 && strlen(u->parent) == n && memcmp(u->parent, name, n) == 0)
        return u->parent_fd;
    forget_parent(u);
    memcpy(u->parent, name, n);
    u->parent[n] = '\0';
    u->parent_fd = open_dir(u, u->parent, create, err);
    return u->parent_fd;
}

static int remove_at(struct unpack *u, int dir, const char *base, struct os_error *err)
{
    if (unlinkat(dir, base, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR && errno != EPERM)
        return os_error_sys(err, errno, "cannot remove '%s' of a lower layer", base);
    char path[40];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", dir);
    return tree_remove(path, base, err);
}

/* --- first reading: whiteouts --- */

static int empty_dir(struct unpack *u, const char *dir, struct os_error *err)
{
    cleanup_free char *up = os_strndup(dir, base_of(dir) > dir ? (size_t)(base_of(dir) - dir - 1) : 0);
    cleanup_close int above = open_dir(u, up, false, err);
    struct stat st;
    if (above < 0 || !*dir)
        return *dir ? 0 : os_error_set(err, OS_DATA_LOSS, "the image makes its own root opaque");
    if (fstatat(above, base_of(dir), &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISDIR(st.st_mode))
        return 0;
    if (remove_at(u, above, base_of(dir), err) < 0)
        return -1;
    if (mkdirat(above, base_of(dir), 0700) < 0 ||
        (!u->owners && fchownat(above, base_of(dir), st.st_uid, st.st_gid, AT_SYMLINK_NOFOLLOW) < 0) ||
        fchmodat(above, base_of(dir), st.st_mode & 01777, 0) < 0)
        return os_error_sys(err, errno, "cannot empty '/%s' of the image", dir);
    return 0;
}

static int apply_whiteout(struct unpack *u, const struct tar_entry *e, struct os_error *err)
{
    const char *base = base_of(e->name), *hidden = base + strlen(WHITEOUT);
    if (!os_str_starts(base, WHITEOUT))
        return 0;
    if (strcmp(base, OPAQUE) == 0) {
        cleanup_free char *dir = os_strndup(e->name, base > e->name ? (size_t)(base - e->name - 1) : 0);
        forget_parent(u);
        return empty_dir(u, dir, err);
    }
    if (os_str_starts(hidden, WHITEOUT))
        return 0; /* aufs's own notes */
    if (!*hidden || strcmp(hidden, ".") == 0 || strcmp(hidden, "..") == 0)
        return os_error_set(err, OS_DATA_LOSS, "the image has the unsafe whiteout '%.128s'", e->name);
    int dir = parent_of(u, e->name, false, err);
    return dir < 0 ? 0 : remove_at(u, dir, hidden, err);
}

/* --- second reading: content --- */

static int copy_content(struct tar *t, int fd, struct os_error *err)
{
    cleanup_free char *data = os_calloc(1, COPY);
    ssize_t n;
    while ((n = tar_content(t, data, COPY, err)) > 0)
        if (os_write_all(fd, data, (size_t)n) < 0)
            return os_error_sys(err, errno, "cannot write a file of the image");
    return n < 0 ? -1 : 0;
}

static int make_file(struct tar *t, int dir, const char *base, struct os_error *err)
{
    cleanup_close int fd = openat(dir, base, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return os_error_sys(err, errno, "cannot create '%s' of the image", base);
    return copy_content(t, fd, err);
}

static int make_hard_link(struct unpack *u, const struct tar_entry *e, int dir, const char *base,
                          struct os_error *err)
{
    cleanup_free char *up =
        os_strndup(e->link, base_of(e->link) > e->link ? (size_t)(base_of(e->link) - e->link - 1) : 0);
    cleanup_close int from = open_dir(u, up, false, err);
    struct stat st;
    if (from < 0 || fstatat(from, base_of(e->link), &st, AT_SYMLINK_NOFOLLOW) < 0 || S_ISDIR(st.st_mode) ||
        linkat(from, base_of(e->link), dir, base, 0) < 0)
        return os_error_set(err, OS_DATA_LOSS, "the image links '%.128s' to '%.128s', which is not there",
                            e->name, e->link);
    return 0;
}

/* An existing directory keeps its content; anything else in the way goes. */
static int make_directory(struct unpack *u, int dir, const char *base, struct os_error *err)
{
    struct stat st;
    if (fstatat(dir, base, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        if (S_ISDIR(st.st_mode))
            return 0;
        if (remove_at(u, dir, base, err) < 0)
            return -1;
    }
    return mkdirat(dir, base, 0700) < 0 ? os_error_sys(err, errno, "cannot create '%s' of the image", base)
                                        : 0;
}

static int make_entry(struct unpack *u, struct tar *t, const struct tar_entry *e, int dir, const char *base,
                      struct os_error *err)
{
    if (e->type != TAR_DIRECTORY && remove_at(u, dir, base, err) < 0)
        return -1;
    switch (e->type) {
    case TAR_FILE:
        return make_file(t, dir, base, err);
    case TAR_HARD_LINK:
        return make_hard_link(u, e, dir, base, err);
    case TAR_SYMBOLIC_LINK:
        return symlinkat(e->link, dir, base) < 0
                   ? os_error_sys(err, errno, "cannot create link '%s' of the image", base)
                   : 0;
    case TAR_FIFO:
        return mkfifoat(dir, base, 0600) < 0
                   ? os_error_sys(err, errno, "cannot create '%s' of the image", base)
                   : 0;
    default:
        return make_directory(u, dir, base, err);
    }
}

/* Set-id bits mean nothing in a sandbox (nosuid, no_new_privs) and are a danger outside of it. */
static int set_attributes(const struct unpack *u, const struct tar_entry *e, int dir, const char *base,
                          struct os_error *err)
{
    const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = e->mtime}};
    mode_t mode = e->mode & 01777;
    if (u->owners) {
        os_buf_addf(u->owners, "%u %u %o %s", e->uid, e->gid, mode, e->name);
        os_buf_addc(u->owners, '\0');
        mode |= e->type == TAR_DIRECTORY ? 0700 : 0400;
    }
    if (!u->owners && fchownat(dir, base, e->uid, e->gid, AT_SYMLINK_NOFOLLOW) < 0)
        return os_error_sys(err, errno, "cannot give '%s' of the image its owner", base);
    if (e->type != TAR_SYMBOLIC_LINK && fchmodat(dir, base, mode, 0) < 0)
        return os_error_sys(err, errno, "cannot give '%s' of the image its mode", base);
    utimensat(dir, base, times, AT_SYMLINK_NOFOLLOW);
    return 0;
}

static int unpack_entry(struct unpack *u, struct tar *t, const struct tar_entry *e, struct os_error *err)
{
    const char *base = base_of(e->name);
    if (e->type == TAR_DEVICE || os_str_starts(base, WHITEOUT))
        return 0;
    if (!*base) { /* the root itself: readable by everybody, as a root has to be */
        return e->type == TAR_DIRECTORY ? 0
                                        : os_error_set(err, OS_DATA_LOSS, "the image's root is no directory");
    }
    int dir = parent_of(u, e->name, true, err);
    if (dir < 0 || make_entry(u, t, e, dir, base, err) < 0)
        return -1;
    int rc = e->type == TAR_HARD_LINK ? 0 : set_attributes(u, e, dir, base, err);
    if (e->type == TAR_DIRECTORY || e->type == TAR_SYMBOLIC_LINK)
        forget_parent(u); /* what the cached path means may have changed */
    return rc;
}

/* --- one layer --- */

static int read_layer(struct unpack *u, const struct stream_source *source, bool whiteouts,
                      struct unpack_limits *used, struct os_error *err)
{
    cleanup_free struct tar_entry *e = os_calloc(1, sizeof(*e));
    struct stream *s = stream_open(source, err);
    struct tar t;
    int rc = s ? 1 : -1;
    tar_init(&t, stream_read, s, used->entries);
    u->parent_fd = -1;
    while (rc > 0 && (rc = tar_next(&t, e, err)) > 0)
        if ((whiteouts ? apply_whiteout(u, e, err) : unpack_entry(u, &t, e, err)) < 0)
            rc = -1;
    forget_parent(u);
    if (rc == 0)
        rc = stream_finish(s, err);
    stream_free(s);
    *used = (struct unpack_limits){t.offset, t.entries};
    return rc;
}

int unpack_layer(int root, const struct stream_source *source, struct unpack_limits *limits,
                 struct os_buf *owners, struct os_error *err)
{
    struct unpack u = {.root = root, .owners = geteuid() == 0 ? NULL : owners, .parent_fd = -1};
    struct stream_source s = *source;
    struct unpack_limits used = *limits;
    s.max = limits->bytes;
    if (read_layer(&u, &s, true, &used, err) < 0)
        return -1;
    used = *limits;
    if (read_layer(&u, &s, false, &used, err) < 0)
        return -1;
    limits->bytes -= used.bytes < limits->bytes ? used.bytes : limits->bytes;
    limits->entries -= used.entries < limits->entries ? used.entries : limits->entries;
    return 0;
}
