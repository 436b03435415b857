/* Command lines from tables: a command tree, flags with values, positionals, `--`. No I/O and no side
 * effects; help and usage texts are made from the same tables (help.c). Spec: cli.md 1, 4. */
#ifndef CLI_ARGS_H
#define CLI_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/buf.h"
#include "core/error.h"

struct cli;

enum flag_kind { FLAG_SWITCH, FLAG_TEXT, FLAG_U16, FLAG_U32, FLAG_U64 };

struct flag_spec {
    const char *name; /* without dashes; NULL ends a list */
    char letter;      /* 0 = none */
    enum flag_kind kind;
    const char *metavar; /* "NAME"; NULL for switches */
    const char *help;
    const char *env;       /* variable that stands in; NULL = none. Set but empty counts as unset. */
    const char *fallback;  /* NULL = none */
    const char *choices;   /* "table,yaml,json"; NULL = any */
    const char *conflicts; /* "other,another"; positionals by their name */
    const char *tip;       /* what to do instead, told when a conflict is met; NULL = nothing */
    const char *requires;  /* one flag name */
    bool repeat, required, hidden;
    bool last_wins; /* may be given again, the last one counts */
    bool optional;  /* the value may be left out, which reads as "" */
};

enum arg_mode {
    ARG_PLAIN,
    ARG_DASHES,   /* only after `--` */
    ARG_VERBATIM, /* from its first word on everything is taken as it is */
};

struct arg_spec {
    const char *name; /* NULL ends a list */
    const char *help;
    bool required, many;
    enum arg_mode mode;
};

/* What people type who know other tools, and what it is called here. */
struct habit_spec {
    const char *word; /* NULL ends a list; "#" = a number where nothing more was expected */
    const char *use;
};

struct command_spec {
    const char *name; /* NULL ends a list */
    const char *alias;
    const char *about;
    bool hidden;                     /* works, but no help lists it */
    const char *heading;             /* under which the parent's help lists it; NULL = "COMMANDS" */
    const struct command_spec *sub;  /* group; NULL for a leaf */
    const struct flag_spec *flags;   /* NULL = none but the global ones */
    const struct arg_spec *args;     /* NULL = none */
    const char *examples;            /* lines for the help; NULL = none */
    const char *keys;                /* the same, about the keys it takes */
    const struct habit_spec *habits; /* NULL = none */
    /* Exit code, or -1 with *err set (shown, exit 1). */
    int (*run)(struct cli *cli, struct os_error *err);
};

#define ARGS_DEPTH 4

struct args_value {
    const struct flag_spec *flag;
    const char *value; /* NULL for switches */
};

/* Everything points into argv, the environment and the tables. */
struct args {
    const struct command_spec *path[ARGS_DEPTH]; /* root first */
    size_t depth;
    struct args_value *values; /* in the order given */
    size_t n_values;
    const char **positional;
    size_t n_positional;
};

enum args_outcome { ARGS_RUN, ARGS_HELP, ARGS_VERSION, ARGS_USAGE };

/* Parses argv[1..]. ARGS_USAGE: *err holds the text after "error: ". Free with args_free() in any case. */
enum args_outcome args_parse(const struct command_spec *root, const struct flag_spec *globals, int argc,
                             char *const *argv, struct args *out, struct os_error *err);
void args_free(struct args *a);

/* What may follow an unfinished line. */
struct args_next {
    const struct flag_spec *flag; /* its value comes next; NULL = no flag waits */
    const struct arg_spec *arg;   /* positional that has room for a word; NULL = none */
    bool words_only;              /* flags are no longer taken: behind `--` or in verbatim words */
};
/* Reads the finished words argv[1..] of a line that goes on. Words that fit nowhere are passed over; behind
 * an unknown command nothing may follow. Free *out with args_free(). */
void args_walk(const struct command_spec *root, const struct flag_spec *globals, int argc, char *const *argv,
               struct args *out, struct args_next *next);
/* Flag of the command or a global one by its first n bytes of name; NULL when there is none. */
const struct flag_spec *args_flag(const struct args *a, const struct flag_spec *globals, const char *name,
                                  size_t n);

const struct command_spec *args_command(const struct args *a);
/* Last value given, else the variable, else the fallback, else NULL. The flag must be in the tables. */
const char *args_get(const struct args *a, const char *name);
/* Given on the command line itself. */
bool args_given(const struct args *a, const char *name);
size_t args_count(const struct args *a, const char *name);
/* i-th value of a repeatable flag; NULL at the end. */
const char *args_nth(const struct args *a, const char *name, size_t i);
/* Number of a FLAG_U* flag (checked while parsing); 0 when absent. */
uint64_t args_number(const struct args *a, const char *name);
/* Which of two switches came last: 1 the first, -1 the second, 0 neither. */
int args_last_of(const struct args *a, const char *yes, const char *no);
/* i-th positional, NULL when absent. */
const char *args_positional(const struct args *a, size_t i);

/* help.c: "Usage: openshell ..." line without a newline, and the whole help text. */
void args_usage(const struct args *a, struct os_buf *out);
void args_help(const struct args *a, const struct flag_spec *globals, struct os_buf *out);
/* The help for a terminal of that width: long texts go on below their own beginning. */
void args_help_wrap(const char *text, size_t width, struct os_buf *out);
/* "--name <NAME>" as messages show a flag. */
void args_flag_text(const struct flag_spec *f, struct os_buf *out);
/* The candidate nearest to word, or NULL when none is near (edit distance, at most a third of the length). */
const char *args_nearest(const char *word, const char *const *candidates);

#endif
