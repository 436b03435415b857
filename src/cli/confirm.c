/* Questions on the terminal. */
#include "cli/confirm.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/output.h"
#include "core/cleanup.h"
#include "core/str.h"

bool confirm_possible(void)
{
    return isatty(STDIN_FILENO) && isatty(STDERR_FILENO);
}

static bool ask(const char *question, bool fallback)
{
    char answer[16];
    say(stderr, CYAN "?" END " %s %s ", question, fallback ? "[Y/n]" : "[y/N]");
    fflush(stderr);
    if (!fgets(answer, sizeof(answer), stdin)) {
        say(stderr, "\n");
        return false; /* the end of input is no consent */
    }
    const char *got = os_str_trim(answer);
    if (!*got)
        return fallback;
    return os_str_eq_nocase(got, "y") || os_str_eq_nocase(got, "yes");
}

bool confirm_yes(const char *question)
{
    return ask(question, true);
}

int confirm_global(const struct cli *cli, const char *question, const char *refusal, struct os_error *err)
{
    if (args_given(cli->args, "yes"))
        return 0;
    if (!isatty(STDIN_FILENO))
        return os_error_set(err, OS_FAILED_PRECONDITION, "%s", refusal);
    return ask(question, false) ? 0 : os_error_set(err, OS_CANCELLED, "aborted by user");
}

int confirm_global_set(const struct cli *cli, const char *key, struct os_error *err)
{
    cleanup_free char *question = os_asprintf(
        "Setting '%s' globally will disable sandbox-level management for this key. Continue?", key);
    return confirm_global(cli, question,
                          "global setting updates require confirmation; pass --yes in non-interactive mode",
                          err);
}

int confirm_global_delete(const struct cli *cli, const char *key, struct os_error *err)
{
    cleanup_free char *question = os_asprintf(
        "Deleting global setting '%s' re-enables sandbox-level management for this key. Continue?", key);
    return confirm_global(cli, question,
                          "global setting deletes require confirmation; pass --yes in non-interactive mode",
                          err);
}
