/* The services behind the rows of tbl/handlers.h. */
#include "gateway/rpc/services.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "rpc/method.h"

static const enum rpc_method_id handled[] = {
#define UNARY(id, fn) RPC_##id,
#define STREAM(id, fn) RPC_##id,
#include "gateway/rpc/tbl/handlers.h"
};

static const char *names[OS_ARRAY_LEN(handled)];
static size_t n_names;

static int compare(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void collect(void)
{
    const char *all[OS_ARRAY_LEN(handled)];
    for (size_t i = 0; i < OS_ARRAY_LEN(handled); i++)
        all[i] = rpc_method(handled[i])->service;
    qsort(all, OS_ARRAY_LEN(handled), sizeof(all[0]), compare);
    for (size_t i = 0; i < OS_ARRAY_LEN(handled); i++)
        if (!n_names || strcmp(names[n_names - 1], all[i]) != 0)
            names[n_names++] = all[i];
}

const char *const *services_served(size_t *n)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, collect);
    *n = n_names;
    return names;
}

bool service_is_served(const char *name)
{
    size_t n;
    const char *const *served = services_served(&n);
    return bsearch(&name, served, n, sizeof(served[0]), compare) != NULL;
}
