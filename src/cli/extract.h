/* A tar archive from a sandbox into a local directory, without ever leaving it: no link is followed, no
 * device is made, no set-id bit is kept. */
#ifndef CLI_EXTRACT_H
#define CLI_EXTRACT_H

#include "cli/tar.h"

struct extract;

/* Into the directory `root` (borrowed descriptor), which takes mode and time of the archive's top directory
 * when own_root. With `only`, the archive must hold exactly that one file. */
struct extract *extract_new(int root, bool own_root, const char *only);
int extract_feed(struct extract *x, const void *data, size_t n, struct os_error *err);
/* Modes and times of directories; checks that the archive was complete. */
int extract_finish(struct extract *x, struct os_error *err);
/* A file whose content is not complete is removed. */
void extract_free(struct extract *x);

#endif
