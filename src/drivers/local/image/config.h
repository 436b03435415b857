/* What an image says about how it wants to be run (OCI image configuration). */
#ifndef DRIVERS_LOCAL_IMAGE_CONFIG_H
#define DRIVERS_LOCAL_IMAGE_CONFIG_H

#include "core/error.h"
#include "core/str.h"

/* This machine's, as OCI names it. */
#if defined(__x86_64__)
#define IMAGE_ARCHITECTURE "amd64"
#elif defined(__aarch64__)
#define IMAGE_ARCHITECTURE "arm64"
#endif

struct image_config {
    struct os_strv env;      /* "NAME=value" */
    char *workdir, *user;    /* "" = none */
    struct os_strv diff_ids; /* digests of the unpacked layers, hex, from the lowest */
};

/* Docker's images have the same form. The architecture must be this machine's. */
int image_config_parse(const char *json, size_t n, struct image_config *out, struct os_error *err);
void image_config_clear(struct image_config *c);

/* Numbers of config.User ("", "user", "uid", "user:group", "uid:gid") after the image's passwd and group
 * texts. *uid = 0 means root, or nothing said. */
int image_user_resolve(const char *user, const char *passwd, const char *group, uint32_t *uid, uint32_t *gid,
                       struct os_error *err);

#endif
