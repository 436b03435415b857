/* Completion, against the real command tables. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/commands.h"
#include "cli/complete.h"
#include "core/cleanup.h"

#define WORDS_MAX 32

static struct completion c;

/* Completes a line split at '|'; the words live until the next call. */
static const char *complete(const char *line)
{
    static char text[512];
    static const char *words[WORDS_MAX];
    size_t n = 0;
    complete_free(&c);
    strncpy(text, line, sizeof(text) - 1);
    for (char *w = text; w && n < WORDS_MAX; n++) {
        char *bar = strchr(w, '|');
        if (bar)
            *bar++ = '\0';
        words[n] = w;
        w = bar;
    }
    complete_words(&commands_root, commands_globals, words, n, &c);
    return os_buf_str(&c.out);
}

static bool offers(const char *line, const char *candidate)
{
    size_t n = strlen(candidate);
    for (const char *s = complete(line); *s; s += strcspn(s, "\n") + 1)
        if (strncmp(s, candidate, n) == 0 && (s[n] == '\t' || s[n] == '\n'))
            return true;
    return false;
}

static enum complete_kind kind(const char *line)
{
    complete(line);
    return c.kind;
}

static int teardown(void **state)
{
    complete_free(&c);
    memset(&c, 0, sizeof(c));
    return 0;
}

static void commands_and_aliases(void **state)
{
    assert_true(offers("", "sandbox"));
    assert_true(offers("", "status"));
    assert_false(offers("", "sb"));
    assert_true(offers("s", "sb"));
    assert_false(offers("", "ssh-proxy"));
    assert_false(offers("", "__complete"));
    assert_string_equal(complete("sandbox|del"), "delete\tDelete sandboxes\n");
    assert_true(offers("-v|sb|", "create"));
    assert_string_equal(complete("nonsense-command|s"), "");
    assert_string_equal(complete("sandbox|nonsense|--"), "");
    assert_string_equal(complete("sandbox|--|"), "");
}

static void flags_of_the_command_and_global_ones(void **state)
{
    assert_true(offers("sandbox|create|--", "--policy"));
    assert_true(offers("sandbox|create|-", "--gateway"));
    assert_false(offers("sandbox|list|--", "--policy"));
    assert_false(offers("logs|--f", "--follow"));
    assert_false(offers("sandbox|create|--cpu|2|--", "--cpu"));
    assert_true(offers("sandbox|create|--label|a=b|--", "--label"));
    assert_false(offers("sandbox|exec|-n|x|--|ls|--", "--workdir"));
}

static void values_of_flags(void **state)
{
    assert_string_equal(complete("sandbox|list|--output|"), "table\nyaml\njson\n");
    assert_string_equal(complete("sandbox|list|-o|y"), "yaml\n");
    assert_string_equal(complete("sandbox|list|--output=j"), "--output=json\n");
    assert_string_equal(complete("sandbox|list|--ids=j"), "");
    assert_string_equal(complete("sandbox|list|--nothing=j"), "");
    assert_string_equal(complete("sandbox|list|-=|"), "");
    assert_int_equal(kind("policy|set|--policy|"), COMPLETE_FILES);
    assert_int_equal(kind("policy|set|--policy=a"), COMPLETE_FILES);
    assert_int_equal(kind("status|-g|"), COMPLETE_GATEWAYS);
    assert_int_equal(kind("--workspace|"), COMPLETE_WORKSPACES);
    assert_int_equal(kind("sandbox|exec|-n|"), COMPLETE_SANDBOXES);
    assert_int_equal(kind("sandbox|create|--name|"), COMPLETE_NOTHING);
    assert_true(offers("settings|set|--key|", "ocsf_json_enabled"));
}

static void positionals(void **state)
{
    assert_int_equal(kind("sandbox|delete|"), COMPLETE_SANDBOXES);
    assert_int_equal(kind("sandbox|delete|a|b|"), COMPLETE_SANDBOXES);
    assert_int_equal(kind("sandbox|get|a|"), COMPLETE_NOTHING);
    assert_int_equal(kind("policy|set|--policy|f|"), COMPLETE_SANDBOXES);
    assert_int_equal(kind("gateway|select|"), COMPLETE_GATEWAYS);
    assert_int_equal(kind("sandbox|upload|"), COMPLETE_SANDBOXES);
    assert_int_equal(kind("sandbox|upload|a|"), COMPLETE_FILES);
    assert_int_equal(kind("sandbox|upload|a|b|"), COMPLETE_NOTHING);
    assert_int_equal(kind("sandbox|create|"), COMPLETE_NOTHING);
    assert_int_equal(kind("sandbox|exec|-n|x|--|"), COMPLETE_NOTHING);
    assert_string_equal(complete("completions|"), "bash\nfish\nzsh\n");
}

/* The words before decide where names are looked for. */
static void words_before_are_kept(void **state)
{
    complete("--gateway|there|sandbox|get|--workspace=w|x");
    assert_string_equal(args_get(&c.args, "gateway"), "there");
    assert_string_equal(args_get(&c.args, "workspace"), "w");
    assert_string_equal(c.word, "x");
}

static const struct command_spec *find(const char *path)
{
    const struct command_spec *at = &commands_root;
    while (at && *path) {
        size_t n = strcspn(path, " ");
        const struct command_spec *s = at->sub;
        while (s && s->name && (strlen(s->name) != n || strncmp(s->name, path, n) != 0))
            s++;
        at = s && s->name ? s : NULL;
        path += n + (path[n] == ' ');
    }
    return at;
}

static bool has(const struct command_spec *command, const char *name)
{
    for (const struct flag_spec *f = command->flags; f && f->name; f++)
        if (strcmp(f->name, name) == 0)
            return true;
    for (const struct arg_spec *a = command->args; a && a->name; a++)
        if (strcmp(a->name, name) == 0)
            return true;
    for (const struct command_spec *s = command->sub; s && s->name; s++)
        if (has(s, name))
            return true;
    return false;
}

/* A row about something that is no longer there would never be missed. */
static void every_row_is_about_something(void **state)
{
    static const struct {
        const char *command, *name;
    } rows[] = {
#define VALUES(command, name, kind) {command, name},
#include "cli/tbl/values.h"
    };
    for (size_t i = 0; i < OS_ARRAY_LEN(rows); i++) {
        const struct command_spec *command = find(rows[i].command);
        if (!command || !has(command, rows[i].name))
            fail_msg("row '%s', '%s' names nothing", rows[i].command, rows[i].name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(commands_and_aliases, teardown),
        cmocka_unit_test_teardown(flags_of_the_command_and_global_ones, teardown),
        cmocka_unit_test_teardown(values_of_flags, teardown),
        cmocka_unit_test_teardown(positionals, teardown),
        cmocka_unit_test_teardown(words_before_are_kept, teardown),
        cmocka_unit_test(every_row_is_about_something),
    };
    return cmocka_run_group_tests_name("complete", tests, NULL, NULL);
}
