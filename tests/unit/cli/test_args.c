/* The argument parser, against the real command tables. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/args.h"
#include "cli/commands.h"

#define WORDS_MAX 32

static struct args args;
static struct os_error err;

/* Parses a line split at blanks; the words live until the next call. */
static enum args_outcome parse(const char *line)
{
    static char text[512];
    static char *words[WORDS_MAX + 1];
    int n = 0;
    args_free(&args);
    os_error_clear(&err);
    strncpy(text, line, sizeof(text) - 1);
    for (char *w = strtok(text, " "); w && n < WORDS_MAX; w = strtok(NULL, " "))
        words[n++] = w;
    words[n] = NULL;
    return args_parse(&commands_root, commands_globals, n, words, &args, &err);
}

static int setup(void **state)
{
    static const char *const names[] = {"OPENSHELL_GATEWAY", "OPENSHELL_GATEWAY_ENDPOINT",
                                        "OPENSHELL_WORKSPACE", "OPENSHELL_SANDBOX_POLICY",
                                        "OPENSHELL_SERVER_PORT"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        unsetenv(names[i]);
    return 0;
}

static int teardown(void **state)
{
    args_free(&args);
    os_error_clear(&err);
    return 0;
}

#define assert_usage(line, text)                                                                             \
    do {                                                                                                     \
        assert_int_equal(parse(line), ARGS_USAGE);                                                           \
        assert_string_equal(os_error_text(&err), text);                                                      \
    } while (0)

/* Every published command line (spec/cli.md 21) of the groups that are built. */
static void test_published_lines(void **state)
{
    static const char *const lines[] = {
#define LINE(text) "openshell " text,
#include "tbl/lines.h"
#undef LINE
    };
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
        if (parse(lines[i]) != ARGS_RUN)
            fail_msg("%s: %s", lines[i], os_error_text(&err));
}

static void test_rejected_lines(void **state)
{
    assert_usage("openshell sandbox create demo",
                 "unexpected argument 'demo' found\n\n  tip: a command goes after '--': -- demo");
    assert_usage("openshell gateway add http://h:1 --remote --name x",
                 "a value is required for '--remote <SSH_DEST>' but none was supplied");
    assert_usage("openshell sandbox delete --all x", "the argument '--all' cannot be used with '<NAME>...'");
    assert_usage("openshell sandbox list --ids -o json",
                 "the argument '--ids' cannot be used with '--output <OUTPUT>'");
    assert_usage("openshell sandbox create --no-keep --detach",
                 "the argument '--no-keep' cannot be used with '--detach'");
    assert_usage("openshell policy set x",
                 "the following required arguments were not provided:\n  --policy <FILE>");
    assert_usage("openshell sandbox exec -n x",
                 "the following required arguments were not provided:\n  <COMMAND>...");
    assert_usage("openshell sandbox list -o xml",
                 "invalid value 'xml' for '--output <OUTPUT>'\n  [possible values: table, yaml, json]");
    assert_usage("openshell sandbox list --limit 4294967296",
                 "invalid value '4294967296' for '--limit <LIMIT>': expected a number from 0 to 4294967295");
    assert_usage("openshell sandbox list --limit -1",
                 "invalid value '-1' for '--limit <LIMIT>': expected a number from 0 to 4294967295");
    assert_usage("openshell logs -n -5",
                 "invalid value '-5' for '--lines <LINES>': expected a number from 0 to 4294967295");
    assert_usage("openshell sandbox list --limit --ids",
                 "a value is required for '--limit <LIMIT>' but none was supplied");
    assert_usage("openshell sandbox create --detach=yes",
                 "unexpected value 'yes' for '--detach' found; no more were expected");
    assert_usage("openshell sandbox create --name a --name b",
                 "the argument '--name <NAME>' cannot be used multiple times");
    assert_usage("openshell status -q", "unexpected argument '-q' found");
    /* Published once, and rejected by what published them. */
    assert_usage(
        "openshell sandbox create --upload . -- python main.py",
        "the argument '--upload <LOCAL[:PATH]>' cannot be used with '<COMMAND>...'\n\n  tip: create the "
        "sandbox with --upload --detach alone, then run the command with: openshell sandbox exec -n "
        "<NAME> -- <COMMAND>");
    assert_usage("openshell sandbox create --approval-mode auto demo",
                 "unexpected argument 'demo' found\n\n  tip: a command goes after '--': -- demo");
    assert_usage("openshell sandbox create --no-git-ignore",
                 "the following required arguments were not provided:\n  --upload <LOCAL[:PATH]>");
    assert_usage("openshell sandbox create --no-keep --forward 80",
                 "the argument '--no-keep' cannot be used with '--forward <[BIND:]PORT>'");
    assert_usage("openshell sandbox create --editor vscode --detach",
                 "the argument '--editor <EDITOR>' cannot be used with '--detach'");
    assert_usage("openshell sandbox create --approval-mode maybe",
                 "invalid value 'maybe' for '--approval-mode <MODE>'\n  [possible values: manual, auto]");
}

static void test_suggestions(void **state)
{
    assert_usage("openshell sandbox lsit",
                 "unrecognized subcommand 'lsit'\n\n  tip: a similar subcommand exists: 'list'");
    assert_usage(
        "openshell policy frobnicate",
        "unrecognized subcommand 'frobnicate'\n\n  [subcommands: set, update, check, get, list, delete]");
    assert_usage("openshell polcy list",
                 "unrecognized subcommand 'polcy'\n\n  tip: a similar subcommand exists: 'policy'");
    assert_usage("openshell exec", "unrecognized subcommand 'exec'\n\n  tip: use 'openshell sandbox exec'");
    assert_usage("openshell sandbox add",
                 "unrecognized subcommand 'add'\n\n  tip: there is 'openshell gateway add'");
    assert_usage("openshell sandbox create --nmae x",
                 "unexpected argument '--nmae' found\n\n  tip: a similar argument exists: '--name'");
    assert_usage("openshell sandbox ls",
                 "unrecognized subcommand 'ls'\n\n  tip: use 'openshell sandbox list'");
    assert_usage("openshell cp a b",
                 "unrecognized subcommand 'cp'\n\n  tip: use 'openshell sandbox upload' or "
                 "'openshell sandbox download'");
    assert_usage("openshell logs web --tail 20",
                 "unexpected argument '20' found\n\n  tip: use 'openshell logs -n <LINES>'");
    assert_usage("openshell logs web more", "unexpected argument 'more' found");
    assert_usage("openshell sandbox create --xyzzyplugh", "unexpected argument '--xyzzyplugh' found");
}

static void test_values(void **state)
{
    assert_int_equal(parse("openshell sb exec -n=web --timeout=7 ls -l --color"), ARGS_RUN);
    assert_string_equal(args_get(&args, "name"), "web");
    assert_int_equal(args_number(&args, "timeout"), 7);
    assert_int_equal(args.n_positional, 3);
    assert_string_equal(args_positional(&args, 2), "--color");
    assert_null(args_positional(&args, 3));
    assert_ptr_equal(args_command(&args)->run, sandbox_exec_run);

    assert_int_equal(parse("openshell logs -n5 web"), ARGS_RUN);
    assert_int_equal(args_number(&args, "lines"), 5);
    assert_string_equal(args_positional(&args, 0), "web");

    assert_int_equal(parse("openshell -vv sandbox list -v"), ARGS_RUN);
    assert_int_equal(args_count(&args, "verbose"), 3);
    assert_int_equal(args_number(&args, "limit"), 100);
    assert_string_equal(args_get(&args, "workspace"), "default");
    assert_false(args_given(&args, "workspace"));

    assert_int_equal(parse("openshell sandbox create -e A=1 --env B=2 -- run -- --env C=3"), ARGS_RUN);
    assert_int_equal(args_count(&args, "env"), 2);
    assert_string_equal(args_nth(&args, "env", 1), "B=2");
    assert_null(args_nth(&args, "env", 2));
    assert_int_equal(args.n_positional, 4);
    assert_string_equal(args_positional(&args, 1), "--");
}

static void test_optional_value(void **state)
{
    assert_int_equal(parse("openshell sandbox create --gpu --from img:1 -- claude"), ARGS_RUN);
    assert_true(args_given(&args, "gpu"));
    assert_string_equal(args_get(&args, "gpu"), "");
    assert_string_equal(args_get(&args, "from"), "img:1");
    assert_int_equal(parse("openshell sandbox create --gpu 2 -- claude"), ARGS_RUN);
    assert_string_equal(args_get(&args, "gpu"), "2");
    assert_int_equal(parse("openshell sandbox create --gpu"), ARGS_RUN);
    assert_string_equal(args_get(&args, "gpu"), "");
    assert_int_equal(parse("openshell sandbox create --gpu=3"), ARGS_RUN);
    assert_string_equal(args_get(&args, "gpu"), "3");
}

static void test_last_wins(void **state)
{
    parse("openshell sandbox create --tty --no-tty");
    assert_int_equal(args_last_of(&args, "tty", "no-tty"), -1);
    parse("openshell sandbox create --no-tty --tty");
    assert_int_equal(args_last_of(&args, "tty", "no-tty"), 1);
    parse("openshell sandbox create");
    assert_int_equal(args_last_of(&args, "tty", "no-tty"), 0);
}

static void test_environment(void **state)
{
    setenv("OPENSHELL_WORKSPACE", "team", 1);
    setenv("OPENSHELL_GATEWAY", "", 1);
    assert_int_equal(parse("openshell status"), ARGS_RUN);
    assert_string_equal(args_get(&args, "workspace"), "team");
    assert_null(args_get(&args, "gateway"));
    assert_int_equal(parse("openshell status --workspace mine"), ARGS_RUN);
    assert_string_equal(args_get(&args, "workspace"), "mine");
    setenv("OPENSHELL_SERVER_PORT", "70000", 1);
    assert_usage("openshell gateway start",
                 "invalid value '70000' for '--port <PORT>': expected a number from 0 to 65535");
}

static void test_bad_bytes(void **state)
{
    static const char *const lines[] = {"openshell sandbox get \xff", "openshell sandbox exec -- echo \xc3(",
                                        "openshell sandbox exec --workdir \xed\xa0\x80 -- true"};
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        assert_int_equal(parse(lines[i]), ARGS_USAGE);
        assert_non_null(strstr(err.msg, "invalid UTF-8 was detected"));
    }
    assert_int_equal(parse("openshell policy set box --policy /tmp/\xff.yaml"), ARGS_RUN);
}

static void test_help_and_version(void **state)
{
    struct os_buf text = {0};
    assert_int_equal(parse("openshell"), ARGS_HELP);
    assert_int_equal(parse("openshell sandbox"), ARGS_HELP);
    assert_int_equal(parse("openshell sandbox list --version"), ARGS_VERSION);
    assert_int_equal(parse("openshell -V"), ARGS_VERSION);
    /* Not an option of ours once the command has begun. */
    assert_int_equal(parse("openshell sandbox exec -n x ls --help"), ARGS_RUN);
    assert_int_equal(parse("openshell help"), ARGS_HELP);
    assert_int_equal(parse("openshell help sandbox create"), ARGS_HELP);
    assert_ptr_equal(args_command(&args)->run, sandbox_create_run);
    assert_int_equal(parse("openshell policy set -h"), ARGS_HELP);
    args_help(&args, commands_globals, &text);
    assert_non_null(strstr(os_buf_str(&text), "openshell policy set [OPTIONS] --policy <FILE> [NAME]"));
    assert_non_null(strstr(os_buf_str(&text), "GATEWAY FLAGS"));
    os_buf_free(&text);
}

static size_t widest(const char *text)
{
    size_t most = 0;
    for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n')
        if (strcspn(line, "\n") > most)
            most = strcspn(line, "\n");
    return most;
}

static void test_help_wraps(void **state)
{
    struct os_buf text = {0}, wrapped = {0};
    parse("openshell sandbox create -h");
    args_help(&args, commands_globals, &text);
    assert_true(widest(os_buf_str(&text)) > 100);
    args_help_wrap(os_buf_str(&text), 70, &wrapped);
    assert_true(widest(os_buf_str(&wrapped)) <= 70);
    assert_non_null(strstr(os_buf_str(&wrapped), "characters (default: generated)"));
    os_buf_clear(&wrapped);
    args_help_wrap(os_buf_str(&text), SIZE_MAX, &wrapped);
    assert_string_equal(os_buf_str(&wrapped), os_buf_str(&text));
    os_buf_clear(&wrapped);
    args_help_wrap("  one two  three four five\n\nsix", 30, &wrapped);
    assert_string_equal(os_buf_str(&wrapped), "  one two  three four five\n\nsix\n");
    os_buf_clear(&wrapped);
    args_help_wrap("  -a  alpha beta gamma delta epsilon\n", 31, &wrapped);
    assert_string_equal(os_buf_str(&wrapped), "  -a  alpha beta gamma delta\n      epsilon\n");
    os_buf_free(&text);
    os_buf_free(&wrapped);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_published_lines, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rejected_lines, setup, teardown),
        cmocka_unit_test_setup_teardown(test_suggestions, setup, teardown),
        cmocka_unit_test_setup_teardown(test_values, setup, teardown),
        cmocka_unit_test_setup_teardown(test_optional_value, setup, teardown),
        cmocka_unit_test_setup_teardown(test_help_wraps, setup, teardown),
        cmocka_unit_test_setup_teardown(test_last_wins, setup, teardown),
        cmocka_unit_test_setup_teardown(test_environment, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_help_and_version, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
