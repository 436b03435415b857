/* Removal of directory trees that a sandbox filled. */
#ifndef DRIVERS_LOCAL_TREE_H
#define DRIVERS_LOCAL_TREE_H

#include "core/error.h"

/* rm -rf of <dir>/<name> for hostile content: follows no symbolic link, leaves the file system never, and
 * manages any depth with few descriptors and little stack. A missing tree is fine. */
int tree_remove(const char *dir, const char *name, struct os_error *err);

#endif
