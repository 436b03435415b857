/* Unit tests of the monitor protocol: what goes in comes out, what is malformed is refused, and a message in
 * pieces arrives whole with its descriptors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/limits.h"
#include "supervisor/monitor/monitor.h"
#include "supervisor/monitor/protocol.h"

static const char *const argv[] = {"sh", "-c", "", NULL};
static const char *const env[] = {"A=1", NULL};

static struct protocol_request spawn_request(void)
{
    struct protocol_request r = {.type = PROTOCOL_SPAWN};
    r.spawn.argv = (struct protocol_list){argv, 3};
    r.spawn.env = (struct protocol_list){env, 1};
    r.spawn.workdir = "/w";
    r.spawn.tty = true;
    r.spawn.cols = 132;
    r.spawn.rows = 43;
    return r;
}

static int decode(const struct protocol_request *in, struct os_arena *arena, struct protocol_request *out)
{
    struct os_buf b = {0};
    protocol_encode(in, &b);
    int r = protocol_decode(in->type, b.data, b.len, arena, out);
    os_buf_free(&b);
    return r;
}

static void a_spawn_comes_out_as_it_went_in(void **state)
{
    struct os_arena arena = {0};
    struct protocol_request in = spawn_request(), out;
    assert_int_equal(decode(&in, &arena, &out), 0);
    assert_int_equal(out.spawn.argv.n, 3);
    assert_string_equal(out.spawn.argv.v[0], "sh");
    assert_string_equal(out.spawn.argv.v[2], "");
    assert_null(out.spawn.argv.v[3]);
    assert_string_equal(out.spawn.env.v[0], "A=1");
    assert_string_equal(out.spawn.workdir, "/w");
    assert_true(out.spawn.tty);
    assert_false(out.spawn.main);
    assert_int_equal(out.spawn.cols, 132);
    assert_int_equal(out.spawn.rows, 43);
    os_arena_free(&arena);
}

static void a_plan_has_absolute_paths_only(void **state)
{
    struct os_arena arena = {0};
    const char *good[] = {"/a", NULL}, *bad[] = {"/a", "b", NULL};
    struct protocol_request in = {.type = PROTOCOL_ISOLATE}, out;
    in.isolate.read_only = (struct protocol_list){good, 1};
    in.isolate.read_write = (struct protocol_list){good, 0};
    in.isolate.workdir = "";
    in.isolate.hard_requirement = true;
    assert_int_equal(decode(&in, &arena, &out), 0);
    assert_string_equal(out.isolate.read_only.v[0], "/a");
    assert_true(out.isolate.hard_requirement);
    in.isolate.workdir = "w";
    assert_int_equal(decode(&in, &arena, &out), -1);
    in.isolate.workdir = "/w";
    in.isolate.read_write = (struct protocol_list){bad, 2};
    assert_int_equal(decode(&in, &arena, &out), -1);
    os_arena_free(&arena);
}

static void addresses_keep_family_and_port(void **state)
{
    struct os_arena arena = {0};
    struct protocol_request in = {.type = PROTOCOL_IDENTIFY}, out;
    *(struct sockaddr_in *)&in.identify.agent = (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(4321), .sin_addr.s_addr = htonl(0x0a0b0c0d)};
    *(struct sockaddr_in6 *)&in.identify.local = (struct sockaddr_in6){
        .sin6_family = AF_INET6, .sin6_port = htons(443), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    assert_int_equal(decode(&in, &arena, &out), 0);
    assert_memory_equal(&out.identify.agent, &in.identify.agent, sizeof(struct sockaddr_in));
    assert_memory_equal(&out.identify.local, &in.identify.local, sizeof(struct sockaddr_in6));
    in.identify.agent.ss_family = AF_UNIX;
    assert_int_equal(decode(&in, &arena, &out), -1);
    os_arena_free(&arena);
}

static void what_is_out_of_range_is_refused(void **state)
{
    struct os_arena arena = {0};
    struct protocol_request out;
    struct protocol_request sig = {.type = PROTOCOL_SIGNAL, .signal = {1, 0}};
    assert_int_equal(decode(&sig, &arena, &out), -1);
    sig.signal.sig = 65;
    assert_int_equal(decode(&sig, &arena, &out), -1);
    sig.signal.sig = 15;
    assert_int_equal(decode(&sig, &arena, &out), 0);
    struct protocol_request family = {.type = PROTOCOL_SOCKET, .family = AF_UNIX};
    assert_int_equal(decode(&family, &arena, &out), -1);
    struct protocol_request none = spawn_request();
    none.spawn.argv.n = 0;
    assert_int_equal(decode(&none, &arena, &out), -1);
    assert_int_equal(protocol_decode(PROTOCOL_REPLY, "", 0, &arena, &out), -1);
    assert_int_equal(protocol_decode(0, "", 0, &arena, &out), -1);
    os_arena_free(&arena);
}

static void every_shorter_or_longer_message_is_refused(void **state)
{
    struct os_arena arena = {0};
    struct os_buf b = {0};
    struct protocol_request in = spawn_request(), out;
    protocol_encode(&in, &b);
    for (size_t n = 0; n < b.len; n++)
        assert_int_equal(protocol_decode(in.type, b.data, n, &arena, &out), -1);
    os_buf_addc(&b, '\0');
    assert_int_equal(protocol_decode(in.type, b.data, b.len, &arena, &out), -1);
    os_buf_free(&b);
    os_arena_free(&arena);
}

static void a_count_that_cannot_be_is_refused_before_allocation(void **state)
{
    struct os_arena arena = {0};
    struct protocol_request out;
    const uint32_t huge[] = {0xffffffffu, 0};
    assert_int_equal(protocol_decode(PROTOCOL_SPAWN, huge, sizeof(huge), &arena, &out), -1);
    assert_null(arena.head);
    const char nul[] = "\1\0\0\0\2\0\0\0a\0";
    struct protocol_reader r = {.p = (const uint8_t *)nul, .n = sizeof(nul) - 1};
    protocol_get_list(&r, &arena);
    assert_true(r.failed);
    os_arena_free(&arena);
}

static void a_long_message_travels_in_pieces(void **state)
{
    int pair[2], reader[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
    assert_int_equal(pipe(reader), 0);
    size_t n = 3 * OS_MONITOR_FRAME + 5;
    char *body = malloc(n);
    for (size_t i = 0; i < n; i++)
        body[i] = (char)(i * 7);
    assert_int_equal(protocol_send(pair[0], PROTOCOL_REPLY, 9, body, n, reader, 2), 0);
    struct protocol_message m = {0};
    for (int i = 0; i < 3; i++)
        assert_int_equal(protocol_receive(pair[1], &m, true), 0);
    assert_int_equal(protocol_receive(pair[1], &m, true), 1);
    assert_int_equal(m.id, 9);
    assert_int_equal(m.body.len, n);
    assert_memory_equal(m.body.data, body, n);
    assert_int_equal(m.n_fds, 2);
    int taken = protocol_take_fd(&m, 1);
    assert_int_equal(write(taken, "x", 1), 1);
    close(taken);
    assert_int_equal(protocol_take_fd(&m, 2), -1);
    protocol_message_clear(&m);
    free(body);
    for (int i = 0; i < 2; i++) {
        close(pair[i]);
        close(reader[i]);
    }
}

static void descriptors_are_not_welcome_at_the_monitor(void **state)
{
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
    struct protocol_message m = {0};
    assert_int_equal(protocol_send(pair[0], PROTOCOL_QUIT, 1, "abcd", 4, &pair[0], 1), 0);
    assert_int_equal(protocol_receive(pair[1], &m, false), -1);
    protocol_message_clear(&m);
    /* a piece of another message in between */
    struct {
        uint8_t type, more;
        uint16_t zero;
        uint32_t id;
        char data[4];
    } piece = {PROTOCOL_SPAWN, 1, 0, 5, "abc"};
    assert_int_equal(send(pair[0], &piece, sizeof(piece), 0), sizeof(piece));
    assert_int_equal(protocol_receive(pair[1], &m, false), 0);
    piece.id = 6;
    assert_int_equal(send(pair[0], &piece, sizeof(piece), 0), sizeof(piece));
    assert_int_equal(protocol_receive(pair[1], &m, false), -1);
    protocol_message_clear(&m);
    close(pair[0]);
    assert_int_equal(protocol_receive(pair[1], &m, false), -1);
    close(pair[1]);
    protocol_message_clear(&m);
}

static void the_listeners_are_handed_over_once(void **state)
{
    int pair[2], ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
    assert_int_equal(pipe(ends), 0);
    struct monitor_sockets in = {ends[0], -1, ends[1], -1, -1}, out;
    assert_int_equal(monitor_send_sockets(pair[0], &in, NULL), 0);
    assert_int_equal(in.proxy, -1);
    assert_int_equal(monitor_receive_sockets(pair[1], &out, NULL), 0);
    assert_true(out.proxy >= 0 && out.udp_trap >= 0);
    assert_int_equal(out.trap, -1);
    assert_int_equal(write(out.udp_trap, "y", 1), 1);
    close(out.proxy);
    close(out.udp_trap);
    close(pair[0]);
    struct os_error err = {0};
    assert_int_equal(monitor_receive_sockets(pair[1], &out, &err), -1);
    os_error_clear(&err);
    close(pair[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_spawn_comes_out_as_it_went_in),
        cmocka_unit_test(a_plan_has_absolute_paths_only),
        cmocka_unit_test(addresses_keep_family_and_port),
        cmocka_unit_test(what_is_out_of_range_is_refused),
        cmocka_unit_test(every_shorter_or_longer_message_is_refused),
        cmocka_unit_test(a_count_that_cannot_be_is_refused_before_allocation),
        cmocka_unit_test(a_long_message_travels_in_pieces),
        cmocka_unit_test(descriptors_are_not_welcome_at_the_monitor),
        cmocka_unit_test(the_listeners_are_handed_over_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
