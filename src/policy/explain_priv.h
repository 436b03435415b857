/* What the explanation and the search for a change share. Private to src/policy. */
#ifndef POLICY_EXPLAIN_PRIV_H
#define POLICY_EXPLAIN_PRIV_H

#include "policy/engine_priv.h"
#include "policy/explain.h"
#include "policy/model.h"

struct explain {
    struct os_arena *arena;
    const policy_doc *doc;
    const struct policy_engine *engine;
    const struct policy_question *q;
    struct policy_answer *out;
};

/* An endpoint in the document. */
struct explain_place {
    char *key;
    policy_rule *rule; /* NULL: none */
    size_t endpoint;
};

struct policy_engine *explain_compile(const policy_doc *doc, bool identity, struct os_error *err);
/* Where the engine has an endpoint from; it was compiled from doc. */
struct explain_place explain_place_of(struct os_arena *arena, const policy_doc *doc,
                                      const struct policy_engine *e, const struct engine_endpoint *ep);

#endif
