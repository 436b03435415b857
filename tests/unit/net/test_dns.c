/* Unit tests of src/net/dns: address texts, hosts files, and queries against a small name server in a thread.
 */
#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/str.h"
#include "net/dns.h"
#include "sys/file.h"

/* --- a name server: what a name gets depends on its first label --- */

struct fixture {
    int sock, stop[2];
    pthread_t thread;
    char dir[64], hosts[96], resolv[96];
    struct net_dns_source source;
    _Atomic int queries;
};

static void put16(struct os_buf *b, unsigned v)
{
    os_buf_addc(b, (char)(v >> 8));
    os_buf_addc(b, (char)v);
}

static void put_record(struct os_buf *b, unsigned type, const void *data, size_t n)
{
    put16(b, 0xc00c); /* the name of the question */
    put16(b, type);
    put16(b, 1);
    put16(b, 0);
    put16(b, 60);
    put16(b, (unsigned)n);
    os_buf_add(b, data, n);
}

/* Fills label with the first label; returns the length of the question, 0 when there is none. */
static size_t read_question(const unsigned char *q, size_t n, char *label, char *rest, unsigned *type)
{
    size_t at = 12;
    label[0] = rest[0] = '\0';
    while (at < n && q[at]) {
        size_t len = q[at];
        if (len > 63 || at + 1 + len >= n)
            return 0;
        char *to = label[0] ? rest : label;
        if (to == rest && rest[0])
            strcat(rest, ".");
        strncat(to, (const char *)q + at + 1, len);
        at += 1 + len;
    }
    if (at + 5 > n)
        return 0;
    *type = (unsigned)(q[at + 1] << 8 | q[at + 2]);
    return at + 5 - 12;
}

static void answer(struct fixture *f, const unsigned char *q, size_t n, const struct sockaddr_in *peer)
{
    char label[256], rest[256];
    unsigned type, rcode = 0, count = 0;
    size_t qlen = read_question(q, n, label, rest, &type);
    struct os_buf b = {0}, records = {0};
    bool a = type == 1, known = strcmp(rest, "test") == 0;
    f->queries++;
    if (!qlen || strcmp(label, "silent") == 0 || (strcmp(label, "half") == 0 && !a))
        return;
    if (!known || strcmp(label, "nx") == 0) {
        rcode = 3;
    } else if (strcmp(label, "broken") == 0) {
        rcode = 2;
    } else if (strcmp(label, "many") == 0 && a) {
        for (count = 0; count < 25; count++)
            put_record(&records, 1, (unsigned char[4]){192, 0, 2, (unsigned char)(count + 1)}, 4);
    } else if (strcmp(label, "alias") == 0 && a) {
        static const unsigned char target[] = "\1c\4test";
        put_record(&records, 5, target, sizeof(target));
        os_buf_add(&records, target, sizeof(target));
        static const unsigned char rr[] = {0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 77};
        os_buf_add(&records, rr, sizeof(rr));
        count = 2;
    } else if (a && strcmp(label, "v6") != 0 && strcmp(label, "empty") != 0) {
        put_record(&records, 1, (unsigned char[4]){192, 0, 2, 1}, 4);
        count = 1;
    } else if (type == 28 && (strcmp(label, "v6") == 0 || strcmp(label, "both") == 0)) {
        struct in6_addr v6;
        inet_pton(AF_INET6, "2001:db8::5", &v6);
        put_record(&records, 28, &v6, 16);
        count = 1;
    }
    os_buf_add(&b, q, 2);
    put16(&b, 0x8180 | rcode);
    put16(&b, 1);
    put16(&b, count);
    put16(&b, 0);
    put16(&b, 0);
    os_buf_add(&b, q + 12, qlen);
    os_buf_add(&b, records.data, records.len);
    sendto(f->sock, b.data, b.len, 0, (const struct sockaddr *)peer, sizeof(*peer));
    os_buf_free(&b);
    os_buf_free(&records);
}

static void *serve(void *arg)
{
    struct fixture *f = arg;
    for (;;) {
        struct pollfd fds[2] = {{.fd = f->sock, .events = POLLIN}, {.fd = f->stop[0], .events = POLLIN}};
        unsigned char q[1500];
        struct sockaddr_in peer;
        socklen_t peer_len = sizeof(peer);
        poll(fds, 2, -1);
        if (fds[1].revents)
            return NULL;
        ssize_t n = recvfrom(f->sock, q, sizeof(q), 0, (struct sockaddr *)&peer, &peer_len);
        if (n > 12)
            answer(f, q, (size_t)n, &peer);
    }
}

static int setup(void **state)
{
    struct fixture *f = os_calloc(1, sizeof(*f));
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(in);
    static const char text[] = "nameserver 127.0.0.1\nsearch test\noptions timeout:1 attempts:1\n";
    strcpy(f->dir, "/tmp/test_dns.XXXXXX");
    if (!mkdtemp(f->dir))
        return -1;
    f->sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (bind(f->sock, (struct sockaddr *)&in, sizeof(in)) < 0 || pipe(f->stop) < 0 ||
        getsockname(f->sock, (struct sockaddr *)&in, &len) < 0)
        return -1;
    snprintf(f->hosts, sizeof(f->hosts), "%s/hosts", f->dir);
    snprintf(f->resolv, sizeof(f->resolv), "%s/resolv.conf", f->dir);
    if (os_file_write_atomic(f->resolv, text, strlen(text), 0600, NULL) < 0 ||
        os_file_write_atomic(f->hosts, "10.9.8.7 pinned.test\n", 21, 0600, NULL) < 0)
        return -1;
    f->source =
        (struct net_dns_source){.hosts = f->hosts, .resolv_conf = f->resolv, .port = ntohs(in.sin_port)};
    *state = f;
    return pthread_create(&f->thread, NULL, serve, f);
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    close(f->stop[1]);
    pthread_join(f->thread, NULL);
    close(f->stop[0]);
    close(f->sock);
    os_dir_remove(f->dir, NULL);
    free(f);
    return 0;
}

static struct net_addrs addrs;

/* "A,B" of what name resolves to, or the name of the error code. Static storage. */
static const char *resolve(void **state, const char *name, int timeout_ms)
{
    static char text[1024];
    char one[INET6_ADDRSTRLEN];
    struct fixture *f = *state;
    struct os_error err = {0};
    int rc = net_dns_resolve_from(&f->source, name, timeout_ms, &addrs, &err);
    text[0] = '\0';
    if (rc < 0)
        strcpy(text, os_code_name(err.code));
    for (size_t i = 0; rc == 0 && i < addrs.n; i++) {
        strcat(text, i ? "," : "");
        strcat(text, net_addr_text(&addrs.v[i], one));
    }
    os_error_clear(&err);
    return text;
}

#define PLENTY_MS 60000

/* --- tests --- */

static void addresses_are_read_strictly(void **state)
{
    static const struct {
        const char *text, *back; /* back NULL = refused */
    } cases[] = {
        {"1.2.3.4", "1.2.3.4"},
        {"0.0.0.0", "0.0.0.0"},
        {"255.255.255.255", "255.255.255.255"},
        {"::", "::"},
        {"::1", "::1"},
        {"[::1]", "::1"},
        {"2001:DB8:0:0:0:0:0:1", "2001:db8::1"},
        {"::ffff:10.0.0.1", "::ffff:10.0.0.1"},
        {"::ffff:a00:1", "::ffff:10.0.0.1"},
        {"64:ff9b::192.0.2.33", "64:ff9b::c000:221"},
        {"127.1", NULL},
        {"127.0.1", NULL},
        {"0x7f.1", NULL},
        {"0x7f.0.0.1", NULL},
        {"0x7f000001", NULL},
        {"2130706433", NULL},
        {"0177.0.0.1", NULL},
        {"127.0.0.01", NULL},
        {"256.0.0.1", NULL},
        {"1.2.3.4.", NULL},
        {"1.2.3.4 ", NULL},
        {" 1.2.3.4", NULL},
        {"1.2.3.4:80", NULL},
        {"1.2.3", NULL},
        {"1.2.3.4.5", NULL},
        {"[1.2.3.4]", NULL},
        {"fe80::1%lo", NULL},
        {"fe80::1%25lo", NULL},
        {"[fe80::1%1]", NULL},
        {"[::1", NULL},
        {"::1]", NULL},
        {"[]", NULL},
        {"[[::1]]", NULL},
        {"[::1]:80", NULL},
        {":::", NULL},
        {"1::2::3", NULL},
        {"12345::", NULL},
        {"1:2:3:4:5:6:7:8:9", NULL},
        {"::ffff:127.1", NULL},
        {"::ffff:0177.0.0.1", NULL},
        {"[0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0001]", NULL},
        {"", NULL},
        {"localhost", NULL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct net_addr a;
        char text[INET6_ADDRSTRLEN];
        int rc = net_addr_parse(cases[i].text, &a);
        if ((rc == 0) != (cases[i].back != NULL))
            fail_msg("'%s' was %s", cases[i].text, rc == 0 ? "accepted" : "refused");
        if (rc == 0)
            assert_string_equal(net_addr_text(&a, text), cases[i].back);
    }
}

static void a_mapped_address_stays_ipv6(void **state)
{
    struct net_addr a;
    assert_int_equal(net_addr_parse("::ffff:10.0.0.1", &a), 0);
    assert_int_equal(a.family, AF_INET6);
    assert_true(IN6_IS_ADDR_V4MAPPED(&a.v6));
}

static void sockaddrs_carry_family_address_and_port(void **state)
{
    struct net_addr a;
    struct sockaddr_storage s;
    net_addr_parse("192.0.2.9", &a);
    assert_int_equal(net_addr_sockaddr(&a, 8080, &s), sizeof(struct sockaddr_in));
    assert_int_equal(s.ss_family, AF_INET);
    assert_int_equal(((struct sockaddr_in *)&s)->sin_port, htons(8080));
    assert_int_equal(((struct sockaddr_in *)&s)->sin_addr.s_addr, inet_addr("192.0.2.9"));
    net_addr_parse("2001:db8::9", &a);
    assert_int_equal(net_addr_sockaddr(&a, 443, &s), sizeof(struct sockaddr_in6));
    assert_int_equal(s.ss_family, AF_INET6);
    assert_int_equal(((struct sockaddr_in6 *)&s)->sin6_port, htons(443));
    assert_int_equal(((struct sockaddr_in6 *)&s)->sin6_scope_id, 0);
    assert_memory_equal(&((struct sockaddr_in6 *)&s)->sin6_addr, &a.v6, 16);
}

static void address_lists_are_bounded_and_without_duplicates(void **state)
{
    struct net_addrs l = {0};
    struct net_addr a = {.family = AF_INET};
    for (unsigned i = 0; i < 100; i++) {
        a.v4.s_addr = htonl(i / 2);
        net_addrs_add(&l, &a);
    }
    assert_int_equal(l.n, NET_ADDRS_MAX);
    assert_int_equal(l.v[1].v4.s_addr, htonl(1));
    assert_int_equal(l.v[NET_ADDRS_MAX - 1].v4.s_addr, htonl(NET_ADDRS_MAX - 1));
}

static void hosts_files_are_read_as_others_read_them(void **state)
{
    static const char hosts[] = "# 10.0.0.9 commented\n"
                                "127.0.0.1\tlocalhost\n"
                                "::1 localhost ip6-localhost\r\n"
                                "10.0.0.1 Alpha alpha.example # beta\n"
                                "  10.0.0.2   gamma.\n"
                                "10.0.0.1 alpha\n"
                                "fe80::1%lo scoped\n"
                                "[::2] bracketed\n"
                                "127.1 short\n"
                                "\n"
                                "10.0.0.3\n"
                                "10.0.0.4 last";
    static const struct {
        const char *name, *first;
        size_t n;
    } cases[] = {
        {"localhost", "127.0.0.1", 2},
        {"ALPHA", "10.0.0.1", 1},
        {"alpha.example", "10.0.0.1", 1},
        {"alpha.", "10.0.0.1", 1},
        {"gamma", "10.0.0.2", 1},
        {"last", "10.0.0.4", 1},
        {"beta", NULL, 0},
        {"commented", NULL, 0},
        {"scoped", NULL, 0},
        {"bracketed", NULL, 0},
        {"short", NULL, 0},
        {"alph", NULL, 0},
        {"10.0.0.3", NULL, 0},
        {"", NULL, 0},
        {".", NULL, 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct net_addrs l = {0};
        char text[INET6_ADDRSTRLEN];
        net_hosts_lookup(hosts, cases[i].name, &l);
        if (l.n != cases[i].n)
            fail_msg("'%s' has %zu addresses, not %zu", cases[i].name, l.n, cases[i].n);
        if (l.n)
            assert_string_equal(net_addr_text(&l.v[0], text), cases[i].first);
    }
}

static void literals_and_hosts_ask_no_server(void **state)
{
    struct fixture *f = *state;
    int before = f->queries;
    assert_string_equal(resolve(state, "192.0.2.200", PLENTY_MS), "192.0.2.200");
    assert_string_equal(resolve(state, "[2001:db8::1]", PLENTY_MS), "2001:db8::1");
    assert_string_equal(resolve(state, "Pinned.Test.", PLENTY_MS), "10.9.8.7");
    assert_string_equal(resolve(state, "localhost", PLENTY_MS), "127.0.0.1,::1");
    assert_string_equal(resolve(state, "a.LOCALHOST.", PLENTY_MS), "127.0.0.1,::1");
    assert_int_equal(f->queries, before);
}

static void what_is_no_name_asks_no_server(void **state)
{
    static const char *const bad[] = {"",         "127.1",       "0x7f.1",     "2130706433", "a.0x7F",
                                      "1.2.3.4.", "a..test",     ".test",      "a b",        "a/b.test",
                                      "a\n.test", "t\xc3\xa4st", "fe80::1%lo", "host:80",    "."};
    struct fixture *f = *state;
    char label64[70], long_name[300];
    int before = f->queries;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_string_equal(resolve(state, bad[i], PLENTY_MS), "NOT_FOUND");
    memset(label64, 'a', 64);
    strcpy(label64 + 64, ".test");
    assert_string_equal(resolve(state, label64, PLENTY_MS), "NOT_FOUND");
    for (size_t i = 0; i < 254; i++)
        long_name[i] = i % 50 == 49 ? '.' : 'a';
    long_name[254] = '\0';
    assert_string_equal(resolve(state, long_name, PLENTY_MS), "NOT_FOUND");
    assert_int_equal(f->queries, before);
}

static void error_texts_hold_no_control_bytes(void **state)
{
    struct fixture *f = *state;
    struct os_error err = {0};
    assert_int_equal(net_dns_resolve_from(&f->source, "a\n\033[31mb", PLENTY_MS, &addrs, &err), -1);
    assert_string_equal(os_error_text(&err), "'a??[31mb' is neither a host name nor an IP address");
    os_error_clear(&err);
}

static void servers_are_asked_for_both_families(void **state)
{
    assert_string_equal(resolve(state, "both.test", PLENTY_MS), "192.0.2.1,2001:db8::5");
    assert_string_equal(resolve(state, "v4.test", PLENTY_MS), "192.0.2.1");
    assert_string_equal(resolve(state, "v6.test.", PLENTY_MS), "2001:db8::5");
    assert_string_equal(resolve(state, "alias.test", PLENTY_MS), "192.0.2.77");
}

static void the_search_list_applies(void **state)
{
    assert_string_equal(resolve(state, "v4", PLENTY_MS), "192.0.2.1");
    assert_string_equal(resolve(state, "v4.elsewhere", PLENTY_MS), "NOT_FOUND");
}

static void long_answers_are_cut_at_the_maximum(void **state)
{
    resolve(state, "many.test", PLENTY_MS);
    assert_int_equal(addrs.n, NET_ADDRS_MAX);
}

static void failures_have_their_codes(void **state)
{
    assert_string_equal(resolve(state, "nx.test", PLENTY_MS), "NOT_FOUND");
    assert_string_equal(resolve(state, "empty.test", PLENTY_MS), "NOT_FOUND");
    assert_string_equal(resolve(state, "broken.test", PLENTY_MS), "UNAVAILABLE");
    assert_string_equal(resolve(state, "silent.test", 100), "DEADLINE_EXCEEDED");
}

static void one_silent_family_does_not_lose_the_other(void **state)
{
    assert_string_equal(resolve(state, "half.test", PLENTY_MS), "192.0.2.1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_are_read_strictly),
        cmocka_unit_test(a_mapped_address_stays_ipv6),
        cmocka_unit_test(sockaddrs_carry_family_address_and_port),
        cmocka_unit_test(address_lists_are_bounded_and_without_duplicates),
        cmocka_unit_test(hosts_files_are_read_as_others_read_them),
        cmocka_unit_test(literals_and_hosts_ask_no_server),
        cmocka_unit_test(what_is_no_name_asks_no_server),
        cmocka_unit_test(error_texts_hold_no_control_bytes),
        cmocka_unit_test(servers_are_asked_for_both_families),
        cmocka_unit_test(the_search_list_applies),
        cmocka_unit_test(long_answers_are_cut_at_the_maximum),
        cmocka_unit_test(failures_have_their_codes),
        cmocka_unit_test(one_silent_family_does_not_lose_the_other),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
