/* Usage lines and help texts, made from the command tables. \001 starts and \002 ends a heading (output.c
 * turns them into bold on a terminal). */
#include <string.h>

#include "cli/args.h"
#include "core/cleanup.h"

#define HEADING "\001"
#define END "\002"

static void command_words(const struct args *a, struct os_buf *out)
{
    for (size_t i = 0; i < a->depth; i++)
        os_buf_addf(out, "%s%s", i ? " " : "", a->path[i]->name);
}

static void positional_words(const struct command_spec *c, struct os_buf *out)
{
    for (const struct arg_spec *s = c->args; s && s->name; s++) {
        const char *dots = s->many ? "..." : "";
        if (s->mode == ARG_DASHES)
            os_buf_addf(out, " [-- <%s>%s]", s->name, dots);
        else
            os_buf_addf(out, s->required ? " <%s>%s" : " [%s]%s", s->name, dots);
    }
}

void args_usage(const struct args *a, struct os_buf *out)
{
    const struct command_spec *c = args_command(a);
    os_buf_adds(out, "Usage: ");
    command_words(a, out);
    if (c->sub) {
        os_buf_adds(out, a->depth == 1 ? " <command> <subcommand> [flags]" : " <COMMAND>");
        return;
    }
    os_buf_adds(out, " [OPTIONS]");
    for (const struct flag_spec *f = c->flags; f && f->name; f++)
        if (f->required) {
            os_buf_addc(out, ' ');
            args_flag_text(f, out);
        }
    positional_words(c, out);
}

static void pad(struct os_buf *out, size_t used, size_t width)
{
    for (size_t least = used + 2; used < width || used < least; used++)
        os_buf_addc(out, ' ');
}

#define FLAG_COLUMN 38

static void flag_line(const struct flag_spec *f, struct os_buf *out)
{
    size_t start = out->len;
    if (f->letter)
        os_buf_addf(out, "  -%c, ", f->letter);
    else
        os_buf_adds(out, "      ");
    args_flag_text(f, out);
    if (f->repeat)
        os_buf_adds(out, "...");
    pad(out, out->len - start, FLAG_COLUMN);
    os_buf_adds(out, f->help);
    if (f->fallback)
        os_buf_addf(out, " [default: %s]", f->fallback);
    if (f->env)
        os_buf_addf(out, " [env: %s]", f->env);
    if (f->choices)
        os_buf_addf(out, " [possible values: %s]", f->choices);
    os_buf_addc(out, '\n');
}

static void flag_block(const char *heading, const struct flag_spec *list, const char *only, bool invert,
                       struct os_buf *out)
{
    bool any = false;
    for (const struct flag_spec *f = list; f && f->name; f++) {
        if (f->hidden || (only && (strncmp(f->name, only, strlen(only)) == 0) == invert))
            continue;
        if (!any)
            os_buf_addf(out, "\n" HEADING "%s" END "\n", heading);
        any = true;
        flag_line(f, out);
    }
}

static void command_block(const struct command_spec *list, const char *heading, struct os_buf *out)
{
    os_buf_addf(out, "\n" HEADING "%s" END "\n", heading);
    for (const struct command_spec *c = list; c->name; c++) {
        if (c->hidden || strcmp(c->heading ? c->heading : "COMMANDS", heading) != 0)
            continue;
        size_t start = out->len;
        os_buf_addf(out, "  %s", c->name);
        pad(out, out->len - start, 16);
        os_buf_addf(out, "%s\n", c->about);
    }
}

static void commands(const struct command_spec *list, struct os_buf *out)
{
    const char *shown = NULL;
    for (const struct command_spec *c = list; c->name; c++) {
        const char *heading = c->heading ? c->heading : "COMMANDS";
        if (!shown || strcmp(shown, heading) != 0)
            command_block(list, heading, out);
        shown = heading;
    }
}

static void argument_block(const struct command_spec *c, struct os_buf *out)
{
    if (!c->args)
        return;
    os_buf_adds(out, "\n" HEADING "ARGUMENTS" END "\n");
    for (const struct arg_spec *s = c->args; s->name; s++) {
        size_t start = out->len;
        os_buf_addf(out, "  %s%s", s->name, s->many ? "..." : "");
        pad(out, out->len - start, 16);
        os_buf_addf(out, "%s\n", s->help);
    }
}

void args_help(const struct args *a, const struct flag_spec *globals, struct os_buf *out)
{
    const struct command_spec *c = args_command(a);
    cleanup_buf struct os_buf line = {0};
    args_usage(a, &line);
    os_buf_addf(out, "%s\n\n" HEADING "USAGE" END "\n  %s\n", c->about,
                os_buf_str(&line) + strlen("Usage: "));
    if (c->sub)
        commands(c->sub, out);
    argument_block(c, out);
    if (c->flags != globals)
        flag_block("FLAGS", c->flags, NULL, false, out);
    flag_block("GATEWAY FLAGS", globals, "gateway", false, out);
    flag_block("GLOBAL FLAGS", globals, "gateway", true, out);
    if (c->alias)
        os_buf_addf(out, "\n" HEADING "ALIAS" END "\n  %s\n", c->alias);
    if (c->keys)
        os_buf_addf(out, "\n" HEADING "KEYS" END "\n%s", c->keys);
    if (c->examples)
        os_buf_addf(out, "\n" HEADING "EXAMPLES" END "\n%s", c->examples);
    if (a->depth == 1)
        os_buf_adds(out, "\n" HEADING "LEARN MORE" END
                         "\n  openshell <command> --help and openshell <command> <subcommand> --help\n");
}

/* --- narrow terminals --- */

#define LEAST_TEXT 24 /* columns beside which text can be read */

/* Where the text beside a flag or a command begins; 0 for lines that have none. */
static size_t text_column(const char *line, size_t n)
{
    size_t i = 0;
    while (i < n && line[i] == ' ')
        i++;
    for (; i + 2 < n; i++)
        if (line[i] == ' ' && line[i + 1] == ' ') {
            while (i < n && line[i] == ' ')
                i++;
            return i;
        }
    return 0;
}

static void wrap_line(const char *line, size_t n, size_t width, struct os_buf *out)
{
    size_t hang = text_column(line, n), at = 0, used = 0;
    if (!hang || hang + LEAST_TEXT > width)
        hang = 8;
    else if (hang) { /* what stands beside the text is never broken */
        os_buf_add(out, line, hang);
        at = used = hang;
    }
    for (bool first = true; at < n; first = false) {
        size_t blanks = strspn(line + at, " "), word = strcspn(line + at + blanks, " \n");
        if (at + blanks + word > n)
            break;
        if (!first && used + blanks + word > width) {
            os_buf_addf(out, "\n%*s", (int)hang, "");
            used = hang;
        } else {
            os_buf_add(out, line + at, blanks);
            used += blanks;
        }
        os_buf_add(out, line + at + blanks, word);
        used += word;
        at += blanks + word;
    }
    os_buf_addc(out, '\n');
}

void args_help_wrap(const char *text, size_t width, struct os_buf *out)
{
    for (const char *line = text; *line;) {
        size_t n = strcspn(line, "\n");
        if (n <= width) {
            os_buf_add(out, line, n);
            os_buf_addc(out, '\n');
        } else {
            wrap_line(line, n, width, out);
        }
        line += n + (line[n] == '\n');
    }
}
