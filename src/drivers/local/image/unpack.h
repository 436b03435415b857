/* Layers of an image, one over the other, into a directory (OCI image layer specification: whiteouts, opaque
 * directories). */
#ifndef DRIVERS_LOCAL_IMAGE_UNPACK_H
#define DRIVERS_LOCAL_IMAGE_UNPACK_H

#include "drivers/local/image/stream.h"
#include "drivers/local/image/tar.h"

/* What a whole image may still take. */
struct unpack_limits {
    uint64_t bytes, entries;
};

/* Unpacks one layer over what the directory holds. Every path is resolved with the directory as "/", so no
 * link of the image leads out of it; devices, set-id bits and extended attributes are dropped. source->max is
 * ignored.
 * As another user than root, everything belongs to that user, and what the image wants goes to owners, one
 * record "<uid> <gid> <octal mode> <path>" and a NUL byte for each entry. */
int unpack_layer(int root, const struct stream_source *source, struct unpack_limits *limits,
                 struct os_buf *owners, struct os_error *err);

#endif
