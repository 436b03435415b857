/* Selection of middleware configurations by host, on the compiled form. */
#include "policy/middleware.h"

#include <stdlib.h>
#include <string.h>

#include "core/limits.h"
#include "core/str.h"
#include "policy/engine_priv.h"
#include "policy/glob.h"
#include "policy/model.h"

#define LABELS 128 /* a name of 253 bytes has no more */

static size_t split(char *text, const char **labels, size_t max)
{
    size_t n = 0;
    for (char *next = text; next; n++) {
        char *label = next, *dot = strchr(label, '.');
        next = dot ? dot + 1 : NULL;
        if (dot)
            *dot = '\0';
        if (n < max)
            labels[n] = label;
    }
    return n;
}

void policy_selector_make(struct os_arena *arena, const char *pattern, struct policy_selector *out)
{
    char *text = os_str_lower(os_arena_strdup(arena, pattern));
    size_t n = 1;
    for (const char *p = text; *p; p++)
        n += *p == '.';
    const char **labels = os_arena_alloc(arena, n * sizeof(*labels));
    *out = (struct policy_selector){labels, split(text, labels, n)};
}

static bool is_any(const char *label)
{
    return label[0] == '*' && label[1] == '*' && !label[2];
}

typedef bool pair_fn(const char *a, const char *b);

/* Whether labels a stand for labels b, where "**" of a is one or more of b (and, both ways, of a for b).
 * at[j]: the labels so far stand for the first j of b. */
static bool align(const struct policy_selector *a, const struct policy_selector *b, bool both, pair_fn *pair)
{
    bool at[LABELS + 1] = {true}, next[LABELS + 1];
    if (a->n > LABELS || b->n > LABELS)
        return false;
    for (size_t i = 0; i < a->n; i++) {
        bool any = is_any(a->labels[i]);
        next[0] = false;
        for (size_t j = 1; j <= b->n; j++) {
            bool other = both && is_any(b->labels[j - 1]);
            next[j] = any || other || pair(a->labels[i], b->labels[j - 1])
                          ? at[j - 1] || (any && next[j - 1]) || (other && at[j])
                          : false;
        }
        memcpy(at, next, sizeof(at));
    }
    return at[b->n];
}

static bool label_matches(const char *pattern, const char *label)
{
    return *label && policy_path_selects(pattern, label);
}

bool policy_selector_matches(const struct policy_selector *s, const char *host)
{
    char text[OS_LIMIT_HOST_NAME + 1];
    const char *labels[LABELS];
    size_t n = strlen(host);
    if (!n || n >= sizeof(text))
        return false;
    memcpy(text, host, n + 1);
    const struct policy_selector name = {labels, split(os_str_lower(text), labels, LABELS)};
    for (size_t i = 0; i < name.n && i < LABELS; i++)
        if (!*labels[i])
            return false;
    return align(s, &name, false, label_matches);
}

static bool has_wildcard(const char *label)
{
    return strpbrk(label, "*?[{\\") != NULL;
}

static bool labels_overlap(const char *a, const char *b)
{
    if (has_wildcard(a) && has_wildcard(b))
        return true;
    return has_wildcard(a) ? label_matches(a, b) : has_wildcard(b) ? true : !strcmp(a, b);
}

bool policy_selectors_overlap(const struct policy_selector *a, const struct policy_selector *b)
{
    return align(a, b, true, labels_overlap);
}

static bool any_matches(const struct policy_selector *list, size_t n, const char *host)
{
    for (size_t i = 0; i < n; i++)
        if (policy_selector_matches(&list[i], host))
            return true;
    return false;
}

size_t policy_middlewares_for(const struct policy_engine *e, const char *host,
                              const struct policy_middleware_config **out)
{
    size_t n = 0;
    for (size_t i = 0; i < e->n_middlewares; i++) {
        const struct policy_middleware_config *m = &e->middlewares[i];
        if (any_matches(m->include, m->n_include, host) && !any_matches(m->exclude, m->n_exclude, host))
            out[n++] = m;
    }
    return n;
}

/* --- compilation --- */

static const struct policy_selector *selectors(struct os_arena *arena, char *const *patterns, size_t n)
{
    struct policy_selector *list = os_arena_alloc(arena, (n + 1) * sizeof(*list));
    for (size_t i = 0; i < n; i++)
        policy_selector_make(arena, policy_text(patterns[i]), &list[i]);
    return list;
}

static int by_order(const void *a, const void *b)
{
    const struct policy_middleware_config *x = a, *y = b;
    return x->order != y->order ? (x->order < y->order ? -1 : 1) : strcmp(x->key, y->key);
}

/* *out belongs to the engine: the document may go. */
static void compile_one(struct os_arena *arena, const char *key, const policy_middleware *m,
                        struct policy_middleware_config *out)
{
    *out = (struct policy_middleware_config){
        .key = os_arena_strdup(arena, key),
        .service = os_arena_strdup(arena, policy_text(m->middleware)),
        .order = m->order,
        .fail_open = !strcmp(policy_text(m->on_error), "fail_open"),
        .config = m->config,
        .config_size = m->config ? google__protobuf__struct__get_packed_size(m->config) : 0,
        .n_include = m->endpoints ? m->endpoints->n_include : 0,
        .n_exclude = m->endpoints ? m->endpoints->n_exclude : 0,
    };
    out->include = selectors(arena, m->endpoints ? m->endpoints->include : NULL, out->n_include);
    out->exclude = selectors(arena, m->endpoints ? m->endpoints->exclude : NULL, out->n_exclude);
}

void compile_middlewares(struct policy_engine *e, const policy_doc *doc)
{
    static const policy_middleware none;
    const policy_doc only = {.base = doc->base,
                             .n_network_middlewares = doc->n_network_middlewares,
                             .network_middlewares = doc->network_middlewares};
    if (!doc->n_network_middlewares)
        return;
    const policy_doc *copy = policy_copy(&e->arena, &only);
    struct policy_middleware_config *list =
        os_arena_alloc(&e->arena, copy->n_network_middlewares * sizeof(*list));
    for (size_t i = 0; i < copy->n_network_middlewares; i++) {
        const policy_middleware *m = copy->network_middlewares[i]->value;
        compile_one(&e->arena, policy_text(copy->network_middlewares[i]->key), m ? m : &none, &list[i]);
    }
    qsort(list, copy->n_network_middlewares, sizeof(*list), by_order);
    e->middlewares = list;
    e->n_middlewares = copy->n_network_middlewares;
}

/* --- what goes with the engine --- */

void policy_engine_attach(struct policy_engine *e, void *object, void (*free_fn)(void *object))
{
    e->attached = object;
    e->free_attached = free_fn;
}

void *policy_engine_attached(const struct policy_engine *e)
{
    return e->attached;
}
