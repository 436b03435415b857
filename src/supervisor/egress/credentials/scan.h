/* Looks for secrets in a stream of bytes, however it is cut into pieces. Bytes in, bytes out; no I/O and no
 * allocation; what is remembered between two pieces is bounded. */
#ifndef SUPERVISOR_EGRESS_SCAN_H
#define SUPERVISOR_EGRESS_SCAN_H

#include "supervisor/egress/credentials/secrets.h"
#include "supervisor/egress/credentials/shapes.h"

/* Bytes of a secret's beginning that are remembered, and of what stood before. */
#define SECRET_CARRY 1024
#define SECRET_BEFORE 8
/* Room that a piece needs beside its own bytes. */
#define SECRET_ROOM (SECRET_CARRY + SECRET_BEFORE)

struct secret_hit {
    const char *rule;
    bool certain; /* false: only reported, whatever the mode */
    size_t from;  /* in the bytes given, where known (secret_text_scan) */
    size_t plain, n;
    char fingerprint[SECRET_FINGERPRINT];
};
typedef void secret_hit_fn(void *ctx, const struct secret_hit *hit);

/* The bytes are looked at twice: for what is acted on, and for hints, which must not hide the former. */
enum { SCAN_CERTAIN, SCAN_HINTS, SCAN_PASSES };

struct secret_pass {
    char held[SECRET_ROOM]; /* bytes that were seen before, then those that are looked at again */
    size_t n_before, n_carry;
    /* The rest of something that was found */
    enum { SCAN_SEARCH, SCAN_RUN, SCAN_PEM } state;
    enum shape_alphabet alphabet;
    bool overwrites;
    size_t pem_left;
    unsigned dashes;
    size_t aws_left; /* bytes in which 40 bytes may be an AWS secret key */
};

struct secret_scan {
    struct secret_view view;
    bool acts, redacts; /* certain secrets do not pass; they are overwritten instead of blocked */
    bool hints;         /* also what is only reported otherwise */
    secret_hit_fn *hit; /* NULL = nobody is told */
    void *ctx;
    bool blocked;
    size_t n_sent; /* of what the first pass carries, bytes that went on already */
    struct secret_pass pass[SCAN_PASSES];
};

void secret_scan_init(struct secret_scan *s, const struct secret_view *view, secret_hit_fn *hit, void *ctx);

/* Takes the next n bytes; ended: there are no more. work needs room for SECRET_ROOM + n bytes. Returns how
 * many bytes may go on now, *out is where in work they begin; over all calls they are the bytes fed, in
 * order, with what was redacted overwritten by '*'. With `blocked` set nothing more goes on, and no secret
 * has gone whole. Where nothing is acted on, all bytes of a piece go on at once. */
size_t secret_scan_feed(struct secret_scan *s, const char *p, size_t n, bool ended, char *work, char **out);

/* Overwrites secrets that stand in the text as it is and may not go to the view's host: the certain ones;
 * with hints also those that are only reported. */
void secret_overwrite(const struct secret_view *view, char *p, size_t n, bool hints);
/* A text that is complete. */
void secret_text_scan(const struct secret_view *view, const char *p, size_t n, secret_hit_fn *hit, void *ctx);

#endif
