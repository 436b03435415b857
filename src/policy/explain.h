/* "Would this be allowed, by which rule, and if not, what is the smallest change that would allow it?" Asked
 * of the engine that also decides in a sandbox; nothing here decides for itself. Pure. */
#ifndef POLICY_EXPLAIN_H
#define POLICY_EXPLAIN_H

#include "policy/engine.h"
#include "policy/merge.h"

struct policy_question;
/* Vets address for a connection that the rules allow; -1 with *reason when it may not be dialled. */
typedef int policy_address_fn(const struct policy_l4 *l4, const struct policy_question *q,
                              struct os_error *reason);

struct policy_question {
    const char *host; /* as engine.h wants it */
    uint16_t port;
    bool tls;                  /* the request comes in TLS */
    const char *method;        /* NULL: a connection, no request */
    const char *target;        /* as the client sends it, query included */
    struct policy_process who; /* exe NULL: any program */
    const char *address;       /* what the host resolves to; NULL = not known, not judged */
    policy_address_fn *check_address;
};

enum policy_verdict {
    POLICY_VERDICT_ALLOWED,
    POLICY_VERDICT_AUDITED,
    POLICY_VERDICT_DEPENDS, /* the rules are about what is in the body, which no question has */
    POLICY_VERDICT_DENIED,
};

enum policy_cause {
    POLICY_CAUSE_NONE,
    POLICY_CAUSE_ENDPOINT,    /* no rule has such a destination */
    POLICY_CAUSE_BINARY,      /* a rule has it, but for other programs */
    POLICY_CAUSE_ADDRESS,     /* the address may not be dialled */
    POLICY_CAUSE_NO_PATH,     /* no endpoint is for that path */
    POLICY_CAUSE_NOT_ALLOWED, /* no allow rule matches */
    POLICY_CAUSE_DENY_RULE,   /* a deny rule matches */
    POLICY_CAUSE_OTHER,       /* malformed request, protocol that is not inspected */
};

struct policy_answer {
    enum policy_verdict verdict;
    enum policy_cause cause; /* of a denial, or of what only the audit mode lets pass */
    const char *layer;       /* "connection", "address" or "request": what decided */
    const char *rule;        /* key of the rule that decided; NULL when none did */
    const char *detail;      /* the endpoint and clause of it; NULL */
    const char *reason;      /* of a denial, or why it depends; NULL */
    bool unread;             /* allowed, and the bytes pass without inspection */
};

/* Texts are in the arena. -1 with *err when the document is refused, as policy_compile() refuses it. */
int policy_explain(struct os_arena *arena, const policy_doc *doc, const struct policy_question *q,
                   struct policy_answer *out, struct os_error *err);

#define POLICY_FIXES 4

/* One change after which the same question is answered with yes. */
struct policy_fix {
    policy_doc *doc;       /* the whole policy afterwards; shares memory with the one before */
    policy_merge_op **ops; /* that lead there; n_ops is 0 when operations cannot */
    size_t n_ops;
    const char *note; /* what is to be known about it; NULL */
};

/* Changes that were tried and found to allow what is asked, the smallest first; how many. The arena keeps
 * everything that was tried. 0 when no change of the rules would help, or the answer is not a denial. */
size_t policy_find_fixes(struct os_arena *arena, const policy_doc *doc, const struct policy_question *q,
                         struct policy_fix out[POLICY_FIXES]);
/* Stands in for the program where the question names none. */
#define POLICY_ANY_PROGRAM "/path/to/program"

/* A document with the rules of `after` that are not in `before` as they are, and nothing else. */
policy_doc *policy_changed_rules(struct os_arena *arena, const policy_doc *before, const policy_doc *after);

#endif
