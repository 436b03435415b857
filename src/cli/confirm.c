/* Questions on the terminal. */
#include "cli/confirm.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/output.h"
#include "core/cleanup.h"
#include "core/str.h"

int confirm_global(const struct cli *cli, const char *question, const char *refusal, struct os_error *err)
{
    char answer[16];
    if (args_given(cli->args, "yes"))
        return 0;
    if (!isatty(STDIN_FILENO))
        return os_error_set(err, OS_FAILED_PRECONDITION, "%s", refusal);
    say(stderr, CYAN "?" END " %s [y/N] ", question);
    fflush(stderr);
    const char *got = fgets(answer, sizeof(answer), stdin) ? os_str_trim(answer) : "";
    if (os_str_eq_nocase(got, "y") || os_str_eq_nocase(got, "yes"))
        return 0;
    return os_error_set(err, OS_CANCELLED, "aborted by user");
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
