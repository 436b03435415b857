/* The reader of image layers and what images say about themselves, without root. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/cleanup.h"
#include "drivers/local/image/config.h"
#include "drivers/local/image/tar.h"
#include "drivers/local/userns.h"

struct archive {
    unsigned char data[16384];
    size_t n, at;
};

static ssize_t read_archive(void *ctx, void *out, size_t n, struct os_error *err)
{
    struct archive *a = ctx;
    n = n < a->n - a->at ? n : a->n - a->at;
    n = n < 700 ? n : 700; /* short reads happen */
    memcpy(out, a->data + a->at, n);
    a->at += n;
    return (ssize_t)n;
}

static void sign(unsigned char *h)
{
    unsigned sum = 0;
    memset(h + 148, ' ', 8);
    for (int i = 0; i < 512; i++)
        sum += h[i];
    snprintf((char *)h + 148, 8, "%06o", sum);
}

static unsigned char *add(struct archive *a, const char *name, char type, const char *content)
{
    unsigned char *h = a->data + a->n;
    size_t n = strlen(content);
    memset(h, 0, 512);
    strncpy((char *)h, name, 100);
    memcpy(h + 100, "0000644\0000001750\0000001751\0", 24);
    snprintf((char *)h + 124, 12, "%011o", (unsigned)n);
    memcpy(h + 136, "00000000012", 12);
    h[156] = (unsigned char)type;
    memcpy(h + 257, "ustar\00000", 8);
    sign(h);
    memcpy(h + 512, content, n);
    a->n += 512 + (n + 511) / 512 * 512;
    return h;
}

static int next(struct archive *a, struct tar_entry *e, struct os_error *err)
{
    struct tar t;
    a->at = 0;
    tar_init(&t, read_archive, a, 100);
    return tar_next(&t, e, err);
}

static void assert_refused(struct archive *a, const char *part)
{
    struct tar_entry e;
    cleanup_error struct os_error err = {0};
    assert_int_equal(next(a, &e, &err), -1);
    if (!strstr(os_error_text(&err), part))
        fail_msg("no '%s' in: %s", part, os_error_text(&err));
}

static void entries_carry_what_their_headers_say(void **state)
{
    struct archive a = {0};
    struct tar_entry e;
    struct tar t;
    char content[16];
    cleanup_error struct os_error err = {0};
    add(&a, "./dir//file", '0', "content");
    add(&a, "dir/", '0', "");
    strcpy((char *)add(&a, "link", '2', "") + 157, "../x");
    sign(a.data + a.n - 512);
    memset(a.data + a.n, 0, 1024);
    a.n += 1024;
    tar_init(&t, read_archive, &a, 100);
    assert_int_equal(tar_next(&t, &e, &err), 1);
    assert_string_equal(e.name, "dir/file");
    assert_int_equal(e.type, TAR_FILE);
    assert_int_equal(e.mode, 0644);
    assert_int_equal(e.uid, 01750);
    assert_int_equal(e.gid, 01751);
    assert_int_equal(e.mtime, 10);
    assert_int_equal(e.offset, 512);
    assert_int_equal(tar_content(&t, content, sizeof(content), &err), 7);
    assert_memory_equal(content, "content", 7);
    assert_int_equal(tar_content(&t, content, sizeof(content), &err), 0);
    assert_int_equal(tar_next(&t, &e, &err), 1);
    assert_string_equal(e.name, "dir");
    assert_int_equal(e.type, TAR_DIRECTORY);
    assert_int_equal(tar_next(&t, &e, &err), 1);
    assert_int_equal(e.type, TAR_SYMBOLIC_LINK);
    assert_string_equal(e.link, "../x");
    assert_int_equal(tar_next(&t, &e, &err), 0);
}

static void extended_headers_replace_what_does_not_fit(void **state)
{
    struct archive a = {0};
    struct tar_entry e;
    cleanup_error struct os_error err = {0};
    add(&a, "x", 'x', "13 path=a/bc\n16 uid=123456789\n17 mtime=-5.25678\n");
    add(&a, "short", '0', "");
    assert_int_equal(next(&a, &e, &err), -1); /* the second record's length is wrong */
    a.n = 0;
    add(&a, "x", 'x', "13 path=a/bc\n17 uid=123456789\n18 mtime=-5.25678\n");
    add(&a, "short", '0', "");
    assert_int_equal(next(&a, &e, &err), 1);
    assert_string_equal(e.name, "a/bc");
    assert_int_equal(e.uid, 123456789);
    assert_int_equal(e.mtime, -5);
    a.n = 0;
    add(&a, "././@LongLink", 'L', "a/very/long/name");
    add(&a, "short", '0', "");
    assert_int_equal(next(&a, &e, &err), 1);
    assert_string_equal(e.name, "a/very/long/name");
}

static void unsafe_and_damaged_archives_are_refused(void **state)
{
    struct archive a = {0};
    add(&a, "a/../../b", '0', "");
    assert_refused(&a, "unsafe name 'a/../../b'");
    a.n = 0;
    strcpy((char *)add(&a, "hard", '1', "") + 157, "../x");
    sign(a.data);
    assert_refused(&a, "unsafe name '../x'");
    a.n = 0;
    add(&a, "sparse", 'S', "");
    assert_refused(&a, "type 'S'");
    a.n = 0;
    add(&a, "x", 'x', "22 GNU.sparse.major=1\n");
    add(&a, "f", '0', "");
    assert_refused(&a, "GNU.sparse.major");
    a.n = 0;
    add(&a, "f", '0', "")[0] = 'g';
    assert_refused(&a, "checksum");
    a.n = 0;
    add(&a, "f", '0', "");
    a.n = 300;
    assert_refused(&a, "middle of an entry");
    a.n = 0;
    memcpy(add(&a, "f", '0', "") + 124, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 12);
    sign(a.data);
    assert_refused(&a, "number");
    a.n = 0;
    add(&a, "x", 'x', "13 path=a/bc\n");
    assert_refused(&a, "after an extended header");
}

static void entries_are_counted(void **state)
{
    struct archive a = {0};
    struct tar_entry e;
    struct tar t;
    cleanup_error struct os_error err = {0};
    for (int i = 0; i < 3; i++)
        add(&a, "f", '0', "");
    tar_init(&t, read_archive, &a, 2);
    assert_int_equal(tar_next(&t, &e, &err), 1);
    assert_int_equal(tar_next(&t, &e, &err), 1);
    assert_int_equal(tar_next(&t, &e, &err), -1);
    assert_int_equal(err.code, OS_RESOURCE_EXHAUSTED);
}

static void assert_user(const char *user, uint32_t uid, uint32_t gid)
{
    static const char passwd[] = "root:x:0:0::/:/x\nnode:x:1234:2345::/:/x\n",
                      group[] = "root:x:0:\nstaff:x:50:a,b\n";
    cleanup_error struct os_error err = {0};
    uint32_t u, g;
    assert_int_equal(image_user_resolve(user, passwd, group, &u, &g, &err), uid == UINT32_MAX ? -1 : 0);
    if (uid == UINT32_MAX)
        return;
    assert_int_equal(u, uid);
    assert_int_equal(g, gid);
}

static void the_images_user_is_found_in_its_own_files(void **state)
{
    assert_user("", 0, 0);
    assert_user("node", 1234, 2345);
    assert_user("1234", 1234, 2345);
    assert_user("77", 77, 77);
    assert_user("node:staff", 1234, 50);
    assert_user("77:88", 77, 88);
    assert_user("root", 0, 0);
    assert_user("nobody", UINT32_MAX, 0);
    assert_user("node:wheel", UINT32_MAX, 0);
}

static int parse(const char *text, struct os_error *err)
{
    struct image_config c;
    int rc = image_config_parse(text, strlen(text), &c, err);
    image_config_clear(&c);
    return rc;
}

static void configurations_are_checked(void **state)
{
    cleanup_error struct os_error err = {0};
    assert_int_equal(parse("{\"rootfs\":{\"diff_ids\":[]}}", &err), 0);
    assert_int_equal(parse("{}", &err), -1);
    assert_int_equal(parse("[1", &err), -1);
    assert_int_equal(parse("{\"rootfs\":{\"diff_ids\":[\"sha512:aa\"]}}", &err), -1);
    assert_int_equal(parse("{\"rootfs\":{\"diff_ids\":[]},\"config\":{\"Env\":[\"novalue\"]}}", &err), -1);
    assert_int_equal(parse("{\"rootfs\":{\"diff_ids\":[]},\"architecture\":\"mips\",\"os\":\"linux\"}", &err),
                     -1);
    assert_non_null(strstr(os_error_text(&err), "linux/mips"));
}

static void subordinate_ids_are_found(void **state)
{
    static const char text[] =
        "other:1:65536\nbob:100000:1000\nbob:200000:65536\n1001:300000:70000\nbad:0:65536\n"
        "huge:4294910000:65536\nx\n";
    uint32_t start = 0, n = 0;
    assert_true(userns_parse(text, "bob", 1000, 65536, &start, &n));
    assert_int_equal(start, 200000);
    assert_int_equal(n, 65536);
    assert_true(userns_parse(text, "unknown", 1001, 65536, &start, &n));
    assert_int_equal(start, 300000);
    assert_int_equal(n, 70000);
    assert_false(userns_parse(text, "carol", 1002, 65536, &start, &n));
    assert_false(userns_parse(text, "bad", 1002, 65536, &start, &n));
    assert_false(userns_parse(text, "huge", 1002, 65536, &start, &n));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_carry_what_their_headers_say),
        cmocka_unit_test(extended_headers_replace_what_does_not_fit),
        cmocka_unit_test(unsafe_and_damaged_archives_are_refused),
        cmocka_unit_test(entries_are_counted),
        cmocka_unit_test(the_images_user_is_found_in_its_own_files),
        cmocka_unit_test(configurations_are_checked),
        cmocka_unit_test(subordinate_ids_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
