/* Definitions of a document, the choice of the operation, and its root fields. */
#include "net/graphql/document.h"

#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/str.h"
#include "net/json/strict.h"

void graphql_document_free(struct graphql_document *d)
{
    free(d->definitions);
    free(d->selections);
    *d = (struct graphql_document){0};
}

/* Room for one more item. */
static void *grown(void *items, size_t n, size_t *cap, size_t size)
{
    if (n < *cap)
        return items;
    *cap = *cap ? 2 * *cap : 8;
    return os_realloc(items, *cap, size);
}

void graphql_document_add_definition(struct graphql_document *d, const char *type, struct graphql_text name)
{
    d->definitions = grown(d->definitions, d->n_definitions, &d->cap_definitions, sizeof(*d->definitions));
    d->definitions[d->n_definitions++] =
        (struct graphql_definition){.type = type, .name = name, .first = d->n_selections};
}

void graphql_document_add_selection(struct graphql_document *d, struct graphql_text name, bool spread)
{
    d->selections = grown(d->selections, d->n_selections, &d->cap_selections, sizeof(*d->selections));
    d->selections[d->n_selections++] = (struct graphql_selection){name, spread};
    d->definitions[d->n_definitions - 1].n++;
}

static int compare_text(struct graphql_text a, struct graphql_text b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int c = n ? memcmp(a.p, b.p, n) : 0;
    return c ? c : (a.n > b.n) - (a.n < b.n);
}

/* A definition and what the walk over spreads needs to know of it. */
struct entry {
    const struct graphql_definition *definition;
    bool visited;
};

/* Operations before fragments, each by name. */
static int compare_entries(const void *a, const void *b)
{
    const struct graphql_definition *x = ((const struct entry *)a)->definition;
    const struct graphql_definition *y = ((const struct entry *)b)->definition;
    if (!x->type != !y->type)
        return x->type ? -1 : 1;
    return compare_text(x->name, y->name);
}

static struct entry *sorted_entries(const struct graphql_document *d)
{
    struct entry *entries = os_calloc(d->n_definitions + 1, sizeof(*entries));
    for (size_t i = 0; i < d->n_definitions; i++)
        entries[i].definition = &d->definitions[i];
    qsort(entries, d->n_definitions, sizeof(*entries), compare_entries);
    return entries;
}

static struct entry *find_entry(struct entry *entries, size_t n, const char *type, struct graphql_text name)
{
    struct graphql_definition wanted = {.type = type, .name = name};
    struct entry key = {.definition = &wanted};
    return bsearch(&key, entries, n, sizeof(*entries), compare_entries);
}

/* Servers differ in which of two definitions with one name they run. */
static const char *find_repeated(struct entry *entries, size_t n, struct os_arena *arena)
{
    for (size_t i = 1; i < n; i++) {
        const struct graphql_definition *x = entries[i].definition;
        if (compare_entries(&entries[i - 1], &entries[i]) || !x->name.p)
            continue;
        const char *name = strict_json_excerpt(arena, os_arena_strndup(arena, x->name.p, x->name.n));
        return os_arena_printf(arena, "GraphQL document defines %s \"%s\" more than once",
                               x->type ? "operation" : "fragment", name);
    }
    return NULL;
}

struct fields {
    struct graphql_text *v;
    size_t n;
};

/* The fields of the operation and of all fragments it reaches. Each fragment is looked at once, so neither
 * cycles nor fragments that spread others many times make this more than linear in the document. */
static void collect(const struct graphql_document *d, struct entry *operation, struct entry *entries,
                    struct fields *out)
{
    cleanup_free struct entry **stack = os_calloc(d->n_definitions + 1, sizeof(struct entry *));
    size_t depth = 0;
    operation->visited = true;
    stack[depth++] = operation;
    while (depth) {
        const struct graphql_definition *at = stack[--depth]->definition;
        for (size_t i = at->first; i < at->first + at->n; i++) {
            const struct graphql_selection *s = &d->selections[i];
            if (!s->spread) {
                out->v[out->n++] = s->name;
                continue;
            }
            struct entry *to = find_entry(entries, d->n_definitions, NULL, s->name);
            if (!to || to->visited)
                continue;
            to->visited = true;
            stack[depth++] = to;
        }
    }
}

static int compare_fields(const void *a, const void *b)
{
    return compare_text(*(const struct graphql_text *)a, *(const struct graphql_text *)b);
}

/* Sorted, each once; one block for the pointers and one for the texts. */
static void put_fields(struct fields *f, struct os_arena *arena, struct graphql_operation *out)
{
    qsort(f->v, f->n, sizeof(*f->v), compare_fields);
    size_t n = 0, bytes = 0;
    for (size_t i = 0; i < f->n; i++) {
        if (n && !compare_text(f->v[n - 1], f->v[i]))
            continue;
        f->v[n++] = f->v[i];
        bytes += f->v[i].n + 1;
    }
    const char **names = os_arena_alloc(arena, (n + 1) * sizeof(*names));
    char *text = os_arena_alloc(arena, bytes + 1);
    for (size_t i = 0; i < n; i++) {
        names[i] = memcpy(text, f->v[i].p, f->v[i].n);
        text += f->v[i].n + 1;
    }
    out->fields = names;
    out->n_fields = n;
}

static struct entry *find_operation(struct entry *entries, size_t n, const char *name)
{
    static const char *const any = "query"; /* compare_entries looks only for whether there is a type */
    return name ? find_entry(entries, n, any, (struct graphql_text){name, strlen(name)}) : entries;
}

const char *graphql_document_select(const struct graphql_document *d, const char *name,
                                    struct os_arena *arena, struct graphql_operation *out)
{
    cleanup_free struct entry *entries = sorted_entries(d);
    size_t operations = 0;
    while (operations < d->n_definitions && entries[operations].definition->type)
        operations++;
    if (!operations)
        return "GraphQL document contains no executable operation";
    const char *repeated = find_repeated(entries, d->n_definitions, arena);
    if (repeated)
        return repeated;
    if (!name && operations > 1)
        return "GraphQL document has multiple operations but no operationName";
    struct entry *operation = find_operation(entries, operations, name);
    if (!operation)
        return os_arena_printf(arena, "GraphQL operationName \"%s\" was not found",
                               strict_json_excerpt(arena, name));
    const struct graphql_definition *found = operation->definition;
    out->type = found->type;
    out->name = found->name.p ? os_arena_strndup(arena, found->name.p, found->name.n) : NULL;
    cleanup_free struct graphql_text *v = os_calloc(d->n_selections + 1, sizeof(*v));
    struct fields fields = {.v = v};
    collect(d, operation, entries, &fields);
    put_fields(&fields, arena, out);
    return NULL;
}
