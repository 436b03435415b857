/* `gateway select`: by name, or by moving through the list on a terminal (spec/cli.md 5.2). */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/gateway.h"
#include "cli/output.h"
#include "cli/terminal.h"
#include "cli/text.h"
#include "core/cleanup.h"
#include "core/str.h"

#define ESC_WAIT_MS 50 /* what follows an escape at once belongs to a key */

enum key { KEY_OTHER, KEY_UP, KEY_DOWN, KEY_ENTER, KEY_LEAVE };

static enum key read_key(void)
{
    unsigned char c[3] = {0};
    ssize_t n = read(STDIN_FILENO, c, 1);
    struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};
    if (n < 0 && errno == EINTR)
        return KEY_OTHER;
    if (n != 1 || *c == 3 || *c == 4 || *c == 'q')
        return KEY_LEAVE;
    if (*c == '\r' || *c == '\n')
        return KEY_ENTER;
    if (*c == 'k' || *c == 'j')
        return *c == 'k' ? KEY_UP : KEY_DOWN;
    if (*c != 27)
        return KEY_OTHER;
    if (poll(&p, 1, ESC_WAIT_MS) != 1 || read(STDIN_FILENO, c + 1, 2) != 2)
        return KEY_LEAVE;
    return c[1] == '[' && c[2] == 'A' ? KEY_UP : c[1] == '[' && c[2] == 'B' ? KEY_DOWN : KEY_OTHER;
}

/* The list as lines of a table, its header first; no line wraps. */
static struct os_strv lines_of(struct cli *cli, const struct gateway_record *list, size_t n)
{
    cleanup_buf struct os_buf text = {0};
    struct os_strv lines = {0};
    uint32_t cols, rows;
    terminal_size(&cols, &rows);
    struct table t = {.arena = &cli->arena, .columns = 4, .headers = {"NAME", "ENDPOINT", "TYPE", "AUTH"}};
    for (size_t i = 0; i < n; i++) {
        table_add(&t, list[i].name, NULL);
        table_add(&t, list[i].endpoint, NULL);
        table_add(&t, gateway_type_of(&list[i]), NULL);
        table_add(&t, gateway_auth_of(&list[i]), NULL);
    }
    table_format(&t, false, &text);
    char *at = text.data;
    for (char *end; (end = strchr(at, '\n')); at = end + 1) {
        *end = '\0';
        os_strv_add(&lines, text_fit(&cli->arena, at, cols > 8 ? cols - 4 : 4));
    }
    return lines;
}

static void draw(const struct os_strv *lines, size_t at)
{
    for (size_t i = 1; i < lines->n; i++)
        if (i - 1 == at)
            say(stderr, CYAN "> %s" END "\r\n", lines->v[i]);
        else
            say(stderr, "  %s\r\n", lines->v[i]);
}

/* Name of the chosen one; NULL after Esc, and with *err when there is nothing to choose from. */
static const char *choose(struct cli *cli, struct os_error *err)
{
    struct gateway_record *list;
    const char *active = config_active(&cli->arena);
    size_t n, at = 0;
    if (config_list(&cli->arena, &list, &n, err) < 0)
        return NULL;
    if (!n) {
        os_error_set(
            err, OS_NOT_FOUND,
            "No gateways found.\nRegister a gateway with: openshell gateway add <endpoint>\nOr start "
            "one on this machine with: openshell gateway start");
        return NULL;
    }
    for (size_t i = 0; i < n; i++)
        if (os_str_eq(list[i].name, active))
            at = i;
    cleanup_strv struct os_strv lines = lines_of(cli, list, n);
    say(stderr, CYAN "?" END " " BOLD "Select a gateway" END "\n  " DIM "%s" END "\n", lines.v[0]);
    if (terminal_raw(err) < 0)
        return NULL;
    enum key key = KEY_OTHER;
    draw(&lines, at);
    while (key != KEY_ENTER && key != KEY_LEAVE) {
        key = read_key();
        if (key == KEY_UP)
            at = (at + n - 1) % n;
        else if (key == KEY_DOWN)
            at = (at + 1) % n;
        fprintf(stderr, "\033[%zuA\033[J", n);
        draw(&lines, at);
    }
    terminal_restore();
    return key == KEY_ENTER ? list[at].name : NULL;
}

int gateway_select_run(struct cli *cli, struct os_error *err)
{
    const char *name = args_positional(cli->args, 0), *variable = getenv("OPENSHELL_GATEWAY");
    struct gateway_record r;
    if (!name && isatty(STDIN_FILENO) && isatty(STDOUT_FILENO)) {
        name = choose(cli, err);
        if (!name && err->code != OS_OK)
            return -1;
        if (!name) {
            say(stderr, YELLOW "!" END " Gateway selection cancelled\n");
            return 0;
        }
    }
    if (!name) {
        int rc = gateway_show_list(cli, "table", err);
        fflush(stdout);
        say(stderr, "\nSelect a gateway with: openshell gateway select <name>\n");
        return rc;
    }
    if (config_load(&cli->arena, name, &r, err) < 0) {
        if (err->code == OS_NOT_FOUND)
            os_error_set(err, OS_NOT_FOUND,
                         "No gateway metadata found for '%s'.\nRegister it first with: openshell gateway add "
                         "<endpoint> --name %s\nOr list available gateways: openshell gateway select",
                         name, name);
        return -1;
    }
    if (config_set_active(name, err) < 0)
        return -1;
    say(stderr, OK_MARK "✓" END " Active gateway set to '%s'\n", name);
    if (variable && *variable && strcmp(variable, name) != 0)
        say(stderr,
            WARN_MARK "⚠" END " OPENSHELL_GATEWAY=%s is set and will override this selection.\n"
                      "  Unset it or run: export OPENSHELL_GATEWAY=%s\n",
            variable, name);
    return 0;
}
