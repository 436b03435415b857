/* Table of made-up addresses: one number per name, which both families carry in their last two bytes. */
#include "supervisor/egress/names.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "core/clock.h"
#include "core/limits.h"
#include "core/str.h"

static const uint8_t pool4[] = {OS_NAMES_POOL4};
static const uint8_t pool6[16] = {OS_NAMES_POOL6};

struct entry {
    char *name;
    int64_t used_ms;
    uint16_t number; /* never 0: that would be the network's own address */
};

struct egress_names {
    pthread_mutex_t lock;
    struct entry entries[OS_NAMES_MAX];
    size_t n;
    uint16_t last; /* number given last */
};

struct egress_names *names_new(void)
{
    struct egress_names *t = os_calloc(1, sizeof(*t));
    pthread_mutex_init(&t->lock, NULL);
    /* Another start begins elsewhere: what a program kept from before stands for nothing. */
    if (getrandom(&t->last, sizeof(t->last), GRND_NONBLOCK) != sizeof(t->last))
        t->last = (uint16_t)os_clock_ms();
    return t;
}

void names_free(struct egress_names *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < t->n; i++)
        free(t->entries[i].name);
    pthread_mutex_destroy(&t->lock);
    free(t);
}

static struct entry *by_name(struct egress_names *t, const char *name)
{
    for (size_t i = 0; i < t->n; i++)
        if (!strcmp(t->entries[i].name, name))
            return &t->entries[i];
    return NULL;
}

static struct entry *by_number(struct egress_names *t, uint16_t number)
{
    for (size_t i = 0; i < t->n; i++)
        if (t->entries[i].number == number)
            return &t->entries[i];
    return NULL;
}

/* A free entry, or the one unused for longest if that is long enough; NULL when the table is full. */
static struct entry *make_room(struct egress_names *t, int64_t now)
{
    if (t->n < OS_NAMES_MAX)
        return &t->entries[t->n++];
    struct entry *oldest = &t->entries[0];
    for (size_t i = 1; i < t->n; i++)
        if (t->entries[i].used_ms < oldest->used_ms)
            oldest = &t->entries[i];
    return now - oldest->used_ms > OS_NAMES_KEEP_MS ? oldest : NULL;
}

/* Far more numbers than entries: there always is a free one. */
static uint16_t next_number(struct egress_names *t)
{
    do {
        t->last++;
    } while (t->last == 0 || t->last == UINT16_MAX || by_number(t, t->last));
    return t->last;
}

static void write_address(uint16_t number, int family, struct net_addr *out)
{
    const uint8_t tail[2] = {(uint8_t)(number >> 8), (uint8_t)number};
    *out = (struct net_addr){.family = family};
    if (family == AF_INET6) {
        memcpy(out->v6.s6_addr, pool6, sizeof(pool6));
        memcpy(out->v6.s6_addr + 14, tail, sizeof(tail));
    } else {
        memcpy(&out->v4, pool4, sizeof(pool4));
        memcpy((uint8_t *)&out->v4 + 2, tail, sizeof(tail));
    }
}

enum names_result names_address(struct egress_names *t, const char *name, int family, struct net_addr *out)
{
    enum names_result result = NAMES_KNOWN;
    int64_t now = os_clock_mono_ms();
    pthread_mutex_lock(&t->lock);
    struct entry *e = by_name(t, name);
    if (!e) {
        e = make_room(t, now);
        result = e ? NAMES_NEW : NAMES_FULL;
        if (e) {
            free(e->name);
            e->name = os_strdup(name);
            e->number = next_number(t);
        }
    }
    if (e) {
        e->used_ms = now;
        write_address(e->number, family, out);
    }
    pthread_mutex_unlock(&t->lock);
    return result;
}

/* The number that *a carries; false when it is in no pool. */
static bool read_address(const struct net_addr *a, uint16_t *number)
{
    const uint8_t *p = (const uint8_t *)&a->v4;
    if (a->family == AF_INET6) {
        p = a->v6.s6_addr;
        if (memcmp(p, pool6, 6) != 0)
            return false;
        *number = memcmp(p + 6, pool6 + 6, 8) == 0 ? (uint16_t)(p[14] << 8 | p[15]) : 0;
        return true;
    }
    *number = (uint16_t)(p[2] << 8 | p[3]);
    return memcmp(p, pool4, sizeof(pool4)) == 0;
}

enum names_found names_find(struct egress_names *t, const struct net_addr *a, char *name)
{
    uint16_t number;
    if (!read_address(a, &number))
        return NAMES_OUTSIDE;
    pthread_mutex_lock(&t->lock);
    struct entry *e = number ? by_number(t, number) : NULL;
    if (e) {
        e->used_ms = os_clock_mono_ms();
        memcpy(name, e->name, strlen(e->name) + 1);
    }
    pthread_mutex_unlock(&t->lock);
    return e ? NAMES_FOUND : NAMES_UNKNOWN;
}
