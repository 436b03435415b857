/* Per-sandbox rings of log lines and platform events. */
#include "gateway/logbus.h"

#include <pthread.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/cleanup.h"
#include "core/id.h"
#include "core/limits.h"
#include "core/str.h"
#include "rpc/call.h"

struct ring_entry {
    uint8_t *data; /* packed message */
    size_t n;
};

struct ring {
    struct ring_entry *v;
    size_t cap;
    uint64_t head; /* sequence number of the next entry */
};

struct bus {
    char *id;
    struct ring rings[2];
};

struct logbus {
    pthread_mutex_t lock;
    char dropped[OS_LOG_DROPPED][OS_UUID_LEN]; /* a ring */
    unsigned next_dropped;
    void *tree; /* struct bus by id */
    logbus_poke_fn *poke;
    void *ctx;
};

static const size_t ring_sizes[2] = {OS_LOG_RING, OS_EVENT_RING};

static int by_id(const void *a, const void *b)
{
    return strcmp(((const struct bus *)a)->id, ((const struct bus *)b)->id);
}

static bool was_dropped(const struct logbus *b, const char *id)
{
    for (size_t i = 0; i < OS_LOG_DROPPED; i++)
        if (strcmp(b->dropped[i], id) == 0)
            return true;
    return false;
}

/* NULL also when the sandbox is gone: a line that comes late does not bring its rings back. */
static struct bus *find(struct logbus *b, const char *id, bool create)
{
    struct bus key = {.id = (char *)id};
    struct bus **at = tfind(&key, &b->tree, by_id);
    if (at || !create || was_dropped(b, id))
        return at ? *at : NULL;
    struct bus *bus = os_calloc(1, sizeof(*bus));
    bus->id = os_strdup(id);
    tsearch(bus, &b->tree, by_id);
    return bus;
}

struct logbus *logbus_new(logbus_poke_fn *poke, void *ctx)
{
    struct logbus *b = os_calloc(1, sizeof(*b));
    pthread_mutex_init(&b->lock, NULL);
    b->poke = poke;
    b->ctx = ctx;
    return b;
}

static void bus_free(void *p)
{
    struct bus *bus = p;
    for (int k = 0; k < 2; k++) {
        for (size_t i = 0; i < bus->rings[k].cap; i++)
            free(bus->rings[k].v[i].data);
        free(bus->rings[k].v);
    }
    free(bus->id);
    free(bus);
}

void logbus_free(struct logbus *b)
{
    if (!b)
        return;
    tdestroy(b->tree, bus_free);
    pthread_mutex_destroy(&b->lock);
    free(b);
}

void logbus_drop(struct logbus *b, const char *id)
{
    pthread_mutex_lock(&b->lock);
    struct bus *bus = find(b, id, false);
    if (bus) {
        tdelete(bus, &b->tree, by_id);
        bus_free(bus);
    }
    snprintf(b->dropped[b->next_dropped++ % OS_LOG_DROPPED], OS_UUID_LEN, "%s", id);
    pthread_mutex_unlock(&b->lock);
}

/* The ring grows to its limit by doubling, so an idle sandbox costs little. */
static struct ring_entry *ring_slot(struct ring *r, size_t limit)
{
    if (r->head >= r->cap && r->cap < limit) {
        size_t cap = r->cap ? r->cap * 2 : 16;
        if (cap > limit)
            cap = limit;
        r->v = os_realloc(r->v, cap, sizeof(*r->v));
        memset(r->v + r->cap, 0, (cap - r->cap) * sizeof(*r->v));
        r->cap = cap;
    }
    return &r->v[r->head % r->cap];
}

static void add(struct logbus *b, const char *id, enum logbus_kind kind, const ProtobufCMessage *m)
{
    size_t n = protobuf_c_message_get_packed_size(m);
    uint8_t *data = os_calloc(1, n);
    protobuf_c_message_pack(m, data);
    pthread_mutex_lock(&b->lock);
    struct bus *bus = find(b, id, true);
    if (bus) {
        struct ring *r = &bus->rings[kind];
        struct ring_entry *e = ring_slot(r, ring_sizes[kind]);
        free(e->data);
        *e = (struct ring_entry){data, n};
        r->head++;
    } else {
        free(data);
    }
    pthread_mutex_unlock(&b->lock);
    if (bus)
        b->poke(b->ctx, id);
}

/* At most max bytes, whole characters only. */
static char *cut(const char *s, size_t max)
{
    size_t n = strnlen(s, max + 1);
    if (n > max)
        for (n = max; n && ((unsigned char)s[n] & 0xc0) == 0x80;)
            n--;
    return os_strndup(s, n);
}

void logbus_add_line(struct logbus *b, const char *id, const Openshell__V1__SandboxLogLine *line)
{
    if (protobuf_c_message_get_packed_size(&line->base) <= OS_LOG_LINE) {
        add(b, id, LOGBUS_LINES, &line->base);
        return;
    }
    cleanup_free char *level = cut(line->level, 16), *target = cut(line->target, 256),
                      *message = cut(line->message, OS_LOG_LINE - 1024);
    Openshell__V1__SandboxLogLine shorter = *line;
    shorter.level = level;
    shorter.target = target;
    shorter.message = message;
    shorter.n_fields = 0;
    add(b, id, LOGBUS_LINES, &shorter.base);
}

void logbus_add_event(struct logbus *b, const char *id, const Openshell__V1__PlatformEvent *event)
{
    add(b, id, LOGBUS_EVENTS, &event->base);
}

uint64_t logbus_head(struct logbus *b, const char *id, enum logbus_kind kind)
{
    pthread_mutex_lock(&b->lock);
    struct bus *bus = find(b, id, false);
    uint64_t head = bus ? bus->rings[kind].head : 0;
    pthread_mutex_unlock(&b->lock);
    return head;
}

size_t logbus_read(struct logbus *b, const char *id, enum logbus_kind kind, uint64_t *seq, size_t max,
                   struct os_arena *a, ProtobufCMessage **out, uint64_t *lost)
{
    const ProtobufCMessageDescriptor *desc = kind == LOGBUS_LINES
                                                 ? &openshell__v1__sandbox_log_line__descriptor
                                                 : &openshell__v1__platform_event__descriptor;
    size_t n = 0;
    *lost = 0;
    pthread_mutex_lock(&b->lock);
    struct bus *bus = find(b, id, false);
    struct ring *r = bus ? &bus->rings[kind] : NULL;
    uint64_t oldest = r && r->head > r->cap ? r->head - r->cap : 0;
    if (r && *seq < oldest) {
        *lost = oldest - *seq;
        *seq = oldest;
    }
    for (; r && n < max && *seq < r->head; (*seq)++) {
        const struct ring_entry *e = &r->v[*seq % r->cap];
        ProtobufCMessage *m = rpc_unpack(a, desc, e->data, e->n);
        if (m)
            out[n++] = m;
    }
    pthread_mutex_unlock(&b->lock);
    return n;
}

static int level_rank(const char *level)
{
    static const struct {
        const char *name;
        int rank;
    } ranks[] = {{"ERROR", 0}, {"WARN", 1}, {"INFO", 2}, {"OCSF", 2}, {"DEBUG", 3}, {"TRACE", 4}};
    for (size_t i = 0; i < sizeof(ranks) / sizeof(ranks[0]); i++)
        if (strcasecmp(level, ranks[i].name) == 0)
            return ranks[i].rank;
    return 5;
}

bool logbus_passes(const struct logbus_filter *f, const Openshell__V1__SandboxLogLine *line)
{
    if (f->since_ms && line->timestamp_ms < f->since_ms)
        return false;
    if (f->min_level && *f->min_level && level_rank(line->level) > level_rank(f->min_level))
        return false;
    if (!f->n_sources)
        return true;
    const char *source = *line->source ? line->source : "gateway";
    for (size_t i = 0; i < f->n_sources; i++)
        if (strcmp(f->sources[i], source) == 0)
            return true;
    return false;
}
