/* The sandboxes the driver knows. An operation takes a sandbox out of the others' reach; readers see a
 * consistent state at any time. */
#ifndef DRIVERS_LOCAL_TABLE_H
#define DRIVERS_LOCAL_TABLE_H

#include <pthread.h>
#include <stdbool.h>

#include "drivers/local/snapshot.h"

struct sandbox {
    char *id, *name, *workspace; /* fixed */
    bool busy;                   /* an operation has it */
    enum local_phase phase;
    bool ending;  /* an operation ends the process: its end is not news */
    int pidfd;    /* -1 when no process runs */
    uint64_t run; /* name of the process in exits */
    char instance_id[OS_UUID_LEN];
    char *reason, *message; /* why it ended */
    int64_t since_ms;
};

struct table {
    pthread_mutex_t lock; /* of everything below, and of the sandboxes' changing members */
    pthread_cond_t idle;
    struct sandbox **v;
    size_t n;
    uint64_t runs;
};

void table_init(struct table *t);
void table_free(struct table *t);
/* New entry, busy for the caller; NULL when the id is taken. */
struct sandbox *table_add(struct table *t, const char *id, const char *name, const char *workspace);
/* Waits until no operation has it; NULL when there is none with this id. */
struct sandbox *table_take(struct table *t, const char *id);
void table_give(struct table *t, struct sandbox *s);
/* Removes and frees an entry the caller has. */
void table_drop(struct table *t, struct sandbox *s);

/* With the lock held. */
struct sandbox *table_find(struct table *t, const char *id);
struct sandbox *table_find_run(struct table *t, uint64_t run);
/* Borrows the sandbox's texts: use it while the lock is held, or while the sandbox is the caller's. */
struct snapshot table_snapshot(const struct sandbox *s);
/* Sets phase, time and reason; takes the lock itself. reason and message may be NULL. */
void table_set(struct table *t, struct sandbox *s, enum local_phase phase, const char *reason,
               const char *message);

#endif
