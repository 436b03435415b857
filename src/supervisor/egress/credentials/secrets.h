/* The rules of the secret-egress stage: which secrets are looked for, where they may go, and what happens to
 * one that goes elsewhere. Immutable once made, shared by reference. */
#ifndef SUPERVISOR_EGRESS_SECRETS_H
#define SUPERVISOR_EGRESS_SECRETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"
#include "core/str.h"

enum secret_mode {
    SECRET_OFF,
    SECRET_AUDIT,   /* reported */
    SECRET_ENFORCE, /* the request is refused or broken off */
    SECRET_REDACT,  /* the secret is overwritten with '*' */
};
/* "off", "audit", "enforce", "redact"; NULL, "" and anything else are SECRET_AUDIT, the default. */
enum secret_mode secret_mode_parse(const char *word);

/* A credential whose text is known: of an attached provider. */
struct secret_known {
    const char *label; /* what events call it; never the text */
    const char *text;  /* at least SECRET_KNOWN_MIN bytes, of which the first SECRET_KNOWN_MAX are compared */
    const char *hosts; /* names separated by spaces, each for itself and everything below it */
};
#define SECRET_KNOWN_MIN 8
#define SECRET_KNOWN_MAX 512
#define SECRET_KNOWN_COUNT 64 /* rows; further ones are ignored */

#define SECRET_KEY 32 /* bytes of the key that fingerprints are made with */
#define SECRET_FINGERPRINT 13

struct secret_options {
    enum secret_mode mode;
    const char *allow; /* "rule@host, ...": see secret_rules_new; NULL = none */
    const struct secret_known *known;
    size_t n_known;
    uint8_t key[SECRET_KEY];
};

struct secret_rules;

/* Everything is copied. allow lists what else may go where: entries "rule@host" separated by commas, where
 * rule is one of tbl/shapes.h, a label, or "*", and host stands for itself and everything below it, or is
 * "*". Entries that are not of this form are left out, and *bad (may be NULL) gets the number of the first
 * one from 1 on, else 0: the text itself may be a secret that was pasted. */
struct secret_rules *secret_rules_new(const struct secret_options *opt, size_t *bad);
struct secret_rules *secret_rules_ref(struct secret_rules *r);
void secret_rules_unref(struct secret_rules *r);
enum secret_mode secret_rules_mode(const struct secret_rules *r);

/* Rules as they apply to one destination. Borrows the rules. */
struct secret_view {
    const struct secret_rules *rules;
    uint64_t allowed, allowed_known; /* bit per row */
    bool certain_only;               /* leave out what is only reported */
};
/* host in lower case. */
void secret_view_init(struct secret_view *v, const struct secret_rules *r, const char *host);

/* Name or address `host` is `name` or below it. */
bool secret_host_within(const char *host, const char *name, size_t n);

/* A short keyed digest, lower-case hex: the same secret is recognised within one sandbox's run, and nobody
 * else can try candidates against it. */
void secret_fingerprint(const struct secret_rules *r, const char *p, size_t n, char out[SECRET_FINGERPRINT]);

#endif
