/* Tar headers and contents from a stream of bytes. */
#include <stdlib.h>
#include <string.h>

#include "cli/tar.h"
#include "core/buf.h"
#include "core/cleanup.h"

#define META_MAX 65536 /* bytes of a long name or a pax header */
#define MODE_BITS 0777 /* no set-id bits out of a sandbox */

enum state { HEADER, CONTENT, META, PADDING, OVER };

struct tar_reader {
    const struct tar_ops *ops;
    void *ctx;
    enum state state;
    uint8_t block[TAR_BLOCK];
    size_t have;    /* bytes of block */
    uint64_t left;  /* of content or meta */
    size_t padding; /* behind it */
    bool seen_zero; /* a block of zeros: one more ends the archive */
    char meta_type;
    struct os_buf meta;
    /* from extension headers, for the next entry */
    char *path, *link;
    bool has_size, has_mtime;
    uint64_t size;
    int64_t mtime;
    bool is_file;
};

struct tar_reader *tar_reader_new(const struct tar_ops *ops, void *ctx)
{
    struct tar_reader *r = os_calloc(1, sizeof(*r));
    r->ops = ops;
    r->ctx = ctx;
    r->meta.max = META_MAX;
    return r;
}

static void forget_extensions(struct tar_reader *r)
{
    free(r->path);
    free(r->link);
    r->path = r->link = NULL;
    r->has_size = r->has_mtime = false;
}

void tar_reader_free(struct tar_reader *r)
{
    if (!r)
        return;
    forget_extensions(r);
    os_buf_free(&r->meta);
    free(r);
}

static int refuse(struct os_error *err, const char *what, const char *path)
{
    return os_error_set(err, OS_INVALID_ARGUMENT, "refused an archive member from the sandbox: '%.200s' %s",
                        path, what);
}

/* --- header fields --- */

static char *header_path(const uint8_t *b)
{
    const char *name = (const char *)b, *prefix = (const char *)b + 345;
    bool ustar = memcmp(b + 257, "ustar\0", 6) == 0;
    if (ustar && *prefix)
        return os_asprintf("%.*s/%.*s", (int)strnlen(prefix, 155), prefix, (int)strnlen(name, 100), name);
    return os_strndup(name, strnlen(name, 100));
}

/* Relative, without "." and empty components, into out; false for what leads elsewhere. */
static bool clean_path(const char *path, char out[TAR_PATH_MAX])
{
    size_t n = 0;
    if (*path == '/' || strlen(path) >= TAR_PATH_MAX)
        return false;
    while (*path) {
        size_t part = strcspn(path, "/");
        if (part == 2 && memcmp(path, "..", 2) == 0)
            return false;
        if (part && !(part == 1 && *path == '.')) {
            if (n)
                out[n++] = '/';
            memcpy(out + n, path, part);
            n += part;
        }
        path += part;
        path += *path == '/';
    }
    out[n] = '\0';
    return true;
}

/* --- extension headers --- */

static int take_pax_record(struct tar_reader *r, const char *key, size_t key_len, const char *value, size_t n,
                           struct os_error *err)
{
    bool is_path = key_len == 4 && memcmp(key, "path", 4) == 0;
    if (is_path || (key_len == 8 && memcmp(key, "linkpath", 8) == 0)) {
        char **to = is_path ? &r->path : &r->link;
        if (memchr(value, '\0', n))
            return refuse(err, "holds a NUL byte in its name", "");
        free(*to);
        *to = os_strndup(value, n);
    } else if (key_len == 4 && memcmp(key, "size", 4) == 0) {
        if (!os_str_u64n(value, n, INT64_MAX, &r->size))
            return refuse(err, "has a bad size", r->path ? r->path : "");
        r->has_size = true;
    } else if (key_len == 5 && memcmp(key, "mtime", 5) == 0) {
        uint64_t seconds;
        const char *dot = memchr(value, '.', n);
        if (os_str_u64n(value, dot ? (size_t)(dot - value) : n, INT64_MAX, &seconds)) {
            r->mtime = (int64_t)seconds;
            r->has_mtime = true;
        }
    } else if (key_len > 11 && memcmp(key, "GNU.sparse.", 11) == 0) {
        return refuse(err, "is stored sparse; this is not supported", r->path ? r->path : "");
    }
    return 0;
}

/* "<length> <key>=<value>\n" repeated. */
static int take_pax(struct tar_reader *r, struct os_error *err)
{
    const char *at = r->meta.data, *end = at + r->meta.len;
    while (at < end) {
        const char *space = memchr(at, ' ', (size_t)(end - at));
        uint64_t length;
        if (!space || !os_str_u64n(at, (size_t)(space - at), (uint64_t)(end - at), &length) ||
            length < (uint64_t)(space - at) + 3 || at[length - 1] != '\n')
            return refuse(err, "has a malformed extended header", "");
        const char *key = space + 1, *stop = at + length - 1;
        const char *equals = memchr(key, '=', (size_t)(stop - key));
        if (!equals)
            return refuse(err, "has a malformed extended header", "");
        if (take_pax_record(r, key, (size_t)(equals - key), equals + 1, (size_t)(stop - equals - 1), err) < 0)
            return -1;
        at += length;
    }
    return 0;
}

static int take_meta(struct tar_reader *r, struct os_error *err)
{
    if (r->meta.failed)
        return refuse(err, "has an extended header that is too long", "");
    if (r->meta_type == 'x')
        return r->meta.len ? take_pax(r, err) : 0;
    if (r->meta_type == 'g')
        return 0; /* defaults for all: nothing we look at */
    char **to = r->meta_type == 'L' ? &r->path : &r->link;
    free(*to);
    *to = os_strndup(os_buf_str(&r->meta), strnlen(os_buf_str(&r->meta), r->meta.len));
    return 0;
}

/* --- entries --- */

static void expect(struct tar_reader *r, enum state state, uint64_t size)
{
    r->left = size;
    r->padding = (size_t)((TAR_BLOCK - size % TAR_BLOCK) % TAR_BLOCK);
    r->state = size ? state : HEADER;
}

static int begin_meta(struct tar_reader *r, uint64_t size, struct os_error *err)
{
    if (size > META_MAX)
        return refuse(err, "has an extended header that is too long", "");
    os_buf_clear(&r->meta);
    r->meta_type = (char)r->block[156];
    expect(r, META, size);
    return 0;
}

static int begin_entry(struct tar_reader *r, char type, uint64_t size, struct os_error *err)
{
    char path[TAR_PATH_MAX], link[TAR_PATH_MAX] = "";
    uint64_t mode, mtime;
    cleanup_free char *raw = r->path ? r->path : header_path(r->block);
    cleanup_free char *raw_link =
        r->link ? r->link : os_strndup((char *)r->block + 157, strnlen((char *)r->block + 157, 100));
    r->path = r->link = NULL;
    if (!os_tar_number(r->block + 100, 8, &mode) || !os_tar_number(r->block + 136, 12, &mtime) ||
        mtime > INT64_MAX)
        return refuse(err, "has a malformed header", raw);
    if (r->has_size)
        size = r->size;
    struct tar_entry e = {.path = path, .link = link, .mode = (uint32_t)(mode & MODE_BITS)};
    e.mtime = r->has_mtime ? r->mtime : (int64_t)mtime;
    forget_extensions(r);
    if (type == '3' || type == '4' || type == '6')
        return refuse(err, "is a device or a pipe", raw);
    if (type == 'S')
        return refuse(err, "is stored sparse; this is not supported", raw);
    if (type != '0' && type != '\0' && type != '7' && type != '1' && type != '2' && type != '5')
        return refuse(err, "is of an unknown type", raw);
    if (!clean_path(raw, path))
        return refuse(err, "leads out of the destination", raw);
    bool trailing = *raw && raw[strlen(raw) - 1] == '/';
    e.type = type == '1' || type == '2' || type == '5' ? (enum tar_type)type
             : trailing                                ? TAR_DIRECTORY
                                                       : TAR_FILE;
    if (e.type == TAR_HARDLINK && !clean_path(raw_link, link))
        return refuse(err, "is a link out of the destination", raw);
    if (e.type == TAR_SYMLINK) {
        if (!*raw_link || strlen(raw_link) >= sizeof(link))
            return refuse(err, "is a link with a bad target", raw);
        strcpy(link, raw_link);
    }
    if (!*path && e.type != TAR_DIRECTORY)
        return refuse(err, "has no name", raw);
    e.size = e.type == TAR_FILE ? size : 0;
    r->is_file = e.type == TAR_FILE;
    if (r->ops->entry(r->ctx, &e, err) < 0)
        return -1;
    expect(r, CONTENT, e.type == TAR_FILE ? size : 0);
    return r->is_file && !size ? r->ops->end(r->ctx, err) : 0;
}

static int take_header(struct tar_reader *r, struct os_error *err)
{
    static const uint8_t zeros[TAR_BLOCK];
    uint64_t size;
    r->have = 0;
    if (memcmp(r->block, zeros, TAR_BLOCK) == 0) {
        if (r->seen_zero)
            r->state = OVER;
        r->seen_zero = true;
        return 0;
    }
    r->seen_zero = false;
    if (!os_tar_checksum_good(r->block) || !os_tar_number(r->block + 124, 12, &size) || size > INT64_MAX)
        return os_error_set(err, OS_INVALID_ARGUMENT,
                            "what the sandbox sent is not a tar archive (a header is damaged)");
    char type = (char)r->block[156];
    return type == 'x' || type == 'g' || type == 'L' || type == 'K' ? begin_meta(r, size, err)
                                                                    : begin_entry(r, type, size, err);
}

/* --- stream --- */

/* Content or meta of at most n bytes; bytes taken, -1 with *err. */
static ssize_t take_body(struct tar_reader *r, const uint8_t *data, size_t n, struct os_error *err)
{
    size_t part = n < r->left ? n : (size_t)r->left;
    if (r->state == META)
        os_buf_add(&r->meta, data, part);
    else if (r->ops->data(r->ctx, data, part, err) < 0)
        return -1;
    r->left -= part;
    if (r->left)
        return (ssize_t)part;
    if ((r->state == META ? take_meta(r, err) : r->ops->end(r->ctx, err)) < 0)
        return -1;
    r->state = r->padding ? PADDING : HEADER;
    return (ssize_t)part;
}

int tar_reader_feed(struct tar_reader *r, const void *data, size_t n, struct os_error *err)
{
    const uint8_t *at = data;
    while (n && r->state != OVER) {
        size_t part = n;
        if (r->state == HEADER) {
            if (part > TAR_BLOCK - r->have)
                part = TAR_BLOCK - r->have;
            memcpy(r->block + r->have, at, part);
            r->have += part;
            if (r->have == TAR_BLOCK && take_header(r, err) < 0)
                return -1;
        } else if (r->state == PADDING) {
            if (part > r->padding)
                part = r->padding;
            r->padding -= part;
            if (!r->padding)
                r->state = HEADER;
        } else {
            ssize_t taken = take_body(r, at, n, err);
            if (taken < 0)
                return -1;
            part = (size_t)taken;
        }
        at += part;
        n -= part;
    }
    return 0; /* what follows the end is filling */
}

int tar_reader_finish(const struct tar_reader *r, struct os_error *err)
{
    if (r->state == OVER || (r->state == HEADER && r->seen_zero && !r->have))
        return 0;
    return os_error_set(err, OS_DATA_LOSS, "the archive from the sandbox ends in the middle");
}
