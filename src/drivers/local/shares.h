/* Directories of the machine and memory file systems a sandbox is given: driver_config.mounts
 * (spec/drivers.md 3.6, 4.3, 9 R12). */
#ifndef DRIVERS_LOCAL_SHARES_H
#define DRIVERS_LOCAL_SHARES_H

#include <stdbool.h>

#include "drivers/local/private.h"

struct share {
    char *source; /* directory of the machine, resolved; NULL = a memory file system */
    char *target; /* absolute, normalized */
    bool read_only;
    uint64_t size; /* of a memory file system, bytes */
    unsigned mode;
};

struct shares {
    struct share *v;
    size_t n;
};

/* The block's own keys; NULL has none. Checks everything against the machine as it is now, and workdir, the
 * working directory of the agent. Clear it in any case. */
int shares_parse(const struct local_settings *cfg, const Google__Protobuf__Struct *config,
                 const char *workdir, struct shares *out, struct os_error *err);
void shares_clear(struct shares *s);

#endif
