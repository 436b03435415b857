/* Compiled form of a pattern: a non-deterministic automaton whose empty moves only go forward, so one pass
 * over a bit set per input byte decides. Private to src/policy; glob.h is the public face. */
#ifndef POLICY_GLOB_PROG_H
#define POLICY_GLOB_PROG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/arena.h"
#include "core/limits.h"

enum glob_op {
    GLOB_LIT,   /* the byte c */
    GLOB_ONE,   /* one byte other than the delimiter */
    GLOB_CLASS, /* one byte of the class at pattern[a..b); c = negated */
    GLOB_STAR,  /* any run without the delimiter */
    GLOB_DSTAR, /* any run */
    GLOB_FORK,  /* next node or node a */
    GLOB_JUMP,  /* node a */
    GLOB_MATCH,
};

struct glob_node {
    uint8_t op;
    uint8_t c;
    uint16_t a, b;
};

enum glob_flavour {
    GLOB_G, /* policy evaluator: delimiter, braces, escapes */
    GLOB_P, /* endpoint path selector: '*' and '?' cross '/', no braces, no escapes */
};

struct glob {
    const char *pattern; /* borrowed: classes are read from it */
    const struct glob_node *nodes;
    size_t n;
    size_t prefix; /* leading GLOB_LIT nodes */
    char delimiter;
    bool one_crosses; /* GLOB_P: '*' and '?' also take the delimiter */
};

/* Compiles into nodes[max]; NULL when good, else what is wrong (static text). */
const char *glob_compile(const char *pattern, char delimiter, enum glob_flavour flavour,
                         struct glob_node *nodes, size_t max, struct glob *out);
/* As above with exactly sized nodes in the arena; pattern must live as long. */
const char *glob_compile_arena(struct os_arena *arena, const char *pattern, char delimiter, struct glob *out);
bool glob_run(const struct glob *g, const char *value);

#endif
