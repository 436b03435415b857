/* What a request head looks like upstream, and which refusals a policy name or a path could disturb. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "core/str.h"
#include "supervisor/egress/internal.h"

/* Parses text and returns the head that goes upstream; caller frees. */
static char *rewritten(const char *text, bool forward)
{
    static struct egress e;
    struct egress_conn *c = os_calloc(1, sizeof(*c));
    c->egress = &e;
    egress_set_secrets(&e, NULL, NULL);
    struct os_arena cleanup_arena arena = {0};
    struct egress_request r = {.conn = c, .arena = &arena, .head = &c->head};
    assert_int_equal(http1_parse_request(text, strlen(text), &c->head, NULL), 0);
    r.method = os_arena_strndup(&arena, c->head.method.p, c->head.method.n);
    assert_int_equal(request_parse(&r, NULL), 0);
    request_write_head(&r, forward, "h:8080");
    free(c);
    secret_rules_unref(e.secrets);
    e.secrets = NULL;
    return os_buf_take(&r.out);
}

static void drops_hop_fields_only(void **state)
{
    cleanup_free char *out =
        rewritten("GET /a/../b?q=%41&r HTTP/1.1\r\nHost: h\r\nConnection: close, X-A\r\nX-a: 1\r\n"
                  "Upgrade: websocket\r\nKeep-Alive: 5\r\nTE: trailers\r\nX-b:  2 \r\n\r\n",
                  false);
    assert_string_equal(
        out, "GET /b?q=%41&r HTTP/1.1\r\nHost: h\r\nKeep-Alive: 5\r\nTE: trailers\r\nX-b: 2\r\n\r\n");
}

static void forward_replaces_host(void **state)
{
    cleanup_free char *out =
        rewritten("GET http://h:8080 HTTP/1.0\r\nHost: a\r\nProxy-Authorization: x\r\nHost: b\r\n"
                  "Via: 1.0 me\r\nCookie: c\r\n\r\n",
                  true);
    assert_string_equal(out, "GET / HTTP/1.0\r\nVia: 1.0 me\r\nCookie: c\r\nHost: h:8080\r\n\r\n");
}

/* The answer that deny_request sends for this policy name and path. */
static char *denial(const char *policy, const char *path, const char *exe)
{
    int sv[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
    struct egress_conn *c = os_calloc(1, sizeof(*c));
    c->host = "h";
    c->port = 443;
    c->who.process.exe = exe;
    struct egress_request r = {.conn = c, .method = "GET", .path = path};
    struct egress_stream to;
    stream_open(&to, sv[0]);
    shutdown(sv[1], SHUT_WR);
    deny_request(&to, &r, policy, "why");
    cleanup_buf struct os_buf out = {0};
    char buf[4096];
    close(sv[0]);
    for (ssize_t n; (n = read(sv[1], buf, sizeof(buf))) > 0;)
        os_buf_add(&out, buf, (size_t)n);
    close(sv[1]);
    free(c);
    return os_buf_take(&out);
}

static void denial_body_to_the_letter(void **state)
{
    cleanup_free char *out = denial("p", "/x", "/bin/a");
    const char *body = strstr(out, "\r\n\r\n") + 4;
    assert_string_equal(
        body, "{\"binary\":\"/bin/"
              "a\",\"detail\":\"why\",\"error\":\"policy_denied\",\"host\":\"h\",\"layer\":\"l7\","
              "\"method\":\"GET\",\"next_steps\":[],\"path\":\"/"
              "x\",\"policy\":\"p\",\"port\":443,\"protocol\":\"rest\","
              "\"rule\":\"GET "
              "/x\",\"rule_missing\":{\"binary\":\"/bin/a\",\"host\":\"h\",\"layer\":\"l7\",\"method\":"
              "\"GET\",\"path\":\"/x\",\"port\":443,\"type\":\"rest_allow\"}}");
    cleanup_free char *head = os_strndup(out, (size_t)(body - out));
    cleanup_free char *want =
        os_asprintf("HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\n"
                    "Content-Length: %zu\r\nX-OpenShell-Policy: p\r\nConnection: close\r\n\r\n",
                    strlen(body));
    assert_string_equal(head, want);
}

/* A policy name is any text; it must not become a header of its own. Paths of executables are any bytes. */
static void denial_survives_hostile_names(void **state)
{
    cleanup_free char *out = denial("a\r\nX-Evil: 1", "/x", "/bin/\xff\"\n");
    assert_non_null(strstr(out, "\r\nX-OpenShell-Policy: a??X-Evil: 1\r\n"));
    assert_non_null(strstr(out, "\"binary\":\"/bin/?\\\"\\n\""));
    cleanup_free char *none = denial("p", "/x", NULL);
    assert_null(strstr(none, "binary"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(drops_hop_fields_only),
        cmocka_unit_test(forward_replaces_host),
        cmocka_unit_test(denial_body_to_the_letter),
        cmocka_unit_test(denial_survives_hostile_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
