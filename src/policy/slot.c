/* Publication of compiled policies. The lock covers one pointer copy per connection; decisions take none. */
#include <pthread.h>
#include <stdlib.h>

#include "core/str.h"
#include "policy/engine_priv.h"

struct watcher {
    void (*fn)(void *ctx);
    void *ctx;
};

struct policy_slot {
    pthread_mutex_t lock;
    struct policy_engine *current;
    _Atomic uint64_t generation;
    struct watcher *watchers; /* complete before threads start */
    size_t n_watchers;
};

struct policy_slot *policy_slot_new(struct policy_engine *first)
{
    struct policy_slot *s = os_calloc(1, sizeof(*s));
    pthread_mutex_init(&s->lock, NULL);
    s->current = first;
    atomic_init(&s->generation, first->generation);
    return s;
}

struct policy_engine *policy_slot_get(struct policy_slot *s)
{
    pthread_mutex_lock(&s->lock);
    struct policy_engine *e = policy_engine_ref(s->current);
    pthread_mutex_unlock(&s->lock);
    return e;
}

void policy_slot_publish(struct policy_slot *s, struct policy_engine *e)
{
    pthread_mutex_lock(&s->lock);
    struct policy_engine *old = s->current;
    s->current = e;
    atomic_store(&s->generation, e->generation);
    pthread_mutex_unlock(&s->lock);
    policy_engine_unref(old);
    for (size_t i = 0; i < s->n_watchers; i++)
        s->watchers[i].fn(s->watchers[i].ctx);
}

uint64_t policy_slot_generation(const struct policy_slot *s)
{
    return atomic_load(&s->generation);
}

void policy_slot_watch(struct policy_slot *s, void (*fn)(void *ctx), void *ctx)
{
    s->watchers = os_realloc(s->watchers, s->n_watchers + 1, sizeof(*s->watchers));
    s->watchers[s->n_watchers++] = (struct watcher){fn, ctx};
}

void policy_slot_free(struct policy_slot *s)
{
    if (!s)
        return;
    policy_engine_unref(s->current);
    pthread_mutex_destroy(&s->lock);
    free(s->watchers);
    free(s);
}
