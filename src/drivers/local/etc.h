/* The sandbox's /etc where no overlay can have the host's below it. */
#ifndef DRIVERS_LOCAL_ETC_H
#define DRIVERS_LOCAL_ETC_H

#include "drivers/local/private.h"

/* Copies what the caller may read of /etc into the directory, which may exist: files and links, without what
 * the patterns or the driver's mask hide, without what a sandbox has of its own, and at most OS_LOCAL_ETC
 * bytes. */
int etc_copy(const struct local_settings *cfg, const char *const *hidden, size_t n, const char *to,
             struct os_error *err);

#endif
