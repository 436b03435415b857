/* Where an image lies on this machine: an OCI image layout (a directory, or a tar archive of one), or the
 * archive `docker save` writes. Finds one image in it and checks what describes it. */
#ifndef DRIVERS_LOCAL_IMAGE_LAYOUT_H
#define DRIVERS_LOCAL_IMAGE_LAYOUT_H

#include "core/buf.h"
#include "drivers/local/image/config.h"
#include "drivers/local/image/stream.h"

struct image_layer {
    int fd;
    uint64_t offset, size;
    char digest[DIGEST_LEN];  /* of the blob; "" in Docker's archives */
    char diff_id[DIGEST_LEN]; /* of the unpacked layer */
};

struct image {
    char digest[DIGEST_LEN]; /* of the manifest, or of the configuration in Docker's archives: names it */
    struct os_buf json;      /* its configuration as it was found, and parsed */
    struct image_config config;
    struct image_layer *layers; /* from the lowest */
    size_t n_layers;
};

/* path: a directory or a file. name: which of several images (the annotation
 * org.opencontainers.image.ref.name, or a RepoTag), "" when there is one only. Clear it in any case. */
int layout_find(const char *path, const char *name, struct image *out, struct os_error *err);
void image_clear(struct image *i);

#endif
