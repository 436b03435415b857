/* openshell(1) and a page per group and command. */
#include <string.h>

#include "cli/commands.h"
#include "cli/man/man.h"
#include "cli/man/page.h"
#include "core/cleanup.h"
#include "core/str.h"

static char *words(const struct args *a, const char *between)
{
    cleanup_buf struct os_buf b = {0};
    for (size_t i = 0; i < a->depth; i++)
        os_buf_addf(&b, "%s%s", i ? between : "", a->path[i]->name);
    return os_strdup(os_buf_str(&b));
}

static void synopsis(struct man_page *p, const struct args *a)
{
    cleanup_buf struct os_buf usage = {0};
    cleanup_free char *command = words(a, " ");
    args_usage(a, &usage);
    man_heading(p, "SYNOPSIS");
    man_bold(p, command);
    man_plain(p, os_buf_str(&usage) + strlen("Usage: ") + strlen(command));
}

static void flags(struct man_page *p, const char *heading, const struct flag_spec *list)
{
    bool any = false;
    for (const struct flag_spec *f = list; f && f->name; f++) {
        if (f->hidden)
            continue;
        if (!any)
            man_heading(p, heading);
        any = true;
        cleanup_buf struct os_buf help = {0};
        os_buf_adds(&help, f->help);
        if (f->choices)
            os_buf_addf(&help, ": one of %s", f->choices);
        if (f->repeat)
            os_buf_adds(&help, "; repeatable");
        const struct os_option o = {.name = f->name,
                                    .letter = f->letter,
                                    .metavar = f->metavar ? f->metavar : "",
                                    .env = f->env,
                                    .fallback = f->fallback,
                                    .help = os_buf_str(&help)};
        man_options(p, &o, 1);
    }
}

static void arguments(struct man_page *p, const struct arg_spec *list)
{
    if (list)
        man_heading(p, "ARGUMENTS");
    for (const struct arg_spec *s = list; s && s->name; s++) {
        cleanup_free char *text = os_asprintf("%s%s", s->help, man_stop(s->help));
        man_item(p);
        man_italic(p, s->name);
        man_plain(p, s->many ? "..." : "");
        man_describe(p, text);
    }
}

/* What it does, as sentences. */
static char *about_text(const struct command_spec *c)
{
    const char *stop = man_stop(c->about);
    return c->alias ? os_asprintf("%s%s Short: %s.", c->about, stop, c->alias)
                    : os_asprintf("%s%s", c->about, stop);
}

/* Commands in the order of the table; headings where the table has them. */
static void subcommands(struct man_page *p, const struct args *a)
{
    const char *shown = NULL;
    cleanup_free char *parent = words(a, "-");
    for (const struct command_spec *c = args_command(a)->sub; c->name; c++) {
        const char *heading = c->heading ? c->heading : "COMMANDS";
        if (c->hidden)
            continue;
        if (!shown || strcmp(shown, heading) != 0)
            man_heading(p, heading);
        shown = heading;
        cleanup_free char *page = os_asprintf("%s-%s", parent, c->name);
        cleanup_free char *text = about_text(c);
        man_item(p);
        man_bold(p, page);
        man_plain(p, "(1)");
        man_describe(p, text);
    }
}

static void root_tail(struct man_page *p)
{
    static const struct {
        const char *name, *text;
    } files[] = {
        {"$XDG_CONFIG_HOME/openshell/gateways/NAME/",
         "A registered gateway: metadata.json, client certificates."},
        {"$XDG_CONFIG_HOME/openshell/active_gateway", "The gateway that is used unless told otherwise."},
        {"/etc/openshell/gateways/", "Gateways registered for every user."},
        {"$XDG_STATE_HOME/openshell/", "State of a gateway on this machine, its log and its sandboxes."},
    };
    man_heading(p, "FILES");
    for (size_t i = 0; i < OS_ARRAY_LEN(files); i++) {
        man_item(p);
        man_italic(p, files[i].name);
        man_describe(p, files[i].text);
    }
    man_heading(p, "EXIT STATUS");
    man_text(
        p, "0 when it worked, 1 when it did not, 2 when the command line is wrong, 124 when the time was up. "
           "sandbox exec, and sandbox create and connect while attached, return the status of the command.");
}

static int command_page(const char *dir, const struct args *a, struct os_error *err)
{
    const struct command_spec *c = args_command(a);
    struct man_page p = {.dir = dir};
    cleanup_free char *name = words(a, "-");
    cleanup_free char *about = about_text(c);
    man_begin(&p, name, 1, c->about);
    synopsis(&p, a);
    man_heading(&p, "DESCRIPTION");
    man_text(&p, about);
    if (c->sub)
        subcommands(&p, a);
    arguments(&p, c->args);
    if (a->depth == 1)
        flags(&p, "GLOBAL OPTIONS", commands_globals);
    else
        flags(&p, "OPTIONS", c->flags);
    if (a->depth > 1) {
        man_paragraph(&p);
        man_text(&p, "The options of every command are in openshell(1).");
    }
    if (c->keys) {
        man_heading(&p, "KEYS");
        man_lines(&p, c->keys);
    }
    if (c->examples) {
        man_heading(&p, "EXAMPLES");
        man_lines(&p, c->examples);
    }
    if (a->depth == 1) {
        root_tail(&p);
        man_see_also(&p, "openshell-gateway.8 openshell-sandbox.8 gateway.toml.5 openshell-policy.5");
    } else if (a->depth == 2) {
        man_see_also(&p, "openshell.1 openshell-policy.5");
    } else {
        cleanup_free char *more =
            os_asprintf("openshell.1 openshell-%s.1 openshell-policy.5", a->path[1]->name);
        man_see_also(&p, more);
    }
    return man_end(&p, err);
}

static int pages_below(const char *dir, struct args *a, struct os_error *err)
{
    if (command_page(dir, a, err) < 0)
        return -1;
    for (const struct command_spec *c = args_command(a)->sub; c && c->name; c++) {
        if (c->hidden)
            continue;
        a->path[a->depth++] = c;
        int rc = pages_below(dir, a, err);
        a->depth--;
        if (rc < 0)
            return -1;
    }
    return 0;
}

int man_commands(const char *dir, struct os_error *err)
{
    struct args a = {.path = {&commands_root}, .depth = 1};
    return pages_below(dir, &a, err);
}
