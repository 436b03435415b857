/* Tar archives (POSIX ustar with the GNU and pax ways of long names). Reading is strict and touches no file:
 * what comes from a sandbox is hostile. Writing walks a local tree. */
#ifndef CLI_TAR_H
#define CLI_TAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/error.h"
#include "core/str.h"
#include "core/tar_header.h"

#define TAR_BLOCK OS_TAR_BLOCK
#define TAR_PATH_MAX 4096 /* bytes of a path or link target */

/* --- reading --- */

enum tar_type { TAR_FILE = '0', TAR_HARDLINK = '1', TAR_SYMLINK = '2', TAR_DIRECTORY = '5' };

struct tar_entry {
    enum tar_type type;
    const char *path; /* relative, no "." or ".." components, no empty ones; "" = the top directory itself */
    const char *link; /* SYMLINK: as stored; HARDLINK: as path */
    uint64_t size;
    uint32_t mode; /* the nine permission bits */
    int64_t mtime;
};

struct tar_ops {
    int (*entry)(void *ctx, const struct tar_entry *e, struct os_error *err);
    int (*data)(void *ctx, const uint8_t *data, size_t n, struct os_error *err); /* of a FILE */
    int (*end)(void *ctx, struct os_error *err);                                 /* of a FILE */
};

struct tar_reader;

struct tar_reader *tar_reader_new(const struct tar_ops *ops, void *ctx);
void tar_reader_free(struct tar_reader *r);
/* Any number of bytes. Refused (OS_INVALID_ARGUMENT): paths that are absolute or contain "..", devices,
 * fifos, unknown types, bad checksums, texts past TAR_PATH_MAX. */
int tar_reader_feed(struct tar_reader *r, const void *data, size_t n, struct os_error *err);
/* OS_DATA_LOSS when the archive is not complete. */
int tar_reader_finish(const struct tar_reader *r, struct os_error *err);

/* --- writing --- */

struct tar_writer;

struct tar_writer *tar_writer_new(void);
void tar_writer_free(struct tar_writer *w);
/* Adds a file, a link, or a directory with everything in it, below `name` in the archive ("" = its contents
 * at the top). OS_INVALID_ARGUMENT "unsupported file type for upload: <path>". */
int tar_writer_add_tree(struct tar_writer *w, const char *path, const char *name, struct os_error *err);
/* Adds one path without what is in it; what has vanished is skipped. */
int tar_writer_add(struct tar_writer *w, const char *path, const char *name, struct os_error *err);
/* The archive in order: bytes, 0 at the end, -1 with *err. */
ssize_t tar_writer_read(struct tar_writer *w, void *data, size_t n, struct os_error *err);

#endif
