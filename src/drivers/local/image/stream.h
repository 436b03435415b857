/* The bytes of one blob of an image: read from a range of a file, checked against its digest, decompressed
 * (gzip RFC 1952, zstd RFC 8878, or plain, told by the first bytes), and checked again. */
#ifndef DRIVERS_LOCAL_IMAGE_STREAM_H
#define DRIVERS_LOCAL_IMAGE_STREAM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/error.h"

#define DIGEST_LEN 65 /* lower-case hex of SHA-256 and its end */

struct stream;

struct stream_source {
    int fd; /* borrowed; read with pread */
    uint64_t offset, size;
    const char *digest;  /* of the stored bytes, hex; "" = not known */
    const char *diff_id; /* of the decompressed bytes, hex; "" = not known */
    uint64_t max;        /* decompressed bytes that are accepted */
};

/* The texts are borrowed until stream_free. */
struct stream *stream_open(const struct stream_source *source, struct os_error *err);
/* As read(2); ctx is the stream (a tar_read_fn). */
ssize_t stream_read(void *ctx, void *data, size_t n, struct os_error *err);
/* Reads what is left and compares the digests. */
int stream_finish(struct stream *s, struct os_error *err);
void stream_free(struct stream *s);

/* "sha256:<64 hex>" to its hex; false for anything else. */
bool digest_parse(const char *text, char out[DIGEST_LEN]);
void sha256_hex(const void *data, size_t n, char out[DIGEST_LEN]);

#endif
