/* `openshell`: parses the command line, runs one command, turns its result into an exit code. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/terminal.h"
#include "core/cleanup.h"
#include "core/log.h"
#include "sys/file.h"

static void print_usage_error(const struct args *args, const char *message)
{
    cleanup_buf struct os_buf usage = {0};
    args_usage(args, &usage);
    say(stderr, BOLD RED "error:" END " ");
    say_block(stderr, message, 0);
    say(stderr, "\n%s\n\nFor more information, try '--help'.\n", os_buf_str(&usage));
}

int cli_usage_error(const struct cli *cli, const char *fmt, ...)
{
    cleanup_buf struct os_buf text = {0};
    va_list ap;
    va_start(ap, fmt);
    os_buf_vaddf(&text, fmt, ap);
    va_end(ap);
    print_usage_error(cli->args, os_buf_str(&text));
    return CLI_EXIT_USAGE;
}

static void print_help(const struct args *args)
{
    cleanup_buf struct os_buf text = {0}, wrapped = {0};
    uint32_t cols = UINT32_MAX, rows;
    args_help(args, commands_globals, &text);
    bool colour = colour_on(stdout);
    if (isatty(STDOUT_FILENO))
        terminal_size(&cols, &rows);
    args_help_wrap(os_buf_str(&text), cols, &wrapped);
    for (const char *p = os_buf_str(&wrapped); *p; p++)
        if (*p != *BOLD && *p != *END)
            putchar(*p);
        else if (colour)
            fputs(*p == *BOLD ? "\033[1m" : "\033[0m", stdout);
}

static void set_verbosity(const struct args *args)
{
    static const enum os_log_level levels[] = {OS_LOG_WARN, OS_LOG_INFO, OS_LOG_DEBUG, OS_LOG_TRACE};
    size_t n = args_count(args, "verbose");
    enum os_log_level level = levels[n < OS_ARRAY_LEN(levels) ? n : OS_ARRAY_LEN(levels) - 1];
    const char *variable = getenv("RUST_LOG");
    if (variable)
        os_log_parse_level(variable, &level);
    os_log_set_level(level);
}

static int run(const struct args *args)
{
    struct cli cli = {.args = args};
    cleanup_error struct os_error err = {0};
    set_verbosity(args);
    int code = args_command(args)->run(&cli, &err);
    if (code < 0) {
        error_print(&err);
        code = cli.caught ? 128 + cli.caught : 1;
    }
    cli_close(&cli);
    /* A reader that went away is not an error; a full disk is. */
    if (fflush(stdout) != 0 && code == 0)
        code = 1;
    return code;
}

int main(int argc, char **argv)
{
    struct args args;
    cleanup_error struct os_error err = {0};
    int code = 0;
    os_open_standard_fds();
    switch (args_parse(&commands_root, commands_globals, argc, argv, &args, &err)) {
    case ARGS_RUN:
        code = run(&args);
        break;
    case ARGS_HELP:
        print_help(&args);
        break;
    case ARGS_VERSION:
        puts("openshell " OPENSHELL_VERSION);
        break;
    case ARGS_USAGE:
        print_usage_error(&args, os_error_text(&err));
        code = CLI_EXIT_USAGE;
        break;
    }
    args_free(&args);
    return code;
}
