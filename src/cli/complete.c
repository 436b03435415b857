/* Completion of a command line: where the last word stands in the command tables, and what may stand there.
 */
#include "cli/complete.h"

#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/cleanup.h"
#include "core/str.h"

static const struct {
    const char *command, *name;
    enum complete_kind kind;
} values[] = {
#define VALUES(command, name, kind) {command, name, COMPLETE_##kind},
#include "cli/tbl/values.h"
};

static char *command_words(const struct args *a)
{
    cleanup_buf struct os_buf b = {0};
    for (size_t i = 1; i < a->depth; i++)
        os_buf_addf(&b, "%s%s", i > 1 ? " " : "", a->path[i]->name);
    return os_strdup(os_buf_str(&b));
}

static enum complete_kind kind_of(const struct args *a, const char *name)
{
    cleanup_free char *command = command_words(a);
    for (size_t i = 0; i < OS_ARRAY_LEN(values); i++)
        if (strcmp(values[i].name, name) == 0 &&
            (!values[i].command[0] || strcmp(values[i].command, command) == 0))
            return values[i].kind;
    return COMPLETE_NOTHING;
}

void complete_add(struct completion *c, const char *candidate, const char *about)
{
    if (!os_str_starts(candidate, c->word))
        return;
    os_buf_add(&c->out, c->glued, c->n_glued);
    os_buf_adds(&c->out, candidate);
    if (about)
        os_buf_addf(&c->out, "\t%s", about);
    os_buf_addc(&c->out, '\n');
}

static void add_value(struct completion *c, const struct flag_spec *f)
{
    cleanup_strv struct os_strv choices = {0};
    if (f->choices)
        os_strv_split(&choices, f->choices, ',');
    for (size_t i = 0; i < choices.n; i++)
        complete_add(c, choices.v[i], NULL);
    if (!f->choices)
        c->kind = os_str_eq(f->metavar, "FILE") ? COMPLETE_FILES : kind_of(&c->args, f->name);
}

static void add_flags(struct completion *c, const struct flag_spec *list)
{
    for (const struct flag_spec *f = list; f && f->name; f++) {
        cleanup_free char *text = os_asprintf("--%s", f->name);
        if (!f->hidden && (f->repeat || !args_given(&c->args, f->name)))
            complete_add(c, text, f->help);
    }
}

/* Aliases only when they are what is being typed. */
static void add_commands(struct completion *c, const struct command_spec *list)
{
    for (const struct command_spec *s = list; s->name; s++) {
        if (s->hidden)
            continue;
        complete_add(c, s->name, s->about);
        if (s->alias && c->word[0])
            complete_add(c, s->alias, s->about);
    }
}

/* --flag=value */
static void add_glued(struct completion *c, const struct flag_spec *globals)
{
    size_t n = strcspn(c->word, "=");
    const struct flag_spec *f = n > 2 ? args_flag(&c->args, globals, c->word + 2, n - 2) : NULL;
    if (!f || f->kind == FLAG_SWITCH)
        return;
    c->glued = c->word;
    c->n_glued = n + 1;
    c->word += n + 1;
    add_value(c, f);
}

/* Names that are known here. */
static void add_known(struct completion *c)
{
    static const char *const settings[] = {
#define SETTING(key, kind, choices, used, help) key,
#include "core/tbl/settings.h"
        NULL};
    static const char *const shells[] = {"bash", "fish", "zsh", NULL};
    const char *const *names = c->kind == COMPLETE_SETTINGS ? settings
                               : c->kind == COMPLETE_SHELLS ? shells
                                                            : NULL;
    if (!names)
        return;
    c->kind = COMPLETE_NOTHING;
    for (; *names; names++)
        complete_add(c, *names, NULL);
}

void complete_words(const struct command_spec *root, const struct flag_spec *globals,
                    const char *const *words, size_t n, struct completion *c)
{
    struct args_next next;
    const char **argv = os_realloc(NULL, n, sizeof(*argv));
    argv[0] = root->name;
    memcpy(argv + 1, words, (n - 1) * sizeof(*argv));
    *c = (struct completion){.word = words[n - 1], .glued = ""};
    args_walk(root, globals, (int)n, (char *const *)argv, &c->args, &next);
    free(argv);
    const struct command_spec *command = args_command(&c->args);
    if (next.flag) {
        add_value(c, next.flag);
    } else if (!next.words_only && c->word[0] == '-') {
        if (strchr(c->word, '=')) {
            add_glued(c, globals);
        } else {
            if (command->flags != globals)
                add_flags(c, command->flags);
            add_flags(c, globals);
        }
    } else if (command->sub) {
        if (!next.words_only)
            add_commands(c, command->sub);
    } else if (next.arg) {
        c->kind = kind_of(&c->args, next.arg->name);
    }
    add_known(c);
}

void complete_free(struct completion *c)
{
    args_free(&c->args);
    os_buf_free(&c->out);
}
