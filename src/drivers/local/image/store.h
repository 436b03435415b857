/* Unpacked images, <state_dir>.images/<digest>: `root` is the file system, `config.json` the image's
 * configuration. Every sandbox of an image has the same `root` as its lower layer. Any thread. */
#ifndef DRIVERS_LOCAL_IMAGE_STORE_H
#define DRIVERS_LOCAL_IMAGE_STORE_H

#include "drivers/local/image/config.h"
#include "drivers/local/image/stream.h"
#include "drivers/local/private.h"

struct images;

/* Removes unpackings that were cut short. */
/* cfg outlives the images. */
struct images *images_new(const struct local_settings *cfg, struct os_error *err);
void images_free(struct images *s);
/* Finds the image (layout_find), unpacks it unless it is there, and counts one more user. */
int images_acquire(struct images *s, const char *path, const char *name, char digest[DIGEST_LEN],
                   struct os_error *err);
/* One more user of an image that was acquired in another time. */
void images_adopt(struct images *s, const char *digest);
/* One user less. Of the images nobody uses, the last OS_LOCAL_IMAGES_KEPT stay. */
void images_release(struct images *s, const char *digest);
/* Removes unused images beyond those kept; after all sandboxes are adopted. */
void images_collect(struct images *s);
/* <dir>/<digest>/root; caller frees. */
char *images_root(const struct images *s, const char *digest);
int images_config(const struct images *s, const char *digest, struct image_config *out, struct os_error *err);

#endif
