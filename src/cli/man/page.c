/* roff, man(7) macros. Lines are ended by whoever starts the next construct, so no empty line ever appears.
 */
#include "cli/man/page.h"

#include <string.h>

#include "core/cleanup.h"
#include "core/str.h"
#include "sys/file.h"

/* Request characters at the start of a line, escapes, and characters that typesetting would replace. */
static void escape(struct os_buf *out, const char *text)
{
    bool start = !out->len || out->data[out->len - 1] == '\n';
    for (const char *s = text; *s; start = *s == '\n', s++) {
        if (start && (*s == '.' || *s == '\''))
            os_buf_adds(out, "\\&");
        switch (*s) {
        case '\\':
            os_buf_adds(out, "\\e");
            break;
        case '-':
            os_buf_adds(out, "\\-");
            break;
        case '\'':
            os_buf_adds(out, "\\(aq");
            break;
        case '`':
            os_buf_adds(out, "\\(ga");
            break;
        case '^':
            os_buf_adds(out, "\\(ha");
            break;
        case '~':
            os_buf_adds(out, "\\(ti");
            break;
        default:
            os_buf_addc(out, *s);
        }
    }
}

static void new_line(struct man_page *p)
{
    if (p->out.len && p->out.data[p->out.len - 1] != '\n')
        os_buf_addc(&p->out, '\n');
}

static char *upper(const char *text)
{
    char *copy = os_strdup(text);
    for (char *s = copy; *s; s++)
        if (*s >= 'a' && *s <= 'z')
            *s = (char)(*s - 'a' + 'A');
    return copy;
}

void man_begin(struct man_page *p, const char *name, int section, const char *about)
{
    cleanup_free char *title = upper(name);
    p->name = name;
    p->section = section;
    os_buf_adds(&p->out, ".\\\" Made from the tables of the program; not edited by hand.\n.TH ");
    escape(&p->out, title);
    os_buf_addf(&p->out, " %d %s \"openshell " OPENSHELL_VERSION "\" \"OpenShell\"\n", section, MAN_DATE);
    man_heading(p, "NAME");
    escape(&p->out, name);
    os_buf_adds(&p->out, " \\- ");
    escape(&p->out, about);
}

void man_heading(struct man_page *p, const char *text)
{
    new_line(p);
    os_buf_adds(&p->out, ".SH ");
    escape(&p->out, text);
    os_buf_addc(&p->out, '\n');
}

void man_paragraph(struct man_page *p)
{
    new_line(p);
    os_buf_adds(&p->out, ".PP\n");
}

const char *man_stop(const char *text)
{
    size_t n = strlen(text);
    return n && strchr(".?!", text[n - 1]) ? "" : ".";
}

/* Sentences start on lines of their own, as roff wants them. */
void man_text(struct man_page *p, const char *text)
{
    new_line(p);
    while (*text) {
        const char *stop = text, *paragraph = strstr(text, "\n\n");
        while ((stop = strstr(stop, ". ")) && (!paragraph || stop < paragraph) && stop[-1] == '.')
            stop += 2;
        bool sentence = stop && (!paragraph || stop < paragraph);
        size_t n = sentence    ? (size_t)(stop - text) + 1
                   : paragraph ? (size_t)(paragraph - text)
                               : strlen(text);
        cleanup_free char *part = os_strndup(text, n);
        escape(&p->out, part);
        os_buf_addc(&p->out, '\n');
        text += n;
        if (sentence)
            text++;
        else if (paragraph) {
            os_buf_adds(&p->out, ".PP\n");
            text += 2;
        }
    }
}

static void font(struct man_page *p, const char *font_escape, const char *text)
{
    os_buf_adds(&p->out, font_escape);
    escape(&p->out, text);
    os_buf_adds(&p->out, "\\fR");
}

void man_bold(struct man_page *p, const char *text)
{
    font(p, "\\fB", text);
}

void man_italic(struct man_page *p, const char *text)
{
    font(p, "\\fI", text);
}

void man_plain(struct man_page *p, const char *text)
{
    escape(&p->out, text);
}

void man_item(struct man_page *p)
{
    new_line(p);
    os_buf_adds(&p->out, ".TP\n");
}

void man_describe(struct man_page *p, const char *text)
{
    man_text(p, text);
}

void man_lines(struct man_page *p, const char *text)
{
    new_line(p);
    os_buf_adds(&p->out, ".nf\n");
    escape(&p->out, text);
    new_line(p);
    os_buf_adds(&p->out, ".fi\n");
}

void man_options(struct man_page *p, const struct os_option *list, size_t n)
{
    for (const struct os_option *o = list; o < list + n; o++) {
        cleanup_buf struct os_buf text = {0};
        if (!o->help)
            continue;
        cleanup_free char *name = os_asprintf("--%s", o->name), *letter = os_asprintf("-%c", o->letter);
        man_item(p);
        if (o->letter) {
            man_bold(p, letter);
            man_plain(p, ", ");
        }
        man_bold(p, name);
        if (*o->metavar) {
            man_plain(p, " ");
            man_italic(p, o->metavar);
        }
        os_buf_addf(&text, "%s%s", o->help, man_stop(o->help));
        if (o->fallback)
            os_buf_addf(&text, " Default: %s.", o->fallback);
        if (o->env)
            os_buf_addf(&text, " Variable: %s.", o->env);
        man_describe(p, os_buf_str(&text));
    }
}

void man_see_also(struct man_page *p, const char *pages)
{
    cleanup_strv struct os_strv list = {0};
    os_strv_split(&list, pages, ' ');
    man_heading(p, "SEE ALSO");
    for (size_t i = 0; i < list.n; i++) {
        char *dot = strrchr(list.v[i], '.');
        *dot = '\0';
        os_buf_adds(&p->out, ".BR ");
        escape(&p->out, list.v[i]);
        os_buf_addf(&p->out, " (%s)%s\n", dot + 1, i + 1 < list.n ? "," : "");
    }
}

int man_end(struct man_page *p, struct os_error *err)
{
    cleanup_free char *dir = os_asprintf("%s/man%d", p->dir, p->section);
    cleanup_free char *path = os_asprintf("%s/%s.%d", dir, p->name, p->section);
    new_line(p);
    int rc = os_dir_make(dir, 0755, err) < 0
                 ? -1
                 : os_file_write_atomic(path, os_buf_str(&p->out), p->out.len, 0644, err);
    os_buf_free(&p->out);
    return rc;
}
