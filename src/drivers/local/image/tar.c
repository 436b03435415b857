/* Strict reader of tar archives: see tar.h. */
#include "drivers/local/image/tar.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/str.h"
#include "core/tar_header.h"

#define PAX_MAX ((uint64_t)1 << 20) /* bytes of one extended header */
#define SIZE_MAX_BYTES ((uint64_t)1 << 42)
#define COMPONENT_MAX 255

struct header {
    char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], sum[8], type;
    char link[100], magic[8], uname[32], gname[32], major[8], minor[8], prefix[155], pad[12];
};
_Static_assert(sizeof(struct header) == OS_TAR_BLOCK, "a tar header is one block");

/* What extended headers say about the next entry. */
struct extension {
    char *name, *link; /* NULL = nothing */
    bool has_size, has_uid, has_gid, has_mtime;
    uint64_t size, uid, gid;
    int64_t mtime;
};

void tar_init(struct tar *t, tar_read_fn *read, void *ctx, uint64_t entries_max)
{
    *t = (struct tar){.read = read, .ctx = ctx, .entries_max = entries_max};
}

static int damaged(const struct tar *t, struct os_error *err, const char *what)
{
    return os_error_set(err, OS_DATA_LOSS, "the tar archive is damaged near byte %llu: %s",
                        (unsigned long long)t->offset, what);
}

/* Reads exactly n bytes; 1, or 0 when the archive ends before the first, or -1. */
static int read_all(struct tar *t, void *data, size_t n, struct os_error *err)
{
    for (size_t done = 0; done < n;) {
        ssize_t got = t->read(t->ctx, (char *)data + done, n - done, err);
        if (got < 0)
            return -1;
        if (got == 0)
            return done == 0 ? 0 : damaged(t, err, "it ends in the middle of an entry");
        done += (size_t)got;
        t->offset += (uint64_t)got;
    }
    return 1;
}

ssize_t tar_content(struct tar *t, void *data, size_t n, struct os_error *err)
{
    if (n > t->left)
        n = (size_t)t->left;
    if (n == 0)
        return 0;
    ssize_t got = t->read(t->ctx, data, n, err);
    if (got == 0)
        return damaged(t, err, "it ends in the middle of a file");
    if (got > 0) {
        t->offset += (uint64_t)got;
        t->left -= (uint64_t)got;
    }
    return got;
}

static int skip(struct tar *t, struct os_error *err)
{
    char junk[16384];
    while (t->left)
        if (tar_content(t, junk, sizeof(junk), err) < 0)
            return -1;
    int rc = t->pad ? read_all(t, junk, (size_t)t->pad, err) : 1;
    t->pad = 0;
    return rc == 0 ? damaged(t, err, "it ends in the middle of an entry") : rc < 0 ? -1 : 0;
}

static void expect(struct tar *t, uint64_t size)
{
    t->left = size;
    t->pad = (OS_TAR_BLOCK - size % OS_TAR_BLOCK) % OS_TAR_BLOCK;
}

static bool is_ustar(const struct header *h)
{
    return memcmp(h->magic, "ustar\00000", 8) == 0;
}

static bool all_zero(const struct header *h)
{
    static const struct header zero;
    return memcmp(h, &zero, sizeof(zero)) == 0;
}

/* Drops leading slashes and "." components; false for "..", empty names within and overlong components. */
static bool clean_name(const char *name, char out[TAR_NAME_MAX + 1])
{
    size_t used = 0;
    for (const char *p = name; *p;) {
        size_t n = strcspn(p, "/");
        bool skipped = n == 0 || (n == 1 && *p == '.');
        if ((n == 2 && p[0] == '.' && p[1] == '.') || n > COMPONENT_MAX)
            return false;
        if (!skipped) {
            if (used + n + 1 > TAR_NAME_MAX)
                return false;
            if (used)
                out[used++] = '/';
            memcpy(out + used, p, n);
            used += n;
        }
        p += n + (p[n] == '/');
    }
    out[used] = '\0';
    return true;
}

/* --- extended headers --- */

static void extension_clear(struct extension *x)
{
    free(x->name);
    free(x->link);
    *x = (struct extension){0};
}

static bool set_text(char **out, const char *value, size_t n)
{
    if (n > TAR_NAME_MAX || memchr(value, '\0', n))
        return false;
    free(*out);
    *out = os_strndup(value, n);
    return true;
}

/* Seconds with an optional fraction and sign; the fraction is dropped. */
static bool pax_time(const char *value, size_t n, int64_t *out)
{
    bool negative = n && *value == '-';
    value += negative;
    n -= negative;
    const char *dot = memchr(value, '.', n);
    uint64_t seconds;
    if (!os_str_u64n(value, dot ? (size_t)(dot - value) : n, (uint64_t)1 << 40, &seconds))
        return false;
    *out = negative ? -(int64_t)seconds : (int64_t)seconds;
    return true;
}

/* False when the value is not valid; keys that mean nothing to us are skipped. */
static bool pax_record(struct extension *x, const char *key, size_t key_n, const char *value, size_t n)
{
#define IS(text) (key_n == sizeof(text) - 1 && memcmp(key, text, key_n) == 0)
    if (IS("path"))
        return set_text(&x->name, value, n);
    if (IS("linkpath"))
        return set_text(&x->link, value, n);
    if (IS("size"))
        return x->has_size = os_str_u64n(value, n, SIZE_MAX_BYTES, &x->size);
    if (IS("uid"))
        return x->has_uid = os_str_u64n(value, n, UINT32_MAX - 1, &x->uid);
    if (IS("gid"))
        return x->has_gid = os_str_u64n(value, n, UINT32_MAX - 1, &x->gid);
    if (IS("mtime"))
        return x->has_mtime = pax_time(value, n, &x->mtime);
    return !(key_n >= 10 && memcmp(key, "GNU.sparse", 10) == 0);
#undef IS
}

/* "<length> <key>=<value>\n", the length in decimal and counting everything. */
static int pax_parse(struct tar *t, struct extension *x, const char *p, size_t n, struct os_error *err)
{
    while (n) {
        const char *space = memchr(p, ' ', n < 20 ? n : 20);
        uint64_t len;
        if (!space || !os_str_u64n(p, (size_t)(space - p), n, &len) || len < (uint64_t)(space - p) + 3 ||
            p[len - 1] != '\n')
            return damaged(t, err, "an extended header record is malformed");
        const char *key = space + 1, *end = p + len - 1;
        const char *equals = memchr(key, '=', (size_t)(end - key));
        if (!equals || equals == key)
            return damaged(t, err, "an extended header record has no key");
        if (!pax_record(x, key, (size_t)(equals - key), equals + 1, (size_t)(end - equals - 1)))
            return os_error_set(err, OS_DATA_LOSS,
                                "the tar archive has an extended header '%.*s' that is invalid or not "
                                "supported, near byte %llu",
                                (int)((equals - key) > 64 ? 64 : equals - key), key,
                                (unsigned long long)t->offset);
        p += len;
        n -= (size_t)len;
    }
    return 0;
}

static int read_extension(struct tar *t, const struct header *h, struct extension *x, struct os_error *err)
{
    cleanup_buf struct os_buf b = {0};
    uint64_t size;
    if (!os_tar_number(h->size, sizeof(h->size), &size) || size > PAX_MAX)
        return damaged(t, err, "an extended header is too long");
    if (!os_buf_reserve(&b, (size_t)size + 1))
        return os_error_set(err, OS_RESOURCE_EXHAUSTED, "no memory for an extended tar header");
    expect(t, size);
    int rc = size ? read_all(t, b.data, (size_t)size, err) : 1;
    if (rc <= 0)
        return rc < 0 ? -1 : damaged(t, err, "it ends in the middle of an extended header");
    t->left = 0;
    if (h->type == 'x')
        return pax_parse(t, x, b.data, (size_t)size, err);
    if (h->type == 'g')
        return 0; /* defaults for all entries; nothing that images depend on */
    while (size && b.data[size - 1] == '\0')
        size--;
    return set_text(h->type == 'L' ? &x->name : &x->link, b.data ? b.data : "", (size_t)size)
               ? 0
               : damaged(t, err, "a long name is not valid");
}

/* --- entries --- */

static int set_type(struct tar *t, const struct header *h, struct tar_entry *e, struct os_error *err)
{
    switch (h->type) {
    case '\0':
    case '0':
    case '7':
        e->type = TAR_FILE;
        return 0;
    case '1':
        e->type = TAR_HARD_LINK;
        return 0;
    case '2':
        e->type = TAR_SYMBOLIC_LINK;
        return 0;
    case '3':
    case '4':
        e->type = TAR_DEVICE;
        return 0;
    case '5':
        e->type = TAR_DIRECTORY;
        return 0;
    case '6':
        e->type = TAR_FIFO;
        return 0;
    default:
        return os_error_set(err, OS_DATA_LOSS,
                            "the tar archive has an entry of type '%c' (0x%02x) near byte %llu, which is not "
                            "supported",
                            h->type >= ' ' && h->type < 127 ? h->type : '?', (unsigned char)h->type,
                            (unsigned long long)t->offset);
    }
}

static int set_names(struct tar *t, const struct header *h, const struct extension *x, struct tar_entry *e,
                     struct os_error *err)
{
    char name[sizeof(h->prefix) + sizeof(h->name) + 2];
    int prefix = is_ustar(h) ? (int)strnlen(h->prefix, sizeof(h->prefix)) : 0;
    snprintf(name, sizeof(name), "%.*s%s%.*s", prefix, h->prefix, prefix ? "/" : "", (int)sizeof(h->name),
             h->name);
    const char *text = x->name ? x->name : name;
    if (!clean_name(text, e->name))
        return os_error_set(err, OS_DATA_LOSS, "the tar archive has an entry with the unsafe name '%.128s'",
                            text);
    size_t n = strlen(text);
    if (e->type == TAR_FILE && h->type != '7' && n && text[n - 1] == '/')
        e->type = TAR_DIRECTORY; /* how the oldest archives write directories */
    char link[sizeof(h->link) + 1];
    snprintf(link, sizeof(link), "%.*s", (int)sizeof(h->link), h->link);
    text = x->link ? x->link : link;
    if (e->type == TAR_HARD_LINK && (!clean_name(text, e->link) || !*e->link))
        return os_error_set(err, OS_DATA_LOSS, "the tar archive has a link to the unsafe name '%.128s'",
                            text);
    if (e->type == TAR_SYMBOLIC_LINK) {
        if (!*text)
            return damaged(t, err, "a symbolic link has no target");
        snprintf(e->link, sizeof(e->link), "%s", text);
    }
    return 0;
}

static int set_entry(struct tar *t, const struct header *h, const struct extension *x, struct tar_entry *e,
                     struct os_error *err)
{
    uint64_t mode, uid, gid, size, mtime;
    if (!os_tar_number(h->mode, sizeof(h->mode), &mode) || !os_tar_number(h->uid, sizeof(h->uid), &uid) ||
        !os_tar_number(h->gid, sizeof(h->gid), &gid) || !os_tar_number(h->size, sizeof(h->size), &size) ||
        !os_tar_number(h->mtime, sizeof(h->mtime), &mtime))
        return damaged(t, err, "an entry has a malformed number");
    size = x->has_size ? x->size : size;
    uid = x->has_uid ? x->uid : uid;
    gid = x->has_gid ? x->gid : gid;
    if (size > SIZE_MAX_BYTES || uid >= UINT32_MAX || gid >= UINT32_MAX || mtime > (uint64_t)1 << 40)
        return damaged(t, err, "an entry has a number out of range");
    *e = (struct tar_entry){.mode = (mode_t)mode & 07777, .uid = (uid_t)uid, .gid = (gid_t)gid};
    e->mtime = x->has_mtime ? x->mtime : (int64_t)mtime;
    if (set_type(t, h, e, err) < 0 || set_names(t, h, x, e, err) < 0)
        return -1;
    /* Only files have content, whatever the size of the others says; some writers give links one. */
    e->size = e->type == TAR_FILE ? size : 0;
    e->offset = t->offset;
    expect(t, e->size);
    return 0;
}

static int next(struct tar *t, struct extension *x, struct tar_entry *e, struct os_error *err)
{
    for (;;) {
        struct header h;
        int rc = skip(t, err) < 0 ? -1 : read_all(t, &h, sizeof(h), err);
        if (rc <= 0 || all_zero(&h))
            return rc < 0 ? -1 : 0;
        if (!os_tar_checksum_good(&h))
            return damaged(t, err, "a header has a wrong checksum");
        if (++t->entries > t->entries_max)
            return os_error_set(err, OS_RESOURCE_EXHAUSTED,
                                "the tar archive has more than %llu entries, the limit",
                                (unsigned long long)t->entries_max);
        if (!strchr("xgLK", h.type) || !h.type)
            return set_entry(t, &h, x, e, err) < 0 ? -1 : 1;
        if (read_extension(t, &h, x, err) < 0)
            return -1;
    }
}

int tar_next(struct tar *t, struct tar_entry *e, struct os_error *err)
{
    struct extension x = {0};
    int rc = next(t, &x, e, err);
    if (rc == 0 && (x.name || x.link || x.has_size))
        rc = damaged(t, err, "it ends after an extended header");
    extension_clear(&x);
    return rc;
}
