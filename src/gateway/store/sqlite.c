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
#include "core/id.h"
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

/* A parameter of a statement, borrowed. */
struct value {
    enum { VALUE_END, VALUE_TEXT, VALUE_INT, VALUE_BLOB } type;
    const void *p;
    size_t n;
    int64_t number;
};

/* NULL is SQL's NULL. */
static struct value text(const char *s)
{
    return (struct value){.type = VALUE_TEXT, .p = s};
}

static struct value number(int64_t v)
{
    return (struct value){.type = VALUE_INT, .number = v};
}

static struct value blob(const void *p, size_t n)
{
    return (struct value){.type = VALUE_BLOB, .p = p ? p : "", .n = n};
}

/* The parameters of one statement, in their order. */
#define PARAMETERS(...) ((const struct value[]){__VA_ARGS__, {.type = VALUE_END}})

struct query {
    struct store *s;
    sqlite3_stmt *st;
};

/* Holds the lock until query_close(). */
static int query_open(struct query *q, struct store *s, const char *sql, const struct value *parameters,
                      struct os_error *err)
{
    pthread_mutex_lock(&s->lock);
    *q = (struct query){.s = s};
    if (sqlite3_prepare_v2(s->db, sql, -1, &q->st, NULL) != SQLITE_OK) {
        fail(s, err);
        pthread_mutex_unlock(&s->lock);
        return -1;
    }
    for (int i = 0; parameters[i].type != VALUE_END; i++) {
        const struct value *v = &parameters[i];
        if (v->type == VALUE_TEXT)
            sqlite3_bind_text(q->st, i + 1, v->p, -1, SQLITE_STATIC);
        else if (v->type == VALUE_INT)
            sqlite3_bind_int64(q->st, i + 1, v->number);
        else
            sqlite3_bind_blob64(q->st, i + 1, v->p, v->n, SQLITE_STATIC);
    }
    return 0;
}

static void query_close(struct query *q)
{
    sqlite3_finalize(q->st);
    pthread_mutex_unlock(&q->s->lock);
}

/* Runs a statement without rows: the number of rows it touched, or -1. */
static int query_run(struct store *s, const char *sql, const struct value *parameters, struct os_error *err)
{
    struct query q;
    if (query_open(&q, s, sql, parameters, err) < 0)
        return -1;
    int rc = sqlite3_step(q.st) == SQLITE_DONE ? sqlite3_changes(s->db) : fail(s, err);
    query_close(&q);
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

/* The first row, or OS_NOT_FOUND of `what`. */
static int query_one(struct store *s, const char *sql, const struct value *parameters, const char *what,
                     struct os_arena *a, struct store_object *out, struct os_error *err)
{
    struct query q;
    if (query_open(&q, s, sql, parameters, err) < 0)
        return -1;
    int step = sqlite3_step(q.st), rc = 0;
    if (step == SQLITE_ROW)
        row_read(q.st, a, out);
    else if (step == SQLITE_DONE)
        rc = os_error_set(err, OS_NOT_FOUND, "object %s not found", what);
    else
        rc = fail(s, err);
    query_close(&q);
    return rc;
}

static int query_all(struct store *s, const char *sql, const struct value *parameters, struct os_arena *a,
                     struct store_object **out, size_t *n, struct os_error *err)
{
    struct query q;
    struct store_object *rows = NULL;
    size_t count = 0, cap = 0;
    int step;
    if (query_open(&q, s, sql, parameters, err) < 0)
        return -1;
    while ((step = sqlite3_step(q.st)) == SQLITE_ROW) {
        if (count == cap) {
            cap = cap ? cap * 2 : 16;
            rows = os_realloc(rows, cap, sizeof(*rows));
        }
        row_read(q.st, a, &rows[count++]);
    }
    int rc = step == SQLITE_DONE ? 0 : fail(s, err);
    query_close(&q);
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
    int64_t now = os_clock_ms();
    int rc = query_run(
        s,
        "INSERT INTO objects (id, object_type, name, workspace, scope, version, status, labels,"
        " payload, created_at_ms, updated_at_ms, resource_version)"
        " VALUES (?,?,?,?,?,?,?,?,?,?,?,1)",
        PARAMETERS(text(o->id), text(o->type), text(o->name), text(o->workspace ? o->workspace : ""),
                   text(o->scope), o->version ? number(o->version) : text(NULL), text(o->status),
                   text(o->labels ? o->labels : "{}"), blob(o->payload, o->payload_len),
                   number(o->created_at_ms ? o->created_at_ms : now), number(now)),
        err);
    return rc < 0 ? -1 : 0;
}

int store_get(struct store *s, const char *type, const char *id, struct os_arena *a, struct store_object *out,
              struct os_error *err)
{
    return query_one(s, "SELECT " COLUMNS " FROM objects WHERE id=? AND object_type=?",
                     PARAMETERS(text(id), text(type)), id, a, out, err);
}

int store_get_named(struct store *s, const char *type, const char *workspace, const char *name,
                    struct os_arena *a, struct store_object *out, struct os_error *err)
{
    return query_one(s, "SELECT " COLUMNS " FROM objects WHERE object_type=? AND workspace=? AND name=?",
                     PARAMETERS(text(type), text(workspace), text(name)), name, a, out, err);
}

/* Why an update met no row. */
static int conflict(struct store *s, const char *type, const char *id, struct os_error *err)
{
    cleanup_arena struct os_arena a = {0};
    struct store_object now;
    if (store_get(s, type, id, &a, &now, err) < 0)
        return -1;
    return os_error_set(err, OS_ABORTED, "%lld", (long long)now.resource_version);
}

int store_update(struct store *s, const char *type, const char *id, uint64_t expected, const void *payload,
                 size_t n, uint64_t *new_version, struct os_error *err)
{
    int changed = query_run(
        s,
        "UPDATE objects SET payload=?, updated_at_ms=?, resource_version=resource_version+1"
        " WHERE id=? AND object_type=? AND resource_version=?",
        PARAMETERS(blob(payload, n), number(os_clock_ms()), text(id), text(type), number((int64_t)expected)),
        err);
    if (changed < 0)
        return -1;
    if (!changed)
        return conflict(s, type, id, err);
    if (new_version)
        *new_version = expected + 1;
    return 0;
}

int store_delete(struct store *s, const char *type, const char *id, struct os_error *err)
{
    int rc = query_run(s, "DELETE FROM objects WHERE id=? AND object_type=?",
                       PARAMETERS(text(id), text(type)), err);
    return rc < 0 ? -1 : 0;
}

int store_list(struct store *s, const char *type, const char *workspace, uint32_t limit, uint32_t offset,
               struct os_arena *a, struct store_object **out, size_t *n, struct os_error *err)
{
    return query_all(
        s,
        "SELECT " COLUMNS " FROM objects WHERE object_type=?1 AND (?2 IS NULL OR workspace=?2)"
        " ORDER BY created_at_ms, name, workspace, id LIMIT ?3 OFFSET ?4",
        PARAMETERS(text(type), text(workspace), number(limit ? (int64_t)limit : -1), number(offset)), a, out,
        n, err);
}

/* --- policy revisions --- */

int store_revision_insert(struct store *s, const char *scope, const char *workspace, uint32_t version,
                          const char *status, const void *payload, size_t n, struct os_error *err)
{
    char id[OS_UUID_LEN];
    const struct store_object o = {.id = os_uuid(id),
                                   .type = STORE_POLICY,
                                   .scope = scope,
                                   .workspace = workspace,
                                   .version = version,
                                   .status = status,
                                   .payload = payload,
                                   .payload_len = n};
    return store_insert(s, &o, err);
}

int store_revision_get(struct store *s, const char *scope, uint32_t version, struct os_arena *a,
                       struct store_object *out, struct os_error *err)
{
    return query_one(s,
                     "SELECT " COLUMNS " FROM objects WHERE object_type='sandbox_policy' AND scope=?1"
                     " AND (?2=0 OR version=?2) ORDER BY version DESC LIMIT 1",
                     PARAMETERS(text(scope), number(version)), scope, a, out, err);
}

int store_revision_list(struct store *s, const char *scope, uint32_t limit, uint32_t offset,
                        struct os_arena *a, struct store_object **out, size_t *n, struct os_error *err)
{
    return query_all(s,
                     "SELECT " COLUMNS " FROM objects WHERE object_type='sandbox_policy' AND scope=?"
                     " ORDER BY version DESC LIMIT ? OFFSET ?",
                     PARAMETERS(text(scope), number(limit), number(offset)), a, out, n, err);
}

int store_revision_update(struct store *s, const char *scope, uint32_t version, const char *status,
                          const void *payload, size_t n, struct os_error *err)
{
    int changed = query_run(
        s,
        "UPDATE objects SET status=?, payload=?, updated_at_ms=?"
        " WHERE object_type='sandbox_policy' AND scope=? AND version=?",
        PARAMETERS(text(status), blob(payload, n), number(os_clock_ms()), text(scope), number(version)), err);
    if (changed < 0)
        return -1;
    return changed ? 0 : os_error_set(err, OS_NOT_FOUND, "policy revision %u not found", version);
}

int store_revision_supersede(struct store *s, const char *scope, uint32_t version, struct os_error *err)
{
    int rc =
        query_run(s,
                  "UPDATE objects SET status='superseded', updated_at_ms=? WHERE object_type='sandbox_policy'"
                  " AND scope=? AND version<? AND status IN ('pending','loaded')",
                  PARAMETERS(number(os_clock_ms()), text(scope), number(version)), err);
    return rc < 0 ? -1 : 0;
}

int store_remove_sandbox(struct store *s, const char *id, const char *workspace, const char *name,
                         struct os_error *err)
{
    if (store_begin(s, err) < 0)
        return -1;
    if (query_run(s,
                  "DELETE FROM objects WHERE (object_type='sandbox' AND id=?1) OR scope=?1 OR"
                  " (object_type='sandbox_settings' AND workspace=?2 AND name=?3)",
                  PARAMETERS(text(id), text(workspace), text(name)), err) < 0) {
        store_rollback(s);
        return -1;
    }
    return store_commit(s, err);
}
