/* Shapes of secrets (tbl/shapes.h), compared at one place of a text. Pure; no allocation. */
#ifndef SUPERVISOR_EGRESS_SHAPES_H
#define SUPERVISOR_EGRESS_SHAPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum shape_flag {
    SHAPE_EXACT = 1,
    SHAPE_BOUND = 2,
    SHAPE_DIGIT = 4,
    SHAPE_HINT = 8,
    SHAPE_NOCASE = 16,
    SHAPE_JWT = 32,
    SHAPE_PEM = 64,
    SHAPE_NAMED = 128,
};

enum shape_alphabet {
    SHAPE_ALPHA = 1,   /* letters */
    SHAPE_ALNUM = 2,   /* and digits */
    SHAPE_WORD = 4,    /* and _ */
    SHAPE_TOKEN = 8,   /* and - */
    SHAPE_DOTTED = 16, /* and . */
    SHAPE_HEX = 32,
    SHAPE_BASE32 = 64,  /* A-Z 2-7 */
    SHAPE_BASE36 = 128, /* A-Z 0-9 */
    SHAPE_BASE64 = 256, /* with + / % = */
    SHAPE_VALUE = 512,  /* what a generated password may hold */
};

struct shape {
    const char *id, *prefix;
    uint8_t prefix_len;
    enum shape_alphabet alphabet;
    uint16_t min;
    uint8_t flags;
    const char *hosts; /* names separated by spaces, "" = none */
};

extern const struct shape shapes[];
extern const size_t shapes_n;

/* A key that belongs to an AWS account: 40 bytes that say nothing by themselves. */
#define SHAPE_AWS_SECRET "aws-secret-access-key"
#define SHAPE_AWS_SECRET_LEN 40
/* Bytes behind an AWS key id, or behind the words "secret access key", in which such a run is one. */
#define SHAPE_AWS_REACH 200

enum shape_match { SHAPE_NO, SHAPE_YES, SHAPE_MORE /* the bytes end before it can be told */ };

struct shape_found {
    size_t n;     /* bytes of it that are here, from the start of the prefix; more may follow */
    size_t plain; /* bytes at its start that are no secret: the prefix */
    size_t told;  /* bytes from the start that always suffice to tell it: what a fingerprint is of */
};

/* The alphabets that a byte is in. */
extern const uint16_t shape_alphabets[256];
static inline bool shape_byte(enum shape_alphabet a, unsigned char c)
{
    return (shape_alphabets[c] & a) != 0;
}

/* Compares at p, n bytes up to the end of what is there; ended: nothing follows. On SHAPE_MORE found->plain
 * is how many bytes may be let go without letting go of a secret. */
enum shape_match shape_at(const struct shape *s, const char *p, size_t n, bool ended,
                          struct shape_found *found);
/* The same for a given text. */
enum shape_match shape_text_at(const char *text, size_t len, const char *p, size_t n, bool ended,
                               struct shape_found *found);
/* For the secret key of an AWS account, where one is near. */
enum shape_match shape_aws_secret_at(const char *p, size_t n, bool ended, struct shape_found *found);
/* At p stands the name of such a key, of *len bytes. */
enum shape_match shape_names_aws_secret(const char *p, size_t n, bool ended, size_t *len);

/* A word begins at p: behind n bytes before it. Escapes end before it (%XX, \n, \u0026). */
bool shape_begins_word(const char *p, size_t n);

#endif
