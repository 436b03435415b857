/* The command line parser: walks argv once along the command tree, then checks what is missing or clashes. */
#include "cli/args.h"

#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/str.h"

#define NAMES_MAX 64 /* flags or subcommands compared for a suggestion */

struct parser {
    struct args *out;
    const struct flag_spec *globals;
    int argc, at;
    char *const *argv;
    bool dashes, verbatim, help;
    const struct flag_spec *waiting; /* for a value, when argv ended behind it */
    struct os_error *err;
};

static enum args_outcome usage(struct parser *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static enum args_outcome usage(struct parser *p, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    os_error_vset(p->err, OS_INVALID_ARGUMENT, fmt, ap);
    va_end(ap);
    return ARGS_USAGE;
}

const struct command_spec *args_command(const struct args *a)
{
    return a->path[a->depth - 1];
}

void args_flag_text(const struct flag_spec *f, struct os_buf *out)
{
    os_buf_addf(out, "--%s", f->name);
    if (f->kind != FLAG_SWITCH)
        os_buf_addf(out, f->optional ? " [<%s>]" : " <%s>", f->metavar);
}

static char *flag_text(const struct flag_spec *f)
{
    struct os_buf b = {0};
    args_flag_text(f, &b);
    return os_buf_take(&b);
}

/* --- suggestions --- */

static size_t edit_distance(const char *a, const char *b)
{
    size_t n = strlen(b), row[NAMES_MAX + 1];
    if (n > NAMES_MAX || strlen(a) > NAMES_MAX)
        return NAMES_MAX;
    for (size_t j = 0; j <= n; j++)
        row[j] = j;
    for (size_t i = 0; a[i]; i++) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (size_t j = 0; j < n; j++) {
            size_t best = diagonal + (a[i] != b[j]);
            diagonal = row[j + 1];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j + 1] + 1 < best)
                best = row[j + 1] + 1;
            row[j + 1] = best;
        }
    }
    return row[n];
}

const char *args_nearest(const char *word, const char *const *candidates)
{
    const char *nearest = NULL;
    size_t best = (strlen(word) + 2) / 3 + 1;
    for (; *candidates; candidates++) {
        size_t d = edit_distance(word, *candidates);
        if (d < best) {
            best = d;
            nearest = *candidates;
        }
    }
    return nearest;
}

/* --- flags --- */

static const struct flag_spec *find_in(const struct flag_spec *list, const char *name, size_t n, char letter)
{
    for (const struct flag_spec *f = list; f && f->name; f++)
        if (letter ? f->letter == letter : strlen(f->name) == n && strncmp(f->name, name, n) == 0)
            return f;
    return NULL;
}

static const struct flag_spec *find_flag(struct parser *p, const char *name, size_t n, char letter)
{
    const struct flag_spec *f = find_in(args_command(p->out)->flags, name, n, letter);
    return f ? f : find_in(p->globals, name, n, letter);
}

static enum args_outcome unknown_flag(struct parser *p, const char *word, size_t n)
{
    const char *names[NAMES_MAX + 1];
    size_t k = 0;
    const struct flag_spec *lists[] = {args_command(p->out)->flags, p->globals};
    for (size_t i = 0; i < OS_ARRAY_LEN(lists); i++)
        for (const struct flag_spec *f = lists[i]; f && f->name && k < NAMES_MAX; f++)
            if (!f->hidden)
                names[k++] = f->name;
    names[k] = NULL;
    const char *near = NULL;
    if (n > 2 && word[1] == '-') {
        cleanup_free char *bare = os_strndup(word + 2, n - 2);
        near = args_nearest(bare, names);
    }
    if (near)
        return usage(p, "unexpected argument '%.*s' found\n\n  tip: a similar argument exists: '--%s'",
                     (int)n, word, near);
    return usage(p, "unexpected argument '%.*s' found", (int)n, word);
}

static bool in_list(const char *list, const char *word)
{
    size_t n = strlen(word);
    for (const char *s = list; s; s = strchr(s, ',')) {
        s += *s == ',';
        if (strncmp(s, word, n) == 0 && (s[n] == ',' || !s[n]))
            return true;
    }
    return false;
}

/* Everything but the name of a file ends up in a message that holds Unicode text only. */
static enum args_outcome check_text(struct parser *p, const char *text)
{
    if (os_utf8_valid(text, strlen(text)))
        return ARGS_RUN;
    return usage(p, "invalid UTF-8 was detected in the argument '%s'", text);
}

static enum args_outcome check_value(struct parser *p, const struct flag_spec *f, const char *value)
{
    static const uint64_t max[] = {[FLAG_U16] = UINT16_MAX, [FLAG_U32] = UINT32_MAX, [FLAG_U64] = UINT64_MAX};
    cleanup_free char *text = flag_text(f);
    uint64_t n;
    if (!os_str_eq(f->metavar, "FILE") && check_text(p, value) == ARGS_USAGE)
        return ARGS_USAGE;
    if (f->kind != FLAG_SWITCH && f->kind != FLAG_TEXT && !os_str_u64(value, max[f->kind], &n))
        return usage(p, "invalid value '%s' for '%s': expected a number from 0 to %llu", value, text,
                     (unsigned long long)max[f->kind]);
    if (f->choices && !in_list(f->choices, value)) {
        cleanup_buf struct os_buf list = {0};
        for (const char *c = f->choices; *c; c++) {
            os_buf_addc(&list, *c);
            if (*c == ',')
                os_buf_addc(&list, ' ');
        }
        return usage(p, "invalid value '%s' for '%s'\n  [possible values: %s]", value, text,
                     os_buf_str(&list));
    }
    return ARGS_RUN;
}

static enum args_outcome add_value(struct parser *p, const struct flag_spec *f, const char *value)
{
    struct args *a = p->out;
    if (!f->repeat && !f->last_wins && args_given(a, f->name)) {
        cleanup_free char *text = flag_text(f);
        return usage(p, "the argument '%s' cannot be used multiple times", text);
    }
    if (value && check_value(p, f, value) == ARGS_USAGE)
        return ARGS_USAGE;
    a->values = os_realloc(a->values, a->n_values + 1, sizeof(*a->values));
    a->values[a->n_values++] = (struct args_value){f, value};
    return ARGS_RUN;
}

/* The value that belongs to f: inline (after '=' or glued to a letter) or the next word. */
static enum args_outcome take_value(struct parser *p, const struct flag_spec *f, const char *inline_value)
{
    const char *value = inline_value;
    p->waiting = value || p->at + 1 < p->argc ? NULL : f;
    if (!value && p->at + 1 < p->argc) {
        const char *next = p->argv[p->at + 1];
        bool number = f->kind != FLAG_TEXT && next[0] == '-' && next[1] >= '0' && next[1] <= '9';
        if (next[0] != '-' || !next[1] || number) { /* a negative number is refused as a value */
            value = next;
            p->at++;
        }
    }
    if (!value && f->optional)
        value = "";
    if (!value) {
        cleanup_free char *text = flag_text(f);
        return usage(p, "a value is required for '%s' but none was supplied", text);
    }
    return add_value(p, f, value);
}

static enum args_outcome on_flag(const struct flag_spec *f)
{
    if (strcmp(f->name, "help") == 0)
        return ARGS_HELP;
    if (strcmp(f->name, "version") == 0)
        return ARGS_VERSION;
    return ARGS_RUN;
}

static enum args_outcome parse_long(struct parser *p, const char *word)
{
    const char *equals = strchr(word, '=');
    size_t n = equals ? (size_t)(equals - word) : strlen(word);
    const struct flag_spec *f = find_flag(p, word + 2, n - 2, 0);
    if (!f)
        return unknown_flag(p, word, n);
    if (f->kind != FLAG_SWITCH)
        return take_value(p, f, equals ? equals + 1 : NULL);
    if (equals)
        return usage(p, "unexpected value '%s' for '--%s' found; no more were expected", equals + 1, f->name);
    return on_flag(f) == ARGS_RUN ? add_value(p, f, NULL) : on_flag(f);
}

static enum args_outcome parse_letters(struct parser *p, const char *word)
{
    for (const char *c = word + 1; *c; c++) {
        const struct flag_spec *f = find_flag(p, NULL, 0, *c);
        if (!f) {
            char bad[3] = {'-', *c, 0};
            return usage(p, "unexpected argument '%s' found", (unsigned char)*c < 0x80 ? bad : word);
        }
        if (f->kind != FLAG_SWITCH)
            return take_value(p, f, c[1] ? c + 1 + (c[1] == '=') : NULL);
        enum args_outcome o = on_flag(f) == ARGS_RUN ? add_value(p, f, NULL) : on_flag(f);
        if (o != ARGS_RUN)
            return o;
    }
    return ARGS_RUN;
}

/* --- words --- */

static const char *habit(const struct args *a, const char *word)
{
    for (const struct habit_spec *h = args_command(a)->habits; h && h->word; h++)
        if (strcmp(h->word, word) == 0)
            return h->use;
    return NULL;
}

#define ELSEWHERE_MAX 4 /* commands of that name in other groups that are worth naming */

/* Commands called `word` below c, with the words that lead there. */
static void find_elsewhere(const struct command_spec *c, const char *word, const char *words, size_t *n,
                           struct os_buf *out)
{
    for (const struct command_spec *s = c->sub; s && s->name; s++) {
        cleanup_free char *path = os_asprintf("%s %s", words, s->name);
        if (s->hidden)
            continue;
        if (strcmp(s->name, word) == 0 && (*n)++ < ELSEWHERE_MAX)
            os_buf_addf(out, "%s'%s'", out->len ? ", " : "", path);
        find_elsewhere(s, word, path, n, out);
    }
}

static enum args_outcome unknown_command(struct parser *p, const char *word)
{
    const struct command_spec *group = args_command(p->out);
    cleanup_buf struct os_buf elsewhere = {0}, all = {0};
    const char *names[2 * NAMES_MAX + 1];
    size_t k = 0, n = 0;
    const char *use = habit(p->out, word);
    if (use)
        return usage(p, "unrecognized subcommand '%s'\n\n  tip: use '%s'", word, use);
    find_elsewhere(p->out->path[0], word, p->out->path[0]->name, &n, &elsewhere);
    if (elsewhere.len)
        return usage(p, "unrecognized subcommand '%s'\n\n  tip: there is %s", word, os_buf_str(&elsewhere));
    for (const struct command_spec *c = group->sub; c->name && k < 2 * NAMES_MAX; c++) {
        if (c->hidden)
            continue;
        os_buf_addf(&all, "%s%s", all.len ? ", " : "", c->name);
        names[k++] = c->name;
        if (c->alias)
            names[k++] = c->alias;
    }
    names[k] = NULL;
    const char *near = args_nearest(word, names);
    if (near)
        return usage(p, "unrecognized subcommand '%s'\n\n  tip: a similar subcommand exists: '%s'", word,
                     near);
    return usage(p, "unrecognized subcommand '%s'\n\n  [subcommands: %s]", word, os_buf_str(&all));
}

static enum args_outcome enter_command(struct parser *p, const char *word)
{
    struct args *a = p->out;
    for (const struct command_spec *c = args_command(a)->sub; c->name; c++)
        if (strcmp(c->name, word) == 0 || os_str_eq(c->alias, word)) {
            a->path[a->depth++] = c;
            return ARGS_RUN;
        }
    if (strcmp(word, "help") == 0) { /* `help sandbox create` is what people type */
        p->help = true;
        return ARGS_RUN;
    }
    return unknown_command(p, word);
}

/* The positional that the next word goes to; NULL when there is no room. */
static const struct arg_spec *next_slot(const struct args *a)
{
    const struct arg_spec *s = args_command(a)->args;
    for (size_t i = 0; s && s->name; s++, i++)
        if (i == a->n_positional || s->many)
            return s;
    return NULL;
}

static enum args_outcome add_word(struct parser *p, const char *word)
{
    struct args *a = p->out;
    const struct arg_spec *slot = next_slot(a);
    if (slot && slot->mode == ARG_DASHES && !p->dashes)
        return usage(p, "unexpected argument '%s' found\n\n  tip: a command goes after '--': -- %s", word,
                     word);
    if (!slot) {
        const char *use = word[strspn(word, "0123456789")] ? NULL : habit(a, "#");
        return usage(p, "unexpected argument '%s' found%s%s%s", word, use ? "\n\n  tip: use '" : "",
                     use ? use : "", use ? "'" : "");
    }
    if (check_text(p, word) == ARGS_USAGE)
        return ARGS_USAGE;
    if (slot->mode == ARG_VERBATIM)
        p->verbatim = true;
    a->positional = os_realloc(a->positional, a->n_positional + 1, sizeof(*a->positional));
    a->positional[a->n_positional++] = word;
    return ARGS_RUN;
}

static enum args_outcome parse_word(struct parser *p)
{
    const char *word = p->argv[p->at];
    if (p->dashes || p->verbatim)
        return add_word(p, word);
    if (strcmp(word, "--") == 0) {
        p->dashes = true;
        return ARGS_RUN;
    }
    if (word[0] == '-' && word[1] == '-')
        return parse_long(p, word);
    if (word[0] == '-' && word[1])
        return parse_letters(p, word);
    return args_command(p->out)->sub ? enter_command(p, word) : add_word(p, word);
}

/* --- checks after the walk --- */

static bool present(const struct args *a, const char *name)
{
    const struct arg_spec *s = args_command(a)->args;
    for (size_t i = 0; s && s->name; s++, i++)
        if (strcmp(s->name, name) == 0)
            return a->n_positional > i;
    return args_given(a, name);
}

static enum args_outcome check_conflicts(struct parser *p)
{
    const struct args *a = p->out;
    for (size_t i = 0; i < a->n_values; i++) {
        const struct flag_spec *f = a->values[i].flag;
        cleanup_free char *text = flag_text(f);
        cleanup_strv struct os_strv others = {0};
        if (f->conflicts)
            os_strv_split(&others, f->conflicts, ',');
        for (size_t k = 0; k < others.n; k++) {
            if (!present(a, others.v[k]))
                continue;
            const struct flag_spec *other = find_flag(p, others.v[k], strlen(others.v[k]), 0);
            cleanup_free char *other_text = other ? flag_text(other) : os_asprintf("<%s>...", others.v[k]);
            return usage(p, "the argument '%s' cannot be used with '%s'%s%s", text, other_text,
                         f->tip ? "\n\n  tip: " : "", f->tip ? f->tip : "");
        }
        if (f->requires && !args_given(a, f->requires)) {
            const struct flag_spec *other = find_flag(p, f->requires, strlen(f->requires), 0);
            cleanup_free char *other_text = flag_text(other);
            return usage(p, "the following required arguments were not provided:\n  %s", other_text);
        }
    }
    return ARGS_RUN;
}

static enum args_outcome check_required(struct parser *p)
{
    const struct args *a = p->out;
    cleanup_buf struct os_buf missing = {0};
    for (const struct flag_spec *f = args_command(a)->flags; f && f->name; f++)
        if (f->required && !args_given(a, f->name)) {
            os_buf_adds(&missing, "\n  ");
            args_flag_text(f, &missing);
        }
    const struct arg_spec *s = args_command(a)->args;
    for (size_t i = 0; s && s->name; s++, i++)
        if (s->required && a->n_positional <= i)
            os_buf_addf(&missing, "\n  <%s>%s", s->name, s->many ? "..." : "");
    if (missing.len)
        return usage(p, "the following required arguments were not provided:%s", os_buf_str(&missing));
    return ARGS_RUN;
}

/* Values that come from variables pass the same checks. */
static enum args_outcome check_environment(struct parser *p)
{
    const struct flag_spec *lists[] = {args_command(p->out)->flags, p->globals};
    for (size_t i = 0; i < OS_ARRAY_LEN(lists); i++)
        for (const struct flag_spec *f = lists[i]; f && f->name; f++) {
            const char *value = f->env ? getenv(f->env) : NULL;
            if (value && *value && !args_given(p->out, f->name) && f->kind != FLAG_SWITCH &&
                check_value(p, f, value) == ARGS_USAGE)
                return ARGS_USAGE;
        }
    return ARGS_RUN;
}

enum args_outcome args_parse(const struct command_spec *root, const struct flag_spec *globals, int argc,
                             char *const *argv, struct args *out, struct os_error *err)
{
    *out = (struct args){.path = {root}, .depth = 1};
    struct parser p = {.out = out, .globals = globals, .argc = argc, .argv = argv, .err = err};
    for (p.at = 1; p.at < argc; p.at++) {
        enum args_outcome o = parse_word(&p);
        if (o != ARGS_RUN)
            return o;
    }
    if (args_command(out)->sub || p.help)
        return ARGS_HELP;
    if (check_conflicts(&p) == ARGS_USAGE || check_required(&p) == ARGS_USAGE ||
        check_environment(&p) == ARGS_USAGE)
        return ARGS_USAGE;
    return ARGS_RUN;
}

void args_walk(const struct command_spec *root, const struct flag_spec *globals, int argc, char *const *argv,
               struct args *out, struct args_next *next)
{
    cleanup_error struct os_error err = {0};
    *out = (struct args){.path = {root}, .depth = 1};
    struct parser p = {.out = out, .globals = globals, .argc = argc, .argv = argv, .err = &err};
    bool lost = false; /* behind a command that does not exist nothing can be said */
    for (p.at = 1; p.at < argc && !lost; p.at++)
        lost = parse_word(&p) == ARGS_USAGE && args_command(out)->sub && !p.waiting;
    const struct arg_spec *slot = next_slot(out);
    *next = (struct args_next){.flag = p.waiting, .words_only = p.dashes || p.verbatim || lost};
    if (slot && (slot->mode != ARG_DASHES || p.dashes))
        next->arg = slot;
}

const struct flag_spec *args_flag(const struct args *a, const struct flag_spec *globals, const char *name,
                                  size_t n)
{
    const struct flag_spec *f = find_in(args_command(a)->flags, name, n, 0);
    return f ? f : find_in(globals, name, n, 0);
}

void args_free(struct args *a)
{
    free(a->values);
    free(a->positional);
    *a = (struct args){0};
}

/* --- reading the result --- */

bool args_given(const struct args *a, const char *name)
{
    return args_count(a, name) > 0;
}

size_t args_count(const struct args *a, const char *name)
{
    size_t n = 0;
    for (size_t i = 0; i < a->n_values; i++)
        n += strcmp(a->values[i].flag->name, name) == 0;
    return n;
}

const char *args_nth(const struct args *a, const char *name, size_t i)
{
    for (size_t k = 0; k < a->n_values; k++)
        if (strcmp(a->values[k].flag->name, name) == 0 && i-- == 0)
            return a->values[k].value;
    return NULL;
}

/* Fallbacks of flags that were not given: the leaf's table and the global one, kept by the caller. */
static const struct flag_spec *declared(const struct args *a, const char *name)
{
    const struct flag_spec *f = find_in(args_command(a)->flags, name, strlen(name), 0);
    return f ? f : find_in(a->path[0]->flags, name, strlen(name), 0);
}

const char *args_get(const struct args *a, const char *name)
{
    size_t n = args_count(a, name);
    if (n)
        return args_nth(a, name, n - 1);
    const struct flag_spec *f = declared(a, name);
    const char *value = f && f->env ? getenv(f->env) : NULL;
    if (value && *value)
        return value;
    return f ? f->fallback : NULL;
}

uint64_t args_number(const struct args *a, const char *name)
{
    const char *text = args_get(a, name);
    uint64_t n = 0;
    if (text)
        os_str_u64(text, UINT64_MAX, &n);
    return n;
}

int args_last_of(const struct args *a, const char *yes, const char *no)
{
    for (size_t i = a->n_values; i-- > 0;) {
        if (strcmp(a->values[i].flag->name, yes) == 0)
            return 1;
        if (strcmp(a->values[i].flag->name, no) == 0)
            return -1;
    }
    return 0;
}

const char *args_positional(const struct args *a, size_t i)
{
    return i < a->n_positional ? a->positional[i] : NULL;
}
