/* The gateway's store: one table of objects behind one interface (spec/gateway.md 11). Every write that
 * returned 0 is on disk. Any thread; calls are serialised. Results are allocated in the caller's arena. */
#ifndef GATEWAY_STORE_H
#define GATEWAY_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/arena.h"
#include "core/error.h"

#define STORE_WORKSPACE "workspace"
#define STORE_SANDBOX "sandbox"
#define STORE_POLICY "sandbox_policy"
#define STORE_SANDBOX_SETTINGS "sandbox_settings"
#define STORE_SSH_SESSION "ssh_session"
#define STORE_MAIN_OUTPUT "main_output" /* scope = sandbox id, see gateway/main_output.h */
#define STORE_GATEWAY_SETTINGS "gateway_settings"

struct store;

struct store_object {
    const char *id;
    const char *type;
    const char *name;      /* NULL = unnamed */
    const char *workspace; /* "" = none */
    const char *scope;     /* owner id, NULL = none */
    int64_t version;       /* policy revision number, 0 = none */
    const char *status;    /* NULL = none */
    const char *labels;    /* JSON object text, NULL = "{}" */
    const void *payload;
    size_t payload_len;
    int64_t created_at_ms, updated_at_ms;
    uint64_t resource_version; /* counts from 1; ignored on insert */
};

/* "sqlite:/path" or "sqlite::memory:". Creates parent directory (0700) and file (0600), applies migrations,
 * checks integrity. Error texts carry no class prefix. */
int store_open(const char *url, struct store **out, struct os_error *err);
void store_close(struct store *s);

/* Several calls as one transaction: begin takes the store for this thread until commit or rollback. */
int store_begin(struct store *s, struct os_error *err);
int store_commit(struct store *s, struct os_error *err);
void store_rollback(struct store *s);

/* OS_ALREADY_EXISTS on any unique violation. */
int store_insert(struct store *s, const struct store_object *o, struct os_error *err);
/* OS_NOT_FOUND ("object <id> not found"). */
int store_get(struct store *s, const char *type, const char *id, struct os_arena *a, struct store_object *out,
              struct os_error *err);
int store_get_named(struct store *s, const char *type, const char *workspace, const char *name,
                    struct os_arena *a, struct store_object *out, struct os_error *err);
/* Compare and swap on resource_version. OS_ABORTED with text "<n>" (the current version) or "unknown" when
 * the row moved on; OS_NOT_FOUND when it vanished. *new_version may be NULL. */
int store_update(struct store *s, const char *type, const char *id, uint64_t expected, const void *payload,
                 size_t n, uint64_t *new_version, struct os_error *err);
/* Absent rows are fine. */
int store_delete(struct store *s, const char *type, const char *id, struct os_error *err);
/* Rows of one type, ordered by created_at_ms then name; workspace NULL = all. limit 0 = no limit. */
int store_list(struct store *s, const char *type, const char *workspace, uint32_t limit, uint32_t offset,
               struct os_arena *a, struct store_object **out, size_t *n, struct os_error *err);

/* --- policy revisions: rows of STORE_POLICY, scope = sandbox id --- */

/* A new revision. OS_ALREADY_EXISTS when the version is there. */
int store_revision_insert(struct store *s, const char *scope, const char *workspace, uint32_t version,
                          const char *status, const void *payload, size_t n, struct os_error *err);
/* version 0 = latest. OS_NOT_FOUND when there is none. */
int store_revision_get(struct store *s, const char *scope, uint32_t version, struct os_arena *a,
                       struct store_object *out, struct os_error *err);
/* Newest first. */
int store_revision_list(struct store *s, const char *scope, uint32_t limit, uint32_t offset,
                        struct os_arena *a, struct store_object **out, size_t *n, struct os_error *err);
/* New status and payload of one revision; does not count as a new resource version. */
int store_revision_update(struct store *s, const char *scope, uint32_t version, const char *status,
                          const void *payload, size_t n, struct os_error *err);
/* Every pending or loaded revision older than `version` becomes superseded. */
int store_revision_supersede(struct store *s, const char *scope, uint32_t version, struct os_error *err);
/* Everything owned by a sandbox (spec/gateway.md 4.6) and the sandbox row itself, in one transaction. */
int store_remove_sandbox(struct store *s, const char *id, const char *workspace, const char *name,
                         struct os_error *err);

#endif
