/* Unit tests of the SQLite store: optimistic concurrency, uniqueness, revisions, survival. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "core/str.h"
#include "gateway/store/store.h"
#include "sys/file.h"

struct place {
    char dir[64];
    char *url, *file;
};

static int make_place(void **state)
{
    struct place *p = calloc(1, sizeof(*p));
    strcpy(p->dir, "/tmp/openshell-store.XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    p->file = os_asprintf("%s/sub/o.db", p->dir);
    p->url = os_asprintf("sqlite:%s", p->file);
    *state = p;
    return 0;
}

static int remove_place(void **state)
{
    struct place *p = *state;
    struct os_error err = {0};
    os_dir_remove(p->dir, &err);
    os_error_clear(&err);
    free(p->url);
    free(p->file);
    free(p);
    return 0;
}

static struct store *open_place(struct place *p)
{
    struct os_error err = {0};
    struct store *s = NULL;
    if (store_open(p->url, &s, &err) < 0)
        fail_msg("%s", os_error_text(&err));
    return s;
}

static struct store_object row(const char *id, const char *name, const char *payload)
{
    return (struct store_object){.id = id,
                                 .type = STORE_SANDBOX,
                                 .name = name,
                                 .workspace = "default",
                                 .payload = payload,
                                 .payload_len = strlen(payload),
                                 .created_at_ms = 1000};
}

static void rows_survive_reopening(void **state)
{
    struct place *p = *state;
    struct os_error err = {0};
    struct os_arena a = {0};
    struct store *s = open_place(p);
    struct store_object o = row("id-1", "one", "payload"), got;
    assert_int_equal(store_insert(s, &o, &err), 0);
    store_close(s);
    struct stat st;
    assert_int_equal(stat(p->file, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    s = open_place(p);
    assert_int_equal(store_get(s, STORE_SANDBOX, "id-1", &a, &got, &err), 0);
    assert_string_equal(got.name, "one");
    assert_int_equal(got.payload_len, 7);
    assert_memory_equal(got.payload, "payload", 7);
    assert_int_equal(got.resource_version, 1);
    assert_int_equal(store_get(s, STORE_SANDBOX, "id-2", &a, &got, &err), -1);
    assert_int_equal(err.code, OS_NOT_FOUND);
    os_error_clear(&err);
    store_close(s);
    os_arena_free(&a);
}

static void names_are_unique_per_workspace(void **state)
{
    struct os_error err = {0};
    struct store *s = open_place(*state);
    struct store_object a = row("id-1", "one", "x"), b = row("id-2", "one", "x");
    assert_int_equal(store_insert(s, &a, &err), 0);
    assert_int_equal(store_insert(s, &b, &err), -1);
    assert_int_equal(err.code, OS_ALREADY_EXISTS);
    os_error_clear(&err);
    b.workspace = "other";
    assert_int_equal(store_insert(s, &b, &err), 0);
    store_close(s);
}

static void stale_writers_lose(void **state)
{
    struct os_error err = {0};
    struct os_arena a = {0};
    struct store *s = open_place(*state);
    struct store_object o = row("id-1", "one", "x"), got;
    uint64_t version = 0;
    assert_int_equal(store_insert(s, &o, &err), 0);
    assert_int_equal(store_update(s, STORE_SANDBOX, "id-1", 1, "y", 1, &version, &err), 0);
    assert_int_equal(version, 2);
    assert_int_equal(store_update(s, STORE_SANDBOX, "id-1", 1, "z", 1, &version, &err), -1);
    assert_int_equal(err.code, OS_ABORTED);
    assert_string_equal(os_error_text(&err), "2");
    os_error_clear(&err);
    assert_int_equal(store_update(s, STORE_SANDBOX, "gone", 1, "z", 1, &version, &err), -1);
    assert_int_equal(err.code, OS_NOT_FOUND);
    os_error_clear(&err);
    assert_int_equal(store_get(s, STORE_SANDBOX, "id-1", &a, &got, &err), 0);
    assert_memory_equal(got.payload, "y", 1);
    store_close(s);
    os_arena_free(&a);
}

static void a_rolled_back_transaction_leaves_nothing(void **state)
{
    struct os_error err = {0};
    struct os_arena a = {0};
    struct store *s = open_place(*state);
    struct store_object o = row("id-1", "one", "x"), got;
    assert_int_equal(store_begin(s, &err), 0);
    assert_int_equal(store_insert(s, &o, &err), 0);
    store_rollback(s);
    assert_int_equal(store_get(s, STORE_SANDBOX, "id-1", &a, &got, &err), -1);
    os_error_clear(&err);
    store_close(s);
    os_arena_free(&a);
}

static void revisions_are_numbered_and_superseded(void **state)
{
    struct os_error err = {0};
    struct os_arena a = {0};
    struct store *s = open_place(*state);
    for (int v = 1; v <= 3; v++) {
        char id[16];
        snprintf(id, sizeof(id), "rev-%d", v);
        struct store_object o = {.id = id,
                                 .type = STORE_POLICY,
                                 .workspace = "",
                                 .scope = "box",
                                 .version = v,
                                 .status = v == 2 ? "loaded" : "pending",
                                 .payload = "p",
                                 .payload_len = 1};
        assert_int_equal(store_insert(s, &o, &err), 0);
    }
    struct store_object got, *list;
    size_t n;
    assert_int_equal(store_revision_get(s, "box", 0, &a, &got, &err), 0);
    assert_int_equal(got.version, 3);
    assert_int_equal(store_revision_supersede(s, "box", 3, &err), 0);
    assert_int_equal(store_revision_list(s, "box", 10, 0, &a, &list, &n, &err), 0);
    assert_int_equal(n, 3);
    assert_int_equal(list[0].version, 3);
    assert_string_equal(list[0].status, "pending");
    assert_string_equal(list[1].status, "superseded");
    assert_string_equal(list[2].status, "superseded");
    assert_int_equal(store_revision_update(s, "box", 3, "loaded", "q", 1, &err), 0);
    assert_int_equal(store_revision_get(s, "box", 3, &a, &got, &err), 0);
    assert_string_equal(got.status, "loaded");
    assert_int_equal(store_revision_get(s, "box", 9, &a, &got, &err), -1);
    assert_int_equal(err.code, OS_NOT_FOUND);
    os_error_clear(&err);
    store_close(s);
    os_arena_free(&a);
}

static void removing_a_sandbox_takes_its_records_along(void **state)
{
    struct os_error err = {0};
    struct os_arena a = {0};
    struct store *s = open_place(*state);
    struct store_object o = row("box", "one", "x"), got;
    struct store_object rev = {.id = "rev-1",
                               .type = STORE_POLICY,
                               .workspace = "",
                               .scope = "box",
                               .version = 1,
                               .status = "loaded",
                               .payload = "p",
                               .payload_len = 1};
    assert_int_equal(store_insert(s, &o, &err), 0);
    assert_int_equal(store_insert(s, &rev, &err), 0);
    assert_int_equal(store_remove_sandbox(s, "box", "default", "one", &err), 0);
    assert_int_equal(store_get(s, STORE_SANDBOX, "box", &a, &got, &err), -1);
    os_error_clear(&err);
    assert_int_equal(store_revision_get(s, "box", 0, &a, &got, &err), -1);
    os_error_clear(&err);
    store_close(s);
    os_arena_free(&a);
}

static void lists_are_paged_in_order(void **state)
{
    struct os_error err = {0};
    struct os_arena a = {0};
    struct store *s = open_place(*state);
    for (int i = 0; i < 5; i++) {
        char id[16], name[16];
        snprintf(id, sizeof(id), "id-%d", i);
        snprintf(name, sizeof(name), "n%d", i);
        struct store_object o = row(id, name, "x");
        o.created_at_ms = 1000 - i;
        assert_int_equal(store_insert(s, &o, &err), 0);
    }
    struct store_object *list;
    size_t n;
    assert_int_equal(store_list(s, STORE_SANDBOX, "default", 2, 1, &a, &list, &n, &err), 0);
    assert_int_equal(n, 2);
    assert_string_equal(list[0].id, "id-3");
    assert_string_equal(list[1].id, "id-2");
    assert_int_equal(store_list(s, STORE_SANDBOX, "other", 0, 0, &a, &list, &n, &err), 0);
    assert_int_equal(n, 0);
    store_close(s);
    os_arena_free(&a);
}

static void a_newer_schema_and_garbage_are_refused(void **state)
{
    struct place *p = *state;
    struct os_error err = {0};
    struct store *s = open_place(p);
    store_close(s);
    sqlite3 *db;
    assert_int_equal(sqlite3_open(p->file, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "PRAGMA user_version = 999", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    assert_int_equal(store_open(p->url, &s, &err), -1);
    assert_non_null(strstr(os_error_text(&err), "999"));
    os_error_clear(&err);
    assert_int_equal(os_file_write_atomic(p->file, "this is not a database, not at all", 34, 0600, &err), 0);
    assert_int_equal(store_open(p->url, &s, &err), -1);
    os_error_clear(&err);
    assert_int_equal(store_open("mysql://x", &s, &err), -1);
    assert_non_null(strstr(os_error_text(&err), "unsupported database URL scheme: mysql://x"));
    os_error_clear(&err);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, make_place, remove_place)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(rows_survive_reopening),
        TEST(names_are_unique_per_workspace),
        TEST(stale_writers_lose),
        TEST(a_rolled_back_transaction_leaves_nothing),
        TEST(revisions_are_numbered_and_superseded),
        TEST(removing_a_sandbox_takes_its_records_along),
        TEST(lists_are_paged_in_order),
        TEST(a_newer_schema_and_garbage_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
