/* The compiled rules, for the scanner. */
#ifndef SUPERVISOR_EGRESS_SECRETS_PRIV_H
#define SUPERVISOR_EGRESS_SECRETS_PRIV_H

#include <stdatomic.h>

#include "supervisor/egress/credentials/secrets.h"
#include "supervisor/egress/credentials/shapes.h"

#define SECRET_BUCKETS 32
/* The bit of the AWS secret key in secret_view.allowed, behind those of the table. */
#define SECRET_AWS_BIT 63

struct secret_allow {
    char *rule, *host;
};

/* Prefilter. Every row belongs to one of 32 buckets, rows that begin with the same three bytes to the same
 * one. A byte's entry has a bit for each bucket of which a row has that byte there: bits 0-31 of first and
 * second are for places 0 and 1 of a row, bits 32-63 for places 1 and 2, so that one pair of bytes tells of
 * two possible starts. */
struct secret_filter {
    uint64_t first[256], second[256];
    uint32_t third[256];
    uint64_t rows[SECRET_BUCKETS][2]; /* bit per row */
};

struct secret_rules {
    atomic_uint refs;
    enum secret_mode mode;
    uint8_t key[SECRET_KEY];
    struct secret_known *known; /* owned texts */
    size_t n_known;
    struct secret_allow *allow;
    size_t n_allow;
    struct secret_filter filter[2]; /* of what is acted on, and of hints */
};

/* Rows of the table, then known texts. */
static inline size_t secret_rows(const struct secret_rules *r)
{
    return shapes_n + r->n_known;
}

#endif
