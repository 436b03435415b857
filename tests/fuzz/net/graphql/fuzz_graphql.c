/* GraphQL bodies, messages and parameters: an error or operations, never both; fields sorted, each once; what
 * is understood is understood alike with white space behind it. The first byte chooses the way in. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/arena.h"
#include "net/graphql/graphql.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct graphql_request *r)
{
    if (!r->error != (r->n > 0))
        abort();
    for (size_t i = 0; i < r->n; i++) {
        const struct graphql_operation *op = &r->operations[i];
        if (op->persisted != (op->hash || op->id) || (!op->type && (!op->persisted || op->n_fields)))
            abort();
        if (op->type && !op->n_fields && !op->fields)
            abort();
        for (size_t k = 0; k < op->n_fields; k++) {
            const char *f = op->fields[k];
            if (!*f || (*f >= '0' && *f <= '9') || (k && strcmp(op->fields[k - 1], f) >= 0))
                abort();
            if (f[strspn(f, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_")])
                abort();
        }
    }
}

static void same(const struct graphql_request *a, const struct graphql_request *b)
{
    if (a->n != b->n || !a->error != !b->error)
        abort();
    for (size_t i = 0; i < a->n; i++)
        if (a->operations[i].type != b->operations[i].type ||
            a->operations[i].n_fields != b->operations[i].n_fields)
            abort();
}

static void try_body(struct os_arena *arena, const char *p, size_t n)
{
    struct graphql_request r, again;
    graphql_parse_body(arena, p, n, &r);
    check(&r);
    char *longer = os_arena_alloc(arena, n + 2);
    memcpy(longer, p, n);
    memcpy(longer + n, " \n", 2);
    graphql_parse_body(arena, longer, n + 2, &again);
    same(&r, &again);
}

static void try_message(struct os_arena *arena, const char *p, size_t n)
{
    struct graphql_request r;
    switch (graphql_parse_message(arena, p, n, &r)) {
    case GRAPHQL_MESSAGE_CONTROL:
        if (r.error || r.n)
            abort();
        break;
    case GRAPHQL_MESSAGE_REJECTED:
        if (!r.error)
            abort();
        break;
    case GRAPHQL_MESSAGE_OPERATION:
        check(&r);
    }
}

/* Lines "key=value". */
static void try_params(struct os_arena *arena, const char *p, size_t n)
{
    struct graphql_param params[16];
    size_t count = 0;
    char *save = NULL, *text = os_arena_strndup(arena, p, n);
    for (char *line = strtok_r(text, "\x01", &save); line && count < 16;
         line = strtok_r(NULL, "\x01", &save)) {
        char *value = strchr(line, '=');
        if (!value)
            continue;
        *value = '\0';
        params[count++] = (struct graphql_param){line, value + 1};
    }
    struct graphql_request r;
    graphql_parse_params(arena, params, count, &r);
    check(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    struct os_arena arena = {0};
    const char *p = (const char *)data + 1;
    if (data[0] == 'p')
        try_params(&arena, p, size - 1);
    else if (data[0] == 'm')
        try_message(&arena, p, size - 1);
    else
        try_body(&arena, p, size - 1);
    os_arena_free(&arena);
    return 0;
}
