/* `policy check`: what is wrong with a policy file, whether it would allow something, and what would have to
 * change. Asks nobody: no gateway, no name server. */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/endpoint_spec.h"
#include "cli/output.h"
#include "cli/policy_file.h"
#include "cli/question.h"
#include "cli/sandbox.h"
#include "core/cleanup.h"
#include "policy/destination.h"
#include "policy/lint.h"

#define EXIT_DENIED 3
#define EXIT_DEPENDS 4

struct check {
    struct cli *cli;
    const char *path;
    const policy_doc *doc;
    struct policy_findings findings;
    bool asked;
    struct policy_question question;
    const char *text; /* of the question */
    struct policy_answer answer;
    struct policy_fix fixes[POLICY_FIXES];
    size_t n_fixes;
};

/* --- question --- */

/* The same code that vets addresses in a sandbox. */
static int check_address(const struct policy_l4 *l4, const struct policy_question *q, struct os_error *reason)
{
    static const struct destination_gateway none;
    struct net_addrs addrs = {0};
    struct net_addr addr;
    const char *kind;
    if (net_addr_parse(q->address, &addr) < 0)
        return os_error_set(reason, OS_INVALID_ARGUMENT, "'%s' is not an IP address", q->address);
    net_addrs_add(&addrs, &addr);
    return destination_check(l4, &none, q->host, q->port, &addrs, &kind, reason);
}

/* Executables are compared by the whole path that the kernel sees. */
static int check_program(const char *flag, const char *path, struct os_error *err)
{
    return !path || *path == '/'
               ? 0
               : os_error_set(err, OS_INVALID_ARGUMENT,
                              "--%s expects the whole path of a program, like /usr/bin/curl; "
                              "got '%s'",
                              flag, path);
}

static int read_question(struct check *c, struct os_error *err)
{
    const struct args *args = c->cli->args;
    struct policy_question *q = &c->question;
    const char *request = args_get(args, "request"), *connect = args_get(args, "connect");
    c->text = request ? request : connect;
    c->asked = c->text != NULL;
    if (!c->asked)
        return 0;
    if (request ? question_parse_request(&c->cli->arena, request, q, err) < 0
                : question_parse_connect(&c->cli->arena, connect, q, err) < 0)
        return -1;
    struct net_addr addr;
    q->address = args_get(args, "address");
    if (!q->address && net_addr_parse(q->host, &addr) == 0)
        q->address = q->host;
    if (q->address && net_addr_parse(q->address, &addr) < 0)
        return os_error_set(err, OS_INVALID_ARGUMENT, "--address expects an IP address, got '%s'",
                            q->address);
    q->check_address = check_address;
    if (check_program("binary", args_get(args, "binary"), err) < 0)
        return -1;
    for (size_t i = 0; i < args_count(args, "ancestor"); i++)
        if (check_program("ancestor", args_nth(args, "ancestor", i), err) < 0)
            return -1;
    q->who.exe = args_get(args, "binary");
    q->who.n_ancestors = args_count(args, "ancestor");
    const char **list = os_arena_alloc(&c->cli->arena, q->who.n_ancestors * sizeof(*list));
    for (size_t i = 0; i < q->who.n_ancestors; i++)
        list[i] = args_nth(args, "ancestor", i);
    q->who.ancestors = list;
    return 0;
}

/* --- what it found --- */

static const char *verdict_text(enum policy_verdict v)
{
    static const char *const texts[] = {[POLICY_VERDICT_ALLOWED] = "allowed",
                                        [POLICY_VERDICT_AUDITED] = "audited",
                                        [POLICY_VERDICT_DEPENDS] = "depends",
                                        [POLICY_VERDICT_DENIED] = "denied"};
    return texts[v];
}

/* Of the changes that work, the first that one command makes, else the first. */
static const struct policy_fix *choose_fix(const struct check *c, struct os_buf *command)
{
    cleanup_buf struct os_buf flags = {0};
    for (size_t i = 0; i < c->n_fixes; i++) {
        if (!update_flags_format(c->fixes[i].ops, c->fixes[i].n_ops, &flags))
            continue;
        os_buf_addf(command, "openshell policy update NAME%s --wait", os_buf_str(&flags));
        return &c->fixes[i];
    }
    return c->n_fixes ? &c->fixes[0] : NULL;
}

/* The changed rules as YAML, from `network_policies:` on. */
static const char *fragment(struct check *c, const struct policy_fix *fix)
{
    cleanup_buf struct os_buf yaml = {0};
    policy_yaml_print(policy_changed_rules(&c->cli->arena, c->doc, fix->doc), &yaml);
    const char *rules = strstr(os_buf_str(&yaml), "network_policies:");
    return os_arena_strdup(&c->cli->arena, rules ? rules : "");
}

/* Without the advice for people in front of a sandbox. */
static const char *short_reason(struct check *c)
{
    char *reason = os_arena_strdup(&c->cli->arena, c->answer.reason);
    char *hint;
    while ((hint = strstr(reason, ". SYMLINK HINT: "))) {
        char *next = strstr(hint, "; binary '");
        memmove(hint, next ? next : "", strlen(next ? next : "") + 1);
    }
    return reason;
}

/* --- as text --- */

static void print_findings(const struct check *c)
{
    const struct policy_findings *f = &c->findings;
    for (size_t i = 0; i < f->n; i++) {
        const struct policy_finding *one = &f->v[i];
        bool error = one->severity == POLICY_LINT_ERROR;
        cleanup_buf struct os_buf line = {0};
        os_buf_addf(&line, "%s%s%s", one->where, *one->where ? ": " : "", one->text);
        if (error)
            say(stdout, RED "error" END "   [%s] ", one->check);
        else
            say(stdout, YELLOW "warning" END " [%s] ", one->check);
        say_block(stdout, os_buf_str(&line), 0);
    }
    say(stdout, "%s: %zu error(s), %zu warning(s)\n", c->path, f->errors, f->n - f->errors);
}

static void print_fix(struct check *c)
{
    cleanup_buf struct os_buf command = {0};
    const struct policy_fix *fix = choose_fix(c, &command);
    if (!fix) {
        say(stdout, "  No change of the rules was found that would allow it.\n");
        return;
    }
    say(stdout, "\nWith this it would be allowed:\n\n");
    say_block(stdout, fragment(c, fix), 2);
    if (command.len)
        say(stdout, "\n  %s\n", os_buf_str(&command));
    else
        say(stdout, "\nNo flags of `policy update` say this: put it into the file, then use `openshell "
                    "policy set`.\n");
    if (fix->note)
        say(stdout, "  Note: %s\n", fix->note);
    if (!c->question.who.exe && strstr(fragment(c, fix), POLICY_ANY_PROGRAM))
        say(stdout, "  Put the path of the program in the place of %s.\n", POLICY_ANY_PROGRAM);
}

static void print_answer(struct check *c)
{
    const struct policy_answer *a = &c->answer;
    const char *who = c->question.who.exe ? c->question.who.exe : "any program";
    if (a->verdict == POLICY_VERDICT_ALLOWED)
        say(stdout, "\n" OK_MARK "✓" END " allowed: %s by %s\n", c->text, who);
    else if (a->verdict == POLICY_VERDICT_AUDITED)
        say(stdout, "\n" WARN_MARK "⚠" END " passed on and logged (enforcement: audit): %s by %s\n", c->text,
            who);
    else if (a->verdict == POLICY_VERDICT_DEPENDS)
        say(stdout, "\n" WARN_MARK "⚠" END " depends on the body: %s by %s\n", c->text, who);
    else
        say(stdout, "\n" RED "✗" END " denied (%s): %s by %s\n", a->layer, c->text, who);
    if (a->reason)
        say(stdout, "  Reason: %s\n", short_reason(c));
    if (a->rule)
        say(stdout, "  Rule:   %s, %s\n", a->rule, a->detail);
    if (a->verdict != POLICY_VERDICT_DENIED && a->unread)
        say(stdout, "  Only the connection is checked here; the bytes pass unread.\n");
    if (a->verdict != POLICY_VERDICT_DENIED && !c->question.address)
        say(stdout, "  Addresses are checked when the name is resolved; --address tries one.\n");
    if (a->verdict == POLICY_VERDICT_DENIED)
        print_fix(c);
}

/* --- as JSON --- */

static json_t *optional(const char *s)
{
    return s ? json_text(s) : json_null();
}

static json_t *fix_json(struct check *c)
{
    cleanup_buf struct os_buf command = {0};
    const struct policy_fix *fix = choose_fix(c, &command);
    if (!fix)
        return json_null();
    json_t *j = json_object();
    json_object_set_new(j, "policy", policy_to_json(policy_changed_rules(&c->cli->arena, c->doc, fix->doc)));
    json_object_set_new(j, "yaml", json_text(fragment(c, fix)));
    json_object_set_new(j, "command", optional(command.len ? os_buf_str(&command) : NULL));
    json_object_set_new(j, "note", optional(fix->note));
    return j;
}

static json_t *answer_json(struct check *c)
{
    const struct policy_answer *a = &c->answer;
    json_t *j = json_object();
    json_object_set_new(j, "question", json_text(c->text));
    json_object_set_new(j, "binary", optional(c->question.who.exe));
    json_object_set_new(j, "verdict", json_string(verdict_text(a->verdict)));
    json_object_set_new(j, "layer", json_string(a->layer));
    json_object_set_new(j, "rule", optional(a->rule));
    json_object_set_new(j, "detail", optional(a->detail));
    json_object_set_new(j, "reason", optional(a->reason ? short_reason(c) : NULL));
    json_object_set_new(j, "unread", json_boolean(a->unread));
    json_object_set_new(j, "fix", a->verdict == POLICY_VERDICT_DENIED ? fix_json(c) : json_null());
    return j;
}

static void print_json(struct check *c)
{
    json_t *j = json_object(), *list = json_array();
    for (size_t i = 0; i < c->findings.n; i++) {
        const struct policy_finding *one = &c->findings.v[i];
        json_t *f = json_object();
        json_object_set_new(f, "severity",
                            json_string(one->severity == POLICY_LINT_ERROR ? "error" : "warning"));
        json_object_set_new(f, "check", json_string(one->check));
        json_object_set_new(f, "where", json_text(one->where));
        json_object_set_new(f, "text", json_text(one->text));
        json_array_append_new(list, f);
    }
    json_object_set_new(j, "file", json_text(c->path));
    json_object_set_new(j, "findings", list);
    json_object_set_new(j, "answer", c->asked && !c->findings.errors ? answer_json(c) : json_null());
    document_print(j, "json");
}

int policy_check_run(struct cli *cli, struct os_error *err)
{
    struct check c = {.cli = cli, .path = args_positional(cli->args, 0)};
    if (read_question(&c, err) < 0)
        return -1;
    static const char *const about[] = {"binary", "ancestor", "address"};
    for (size_t i = 0; i < OS_ARRAY_LEN(about) && !c.asked; i++) {
        if (args_given(cli->args, about[i]))
            return cli_usage_error(
                cli, "--%s says something about a --request or --connect, and there is none", about[i]);
    }
    c.doc = policy_file_load(&cli->arena, c.path, err);
    if (!c.doc)
        return -1;
    policy_lint(&cli->arena, c.doc, &c.findings);
    bool answer = c.asked && !c.findings.errors;
    if (answer && policy_explain(&cli->arena, c.doc, &c.question, &c.answer, err) < 0)
        return -1;
    if (answer)
        c.n_fixes = policy_find_fixes(&cli->arena, c.doc, &c.question, c.fixes);
    if (strcmp(args_get(cli->args, "output"), "json") == 0) {
        print_json(&c);
    } else {
        print_findings(&c);
        if (answer)
            print_answer(&c);
    }
    if (c.findings.errors || !answer)
        return c.findings.errors ? 1 : 0;
    return c.answer.verdict == POLICY_VERDICT_DENIED    ? EXIT_DENIED
           : c.answer.verdict == POLICY_VERDICT_DEPENDS ? EXIT_DEPENDS
                                                        : 0;
}
