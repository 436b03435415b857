/* A command line, its words split at newlines: parsing and completion take anything, and every candidate goes
 * on from the last word. */
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/complete.h"
#include "core/str.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
    if (!ok)
        abort();
}

static void complete(const char *const *words, size_t n)
{
    struct completion c;
    complete_words(&commands_root, commands_globals, words, n, &c);
    size_t length = strlen(words[n - 1]);
    for (const char *line = os_buf_str(&c.out); *line; line += strcspn(line, "\n") + 1)
        must(strncmp(line, words[n - 1], length) == 0);
    must(c.args.depth >= 1 && c.args.depth <= ARGS_DEPTH);
    complete_free(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = os_strndup((const char *)data, size);
    struct os_strv words = {0};
    struct args args;
    struct os_error err = {0};
    os_strv_add(&words, "openshell");
    for (char *word = text; word;) {
        char *end = strchr(word, '\n');
        if (end)
            *end++ = '\0';
        os_strv_add(&words, word);
        word = end;
    }
    enum args_outcome o = args_parse(&commands_root, commands_globals, (int)words.n, words.v, &args, &err);
    must((o == ARGS_USAGE) == (err.code != OS_OK));
    args_free(&args);
    os_error_clear(&err);
    complete((const char *const *)words.v + 1, words.n - 1);
    os_strv_free(&words);
    free(text);
    return 0;
}
