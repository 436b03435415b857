/* What a sandbox runs over: the machine's own system ("host"), a directory of the machine ("dir:PATH"), or an
 * image from an OCI layout or archive ("oci:PATH" or "oci:PATH:NAME"). It is chosen when the sandbox is
 * created and recorded in its state directory; every later start uses the same. */
#ifndef DRIVERS_LOCAL_ROOTFS_H
#define DRIVERS_LOCAL_ROOTFS_H

#include "drivers/local/image/store.h"
#include "drivers/local/private.h"

struct rootfs {
    char *lower;                /* directory of the machine; NULL = the machine's own system */
    char digest[DIGEST_LEN];    /* of an image, "" otherwise */
    struct image_config config; /* of an image */
    uid_t uid;                  /* of the agent */
    gid_t gid;
};

/* Syntax of a reference, and that there is something of the right kind. */
int rootfs_check(const struct local_settings *cfg, const char *reference, struct os_error *err);
/* For a new sandbox: finds, unpacks and counts what it needs. FAILED_PRECONDITION when it cannot be used. */
int rootfs_acquire(const struct local_settings *cfg, struct images *images, const char *reference,
                   struct rootfs *out, struct os_error *err);
/* "host", "dir <path>" or "image <digest>", and back; opening counts nothing. */
char *rootfs_record(const struct rootfs *r);
int rootfs_open(const struct local_settings *cfg, const struct images *images, const char *record,
                struct rootfs *out, struct os_error *err);
/* Frees the texts only. */
void rootfs_clear(struct rootfs *r);

/* True when the path, links resolved within it, exists in a directory root. */
bool rootfs_has(const struct rootfs *r, const char *path);
/* "/sandbox" unless the image names another directory. */
const char *rootfs_workdir(const struct rootfs *r);

#endif
