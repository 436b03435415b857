/* The SQLite store: WAL, synchronous=FULL (an acknowledged write survives power loss), one connection. */
#include <errno.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/str.h"
#include "gateway/store/store.h"
#include "sys/file.h"

struct store {
    sqlite3 *db;
    pthread_mutex_t lock; /* recursive: held across a transaction */
};

#define COLUMNS                                                                                              \
    "id, object_type, name, workspace, scope, version, status, labels, payload, created_at_ms, "             \
    "updated_at_ms, resource_version"

/* Each entry brings the schema from its index to index + 1; never edit one that was released. */
static const char *const migrations[] = {
    "CREATE TABLE objects ("
    " id TEXT PRIMARY KEY, object_type TEXT NOT NULL, name TEXT, scope TEXT, version INTEGER, status TEXT,"
    " dedup_key TEXT, hit_count INTEGER NOT NULL DEFAULT 0, payload BLOB NOT NULL,"
    " created_at_ms INTEGER NOT NULL, updated_at_ms INTEGER NOT NULL, labels TEXT,"
    " resource_version INTEGER NOT NULL DEFAULT 1, workspace TEXT NOT NULL DEFAULT '');"
    "CREATE UNIQUE INDEX objects_name_uq ON objects(object_type, workspace, name) WHERE name IS NOT NULL;"
    "CREATE UNIQUE INDEX objects_version_uq ON objects(object_type, scope, version)"
    " WHERE scope IS NOT NULL AND version IS NOT NULL;"
    "CREATE INDEX objects_scope_status_idx ON objects(object_type, scope, status, version)"
    " WHERE scope IS NOT NULL;"
    "CREATE UNIQUE INDEX objects_dedup_uq ON objects(object_type, scope, dedup_key)"
    " WHERE dedup_key IS NOT NULL;",
};

static int fail(struct store *s, struct os_error *err)
{
    int extended = sqlite3_extended_errcode(s->db);
    int primary = extended & 0xff;
    if (extended == SQLITE_CONSTRAINT_UNIQUE || extended == SQLITE_CONSTRAINT_PRIMARYKEY)
        return os_error_set(err, OS_ALREADY_EXISTS, "already exists");
    enum os_code code = primary == SQLITE_FULL                                  ? OS_RESOURCE_EXHAUSTED
                        : primary == SQLITE_BUSY || primary == SQLITE_LOCKED    ? OS_UNAVAILABLE
                        : primary == SQLITE_CORRUPT || primary == SQLITE_NOTADB ? OS_DATA_LOSS
                                                                                : OS_INTERNAL;
    if (primary == SQLITE_FULL)
        return os_error_set(err, code,
                            "database: no space left on its disk; free some, or stop and delete sandboxes");
    return os_error_set(err, code, "database: %s", sqlite3_errmsg(s->db));
}

static int run(struct store *s, const char *sql, struct os_error *err)
{
    return sqlite3_exec(s->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : fail(s, err);
}

static int migrate(struct store *s, struct os_error *err)
{
    sqlite3_stmt *st = NULL;
    if (sqlite3_prepare_v2(s->db, "PRAGMA user_version", -1, &st, NULL) != SQLITE_OK)
        return fail(s, err);
    int at = sqlite3_step(st) == SQLITE_ROW ? sqlite3_column_int(st, 0) : 0;
    sqlite3_finalize(st);
    int known = (int)OS_ARRAY_LEN(migrations);
    if (at > known)
        return os_error_set(err, OS_FAILED_PRECONDITION,
                            "the database has schema %d, this program knows up to %d; use a newer program",
                            at, known);
    for (; at < known; at++) {
        cleanup_free char *sql =
            os_asprintf("BEGIN IMMEDIATE; %s PRAGMA user_version = %d; COMMIT;", migrations[at], at + 1);
        if (run(s, sql, err) < 0) {
            sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
            return os_error_wrap(err, "migration %d failed", at + 1);
        }
    }
    return 0;
}

static int check(struct store *s, struct os_error *err)
{
    sqlite3_stmt *st = NULL;
    if (sqlite3_prepare_v2(s->db, "PRAGMA quick_check(1)", -1, &st, NULL) != SQLITE_OK)
        return fail(s, err);
    int step = sqlite3_step(st);
    int rc = step == SQLITE_ROW ? 0 : fail(s, err); /* a full disk is no damage */
    const char *text = step == SQLITE_ROW ? (const char *)sqlite3_column_text(st, 0) : "ok";
    if (!text || strcmp(text, "ok") != 0)
        rc = os_error_set(
            err, OS_DATA_LOSS,
            "the database is damaged (%s); restore a backup or move the file away to start empty",
            text ? text : "unreadable");
    sqlite3_finalize(st);
    return rc;
}

static int make_parent(const char *path, struct os_error *err)
{
    const char *slash = strrchr(path, '/');
    if (!slash || slash == path)
        return 0;
    cleanup_free char *dir = os_strndup(path, (size_t)(slash - path));
    return os_dir_make(dir, 0700, err);
}

int store_open(const char *url, struct store **out, struct os_error *err)
{
    if (!os_str_starts(url, "sqlite:"))
        return os_error_set(err, OS_INVALID_ARGUMENT, "unsupported database URL scheme: %s", url);
    const char *path = url + strlen("sqlite:");
    if (os_str_starts(path, "//"))
        path += 2;
    bool memory = strcmp(path, ":memory:") == 0;
    if (!memory && make_parent(path, err) < 0)
        return -1;
    struct store *s = os_calloc(1, sizeof(*s));
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&s->lock, &attr);
    mode_t old = umask(0077);
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
    int rc = sqlite3_open_v2(path, &s->db, flags, NULL) == SQLITE_OK ? 0 : fail(s, err);
    if (rc == 0) {
        sqlite3_busy_timeout(s->db, 5000);
        if (!memory)
            chmod(path, 0600);
        rc = run(s, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA temp_store=MEMORY;", err);
    }
    if (rc == 0)
        rc = check(s, err);
    if (rc == 0)
        rc = migrate(s, err);
    umask(old);
    if (rc < 0) {
        store_close(s);
        return os_error_wrap(err, "cannot open the database '%s'", path);
    }
    *out = s;
    return 0;
}

void store_close(struct store *s)
{
    if (!s)
        return;
    sqlite3_close_v2(s->db);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

int store_begin(struct store *s, struct os_error *err)
{
    pthread_mutex_lock(&s->lock);
    if (run(s, "BEGIN IMMEDIATE", err) == 0)
        return 0;
    pthread_mutex_unlock(&s->lock);
    return -1;
}

int store_commit(struct store *s, struct os_error *err)
{
    int rc = run(s, "COMMIT", err);
    if (rc < 0)
        sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

void store_rollback(struct store *s)
{
    sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
    pthread_mutex_unlock(&s->lock);
}

/* --- statements --- */

struct query {
    struct store *s;
    sqlite3_stmt *st;
    int at; /* last bound parameter */
};

static int query_open(struct query *q, struct store *s, const char *sql, struct os_error *err)
{
    pthread_mutex_lock(&s->lock);
    *q = (struct query){.s = s};
    if (sqlite3_prepare_v2(s->db, sql, -1, &q->st, NULL) == SQLITE_OK)
        return 0;
    fail(s, err);
    pthread_mutex_unlock(&s->lock);
    return -1;
}

static void query_close(struct query *q)
{
    sqlite3_finalize(q->st);
    pthread_mutex_unlock(&q->s->lock);
}

static void bind_text(struct query *q, const char *text)
{
    sqlite3_bind_text(q->st, ++q->at, text, -1, SQLITE_STATIC); /* NULL binds NULL */
}

static void bind_int(struct query *q, int64_t v)
{
    sqlite3_bind_int64(q->st, ++q->at, v);
}

static void bind_blob(struct query *q, const void *p, size_t n)
{
    sqlite3_bind_blob64(q->st, ++q->at, p ? p : "", n, SQLITE_STATIC);
}

/* Runs a statement without rows; *changed (may be NULL) = rows touched. Closes the query. */
static int query_run(struct query *q, int *changed, struct os_error *err)
{
    int rc = sqlite3_step(q->st) == SQLITE_DONE ? 0 : fail(q->s, err);
    if (changed)
        *changed = sqlite3_changes(q->s->db);
    query_close(q);
    return rc;
}

static const char *column_text(sqlite3_stmt *st, int i, struct os_arena *a)
{
    const char *t = (const char *)sqlite3_column_text(st, i);
    return t ? os_arena_strdup(a, t) : NULL;
}

static void row_read(sqlite3_stmt *st, struct os_arena *a, struct store_object *o)
{
    size_t n = (size_t)sqlite3_column_bytes(st, 8);
    *o = (struct store_object){
        .id = column_text(st, 0, a),
        .type = column_text(st, 1, a),
        .name = column_text(st, 2, a),
        .workspace = column_text(st, 3, a),
        .scope = column_text(st, 4, a),
        .version = sqlite3_column_int64(st, 5),
        .status = column_text(st, 6, a),
        .labels = column_text(st, 7, a),
        .payload = os_arena_memdup(a, sqlite3_column_blob(st, 8), n),
        .payload_len = n,
        .created_at_ms = sqlite3_column_int64(st, 9),
        .updated_at_ms = sqlite3_column_int64(st, 10),
        .resource_version = (uint64_t)sqlite3_column_int64(st, 11),
    };
}

/* One row or OS_NOT_FOUND. Closes the query. */
static int query_one(struct query *q, const char *what, struct os_arena *a, struct store_object *out,
                     struct os_error *err)
{
    int step = sqlite3_step(q->st), rc = 0;
    if (step == SQLITE_ROW)
        row_read(q->st, a, out);
    else if (step == SQLITE_DONE)
        rc = os_error_set(err, OS_NOT_FOUND, "object %s not found", what);
    else
        rc = fail(q->s, err);
    query_close(q);
    return rc;
}

static int query_all(struct query *q, struct os_arena *a, struct store_object **out, size_t *n,
                     struct os_error *err)
{
    struct store_object *rows = NULL;
    size_t count = 0, cap = 0;
    int step;
    while ((step = sqlite3_step(q->st)) == SQLITE_ROW) {
        if (count == cap) {
            cap = cap ? cap * 2 : 16;
            rows = os_realloc(rows, cap, sizeof(*rows));
        }
        row_read(q->st, a, &rows[count++]);
    }
    int rc = step == SQLITE_DONE ? 0 : fail(q->s, err);
    query_close(q);
    if (rc == 0) {
        *out = os_arena_memdup(a, rows, count * sizeof(*rows));
        *n = count;
    }
    free(rows);
    return rc;
}

/* --- objects --- */

int store_insert(struct store *s, const struct store_object *o, struct os_error *err)
{
    struct query q;
    if (query_open(&q, s,
                   "INSERT INTO objects (id, object_type, name, workspace, scope, version, status, labels,"
                   " payload, created_at_ms, updated_at_ms, resource_version)"
                   " VALUES (?,?,?,?,?,?,?,?,?,?,?,1)",
                   err) < 0)
        return -1;
    int64_t now = os_clock_ms();
    bind_text(&q, o->id);
    bind_text(&q, o->type);
    bind_text(&q, o->name);
    bind_text(&q, o->workspace ? o->workspace : "");
    bind_text(&q, o->scope);
    if (o->version)
        bind_int(&q, o->version);
    else
        bind_text(&q, NULL);
    bind_text(&q, o->status);
    bind_text(&q, o->labels ? o->labels : "{}");
    bind_blob(&q, o->payload, o->payload_len);
    bind_int(&q, o->created_at_ms ? o->created_at_ms : now);
    bind_int(&q, now);
    return query_run(&q, NULL, err);
}

int store_get(struct store *s, const char *type, const char *id, struct os_arena *a, struct store_object *out,
              struct os_error *err)
{
    struct query q;
    if (query_open(&q, s, "SELECT " COLUMNS " FROM objects WHERE id=? AND object_type=?", err) < 0)
        return -1;
    bind_text(&q, id);
    bind_text(&q, type);
    return query_one(&q, id, a, out, err);
}

int store_get_named(struct store *s, const char *type, const char *workspace, const char *name,
                    struct os_arena *a, struct store_object *out, struct os_error *err)
{
    struct query q;
    if (query_open(&q, s, "SELECT " COLUMNS " FROM objects WHERE object_type=? AND workspace=? AND name=?",
                   err) < 0)
        return -1;
    bind_text(&q, type);
    bind_text(&q, workspace);
    bind_text(&q, name);
    return query_one(&q, name, a, out, err);
}

static int conflict(struct store *s, const char *type, const char *id, struct os_error *err)
{
    struct query q;
    if (query_open(&q, s, "SELECT resource_version FROM objects WHERE id=? AND object_type=?", err) < 0)
        return -1;
    bind_text(&q, id);
    bind_text(&q, type);
    int step = sqlite3_step(q.st);
    int64_t at = step == SQLITE_ROW ? sqlite3_column_int64(q.st, 0) : 0;
    query_close(&q);
    return step == SQLITE_ROW ? os_error_set(err, OS_ABORTED, "%lld", (long long)at)
                              : os_error_set(err, OS_NOT_FOUND, "object %s not found", id);
}

int store_update(struct store *s, const char *type, const char *id, uint64_t expected, const void *payload,
                 size_t n, uint64_t *new_version, struct os_error *err)
{
    struct query q;
    if (query_open(&q, s,
                   "UPDATE objects SET payload=?, updated_at_ms=?, resource_version=resource_version+1"
                   " WHERE id=? AND object_type=? AND resource_version=?",
                   err) < 0)
        return -1;
    bind_blob(&q, payload, n);
    bind_int(&q, os_clock_ms());
    bind_text(&q, id);
    bind_text(&q, type);
    bind_int(&q, (int64_t)expected);
    int changed = 0;
    if (query_run(&q, &changed, err) < 0)
        return -1;
    if (!changed)
        return conflict(s, type, id, err);
    if (new_version)
        *new_version = expected + 1;
    return 0;
}

int store_delete(struct store *s, const char *type, const char *id, struct os_error *err)
{
    struct query q;
    if (query_open(&q, s, "DELETE FROM objects WHERE id=? AND object_type=?", err) < 0)
        return -1;
    bind_text(&q, id);
    bind_text(&q, type);
    return query_run(&q, NULL, err);
}

int store_list(struct store *s, const char *type, const char *workspace, uint32_t limit, uint32_t offset,
               struct os_arena *a, struct store_object **out, size_t *n, struct os_error *err)
{
    struct query q;
    if (query_open(&q, s,
                   "SELECT " COLUMNS " FROM objects WHERE object_type=?1 AND (?2 IS NULL OR workspace=?2)"
                   " ORDER BY created_at_ms, name, workspace, id LIMIT ?3 OFFSET ?4",
                   err) < 0)
        return -1;
    bind_text(&q, type);
    bind_text(&q, workspace);
    bind_int(&q, limit ? (int64_t)limit : -1);
    bind_int(&q, offset);
    return query_all(&q, a, out, n, err);
}

/* --- policy revisions --- */

int store_revision_get(struct store *s, const char *scope, uint32_t version, struct os_arena *a,
                       struct store_object *out, struct os_error *err)
{
    struct query q;
    if (query_open(&q, s,
                   "SELECT " COLUMNS " FROM objects WHERE object_type='sandbox_policy' AND scope=?1"
                   " AND (?2=0 OR version=?2) ORDER BY version DESC LIMIT 1",
                   err) < 0)
        return -1;
    bind_text(&q, scope);
    bind_int(&q, version);
    return query_one(&q, scope, a, out, err);
}

int store_revision_list(struct store *s, const char *scope, uint32_t limit, uint32_t offset,
                        struct os_arena *a, struct store_object **out, size_t *n, struct os_error *err)
{
    struct query q;
    if (query_open(&q, s,
                   "SELECT " COLUMNS " FROM objects WHERE object_type='sandbox_policy' AND scope=?"
                   " ORDER BY version DESC LIMIT ? OFFSET ?",
                   err) < 0)
        return -1;
    bind_text(&q, scope);
    bind_int(&q, limit);
    bind_int(&q, offset);
    return query_all(&q, a, out, n, err);
}

int store_revision_update(struct store *s, const char *scope, uint32_t version, const char *status,
                          const void *payload, size_t n, struct os_error *err)
{
    struct query q;
    if (query_open(&q, s,
                   "UPDATE objects SET status=?, payload=?, updated_at_ms=?"
                   " WHERE object_type='sandbox_policy' AND scope=? AND version=?",
                   err) < 0)
        return -1;
    bind_text(&q, status);
    bind_blob(&q, payload, n);
    bind_int(&q, os_clock_ms());
    bind_text(&q, scope);
    bind_int(&q, version);
    int changed = 0;
    if (query_run(&q, &changed, err) < 0)
        return -1;
    return changed ? 0 : os_error_set(err, OS_NOT_FOUND, "policy revision not found");
}

int store_revision_supersede(struct store *s, const char *scope, uint32_t version, struct os_error *err)
{
    struct query q;
    if (query_open(
            &q, s,
            "UPDATE objects SET status='superseded', updated_at_ms=? WHERE object_type='sandbox_policy'"
            " AND scope=? AND version<? AND status IN ('pending','loaded')",
            err) < 0)
        return -1;
    bind_int(&q, os_clock_ms());
    bind_text(&q, scope);
    bind_int(&q, version);
    return query_run(&q, NULL, err);
}

int store_remove_sandbox(struct store *s, const char *id, const char *workspace, const char *name,
                         struct os_error *err)
{
    if (store_begin(s, err) < 0)
        return -1;
    struct query q;
    int rc = query_open(&q, s,
                        "DELETE FROM objects WHERE (object_type='sandbox' AND id=?1) OR scope=?1 OR"
                        " (object_type='sandbox_settings' AND workspace=?2 AND name=?3)",
                        err);
    if (rc == 0) {
        bind_text(&q, id);
        bind_text(&q, workspace);
        bind_text(&q, name);
        rc = query_run(&q, NULL, err);
    }
    if (rc < 0) {
        store_rollback(s);
        return -1;
    }
    return store_commit(s, err);
}
