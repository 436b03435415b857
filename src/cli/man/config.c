/* gateway.toml(5), from the table that the reader of the file works with. */
#include <string.h>

#include "cli/man/man.h"
#include "cli/man/page.h"
#include "core/cleanup.h"

struct key {
    const char *table, *name, *kind, *help; /* name NULL: the table begins */
};

static const struct key keys[] = {
#define TABLE(table) {table, NULL, NULL, NULL},
#define KEY(table, key, kind, field, help) {table, key, #kind, help},
#define REQUIRED(table, key, field, help) {table, key, "TEXT", help "; must be given when the table is"},
#define LISTED(table) {table, NULL, "LISTED", NULL},
#define MEMBER(table, key, kind, must, field, help) {table, key, #kind, must ? help "; must be given" : help},
#define IGNORED(table, key)
#define UNBUILT(table, key, part)
#include "gateway/tbl/config_keys.h"
};

static const char *kind_text(const char *kind)
{
    static const struct {
        const char *kind, *text;
    } kinds[] = {{"TEXT", "text"},     {"BOOL", "true or false"},  {"ADDRESS", "\"IP:PORT\""},
                 {"NUMBER", "number"}, {"LIST", "array of texts"}, {"MODE", "text"}};
    for (size_t i = 0; i < OS_ARRAY_LEN(kinds); i++)
        if (strcmp(kinds[i].kind, kind) == 0)
            return kinds[i].text;
    return kind;
}

static bool has_keys(const char *table)
{
    for (size_t i = 0; i < OS_ARRAY_LEN(keys); i++)
        if (keys[i].name && strcmp(keys[i].table, table) == 0)
            return true;
    return false;
}

static void item(struct man_page *p, const struct key *k)
{
    cleanup_buf struct os_buf text = {0};
    os_buf_addf(&text, "%s.", k->help);
    man_item(p);
    man_bold(p, k->name);
    man_plain(p, " = ");
    man_italic(p, kind_text(k->kind));
    man_describe(p, os_buf_str(&text));
}

int man_config(const char *dir, struct os_error *err)
{
    struct man_page p = {.dir = dir};
    man_begin(&p, "gateway.toml", 5, "settings of openshell-gateway");
    man_heading(&p, "SYNOPSIS");
    man_italic(&p, "$XDG_CONFIG_HOME/openshell/gateway.toml");
    man_heading(&p, "DESCRIPTION");
    man_text(
        &p,
        "Sets what neither a flag nor the environment of openshell-gateway(8) does. The format is TOML. A "
        "key "
        "that is unknown, or belongs to a part this version does not have, stops the gateway with its line "
        "and column.");
    for (size_t i = 0; i < OS_ARRAY_LEN(keys); i++) {
        cleanup_buf struct os_buf heading = {0};
        if (keys[i].name) {
            item(&p, &keys[i]);
        } else if (has_keys(keys[i].table)) {
            os_buf_addf(&heading, keys[i].kind ? "[[%s]]" : "[%s]", keys[i].table);
            man_heading(&p, os_buf_str(&heading));
        }
    }
    man_heading(&p, "EXAMPLES");
    man_lines(&p, "[openshell]\nversion = 1\n\n[openshell.gateway]\nbind_address = \"127.0.0.1:17670\"\n"
                  "compute_drivers = [\"local\"]\n\n[openshell.drivers.local]\nmask = [\"/srv/secrets\"]\n");
    man_see_also(&p, "openshell-gateway.8");
    return man_end(&p, err);
}
