/* The SFTP server: packets decoded, and whole conversations over pipes in a directory of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "supervisor/sftp/request.h"
#include "supervisor/sftp/sftp.h"
#include "sys/file.h"

/* --- packets --- */

static void put_head(struct os_buf *b, uint8_t type, uint32_t id)
{
    os_buf_addc(b, (char)type);
    sftp_put_u32(b, id);
}

static void open_is_decoded(void **state)
{
    cleanup_buf struct os_buf b = {0};
    cleanup_arena struct os_arena a = {0};
    const struct sftp_attrs attrs = {
        .flags = SFTP_ATTR_MODE | SFTP_ATTR_SIZE, .mode = 0640, .size = 1ull << 40};
    struct sftp_request r;
    put_head(&b, SFTP_OPEN, 7);
    sftp_put_text(&b, "dir/file");
    sftp_put_u32(&b, 26);
    sftp_put_attrs(&b, &attrs);
    assert_true(sftp_request_parse((uint8_t *)b.data, b.len, &a, &r));
    assert_int_equal(r.type, SFTP_OPEN);
    assert_int_equal(r.id, 7);
    assert_string_equal(r.path, "dir/file");
    assert_int_equal(r.flags, 26);
    assert_int_equal(r.attrs.mode, 0640);
    assert_true(r.attrs.size == 1ull << 40);
    for (size_t n = 0; n < b.len; n++) /* cut anywhere it is malformed */
        assert_false(sftp_request_parse((uint8_t *)b.data, n, &a, &r));
}

static void nul_in_a_name_is_malformed(void **state)
{
    cleanup_buf struct os_buf b = {0};
    cleanup_arena struct os_arena a = {0};
    struct sftp_request r;
    put_head(&b, SFTP_REMOVE, 1);
    sftp_put_u32(&b, 3);
    os_buf_add(&b, "a\0b", 3);
    assert_false(sftp_request_parse((uint8_t *)b.data, b.len, &a, &r));
}

static void lengths_past_the_end_are_malformed(void **state)
{
    cleanup_buf struct os_buf b = {0};
    cleanup_arena struct os_arena a = {0};
    struct sftp_request r;
    put_head(&b, SFTP_WRITE, 1);
    sftp_put_u32(&b, 4);
    sftp_put_u32(&b, 0);
    sftp_put_u64(&b, 0);
    sftp_put_u32(&b, 0xffffffff);
    os_buf_adds(&b, "short");
    assert_false(sftp_request_parse((uint8_t *)b.data, b.len, &a, &r));
    assert_int_equal(r.id, 1);
}

/* --- conversations --- */

struct session {
    pid_t pid;
    int to, from;
    char dir[64];
    uint8_t answer[SFTP_PACKET_MAX];
    size_t n;
};

static int set_up(void **state)
{
    struct session *s = calloc(1, sizeof(*s));
    int in[2], out[2];
    strcpy(s->dir, "/tmp/openshell-sftp.XXXXXX");
    assert_non_null(mkdtemp(s->dir));
    assert_int_equal(pipe(in), 0);
    assert_int_equal(pipe(out), 0);
    s->pid = fork();
    if (s->pid == 0) {
        if (chdir(s->dir) < 0 || dup2(in[0], 0) < 0 || dup2(out[1], 1) < 0)
            _exit(99);
        close(in[0]);
        close(in[1]);
        close(out[0]);
        close(out[1]);
        umask(022);
        _exit(sftp_main());
    }
    close(in[0]);
    close(out[1]);
    s->to = in[1];
    s->from = out[0];
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    struct session *s = *state;
    int status;
    if (s->to >= 0)
        close(s->to);
    close(s->from);
    waitpid(s->pid, &status, 0);
    os_dir_remove(s->dir, NULL);
    free(s);
    return 0;
}

static void read_full(int fd, void *to, size_t n)
{
    for (size_t done = 0; done < n;) {
        ssize_t k = read(fd, (char *)to + done, n - done);
        assert_true(k > 0);
        done += (size_t)k;
    }
}

static uint32_t u32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Sends one packet, takes one answer; returns its type. */
static int ask(struct session *s, const struct os_buf *b)
{
    struct os_buf cleanup_buf framed = {0};
    uint8_t head[4];
    sftp_put_u32(&framed, (uint32_t)b->len);
    os_buf_add(&framed, b->data, b->len);
    assert_int_equal(os_write_all(s->to, framed.data, framed.len), 0);
    read_full(s->from, head, sizeof(head));
    s->n = u32(head);
    assert_in_range(s->n, 5, SFTP_PACKET_MAX);
    read_full(s->from, s->answer, s->n);
    return s->answer[0];
}

static int ask_path(struct session *s, uint8_t type, const char *path, const char *other)
{
    struct os_buf cleanup_buf b = {0};
    put_head(&b, type, 1);
    sftp_put_text(&b, path);
    if (other)
        sftp_put_text(&b, other);
    else if (type == SFTP_MKDIR)
        sftp_put_u32(&b, 0);
    return ask(s, &b);
}

static uint32_t status_of(const struct session *s)
{
    assert_int_equal(s->answer[0], SFTP_STATUS);
    return u32(s->answer + 5);
}

static uint32_t open_file(struct session *s, const char *path, uint32_t flags)
{
    struct os_buf cleanup_buf b = {0};
    put_head(&b, SFTP_OPEN, 1);
    sftp_put_text(&b, path);
    sftp_put_u32(&b, flags);
    sftp_put_u32(&b, 0);
    assert_int_equal(ask(s, &b), SFTP_HANDLE);
    return u32(s->answer + 9);
}

static void put_handle(struct os_buf *b, uint32_t handle)
{
    sftp_put_u32(b, 4);
    sftp_put_u32(b, handle);
}

static int read_file(struct session *s, uint32_t handle, uint64_t offset, uint32_t n)
{
    struct os_buf cleanup_buf b = {0};
    put_head(&b, SFTP_READ, 1);
    put_handle(&b, handle);
    sftp_put_u64(&b, offset);
    sftp_put_u32(&b, n);
    return ask(s, &b);
}

static void files_are_written_and_read(void **state)
{
    struct session *s = *state;
    struct os_buf cleanup_buf b = {0}, init = {0};
    put_head(&init, SFTP_INIT, 3);
    assert_int_equal(ask(s, &init), 2);
    assert_int_equal(u32(s->answer + 1), 3);
    uint32_t h = open_file(s, "f", 2 | 8 | 16);
    put_head(&b, SFTP_WRITE, 9);
    put_handle(&b, h);
    sftp_put_u64(&b, 3);
    sftp_put_text(&b, "hello");
    ask(s, &b);
    assert_int_equal(status_of(s), SFTP_OK);
    assert_int_equal(u32(s->answer + 1), 9);
    uint32_t again = open_file(s, "f", 1);
    assert_int_not_equal(again, h);
    assert_int_equal(read_file(s, again, 0, 100), SFTP_DATA);
    assert_int_equal(u32(s->answer + 5), 8);
    assert_memory_equal(s->answer + 9, "\0\0\0hello", 8);
    read_file(s, again, 8, 100);
    assert_int_equal(status_of(s), SFTP_EOF);
    read_file(s, again, UINT64_MAX, 100);
    assert_int_equal(status_of(s), SFTP_EOF);
}

static void names_are_changed(void **state)
{
    struct session *s = *state;
    ask_path(s, SFTP_MKDIR, "d", NULL);
    assert_int_equal(status_of(s), SFTP_OK);
    ask_path(s, SFTP_MKDIR, "d", NULL);
    assert_int_equal(status_of(s), SFTP_FAILURE);
    ask_path(s, SFTP_SYMLINK, "target", "d/link");
    assert_int_equal(status_of(s), SFTP_OK);
    assert_int_equal(ask_path(s, SFTP_READLINK, "d/link", NULL), SFTP_NAME);
    assert_memory_equal(s->answer + 13, "target", 6);
    ask_path(s, SFTP_RENAME, "d/link", "moved");
    assert_int_equal(status_of(s), SFTP_OK);
    ask_path(s, SFTP_RENAME, "d", "moved"); /* must not replace */
    assert_int_equal(status_of(s), SFTP_FAILURE);
    ask_path(s, SFTP_STAT, "moved", NULL);
    assert_int_equal(status_of(s), SFTP_NO_SUCH_FILE);
    assert_int_equal(ask_path(s, SFTP_LSTAT, "moved", NULL), SFTP_ATTRS);
    assert_int_equal(ask_path(s, SFTP_REALPATH, "d/../missing", NULL), SFTP_NAME);
    ask_path(s, SFTP_REMOVE, "moved", NULL);
    assert_int_equal(status_of(s), SFTP_OK);
    ask_path(s, SFTP_RMDIR, "d", NULL);
    assert_int_equal(status_of(s), SFTP_OK);
}

static void foreign_handles_are_refused(void **state)
{
    static const uint32_t handles[] = {0, 255, 256, UINT32_MAX};
    struct session *s = *state;
    for (size_t i = 0; i < sizeof(handles) / sizeof(*handles); i++) {
        read_file(s, handles[i], 0, 10);
        assert_int_equal(status_of(s), SFTP_NO_SUCH_FILE);
    }
    struct os_buf cleanup_buf b = {0};
    put_head(&b, SFTP_CLOSE, 1);
    sftp_put_text(&b, "other");
    ask(s, &b);
    assert_int_equal(status_of(s), SFTP_NO_SUCH_FILE);
}

static void open_files_are_limited(void **state)
{
    struct session *s = *state;
    struct os_buf cleanup_buf b = {0};
    open_file(s, "f", 2 | 8);
    for (int i = 1; i < 256; i++)
        open_file(s, "f", 1);
    put_head(&b, SFTP_OPEN, 1);
    sftp_put_text(&b, "f");
    sftp_put_u32(&b, 1);
    sftp_put_u32(&b, 0);
    ask(s, &b);
    assert_int_equal(status_of(s), SFTP_FAILURE);
}

static void unknown_requests_are_said_to_be(void **state)
{
    struct session *s = *state;
    struct os_buf cleanup_buf b = {0}, c = {0};
    put_head(&b, 77, 5);
    ask(s, &b);
    assert_int_equal(status_of(s), SFTP_UNSUPPORTED);
    put_head(&c, SFTP_EXTENDED, 6);
    sftp_put_text(&c, "nothing@example.com");
    ask(s, &c);
    assert_int_equal(status_of(s), SFTP_UNSUPPORTED);
}

static void a_packet_that_is_too_long_ends_it(void **state)
{
    struct session *s = *state;
    uint8_t head[4] = {0x7f, 0xff, 0xff, 0xff};
    char byte;
    int status;
    assert_int_equal(write(s->to, head, sizeof(head)), 4);
    assert_int_equal(read(s->from, &byte, 1), 0);
    waitpid(s->pid, &status, 0);
    assert_int_equal(WEXITSTATUS(status), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(open_is_decoded),
        cmocka_unit_test(nul_in_a_name_is_malformed),
        cmocka_unit_test(lengths_past_the_end_are_malformed),
        cmocka_unit_test_setup_teardown(files_are_written_and_read, set_up, tear_down),
        cmocka_unit_test_setup_teardown(names_are_changed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(foreign_handles_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(open_files_are_limited, set_up, tear_down),
        cmocka_unit_test_setup_teardown(unknown_requests_are_said_to_be, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_packet_that_is_too_long_ends_it, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
