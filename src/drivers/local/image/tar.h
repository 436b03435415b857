/* Strict reader of tar archives: ustar, pax and GNU long names (POSIX.1-2017 pax, "pax Interchange Format").
 * Bytes come from a function, so it touches no file; nothing it returns has been made safe for a file system
 * beyond what tar_entry says. */
#ifndef DRIVERS_LOCAL_IMAGE_TAR_H
#define DRIVERS_LOCAL_IMAGE_TAR_H

#include <stdint.h>
#include <sys/types.h>

#include "core/buf.h"
#include "core/error.h"

#define TAR_NAME_MAX 4095 /* bytes of a name or link target */

/* As read(2): up to n bytes, 0 at the end, -1 with *err. */
typedef ssize_t tar_read_fn(void *ctx, void *data, size_t n, struct os_error *err);

enum tar_type { TAR_FILE, TAR_HARD_LINK, TAR_SYMBOLIC_LINK, TAR_DIRECTORY, TAR_FIFO, TAR_DEVICE };

struct tar_entry {
    enum tar_type type;
    /* Relative, without empty, "." and ".." components; "" is the root itself. */
    char name[TAR_NAME_MAX + 1];
    /* TAR_HARD_LINK: as name. TAR_SYMBOLIC_LINK: any text. */
    char link[TAR_NAME_MAX + 1];
    mode_t mode; /* 07777 */
    uid_t uid;
    gid_t gid;
    int64_t mtime;   /* seconds since the epoch */
    uint64_t size;   /* bytes of content that follow; 0 unless TAR_FILE */
    uint64_t offset; /* of the content in the archive */
};

struct tar {
    tar_read_fn *read;
    void *ctx;
    uint64_t offset;    /* bytes read so far */
    uint64_t left, pad; /* of the current entry's content */
    uint64_t entries, entries_max;
};

/* At most entries_max entries are accepted. */
void tar_init(struct tar *t, tar_read_fn *read, void *ctx, uint64_t entries_max);
/* Skips what is left of the entry before. 1 = an entry, 0 = the end, -1 = damaged or refused. */
int tar_next(struct tar *t, struct tar_entry *e, struct os_error *err);
/* Content of the current entry, 0 at its end. */
ssize_t tar_content(struct tar *t, void *data, size_t n, struct os_error *err);

#endif
