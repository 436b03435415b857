/* Writes the policy summary. */
#include "supervisor/summary.h"

#include "core/cleanup.h"
#include "core/log.h"
#include "core/str.h"
#include "policy/summary.h"
#include "sys/file.h"

struct summary {
    char *workdir;
    bool rules, alone;
    struct os_buf files; /* section of the files, as text */
    bool failed;         /* said so */
};

struct summary *summary_new(const char *workdir, bool rules, bool alone)
{
    struct summary *s = os_calloc(1, sizeof(*s));
    s->workdir = workdir ? os_strdup(workdir) : NULL;
    s->rules = rules;
    s->alone = alone;
    return s;
}

void summary_files(struct summary *s, const policy_doc *doc)
{
    s->files.len = 0;
    policy_summary_files(doc, s->workdir, &s->files);
}

static void write_file(struct summary *s, const struct os_buf *text)
{
    struct os_error cleanup_error err = {0};
    if (text->failed || os_file_write_atomic(SUMMARY_FILE, text->data, text->len, 0444, &err) == 0 ||
        s->failed)
        return;
    s->failed = true;
    os_log_warn("supervisor", "there is no policy summary in the sandbox: %s", os_error_text(&err));
}

static void put_head(struct os_buf *out)
{
    os_buf_adds(out, "What this sandbox may do. OpenShell renews this text with every change of the policy;\n"
                     "writing here changes nothing. What is not listed is refused.\n");
}

static void put_files(const struct summary *s, struct os_buf *out)
{
    os_buf_adds(out, "\nFILES, since the start of the sandbox\n");
    os_buf_add(out, s->files.data, s->files.len);
}

void summary_policy(struct summary *s, const policy_doc *doc, uint32_t version, const char *hash)
{
    cleanup_buf struct os_buf text = {0};
    put_head(&text);
    if (s->alone)
        os_buf_adds(&text, "Policy of the supervisor's files");
    else
        os_buf_addf(&text, "Policy version %u", version);
    if (hash && *hash)
        os_buf_addf(&text, ", hash %s", hash);
    os_buf_adds(&text, "\n");
    os_buf_adds(&text, "\nNETWORK\n");
    if (s->alone)
        os_buf_adds(&text, "The operator's own rules decide, over this policy.\n");
    else if (s->rules)
        os_buf_adds(&text, "The operator's own rules may refuse more than this says.\n");
    policy_summary_network(doc, &text);
    put_files(s, &text);
    write_file(s, &text);
}

void summary_quarantine(struct summary *s, const char *reason)
{
    cleanup_buf struct os_buf text = {0};
    cleanup_free char *line = os_strdup(reason);
    for (char *p = line; *p; p++)
        *p = (unsigned char)*p < 0x20 ? ' ' : *p;
    put_head(&text);
    os_buf_addf(&text, "\nNETWORK\n\nNothing, until there is a valid policy: %s\n", line);
    put_files(s, &text);
    write_file(s, &text);
}
