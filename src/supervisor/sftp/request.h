/* Requests as values: the packet decoded, nothing done yet. Pure. */
#ifndef SUPERVISOR_SFTP_REQUEST_H
#define SUPERVISOR_SFTP_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/arena.h"
#include "core/buf.h"

#define SFTP_PACKET_MAX 270336 /* bytes of a packet; a write of 256 KiB fits, as with OpenSSH */
#define SFTP_READ_MAX 262144   /* bytes of one read */
#define SFTP_VERSION 3

enum sftp_type {
    SFTP_INIT = 1,
    SFTP_OPEN = 3,
    SFTP_CLOSE,
    SFTP_READ,
    SFTP_WRITE,
    SFTP_LSTAT,
    SFTP_FSTAT,
    SFTP_SETSTAT,
    SFTP_FSETSTAT,
    SFTP_OPENDIR,
    SFTP_READDIR,
    SFTP_REMOVE,
    SFTP_MKDIR,
    SFTP_RMDIR,
    SFTP_REALPATH,
    SFTP_STAT,
    SFTP_RENAME,
    SFTP_READLINK,
    SFTP_SYMLINK,
    SFTP_STATUS = 101,
    SFTP_HANDLE,
    SFTP_DATA,
    SFTP_NAME,
    SFTP_ATTRS,
    SFTP_EXTENDED = 200,
};

enum sftp_status {
    SFTP_OK,
    SFTP_EOF,
    SFTP_NO_SUCH_FILE,
    SFTP_PERMISSION_DENIED,
    SFTP_FAILURE,
    SFTP_BAD_MESSAGE,
    SFTP_UNSUPPORTED = 8,
};

enum sftp_attr { SFTP_ATTR_SIZE = 1, SFTP_ATTR_OWNER = 2, SFTP_ATTR_MODE = 4, SFTP_ATTR_TIMES = 8 };

struct sftp_attrs {
    uint32_t flags; /* enum sftp_attr: what is there */
    uint64_t size;
    uint32_t uid, gid, mode, atime, mtime;
};

/* What of it is set depends on the type. Texts are in the arena and hold no NUL inside. */
struct sftp_request {
    uint8_t type; /* of enum sftp_type, or unknown */
    uint32_t id;  /* INIT: version of the client */
    const char *path, *other;
    uint32_t handle; /* UINT32_MAX when the packet names none of ours */
    uint32_t flags;  /* OPEN */
    uint64_t offset;
    uint32_t length;
    const uint8_t *data; /* WRITE, borrowed */
    struct sftp_attrs attrs;
    const char *extension; /* EXTENDED */
};

/* Decodes one packet (without its length). False when it is malformed; id is set when it was there. */
bool sftp_request_parse(const uint8_t *packet, size_t n, struct os_arena *a, struct sftp_request *out);

/* --- answers --- */

void sftp_put_u32(struct os_buf *b, uint32_t v);
void sftp_put_u64(struct os_buf *b, uint64_t v);
void sftp_put_text(struct os_buf *b, const char *s);
void sftp_put_attrs(struct os_buf *b, const struct sftp_attrs *a);

#endif
