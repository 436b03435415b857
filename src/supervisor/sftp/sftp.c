/* Requests to system calls, in order, one at a time. */
#include "supervisor/sftp/sftp.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/str.h"
#include "supervisor/sftp/request.h"
#include "sys/file.h"

#define HANDLES 256
#define NAMES_PER_ANSWER 100
#define MODE_BITS 07777
#define FILE_MODE 0666
#define DIR_MODE 0777
#define RECENT_S 15552000 /* half a year: ls shows the time of day of what is younger */

/* pflags of OPEN */
enum { F_READ = 1, F_WRITE = 2, F_APPEND = 4, F_CREATE = 8, F_TRUNCATE = 16, F_EXCLUSIVE = 32 };

struct handle {
    int fd; /* -1 = free or a directory */
    DIR *dir;
    bool append;
};

struct server {
    struct handle handles[HANDLES];
    struct os_buf out; /* the answer under construction, with 4 bytes of length in front */
};

/* --- answers --- */

static void begin(struct server *s, enum sftp_type type, uint32_t id)
{
    os_buf_clear(&s->out);
    sftp_put_u32(&s->out, 0);
    os_buf_addc(&s->out, (char)type);
    sftp_put_u32(&s->out, id);
}

static const char *status_text(enum sftp_status status)
{
    static const char *const texts[] = {"Success",           "End of file", "No such file",
                                        "Permission denied", "Failure",     "Bad message"};
    return status < OS_ARRAY_LEN(texts) ? texts[status] : "Operation unsupported";
}

static void answer_text(struct server *s, uint32_t id, enum sftp_status status, const char *text)
{
    begin(s, SFTP_STATUS, id);
    sftp_put_u32(&s->out, status);
    sftp_put_text(&s->out, text);
    sftp_put_text(&s->out, "");
}

static void answer(struct server *s, uint32_t id, enum sftp_status status)
{
    answer_text(s, id, status, status_text(status));
}

static void answer_errno(struct server *s, uint32_t id, int e)
{
    switch (e) {
    case 0:
        answer(s, id, SFTP_OK);
        return;
    case ENOENT:
    case ENOTDIR:
    case ELOOP:
    case EBADF:
        answer(s, id, SFTP_NO_SUCH_FILE);
        return;
    case EPERM:
    case EACCES:
    case EFAULT:
        answer(s, id, SFTP_PERMISSION_DENIED);
        return;
    default:
        answer_text(s, id, SFTP_FAILURE, strerror(e));
    }
}

static void answer_call(struct server *s, uint32_t id, int result)
{
    answer_errno(s, id, result < 0 ? errno : 0);
}

static struct sftp_attrs attrs_of(const struct stat *st)
{
    return (struct sftp_attrs){
        .flags = SFTP_ATTR_SIZE | SFTP_ATTR_OWNER | SFTP_ATTR_MODE | SFTP_ATTR_TIMES,
        .size = (uint64_t)st->st_size,
        .uid = st->st_uid,
        .gid = st->st_gid,
        .mode = st->st_mode,
        .atime = (uint32_t)st->st_atime,
        .mtime = (uint32_t)st->st_mtime,
    };
}

static void answer_attrs(struct server *s, uint32_t id, int result, const struct stat *st)
{
    if (result < 0) {
        answer_errno(s, id, errno);
        return;
    }
    const struct sftp_attrs a = attrs_of(st);
    begin(s, SFTP_ATTRS, id);
    sftp_put_attrs(&s->out, &a);
}

static void answer_name(struct server *s, uint32_t id, const char *name)
{
    const struct sftp_attrs none = {0};
    begin(s, SFTP_NAME, id);
    sftp_put_u32(&s->out, 1);
    sftp_put_text(&s->out, name);
    sftp_put_text(&s->out, name);
    sftp_put_attrs(&s->out, &none);
}

/* --- handles --- */

static struct handle *find(struct server *s, uint32_t handle)
{
    if (handle >= HANDLES || (s->handles[handle].fd < 0 && !s->handles[handle].dir))
        return NULL;
    return &s->handles[handle];
}

static void add(struct server *s, uint32_t id, int fd, DIR *dir, bool append)
{
    for (uint32_t i = 0; i < HANDLES; i++) {
        if (s->handles[i].fd >= 0 || s->handles[i].dir)
            continue;
        s->handles[i] = (struct handle){.fd = fd, .dir = dir, .append = append};
        begin(s, SFTP_HANDLE, id);
        sftp_put_u32(&s->out, sizeof(i));
        sftp_put_u32(&s->out, i);
        return;
    }
    if (dir)
        closedir(dir);
    else
        close(fd);
    answer_text(s, id, SFTP_FAILURE, "Too many open files");
}

static void do_open(struct server *s, const struct sftp_request *r)
{
    int flags = O_CLOEXEC | O_NOCTTY;
    flags |= r->flags & F_READ ? r->flags & F_WRITE ? O_RDWR : O_RDONLY : O_WRONLY;
    flags |= r->flags & F_CREATE ? O_CREAT : 0;
    flags |= r->flags & F_TRUNCATE ? O_TRUNC : 0;
    flags |= r->flags & F_EXCLUSIVE ? O_EXCL : 0;
    flags |= r->flags & F_APPEND ? O_APPEND : 0;
    if (!(r->flags & (F_READ | F_WRITE))) {
        answer(s, r->id, SFTP_BAD_MESSAGE);
        return;
    }
    mode_t mode = r->attrs.flags & SFTP_ATTR_MODE ? r->attrs.mode & MODE_BITS : FILE_MODE;
    int fd = open(r->path, flags, mode);
    if (fd < 0)
        answer_errno(s, r->id, errno);
    else
        add(s, r->id, fd, NULL, r->flags & F_APPEND);
}

static void do_opendir(struct server *s, const struct sftp_request *r)
{
    DIR *dir = opendir(r->path);
    if (dir)
        add(s, r->id, -1, dir, false);
    else
        answer_errno(s, r->id, errno);
}

static void do_close(struct server *s, const struct sftp_request *r)
{
    struct handle *h = find(s, r->handle);
    int result = 0;
    if (!h) {
        answer(s, r->id, SFTP_NO_SUCH_FILE);
        return;
    }
    if (h->dir)
        result = closedir(h->dir);
    else
        result = close(h->fd);
    *h = (struct handle){.fd = -1};
    answer_call(s, r->id, result);
}

/* The descriptor of a file handle, -1 after having answered. */
static int file_of(struct server *s, const struct sftp_request *r)
{
    const struct handle *h = find(s, r->handle);
    if (h && !h->dir)
        return h->fd;
    answer(s, r->id, h ? SFTP_FAILURE : SFTP_NO_SUCH_FILE);
    return -1;
}

/* --- contents --- */

static void do_read(struct server *s, const struct sftp_request *r)
{
    int fd = file_of(s, r);
    if (fd < 0)
        return;
    if (r->offset > INT64_MAX) {
        answer(s, r->id, SFTP_EOF);
        return;
    }
    size_t want = r->length < SFTP_READ_MAX ? r->length : SFTP_READ_MAX;
    begin(s, SFTP_DATA, r->id);
    size_t at = s->out.len;
    sftp_put_u32(&s->out, 0);
    if (!os_buf_reserve(&s->out, want)) {
        answer(s, r->id, SFTP_FAILURE);
        return;
    }
    ssize_t n = pread(fd, s->out.data + s->out.len, want, (off_t)r->offset);
    if (n < 0 && errno == ESPIPE)
        n = read(fd, s->out.data + s->out.len, want);
    if (n < 0) {
        answer_errno(s, r->id, errno);
    } else if (n == 0 && want) {
        answer(s, r->id, SFTP_EOF);
    } else {
        for (int i = 0; i < 4; i++)
            s->out.data[at + (size_t)i] = (char)((uint32_t)n >> (24 - 8 * i));
        s->out.len += (size_t)n;
    }
}

static void do_write(struct server *s, const struct sftp_request *r)
{
    int fd = file_of(s, r);
    if (fd < 0)
        return;
    bool append = s->handles[r->handle].append;
    for (uint32_t done = 0; done < r->length;) {
        ssize_t n = append ? write(fd, r->data + done, r->length - done)
                           : pwrite(fd, r->data + done, r->length - done, (off_t)(r->offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            answer_errno(s, r->id, n < 0 ? errno : EIO);
            return;
        }
        done += (uint32_t)n;
    }
    answer(s, r->id, SFTP_OK);
}

/* --- attributes --- */

/* Of an open file, or of a path when fd is -1. The size first, so that the time that was asked for stays. */
static int set_attrs(int fd, const char *path, const struct sftp_attrs *a)
{
    const struct timespec times[] = {{.tv_sec = a->atime}, {.tv_sec = a->mtime}};
    mode_t mode = a->mode & MODE_BITS;
    if (a->flags & SFTP_ATTR_SIZE &&
        (fd >= 0 ? ftruncate(fd, (off_t)a->size) : truncate(path, (off_t)a->size)) < 0)
        return -1;
    if (a->flags & SFTP_ATTR_MODE && (fd >= 0 ? fchmod(fd, mode) : chmod(path, mode)) < 0)
        return -1;
    if (a->flags & SFTP_ATTR_TIMES &&
        (fd >= 0 ? futimens(fd, times) : utimensat(AT_FDCWD, path, times, 0)) < 0)
        return -1;
    if (a->flags & SFTP_ATTR_OWNER &&
        (fd >= 0 ? fchown(fd, a->uid, a->gid) : chown(path, a->uid, a->gid)) < 0)
        return -1;
    return 0;
}

static void do_fstat(struct server *s, const struct sftp_request *r)
{
    struct stat st;
    const struct handle *h = find(s, r->handle);
    if (!h)
        answer(s, r->id, SFTP_NO_SUCH_FILE);
    else
        answer_attrs(s, r->id, fstat(h->dir ? dirfd(h->dir) : h->fd, &st), &st);
}

static void do_fsetstat(struct server *s, const struct sftp_request *r)
{
    int fd = file_of(s, r);
    if (fd >= 0)
        answer_call(s, r->id, set_attrs(fd, NULL, &r->attrs));
}

/* --- directories --- */

static void long_name(const char *name, const struct stat *st, char *out, size_t n)
{
    static const char kinds[] = {[S_IFIFO >> 12] = 'p', [S_IFCHR >> 12] = 'c', [S_IFDIR >> 12] = 'd',
                                 [S_IFBLK >> 12] = 'b', [S_IFREG >> 12] = '-', [S_IFLNK >> 12] = 'l',
                                 [S_IFSOCK >> 12] = 's'};
    char mode[11] = "?---------", when[16] = "";
    struct tm tm;
    unsigned kind = (st->st_mode & S_IFMT) >> 12;
    if (kind < sizeof(kinds) && kinds[kind])
        mode[0] = kinds[kind];
    for (int i = 0; i < 9; i++)
        if (st->st_mode & (0400u >> i))
            mode[i + 1] = "rwx"[i % 3];
    time_t now = time(NULL);
    bool recent = st->st_mtime <= now && now - st->st_mtime < RECENT_S;
    if (localtime_r(&st->st_mtime, &tm))
        strftime(when, sizeof(when), recent ? "%b %e %H:%M" : "%b %e  %Y", &tm);
    snprintf(out, n, "%s %3lu %-8u %-8u %8lld %s %s", mode, (unsigned long)st->st_nlink, st->st_uid,
             st->st_gid, (long long)st->st_size, when, name);
}

static void do_readdir(struct server *s, const struct sftp_request *r)
{
    struct handle *h = find(s, r->handle);
    if (!h || !h->dir) {
        answer(s, r->id, h ? SFTP_FAILURE : SFTP_NO_SUCH_FILE);
        return;
    }
    begin(s, SFTP_NAME, r->id);
    size_t at = s->out.len;
    sftp_put_u32(&s->out, 0);
    uint32_t n = 0;
    const struct dirent *e;
    while (n < NAMES_PER_ANSWER && (e = readdir(h->dir))) {
        struct stat st;
        char text[NAME_MAX + 128];
        if (fstatat(dirfd(h->dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue; /* gone meanwhile */
        const struct sftp_attrs a = attrs_of(&st);
        long_name(e->d_name, &st, text, sizeof(text));
        sftp_put_text(&s->out, e->d_name);
        sftp_put_text(&s->out, text);
        sftp_put_attrs(&s->out, &a);
        n++;
    }
    if (!n) {
        answer(s, r->id, SFTP_EOF);
        return;
    }
    for (int i = 0; i < 4; i++)
        s->out.data[at + (size_t)i] = (char)(n >> (24 - 8 * i));
}

/* --- names --- */

/* The last component may be missing: clients ask before they create. */
static void answer_real(struct server *s, uint32_t id, const char *path)
{
    char real[PATH_MAX];
    if (realpath(*path ? path : ".", real)) {
        answer_name(s, id, real);
        return;
    }
    int e = errno;
    cleanup_free char *parent = os_strdup(path);
    char *slash = strrchr(parent, '/');
    const char *base = slash ? path + (slash - parent) + 1 : path;
    if (slash)
        slash[slash == parent ? 1 : 0] = '\0';
    if (e != ENOENT || !*base || !realpath(slash ? parent : ".", real)) {
        answer_errno(s, id, e);
        return;
    }
    cleanup_free char *text = os_asprintf("%s/%s", strcmp(real, "/") == 0 ? "" : real, base);
    answer_name(s, id, text);
}

static void do_expand(struct server *s, const struct sftp_request *r)
{
    const char *home = getenv("HOME");
    if (r->path[0] != '~') {
        answer_real(s, r->id, r->path);
    } else if (home && (!r->path[1] || r->path[1] == '/')) {
        cleanup_free char *path = os_asprintf("%s%s", home, r->path + 1);
        answer_real(s, r->id, path);
    } else {
        answer(s, r->id, SFTP_NO_SUCH_FILE);
    }
}

static void do_readlink(struct server *s, const struct sftp_request *r)
{
    char target[PATH_MAX];
    ssize_t n = readlink(r->path, target, sizeof(target) - 1);
    if (n < 0) {
        answer_errno(s, r->id, errno);
        return;
    }
    target[n] = '\0';
    answer_name(s, r->id, target);
}

static void do_mkdir(struct server *s, const struct sftp_request *r)
{
    answer_call(s, r->id,
                mkdir(r->path, r->attrs.flags & SFTP_ATTR_MODE ? r->attrs.mode & MODE_BITS : DIR_MODE));
}

static void do_extended(struct server *s, const struct sftp_request *r)
{
    if (strcmp(r->extension, "posix-rename@openssh.com") == 0) {
        answer_call(s, r->id, rename(r->path, r->other));
    } else if (strcmp(r->extension, "hardlink@openssh.com") == 0) {
        answer_call(s, r->id, link(r->path, r->other));
    } else if (strcmp(r->extension, "expand-path@openssh.com") == 0) {
        do_expand(s, r);
    } else if (strcmp(r->extension, "fsync@openssh.com") == 0) {
        int fd = file_of(s, r);
        if (fd >= 0)
            answer_call(s, r->id, fsync(fd));
    } else {
        answer(s, r->id, SFTP_UNSUPPORTED);
    }
}

static void greet(struct server *s, const struct sftp_request *r)
{
    static const char *const extensions[] = {"posix-rename@openssh.com", "hardlink@openssh.com",
                                             "fsync@openssh.com", "expand-path@openssh.com"};
    os_buf_clear(&s->out);
    sftp_put_u32(&s->out, 0);
    os_buf_addc(&s->out, 2); /* VERSION */
    sftp_put_u32(&s->out, SFTP_VERSION);
    for (size_t i = 0; i < OS_ARRAY_LEN(extensions); i++) {
        sftp_put_text(&s->out, extensions[i]);
        sftp_put_text(&s->out, "1");
    }
}

/* --- requests that are one system call --- */

static void do_lstat(struct server *s, const struct sftp_request *r)
{
    struct stat st;
    answer_attrs(s, r->id, lstat(r->path, &st), &st);
}

static void do_stat(struct server *s, const struct sftp_request *r)
{
    struct stat st;
    answer_attrs(s, r->id, stat(r->path, &st), &st);
}

static void do_setstat(struct server *s, const struct sftp_request *r)
{
    answer_call(s, r->id, set_attrs(-1, r->path, &r->attrs));
}

static void do_remove(struct server *s, const struct sftp_request *r)
{
    answer_call(s, r->id, unlink(r->path));
}

static void do_rmdir(struct server *s, const struct sftp_request *r)
{
    answer_call(s, r->id, rmdir(r->path));
}

static void do_realpath(struct server *s, const struct sftp_request *r)
{
    answer_real(s, r->id, r->path);
}

/* Must not replace. */
static void do_rename(struct server *s, const struct sftp_request *r)
{
    answer_call(s, r->id, renameat2(AT_FDCWD, r->path, AT_FDCWD, r->other, RENAME_NOREPLACE));
}

/* Target first, as every client sends it. */
static void do_symlink(struct server *s, const struct sftp_request *r)
{
    answer_call(s, r->id, symlink(r->path, r->other));
}

/* --- dispatch --- */

typedef void serve_fn(struct server *s, const struct sftp_request *r);

static serve_fn *const requests[] = {
    [SFTP_INIT] = greet,         [SFTP_OPEN] = do_open,         [SFTP_CLOSE] = do_close,
    [SFTP_READ] = do_read,       [SFTP_WRITE] = do_write,       [SFTP_LSTAT] = do_lstat,
    [SFTP_FSTAT] = do_fstat,     [SFTP_SETSTAT] = do_setstat,   [SFTP_FSETSTAT] = do_fsetstat,
    [SFTP_OPENDIR] = do_opendir, [SFTP_READDIR] = do_readdir,   [SFTP_REMOVE] = do_remove,
    [SFTP_MKDIR] = do_mkdir,     [SFTP_RMDIR] = do_rmdir,       [SFTP_REALPATH] = do_realpath,
    [SFTP_STAT] = do_stat,       [SFTP_RENAME] = do_rename,     [SFTP_READLINK] = do_readlink,
    [SFTP_SYMLINK] = do_symlink, [SFTP_EXTENDED] = do_extended,
};

static void serve(struct server *s, const struct sftp_request *r)
{
    serve_fn *fn = r->type < OS_ARRAY_LEN(requests) ? requests[r->type] : NULL;
    if (fn)
        fn(s, r);
    else
        answer(s, r->id, SFTP_UNSUPPORTED);
}

static bool read_all(uint8_t *data, size_t n)
{
    while (n) {
        ssize_t k = read(STDIN_FILENO, data, n);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return false;
        data += k;
        n -= (size_t)k;
    }
    return true;
}

static bool write_all(struct os_buf *b)
{
    for (int i = 0; i < 4; i++)
        b->data[i] = (char)((uint32_t)(b->len - 4) >> (24 - 8 * i));
    return os_write_all(STDOUT_FILENO, b->data, b->len) == 0;
}

int sftp_main(void)
{
    struct server s = {0};
    uint8_t *packet = os_calloc(1, SFTP_PACKET_MAX), head[4];
    int status = 0;
    for (size_t i = 0; i < HANDLES; i++)
        s.handles[i].fd = -1;
    while (read_all(head, sizeof(head))) {
        uint32_t n = (uint32_t)head[0] << 24 | (uint32_t)head[1] << 16 | (uint32_t)head[2] << 8 | head[3];
        if (!n || n > SFTP_PACKET_MAX || !read_all(packet, n)) {
            status = 1;
            break;
        }
        cleanup_arena struct os_arena a = {0};
        struct sftp_request r;
        if (sftp_request_parse(packet, n, &a, &r))
            serve(&s, &r);
        else
            answer(&s, r.id, SFTP_BAD_MESSAGE);
        if (!write_all(&s.out))
            break;
    }
    os_buf_free(&s.out);
    free(packet);
    return status;
}
