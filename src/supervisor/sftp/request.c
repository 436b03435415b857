/* SFTP packets to requests, and the pieces answers are made of. */
#include "supervisor/sftp/request.h"

#include <string.h>

#define HANDLE_BYTES 4
#define ATTR_EXTENDED 0x80000000u
#define EXTENSION_MAX 64

struct reader {
    const uint8_t *at;
    size_t left;
    bool bad;
};

static uint32_t get_u32(struct reader *r)
{
    if (r->left < 4) {
        r->bad = true;
        r->left = 0;
        return 0;
    }
    uint32_t v = (uint32_t)r->at[0] << 24 | (uint32_t)r->at[1] << 16 | (uint32_t)r->at[2] << 8 | r->at[3];
    r->at += 4;
    r->left -= 4;
    return v;
}

static uint64_t get_u64(struct reader *r)
{
    uint64_t high = get_u32(r);
    return high << 32 | get_u32(r);
}

static const uint8_t *get_bytes(struct reader *r, uint32_t *n)
{
    *n = get_u32(r);
    if (r->bad || *n > r->left) {
        r->bad = true;
        *n = 0;
        return NULL;
    }
    const uint8_t *p = r->at;
    r->at += *n;
    r->left -= *n;
    return p;
}

static const char *get_text(struct reader *r, struct os_arena *a)
{
    uint32_t n;
    const uint8_t *p = get_bytes(r, &n);
    if (r->bad || (n && memchr(p, '\0', n))) {
        r->bad = true;
        return "";
    }
    return os_arena_strndup(a, n ? (const char *)p : "", n);
}

static uint32_t get_handle(struct reader *r)
{
    uint32_t n;
    const uint8_t *p = get_bytes(r, &n);
    if (r->bad || n != HANDLE_BYTES)
        return UINT32_MAX;
    struct reader inner = {.at = p, .left = n};
    return get_u32(&inner);
}

static void get_attrs(struct reader *r, struct sftp_attrs *a)
{
    a->flags = get_u32(r);
    if (a->flags & SFTP_ATTR_SIZE)
        a->size = get_u64(r);
    if (a->flags & SFTP_ATTR_OWNER) {
        a->uid = get_u32(r);
        a->gid = get_u32(r);
    }
    if (a->flags & SFTP_ATTR_MODE)
        a->mode = get_u32(r);
    if (a->flags & SFTP_ATTR_TIMES) {
        a->atime = get_u32(r);
        a->mtime = get_u32(r);
    }
    if (a->flags & ATTR_EXTENDED) {
        uint32_t n, ignored;
        for (n = get_u32(r); n && !r->bad; n--) {
            get_bytes(r, &ignored);
            get_bytes(r, &ignored);
        }
    }
}

static void get_extended(struct reader *r, struct os_arena *a, struct sftp_request *out)
{
    out->extension = get_text(r, a);
    if (strcmp(out->extension, "posix-rename@openssh.com") == 0 ||
        strcmp(out->extension, "hardlink@openssh.com") == 0) {
        out->path = get_text(r, a);
        out->other = get_text(r, a);
    } else if (strcmp(out->extension, "fsync@openssh.com") == 0) {
        out->handle = get_handle(r);
    } else if (strcmp(out->extension, "expand-path@openssh.com") == 0) {
        out->path = get_text(r, a);
    }
}

bool sftp_request_parse(const uint8_t *packet, size_t n, struct os_arena *a, struct sftp_request *out)
{
    *out = (struct sftp_request){.path = "", .other = "", .extension = "", .handle = UINT32_MAX};
    if (!n)
        return false;
    struct reader r = {.at = packet + 1, .left = n - 1};
    out->type = packet[0];
    out->id = get_u32(&r);
    switch (out->type) {
    case SFTP_OPEN:
        out->path = get_text(&r, a);
        out->flags = get_u32(&r);
        get_attrs(&r, &out->attrs);
        break;
    case SFTP_CLOSE:
    case SFTP_FSTAT:
    case SFTP_READDIR:
        out->handle = get_handle(&r);
        break;
    case SFTP_READ:
        out->handle = get_handle(&r);
        out->offset = get_u64(&r);
        out->length = get_u32(&r);
        break;
    case SFTP_WRITE:
        out->handle = get_handle(&r);
        out->offset = get_u64(&r);
        out->data = get_bytes(&r, &out->length);
        break;
    case SFTP_SETSTAT:
    case SFTP_MKDIR:
        out->path = get_text(&r, a);
        get_attrs(&r, &out->attrs);
        break;
    case SFTP_FSETSTAT:
        out->handle = get_handle(&r);
        get_attrs(&r, &out->attrs);
        break;
    case SFTP_LSTAT:
    case SFTP_STAT:
    case SFTP_OPENDIR:
    case SFTP_REMOVE:
    case SFTP_RMDIR:
    case SFTP_REALPATH:
    case SFTP_READLINK:
        out->path = get_text(&r, a);
        break;
    case SFTP_RENAME:
    case SFTP_SYMLINK:
        out->path = get_text(&r, a);
        out->other = get_text(&r, a);
        break;
    case SFTP_EXTENDED:
        get_extended(&r, a, out);
        break;
    default:
        break;
    }
    return !r.bad;
}

/* --- answers --- */

void sftp_put_u32(struct os_buf *b, uint32_t v)
{
    const uint8_t bytes[] = {(uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v};
    os_buf_add(b, bytes, sizeof(bytes));
}

void sftp_put_u64(struct os_buf *b, uint64_t v)
{
    sftp_put_u32(b, (uint32_t)(v >> 32));
    sftp_put_u32(b, (uint32_t)v);
}

void sftp_put_text(struct os_buf *b, const char *s)
{
    size_t n = strlen(s);
    sftp_put_u32(b, (uint32_t)n);
    os_buf_add(b, s, n);
}

void sftp_put_attrs(struct os_buf *b, const struct sftp_attrs *a)
{
    sftp_put_u32(b, a->flags);
    if (a->flags & SFTP_ATTR_SIZE)
        sftp_put_u64(b, a->size);
    if (a->flags & SFTP_ATTR_OWNER) {
        sftp_put_u32(b, a->uid);
        sftp_put_u32(b, a->gid);
    }
    if (a->flags & SFTP_ATTR_MODE)
        sftp_put_u32(b, a->mode);
    if (a->flags & SFTP_ATTR_TIMES) {
        sftp_put_u32(b, a->atime);
        sftp_put_u32(b, a->mtime);
    }
}
