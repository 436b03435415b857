/* Windows of one minute per sandbox; those that are over make room. */
#include "gateway/mint_limit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/limits.h"
#include "core/str.h"

#define WINDOW_MS 60000

void mint_limit_init(struct mint_limit *m)
{
    *m = (struct mint_limit){0};
    pthread_mutex_init(&m->lock, NULL);
}

void mint_limit_free(struct mint_limit *m)
{
    pthread_mutex_destroy(&m->lock);
    free(m->v);
}

/* Under the lock. */
static struct mint_window *window(struct mint_limit *m, const char *id, int64_t now)
{
    size_t kept = 0;
    for (size_t i = 0; i < m->n; i++)
        if (now - m->v[i].begun_ms < WINDOW_MS)
            m->v[kept++] = m->v[i];
    m->n = kept;
    for (size_t i = 0; i < m->n; i++)
        if (strcmp(m->v[i].sandbox_id, id) == 0)
            return &m->v[i];
    if (m->n == m->cap) {
        m->cap = m->cap ? 2 * m->cap : 16;
        m->v = os_realloc(m->v, m->cap, sizeof(*m->v));
    }
    struct mint_window *w = &m->v[m->n++];
    *w = (struct mint_window){.begun_ms = now};
    snprintf(w->sandbox_id, sizeof(w->sandbox_id), "%s", id);
    return w;
}

bool mint_limit_take(struct mint_limit *m, const char *sandbox_id)
{
    pthread_mutex_lock(&m->lock);
    struct mint_window *w = window(m, sandbox_id, os_clock_mono_ms());
    bool ok = w->calls < OS_MIDDLEWARE_CREDENTIAL_CALLS;
    w->calls += ok;
    pthread_mutex_unlock(&m->lock);
    return ok;
}
