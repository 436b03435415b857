/* The writable part of a sandbox's file system, made once, before anything ran in it: `root` (what is the
 * sandbox's own), `workspace`, and `layers/<top>/{upper,work}` for every shared directory of the host
 * (tbl/shared.h), with what must not be seen hidden in the upper layer (tbl/hidden.h). */
#ifndef DRIVERS_LOCAL_LAYER_H
#define DRIVERS_LOCAL_LAYER_H

#include "core/str.h"
#include "drivers/local/private.h"

/* dir is the sandbox's state directory, absolute; root, workspace and layers must not exist in it. */
int layer_make(const struct local_settings *cfg, const char *dir, struct os_error *err);
/* Names of the top-level directories that have a layer. */
void layer_list(const char *dir, struct os_strv *tops);

/* Before every start but the first: drops overlayfs's notes of the last time, which say that the layer was
 * not synced when it was taken apart. */
int layer_renew(const char *dir, struct os_error *err);

#endif
