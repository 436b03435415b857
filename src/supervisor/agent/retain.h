/* The last OS_MAIN_RETAINED bytes of the main process's output, with the stream each byte belongs to. Readers
 * are positions, counted in bytes since the start; memory is fixed however small the writes are. */
#ifndef SUPERVISOR_AGENT_RETAIN_H
#define SUPERVISOR_AGENT_RETAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/limits.h"

/* Runs of one stream; past this many the oldest run is dropped although its bytes would still fit. */
#define RETAIN_RUNS 8192

struct retain_run {
    uint64_t end; /* position after the last byte */
    bool is_err;
};

struct retain {
    uint8_t *bytes; /* ring of OS_MAIN_RETAINED bytes, position modulo size */
    struct retain_run *runs;
    size_t first_run, n_runs;
    uint64_t head, tail; /* positions: oldest byte kept, next byte to come */
};

void retain_init(struct retain *r);
void retain_free(struct retain *r);
void retain_add(struct retain *r, bool is_err, const uint8_t *data, size_t n);
/* The piece of one stream at pos, at most max bytes; 0 when pos is at the tail. pos >= head. */
size_t retain_at(const struct retain *r, uint64_t pos, size_t max, const uint8_t **data, bool *is_err);

#endif
