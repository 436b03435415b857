/* What may stand in place of the last word of a command line, from the command tables. No I/O: names that
 * only the gateway or the configuration knows are asked for by their kind. */
#ifndef CLI_COMPLETE_H
#define CLI_COMPLETE_H

#include "cli/args.h"

enum complete_kind {
    COMPLETE_NOTHING,
    COMPLETE_FILES,
    COMPLETE_SANDBOXES,
    COMPLETE_GATEWAYS,
    COMPLETE_WORKSPACES,
    COMPLETE_SETTINGS,
    COMPLETE_SHELLS,
};

struct completion {
    struct args args;        /* the words before; --gateway and --workspace count for the look-up */
    enum complete_kind kind; /* values to add from elsewhere: FILES, SANDBOXES, GATEWAYS, WORKSPACES */
    const char *word;        /* what they must begin with */
    const char *glued;       /* "--flag=" in front of the word; n_glued bytes, not a string of its own */
    size_t n_glued;
    struct os_buf out; /* "candidate<TAB>what it is\n" ... */
};

/* words: those behind the program's name, n >= 1, the last one unfinished and possibly empty. They must
 * outlive *c. Free with complete_free(). */
void complete_words(const struct command_spec *root, const struct flag_spec *globals,
                    const char *const *words, size_t n, struct completion *c);
/* Adds a candidate when it begins with c->word. `about` may be NULL. */
void complete_add(struct completion *c, const char *candidate, const char *about);
void complete_free(struct completion *c);

#endif
