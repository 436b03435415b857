/* The sandboxes the driver knows: see table.h. */
#include "drivers/local/table.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/str.h"

void table_init(struct table *t)
{
    *t = (struct table){.runs = 1};
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->idle, NULL);
}

static void free_sandbox(struct sandbox *s)
{
    if (s->pidfd >= 0)
        close(s->pidfd);
    free(s->id);
    free(s->name);
    free(s->workspace);
    free(s->reason);
    free(s->message);
    free(s);
}

void table_free(struct table *t)
{
    for (size_t i = 0; i < t->n; i++)
        free_sandbox(t->v[i]);
    free(t->v);
    pthread_mutex_destroy(&t->lock);
    pthread_cond_destroy(&t->idle);
}

struct sandbox *table_find(struct table *t, const char *id)
{
    for (size_t i = 0; i < t->n; i++)
        if (strcmp(t->v[i]->id, id) == 0)
            return t->v[i];
    return NULL;
}

struct sandbox *table_find_run(struct table *t, uint64_t run)
{
    for (size_t i = 0; i < t->n; i++)
        if (t->v[i]->run == run)
            return t->v[i];
    return NULL;
}

struct sandbox *table_add(struct table *t, const char *id, const char *name, const char *workspace)
{
    struct sandbox *s = NULL;
    pthread_mutex_lock(&t->lock);
    if (!table_find(t, id)) {
        s = os_calloc(1, sizeof(*s));
        *s = (struct sandbox){.id = os_strdup(id),
                              .name = os_strdup(name),
                              .workspace = os_strdup(workspace),
                              .busy = true,
                              .phase = LOCAL_STARTING,
                              .pidfd = -1,
                              .reason = os_strdup(""),
                              .message = os_strdup(""),
                              .since_ms = os_clock_ms()};
        t->v = os_realloc(t->v, t->n + 1, sizeof(*t->v));
        t->v[t->n++] = s;
    }
    pthread_mutex_unlock(&t->lock);
    return s;
}

struct sandbox *table_take(struct table *t, const char *id)
{
    struct sandbox *s;
    pthread_mutex_lock(&t->lock);
    while ((s = table_find(t, id)) && s->busy)
        pthread_cond_wait(&t->idle, &t->lock);
    if (s)
        s->busy = true;
    pthread_mutex_unlock(&t->lock);
    return s;
}

void table_give(struct table *t, struct sandbox *s)
{
    pthread_mutex_lock(&t->lock);
    s->busy = false;
    pthread_cond_broadcast(&t->idle);
    pthread_mutex_unlock(&t->lock);
}

void table_drop(struct table *t, struct sandbox *s)
{
    pthread_mutex_lock(&t->lock);
    for (size_t i = 0; i < t->n; i++)
        if (t->v[i] == s)
            t->v[i] = t->v[--t->n];
    pthread_cond_broadcast(&t->idle);
    pthread_mutex_unlock(&t->lock);
    free_sandbox(s);
}

struct snapshot table_snapshot(const struct sandbox *s)
{
    return (struct snapshot){s->id,    s->name,   s->workspace, s->instance_id,
                             s->phase, s->reason, s->message,   s->since_ms};
}

void table_set(struct table *t, struct sandbox *s, enum local_phase phase, const char *reason,
               const char *message)
{
    pthread_mutex_lock(&t->lock);
    s->phase = phase;
    s->since_ms = os_clock_ms();
    free(s->reason);
    free(s->message);
    s->reason = os_strdup(reason ? reason : "");
    s->message = os_strdup(message ? message : "");
    pthread_mutex_unlock(&t->lock);
}
