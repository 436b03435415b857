/* GraphQL documents: what is accepted means the same with ignored characters before and behind it, and
 * every definition lies inside the text. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/limits.h"
#include "net/graphql/document.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void inside(struct graphql_text t, const char *p, size_t n)
{
    if (t.p && (!t.n || t.p < p || t.p + t.n > p + n))
        abort();
}

static void check(const struct graphql_document *d, const char *p, size_t n)
{
    if (d->n_definitions > OS_GRAPHQL_TOKENS || d->n_selections > OS_GRAPHQL_TOKENS)
        abort();
    size_t next = 0;
    for (size_t i = 0; i < d->n_definitions; i++) {
        inside(d->definitions[i].name, p, n);
        if (d->definitions[i].first != next || !d->definitions[i].n)
            abort();
        next += d->definitions[i].n;
    }
    if (next != d->n_selections)
        abort();
    for (size_t i = 0; i < d->n_selections; i++) {
        inside(d->selections[i].name, p, n);
        if (!d->selections[i].name.p)
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct os_arena arena = {0};
    struct graphql_document d, again;
    const char *p = (const char *)data;
    char *longer = malloc(size + 8);
    memcpy(longer, "\xef\xbb\xbf,#\n", 6);
    if (size)
        memcpy(longer + 6, p, size);
    longer[size + 6] = ' ';
    longer[size + 7] = '\n';
    bool ok = graphql_document_parse(&d, p, size, NULL) == 0;
    bool ok_again = graphql_document_parse(&again, longer, size + 8, NULL) == 0;
    if (ok != ok_again || (ok && d.n_selections != again.n_selections))
        abort();
    if (ok) {
        check(&d, p, size);
        struct graphql_operation op = {0};
        const char *error = graphql_document_select(&d, NULL, &arena, &op);
        if (!error && (!op.type || op.n_fields > d.n_selections))
            abort();
    }
    graphql_document_free(&d);
    graphql_document_free(&again);
    free(longer);
    os_arena_free(&arena);
    return 0;
}
