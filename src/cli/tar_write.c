/* A local tree as a tar archive, made while it is read. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/tar.h"
#include "core/buf.h"
#include "core/cleanup.h"

#define DEPTH_MAX 256
#define NAME_FIELD 100
#define OCTAL_SIZE_MAX 077777777777ULL /* bytes that fit the size field as text */

struct member {
    char *path, *name;
};

struct tar_writer {
    struct member *members;
    size_t n, cap, next;
    struct os_buf head; /* header bytes not read yet */
    size_t head_at;
    int fd;        /* content of the current file, -1 = none */
    uint64_t left; /* of it */
    size_t padding;
    bool trailer, over;
};

struct tar_writer *tar_writer_new(void)
{
    struct tar_writer *w = os_calloc(1, sizeof(*w));
    w->fd = -1;
    return w;
}

void tar_writer_free(struct tar_writer *w)
{
    if (!w)
        return;
    for (size_t i = 0; i < w->n; i++) {
        free(w->members[i].path);
        free(w->members[i].name);
    }
    free(w->members);
    os_buf_free(&w->head);
    if (w->fd >= 0)
        close(w->fd);
    free(w);
}

/* --- what goes in --- */

static int unreadable(struct os_error *err, const char *path)
{
    return os_error_sys(err, errno, "cannot read '%s'", path);
}

static int add_member(struct tar_writer *w, const char *path, const char *name, const struct stat *st,
                      struct os_error *err)
{
    if (!S_ISREG(st->st_mode) && !S_ISDIR(st->st_mode) && !S_ISLNK(st->st_mode))
        return os_error_set(err, OS_INVALID_ARGUMENT, "unsupported file type for upload: %s", path);
    if (w->n == w->cap) {
        w->cap = w->cap ? 2 * w->cap : 64;
        w->members = os_realloc(w->members, w->cap, sizeof(*w->members));
    }
    w->members[w->n++] = (struct member){os_strdup(path), os_strdup(name)};
    return 0;
}

int tar_writer_add(struct tar_writer *w, const char *path, const char *name, struct os_error *err)
{
    struct stat st;
    if (lstat(path, &st) < 0)
        return errno == ENOENT ? 0 : unreadable(err, path);
    return add_member(w, path, name, &st, err);
}

static int add_tree(struct tar_writer *w, const char *path, const char *name, unsigned depth,
                    struct os_error *err)
{
    struct stat st;
    struct dirent **list;
    if (lstat(path, &st) < 0)
        return errno == ENOENT && depth ? 0 : unreadable(err, path);
    if (*name && add_member(w, path, name, &st, err) < 0)
        return -1;
    if (!S_ISDIR(st.st_mode))
        return 0;
    if (depth == DEPTH_MAX)
        return os_error_set(err, OS_INVALID_ARGUMENT, "'%s' is nested more than %d directories deep", path,
                            DEPTH_MAX);
    int n = scandir(path, &list, NULL, alphasort);
    if (n < 0)
        return unreadable(err, path);
    int rc = 0;
    for (int i = 0; i < n; i++) {
        const char *base = list[i]->d_name;
        if (rc == 0 && strcmp(base, ".") != 0 && strcmp(base, "..") != 0) {
            cleanup_free char *inner = os_asprintf("%s/%s", path, base);
            cleanup_free char *as = os_asprintf("%s%s%s", name, *name ? "/" : "", base);
            rc = add_tree(w, inner, as, depth + 1, err);
        }
        free(list[i]);
    }
    free(list);
    return rc;
}

int tar_writer_add_tree(struct tar_writer *w, const char *path, const char *name, struct os_error *err)
{
    return add_tree(w, path, name, 0, err);
}

/* --- headers --- */

static void octal(char *field, size_t n, uint64_t v)
{
    field[n - 1] = '\0';
    for (size_t i = n - 1; i-- > 0; v >>= 3)
        field[i] = (char)('0' + (v & 7));
}

static void put_size(char *field, uint64_t size)
{
    if (size <= OCTAL_SIZE_MAX) {
        octal(field, 12, size);
        return;
    }
    memset(field, 0, 12);
    field[0] = (char)0x80;
    for (int i = 0; i < 8; i++)
        field[11 - i] = (char)(size >> (8 * i));
}

static void put_header(struct tar_writer *w, const char *name, char type, uint32_t mode, uint64_t size,
                       int64_t mtime, const char *link)
{
    char b[TAR_BLOCK] = {0};
    unsigned sum = 0;
    strncpy(b, name, NAME_FIELD);
    octal(b + 100, 8, mode);
    octal(b + 108, 8, 0);
    octal(b + 116, 8, 0);
    put_size(b + 124, size);
    octal(b + 136, 12, mtime > 0 ? (uint64_t)mtime : 0);
    memset(b + 148, ' ', 8);
    b[156] = type;
    strncpy(b + 157, link, NAME_FIELD);
    memcpy(b + 257, "ustar  ", 8); /* GNU: long names follow its way */
    for (size_t i = 0; i < sizeof(b); i++)
        sum += (unsigned char)b[i];
    octal(b + 148, 7, sum);
    os_buf_add(&w->head, b, sizeof(b));
}

static void put_long(struct tar_writer *w, char type, const char *text)
{
    static const char zeros[TAR_BLOCK];
    size_t n = strlen(text) + 1;
    put_header(w, "././@LongLink", type, 0, n, 0, "");
    os_buf_add(&w->head, text, n);
    os_buf_add(&w->head, zeros, (TAR_BLOCK - n % TAR_BLOCK) % TAR_BLOCK);
}

static void put_entry(struct tar_writer *w, const char *name, char type, const struct stat *st, uint64_t size,
                      const char *link)
{
    if (strlen(link) > NAME_FIELD)
        put_long(w, 'K', link);
    if (strlen(name) > NAME_FIELD)
        put_long(w, 'L', name);
    put_header(w, name, type, st->st_mode & 07777, size, st->st_mtime, link);
}

/* Header of the next member; 0, also when it has vanished, or -1. */
static int begin_member(struct tar_writer *w, const struct member *m, struct os_error *err)
{
    struct stat st;
    if (lstat(m->path, &st) < 0)
        return errno == ENOENT ? 0 : unreadable(err, m->path);
    if (S_ISDIR(st.st_mode)) {
        cleanup_free char *name = os_asprintf("%s/", m->name);
        put_entry(w, name, '5', &st, 0, "");
    } else if (S_ISLNK(st.st_mode)) {
        char target[PATH_MAX];
        ssize_t n = readlink(m->path, target, sizeof(target) - 1);
        if (n < 0)
            return unreadable(err, m->path);
        target[n] = '\0';
        put_entry(w, m->name, '2', &st, 0, target);
    } else {
        w->fd = open(m->path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
        if (w->fd < 0 || fstat(w->fd, &st) < 0)
            return unreadable(err, m->path);
        if (!S_ISREG(st.st_mode))
            return os_error_set(err, OS_INVALID_ARGUMENT, "unsupported file type for upload: %s", m->path);
        w->left = (uint64_t)st.st_size;
        w->padding = (size_t)((TAR_BLOCK - w->left % TAR_BLOCK) % TAR_BLOCK);
        put_entry(w, m->name, '0', &st, w->left, "");
    }
    return 0;
}

/* --- the stream --- */

static ssize_t read_content(struct tar_writer *w, void *data, size_t n, struct os_error *err)
{
    if (!w->left) {
        size_t part = n < w->padding ? n : w->padding;
        memset(data, 0, part);
        w->padding -= part;
        if (!w->padding) {
            close(w->fd);
            w->fd = -1;
        }
        return (ssize_t)part;
    }
    ssize_t k = read(w->fd, data, n < w->left ? n : (size_t)w->left);
    const char *path = w->members[w->next - 1].path;
    if (k < 0)
        return unreadable(err, path);
    if (k == 0)
        return os_error_set(err, OS_ABORTED, "'%s' became shorter while it was uploaded", path);
    w->left -= (uint64_t)k;
    return k;
}

ssize_t tar_writer_read(struct tar_writer *w, void *data, size_t n, struct os_error *err)
{
    for (;;) {
        if (w->head_at < w->head.len) {
            size_t part = w->head.len - w->head_at < n ? w->head.len - w->head_at : n;
            memcpy(data, w->head.data + w->head_at, part);
            w->head_at += part;
            return (ssize_t)part;
        }
        os_buf_clear(&w->head);
        w->head_at = 0;
        if (w->fd >= 0) {
            ssize_t k = read_content(w, data, n, err);
            if (k)
                return k;
        } else if (w->next < w->n) {
            if (begin_member(w, &w->members[w->next++], err) < 0)
                return -1;
        } else if (!w->trailer) {
            static const char zeros[2 * TAR_BLOCK];
            w->trailer = true;
            os_buf_add(&w->head, zeros, sizeof(zeros));
        } else {
            return 0;
        }
    }
}
