/* Small-file and directory helpers. */
#include "sys/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/limits.h"
#include "core/str.h"

/* A pipe whose writer has not come so far; one that never does is no reason to wait for ever. */
static bool wait_readable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    int r = poll(&p, 1, OS_PIPE_WAIT_MS);
    if (r == 0)
        errno = ETIMEDOUT;
    return r > 0 || (r < 0 && errno == EINTR);
}

int os_file_read(const char *path, size_t max, struct os_buf *out, struct os_error *err)
{
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return os_error_sys(err, errno, "cannot open '%s'", path);
    struct stat st;
    if (fstat(fd, &st) < 0)
        return os_error_sys(err, errno, "cannot stat '%s'", path);
    if (S_ISDIR(st.st_mode))
        return os_error_sys(err, EISDIR, "cannot read '%s'", path);
    size_t total = 0;
    for (;;) {
        char chunk[16384];
        ssize_t n = read(fd, chunk, sizeof(chunk));
        if (n < 0 && (errno == EINTR || (errno == EAGAIN && wait_readable(fd))))
            continue;
        if (n < 0)
            return os_error_sys(err, errno, "cannot read '%s'", path);
        if (n == 0)
            break;
        total += (size_t)n;
        if (total > max)
            return os_error_set(err, OS_INVALID_ARGUMENT, "'%s' is larger than %zu bytes", path, max);
        os_buf_add(out, chunk, (size_t)n);
    }
    if (out->failed)
        return os_error_set(err, OS_RESOURCE_EXHAUSTED, "'%s' is larger than %zu bytes", path,
                            os_buf_max(out));
    return 0;
}

int os_write_all(int fd, const void *data, size_t n)
{
    const char *p = data;
    while (n) {
        ssize_t w = write(fd, p, n);
        if (w < 0) {
            if (errno == EINTR)
                continue;
            return -1;
        }
        p += w;
        n -= (size_t)w;
    }
    return 0;
}

static int fsync_dir_of(const char *path)
{
    cleanup_free char *copy = os_strdup(path);
    cleanup_close int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -1 : fsync(fd);
}

int os_file_write_atomic(const char *path, const void *data, size_t n, mode_t mode, struct os_error *err)
{
    cleanup_free char *tmp = os_asprintf("%s.tmp.%d", path, (int)getpid());
    cleanup_close int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, mode);
    if (fd < 0)
        return os_error_sys(err, errno, "cannot create '%s'", tmp);
    if (fchmod(fd, mode) < 0 || os_write_all(fd, data, n) < 0 || fsync(fd) < 0 || rename(tmp, path) < 0 ||
        fsync_dir_of(path) < 0) {
        int e = errno;
        unlink(tmp);
        return os_error_sys(err, e, "cannot write '%s'", path);
    }
    return 0;
}

int os_dir_make(const char *path, mode_t mode, struct os_error *err)
{
    cleanup_free char *copy = os_strdup(path);
    for (char *p = copy + 1;; p++) {
        if (*p && *p != '/')
            continue;
        char c = *p;
        *p = '\0';
        if (mkdir(copy, mode) < 0 && errno != EEXIST)
            return os_error_sys(err, errno, "cannot create directory '%s'", copy);
        *p = c;
        if (!c)
            break;
    }
    struct stat st;
    if (stat(path, &st) < 0 || !S_ISDIR(st.st_mode))
        return os_error_set(err, OS_INTERNAL, "'%s' exists and is not a directory", path);
    return 0;
}

static int remove_at(int dir, const char *name, dev_t dev)
{
    struct stat st;
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : -1;
    if (!S_ISDIR(st.st_mode))
        return unlinkat(dir, name, 0) < 0 && errno != ENOENT ? -1 : 0;
    if (st.st_dev != dev) {
        errno = EXDEV;
        return -1;
    }
    int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -1;
    DIR *d = fdopendir(fd);
    if (!d) {
        close(fd);
        return -1;
    }
    int rc = 0;
    struct dirent *e;
    while (rc == 0 && (e = readdir(d)))
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            rc = remove_at(dirfd(d), e->d_name, dev);
    int saved = errno;
    closedir(d);
    errno = saved;
    if (rc == 0 && unlinkat(dir, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
        rc = -1;
    return rc;
}

int os_dir_remove(const char *path, struct os_error *err)
{
    struct stat st;
    if (lstat(path, &st) < 0)
        return errno == ENOENT ? 0 : os_error_sys(err, errno, "cannot stat '%s'", path);
    if (remove_at(AT_FDCWD, path, st.st_dev) < 0)
        return os_error_sys(err, errno, "cannot remove '%s'", path);
    return 0;
}

bool os_file_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

char *os_exe_dir(void)
{
    char path[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);
    if (n < 0)
        return NULL;
    path[n] = '\0';
    return os_strdup(dirname(path));
}

char *os_program_path(const char *name)
{
    cleanup_free char *dir = os_exe_dir();
    char *beside = os_asprintf("%s/%s", dir ? dir : ".", name);
    char *installed = os_asprintf("%s/../libexec/openshell/%s", dir ? dir : ".", name);
    bool take_installed = access(beside, F_OK) < 0 && access(installed, F_OK) == 0;
    free(take_installed ? beside : installed);
    return take_installed ? installed : beside;
}

void os_open_standard_fds(void)
{
    int fd;
    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd > STDERR_FILENO)
        close(fd);
}
