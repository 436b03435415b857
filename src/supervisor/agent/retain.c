/* Ring of retained output. */
#include "supervisor/agent/retain.h"

#include <stdlib.h>
#include <string.h>

#include "core/str.h"

#define SIZE ((size_t)OS_MAIN_RETAINED)

void retain_init(struct retain *r)
{
    *r = (struct retain){.bytes = os_calloc(1, SIZE), .runs = os_calloc(RETAIN_RUNS, sizeof(*r->runs))};
}

void retain_free(struct retain *r)
{
    free(r->bytes);
    free(r->runs);
    *r = (struct retain){0};
}

static struct retain_run *run_at(const struct retain *r, size_t i)
{
    return &r->runs[(r->first_run + i) % RETAIN_RUNS];
}

static void drop_run(struct retain *r)
{
    r->head = run_at(r, 0)->end;
    r->first_run = (r->first_run + 1) % RETAIN_RUNS;
    r->n_runs--;
}

void retain_add(struct retain *r, bool is_err, const uint8_t *data, size_t n)
{
    if (n > SIZE) {
        r->tail += n - SIZE;
        data += n - SIZE;
        n = SIZE;
    }
    if (!n)
        return;
    size_t at = (size_t)(r->tail % SIZE), part = n < SIZE - at ? n : SIZE - at;
    memcpy(r->bytes + at, data, part);
    memcpy(r->bytes, data + part, n - part);
    r->tail += n;
    if (!r->n_runs || run_at(r, r->n_runs - 1)->is_err != is_err) {
        if (r->n_runs == RETAIN_RUNS)
            drop_run(r);
        run_at(r, r->n_runs++)->is_err = is_err;
    }
    run_at(r, r->n_runs - 1)->end = r->tail;
    uint64_t oldest = r->tail > SIZE ? r->tail - SIZE : 0;
    while (run_at(r, 0)->end <= oldest)
        drop_run(r);
    if (r->head < oldest)
        r->head = oldest;
}

size_t retain_at(const struct retain *r, uint64_t pos, size_t max, const uint8_t **data, bool *is_err)
{
    if (pos >= r->tail)
        return 0;
    size_t lo = 0, hi = r->n_runs - 1;
    while (lo < hi) { /* first run that ends after pos */
        size_t mid = (lo + hi) / 2;
        if (run_at(r, mid)->end > pos)
            hi = mid;
        else
            lo = mid + 1;
    }
    const struct retain_run *run = run_at(r, lo);
    size_t at = (size_t)(pos % SIZE), n = (size_t)(run->end - pos);
    if (n > SIZE - at)
        n = SIZE - at;
    *data = r->bytes + at;
    *is_err = run->is_err;
    return n < max ? n : max;
}
