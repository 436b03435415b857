/* Unit tests of src/sys: the service manager's socket, programs that belong together. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/cleanup.h"
#include "core/str.h"
#include "sys/file.h"
#include "sys/notify.h"

/* A manager's socket, bound to `name` as NOTIFY_SOCKET writes it. */
static int manager(const char *name)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    size_t n = strlen(name);
    assert_true(n < sizeof(at.sun_path));
    memcpy(at.sun_path, name, n);
    if (name[0] == '@')
        at.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(fd >= 0);
    assert_int_equal(
        bind(fd, (struct sockaddr *)&at, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n)), 0);
    setenv("NOTIFY_SOCKET", name, 1);
    return fd;
}

static void assert_received(int fd, const char *text)
{
    char got[64] = {0};
    assert_int_equal(recv(fd, got, sizeof(got) - 1, 0), (int)strlen(text));
    assert_string_equal(got, text);
}

static void notify_reaches_a_path_and_an_abstract_socket(void **state)
{
    char dir[] = "/tmp/openshell-notify.XXXXXX";
    cleanup_error struct os_error err = {0};
    assert_non_null(mkdtemp(dir));
    cleanup_free char *path = os_asprintf("%s/notify", dir);
    cleanup_free char *abstract = os_asprintf("@%s", dir);
    const char *const names[] = {path, abstract};
    for (size_t i = 0; i < OS_ARRAY_LEN(names); i++) {
        cleanup_close int fd = manager(names[i]);
        assert_int_equal(os_notify("READY=1", &err), 0);
        assert_int_equal(os_notify("STOPPING=1", &err), 0);
        assert_received(fd, "READY=1");
        assert_received(fd, "STOPPING=1");
    }
    unlink(path);
    rmdir(dir);
}

static void notify_without_a_manager_is_quiet(void **state)
{
    cleanup_error struct os_error err = {0};
    unsetenv("NOTIFY_SOCKET");
    assert_int_equal(os_notify("READY=1", &err), 0);
    setenv("NOTIFY_SOCKET", "", 1);
    assert_int_equal(os_notify("READY=1", &err), 0);
}

static void notify_says_what_is_wrong(void **state)
{
    char longer[200] = "/";
    memset(longer + 1, 'x', sizeof(longer) - 2);
    longer[sizeof(longer) - 1] = '\0';
    const char *const bad[] = {"relative", "@", "/", "vsock:2:1234", longer};
    for (size_t i = 0; i < OS_ARRAY_LEN(bad); i++) {
        cleanup_error struct os_error err = {0};
        setenv("NOTIFY_SOCKET", bad[i], 1);
        assert_int_equal(os_notify("READY=1", &err), -1);
        assert_int_equal(err.code, OS_INVALID_ARGUMENT);
        assert_non_null(strstr(os_error_text(&err), bad[i]));
    }
    cleanup_error struct os_error err = {0};
    setenv("NOTIFY_SOCKET", "/nonexistent/notify", 1);
    assert_int_equal(os_notify("READY=1", &err), -1);
    assert_string_equal(os_error_text(&err),
                        "cannot send READY=1 to NOTIFY_SOCKET '/nonexistent/notify': No such "
                        "file or directory");
}

/* The test program's own directory plays bin. */
static void programs_are_beside_or_in_libexec(void **state)
{
    cleanup_free char *bin = os_exe_dir(), *name = os_asprintf("program-%d", (int)getpid());
    cleanup_free char *beside = os_asprintf("%s/%s", bin, name);
    cleanup_free char *libexec = os_asprintf("%s/../libexec", bin);
    cleanup_free char *dir = os_asprintf("%s/openshell", libexec);
    cleanup_free char *installed = os_asprintf("%s/%s", dir, name);
    cleanup_error struct os_error err = {0};
    cleanup_free char *nowhere = os_program_path(name);
    assert_string_equal(nowhere, beside);
    assert_int_equal(os_dir_make(dir, 0755, &err), 0);
    assert_int_equal(os_file_write_atomic(installed, "", 0, 0755, &err), 0);
    cleanup_free char *found = os_program_path(name);
    assert_string_equal(found, installed);
    assert_int_equal(os_file_write_atomic(beside, "", 0, 0755, &err), 0);
    cleanup_free char *nearer = os_program_path(name);
    assert_string_equal(nearer, beside);
    unlink(beside);
    unlink(installed);
    rmdir(dir);
    rmdir(libexec);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(notify_reaches_a_path_and_an_abstract_socket),
        cmocka_unit_test(notify_without_a_manager_is_quiet),
        cmocka_unit_test(notify_says_what_is_wrong),
        cmocka_unit_test(programs_are_beside_or_in_libexec),
    };
    return cmocka_run_group_tests_name("sys", tests, NULL, NULL);
}
