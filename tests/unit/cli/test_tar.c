/* Archives: what is written is read back; what a hostile one holds is refused by name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/tar.h"
#include "core/buf.h"
#include "core/cleanup.h"
#include "sys/file.h"

/* --- reading into text --- */

static int on_entry(void *ctx, const struct tar_entry *e, struct os_error *err)
{
    os_buf_addf(ctx, "%c %s %o", e->type, e->path, e->mode);
    if (*e->link)
        os_buf_addf(ctx, " -> %s", e->link);
    os_buf_addc(ctx, '\n');
    return 0;
}

static int on_data(void *ctx, const uint8_t *data, size_t n, struct os_error *err)
{
    os_buf_add(ctx, data, n);
    return 0;
}

static int on_end(void *ctx, struct os_error *err)
{
    os_buf_adds(ctx, "|\n");
    return 0;
}

/* 0 when the whole archive was good. */
static int read_back(const void *archive, size_t n, size_t piece, struct os_buf *text, struct os_error *err)
{
    static const struct tar_ops ops = {on_entry, on_data, on_end};
    struct tar_reader *r = tar_reader_new(&ops, text);
    int rc = 0;
    for (size_t at = 0; at < n && rc == 0; at += piece)
        rc = tar_reader_feed(r, (const char *)archive + at, n - at < piece ? n - at : piece, err);
    if (rc == 0)
        rc = tar_reader_finish(r, err);
    tar_reader_free(r);
    return rc;
}

/* --- writing --- */

static void put_file(const char *path, const char *text, mode_t mode)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    assert_int_equal(chmod(path, mode), 0);
}

static void write_all(struct tar_writer *w, struct os_buf *out, size_t piece)
{
    char data[4096];
    ssize_t n;
    struct os_error err = {0};
    while ((n = tar_writer_read(w, data, piece, &err)) > 0)
        os_buf_add(out, data, (size_t)n);
    assert_int_equal(n, 0);
}

static void a_tree_is_read_back(void **state)
{
    char dir[] = "/tmp/openshell-tar.XXXXXX", name[151], want[2048];
    assert_non_null(mkdtemp(dir));
    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    cleanup_free char *file = os_asprintf("%s/file", dir), *sub = os_asprintf("%s/sub", dir);
    cleanup_free char *longer = os_asprintf("%s/sub/%s", dir, name), *link = os_asprintf("%s/zlink", dir);
    cleanup_free char *empty = os_asprintf("%s/empty", dir);
    put_file(file, "content", 0750);
    put_file(empty, "", 0600);
    mkdir(sub, 0700);
    put_file(longer, "L", 0644);
    assert_int_equal(symlink(name, link), 0);
    snprintf(want, sizeof(want),
             "5 top 700\n0 top/empty 600\n|\n0 top/file 750\ncontent|\n5 top/sub 700\n0 top/sub/%s 644\nL|\n"
             "2 top/zlink 777 -> %s\n",
             name, name);
    static const size_t pieces[] = {1, 7, 512, 4096};
    for (size_t i = 0; i < sizeof(pieces) / sizeof(*pieces); i++) {
        cleanup_buf struct os_buf archive = {0}, text = {0};
        struct os_error err = {0};
        struct tar_writer *w = tar_writer_new();
        assert_int_equal(tar_writer_add_tree(w, dir, "top", &err), 0);
        write_all(w, &archive, pieces[i]);
        tar_writer_free(w);
        assert_int_equal(archive.len % TAR_BLOCK, 0);
        assert_int_equal(read_back(archive.data, archive.len, pieces[i], &text, &err), 0);
        assert_string_equal(os_buf_str(&text), want);
        for (size_t cut = TAR_BLOCK; cut < archive.len - 2 * TAR_BLOCK; cut += TAR_BLOCK / 2) {
            os_buf_clear(&text);
            assert_int_equal(read_back(archive.data, cut, 4096, &text, &err), -1);
            assert_int_equal(err.code, OS_DATA_LOSS);
            os_error_clear(&err);
        }
    }
    assert_int_equal(os_dir_remove(dir, NULL), 0);
}

static void what_is_no_file_is_refused(void **state)
{
    char dir[] = "/tmp/openshell-tar.XXXXXX";
    struct os_error err = {0};
    assert_non_null(mkdtemp(dir));
    cleanup_free char *fifo = os_asprintf("%s/pipe", dir), *none = os_asprintf("%s/none", dir);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    struct tar_writer *w = tar_writer_new();
    assert_int_equal(tar_writer_add_tree(w, dir, "x", &err), -1);
    assert_non_null(strstr(err.msg, "unsupported file type for upload: "));
    os_error_clear(&err);
    assert_int_equal(tar_writer_add(w, none, "none", &err), 0); /* vanished */
    tar_writer_free(w);
    assert_int_equal(os_dir_remove(dir, NULL), 0);
}

/* --- hostile --- */

static void put_header(struct os_buf *out, const char *name, char type, const char *link, const char *size)
{
    char b[TAR_BLOCK] = {0};
    unsigned sum = 0;
    strncpy(b, name, 100);
    memcpy(b + 100, "0006755", 8);
    strcpy(b + 124, size);
    strcpy(b + 136, "00000000000");
    memset(b + 148, ' ', 8);
    b[156] = type;
    strncpy(b + 157, link, 100);
    memcpy(b + 257,
           "ustar\0"
           "00",
           8);
    for (size_t i = 0; i < sizeof(b); i++)
        sum += (unsigned char)b[i];
    snprintf(b + 148, 8, "%06o", sum);
    os_buf_add(out, b, sizeof(b));
}

static void put_block(struct os_buf *out, const char *text)
{
    char b[TAR_BLOCK] = {0};
    memcpy(b, text, strlen(text));
    os_buf_add(out, b, sizeof(b));
}

static void put_end(struct os_buf *out)
{
    put_block(out, "");
    put_block(out, "");
}

static void members_that_lead_elsewhere_are_refused(void **state)
{
    static const struct {
        const char *name;
        char type;
        const char *link, *why; /* NULL = fine, as `link` reads */
    } cases[] = {
        {"/etc/passwd", '0', "", "leads out"},
        {"..", '5', "", "leads out"},
        {"../x", '0', "", "leads out"},
        {"a/../../x", '0', "", "leads out"},
        {"a/..", '5', "", "leads out"},
        {"a/../b", '0', "", "leads out"},
        {"x", '1', "/etc/passwd", "is a link out"},
        {"x", '1', "../x", "is a link out"},
        {"x", '2', "", "is a link with a bad target"},
        {"x", '3', "", "is a device"},
        {"x", '4', "", "is a device"},
        {"x", '6', "", "is a device or a pipe"},
        {"x", 'S', "", "sparse"},
        {"x", 'V', "", "unknown type"},
        {"", '0', "", "has no name"},
        {"./", '0', "", NULL}, /* a directory, as old archives write it */
        {"..a/b..", '0', "", NULL},
        {".//a/./b", '0', "", NULL},
        {"x", '2', "/etc/passwd", NULL}, /* kept as it is, never followed */
        {"x", '7', "", NULL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        cleanup_buf struct os_buf archive = {0}, text = {0};
        cleanup_error struct os_error err = {0};
        put_header(&archive, cases[i].name, cases[i].type, cases[i].link, "00000000000");
        put_end(&archive);
        int rc = read_back(archive.data, archive.len, 512, &text, &err);
        if (cases[i].why) {
            assert_int_equal(rc, -1);
            assert_int_equal(err.code, OS_INVALID_ARGUMENT);
            assert_non_null(strstr(err.msg, cases[i].why));
            assert_int_equal(text.len, 0);
        } else {
            assert_int_equal(rc, 0);
            assert_null(strstr(os_buf_str(&text), "6755")); /* no set-id bits */
        }
    }
}

static void long_names_are_checked_like_short_ones(void **state)
{
    static const struct {
        char type;
        const char *meta;
    } cases[] = {
        {'L', "../../escape"},        {'L', "/absolute"},
        {'x', "19 path=../escape\n"}, {'x', "9999 path=x\n"},
        {'x', "5 path=x\n"},          {'x', "nothing"},
        {'x', "12 size=-1.\n"},       {'x', "24 GNU.sparse.major=1\n "},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        cleanup_buf struct os_buf archive = {0}, text = {0};
        cleanup_error struct os_error err = {0};
        char size[32];
        snprintf(size, sizeof(size), "%011zo", strlen(cases[i].meta));
        put_header(&archive, "meta", cases[i].type, "", size);
        put_block(&archive, cases[i].meta);
        put_header(&archive, "innocent", '0', "", "00000000000");
        put_end(&archive);
        assert_int_equal(read_back(archive.data, archive.len, 512, &text, &err), -1);
        assert_int_equal(text.len, 0);
    }
}

static void pax_names_and_sizes_are_used(void **state)
{
    cleanup_buf struct os_buf archive = {0}, text = {0};
    struct os_error err = {0};
    char size[32];
    static const char good[] = "16 path=dir/new\n10 size=3\n20 mtime=1700000000\n";
    snprintf(size, sizeof(size), "%011zo", strlen(good));
    put_header(&archive, "meta", 'x', "", size);
    put_block(&archive, good);
    put_header(&archive, "old", '0', "", "00000000000");
    put_block(&archive, "abc");
    put_end(&archive);
    assert_int_equal(read_back(archive.data, archive.len, 100, &text, &err), 0);
    assert_string_equal(os_buf_str(&text), "0 dir/new 755\nabc|\n");
}

static void damaged_headers_are_refused(void **state)
{
    cleanup_buf struct os_buf archive = {0}, text = {0};
    cleanup_error struct os_error err = {0};
    put_header(&archive, "x", '0', "", "00000000000");
    archive.data[0] = 'y';
    assert_int_equal(read_back(archive.data, archive.len, 512, &text, &err), -1);
    assert_non_null(strstr(err.msg, "not a tar archive"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tree_is_read_back),
        cmocka_unit_test(what_is_no_file_is_refused),
        cmocka_unit_test(members_that_lead_elsewhere_are_refused),
        cmocka_unit_test(long_names_are_checked_like_short_ones),
        cmocka_unit_test(pax_names_and_sizes_are_used),
        cmocka_unit_test(damaged_headers_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
