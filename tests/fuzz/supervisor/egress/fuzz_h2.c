/* Both sessions of an HTTP/2 tunnel, fed by two peers that say anything. Input: records of one byte (bit 0:
 * who speaks, 1 = the upstream; bit 1: the upstream is gone instead), two bytes of length, that many bytes.
 * The agent's connection preface is there already. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/str.h"
#include "supervisor/egress/l7/h2.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char policy[] =
    "version: 1\n"
    "network_policies:\n"
    "  api:\n"
    "    endpoints:\n"
    "      - {host: h.test, port: 443, protocol: rest, enforcement: enforce, rules: [\n"
    "          {allow: {method: GET, path: \"/**\"}}, {allow: {method: POST, path: /a}}]}\n"
    "      - {host: h.test, port: 443, protocol: json-rpc, enforcement: enforce,\n"
    "          path: /rpc, rules: [{allow: {method: initialize}}]}\n"
    "    binaries: [{path: /bin/a}]\n";

static void must(bool ok)
{
    if (!ok)
        abort();
}

static struct egress egress;
static struct egress_conn conn;

static void set_up(void)
{
    struct os_arena arena cleanup_arena = {0};
    struct os_error err cleanup_error = {0};
    const struct policy_compile_options opt = {.binary_identity = true, .version = 1, .generation = 1};
    policy_doc *doc = policy_yaml_parse(&arena, policy, sizeof(policy) - 1, &err);
    must(doc != NULL);
    conn.engine = policy_compile(doc, &opt, &err);
    must(conn.engine != NULL);
    egress.opt.policy = policy_slot_new(conn.engine);
    egress.opt.audit = audit_new();
    conn.egress = &egress;
    egress_set_secrets(&egress, "enforce", NULL);
    conn.generation = 1;
    conn.host = "h.test";
    conn.port = 443;
    conn.who.process.exe = "/bin/a";
    policy_decide_l4(conn.engine, conn.host, conn.port, &conn.who.process, &conn.l4);
    must(conn.l4.allow && policy_l4_inspects(&conn.l4));
}

static void check(const struct h2_relay *h)
{
    size_t collected = 0, held = 0;
    for (const struct h2_stream *st = h->streams; st; st = st->next) {
        must(st->agent || st->upstream);
        must(h2_pipe_held(&st->response) <= OS_PROXY_H2_STREAM_WINDOW);
        must(st->request.ours || h2_pipe_held(&st->request) <= OS_PROXY_H2_STREAM_WINDOW);
        collected += st->collected;
        held += h2_pipe_held(&st->response);
    }
    must(collected == h->collected && held <= OS_PROXY_H2_WINDOW);
}

/* False when that session is over. */
static bool flush(struct h2_relay *h, enum h2_side side)
{
    struct os_error err cleanup_error = {0};
    cleanup_buf struct os_buf out = {0};
    size_t before;
    do {
        before = out.len;
        os_buf_clear(&out);
        if (h2_relay_pull(h, side, &out, &err) < 0)
            return false;
    } while (out.len || before != out.len);
    return true;
}

static bool step(struct h2_relay *h, uint8_t what, const char *p, size_t n)
{
    struct os_error err cleanup_error = {0};
    enum h2_side side = what & 1 ? H2_UPSTREAM : H2_AGENT;
    if (what & 2) {
        os_error_set(&err, OS_UNAVAILABLE, "gone");
        h2_relay_lost_upstream(h, &err);
    } else if (h2_relay_feed(h, side, p, n, &err) < 0) {
        return false;
    }
    check(h);
    bool ok =
        flush(h, H2_UPSTREAM) && flush(h, H2_AGENT) && h2_relay_tick(h, &err) >= -1 && !h2_relay_over(h);
    check(h);
    return ok;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    if (!conn.engine)
        set_up();
    const struct tunnel_http t = {.c = &conn, .scheme = "https", .inspect = true, .answer = h2_answer};
    struct h2_relay *h = h2_relay_new(&t);
    bool going = step(h, 0, preface, sizeof(preface) - 1);
    while (going && size >= 3) {
        size_t n = (size_t)data[1] << 8 | data[2];
        n = n < size - 3 ? n : size - 3;
        going = step(h, data[0], (const char *)data + 3, n);
        data += 3 + n;
        size -= 3 + n;
    }
    h2_relay_goodbye(h, H2_AGENT);
    flush(h, H2_AGENT);
    h2_relay_free(h);
    return 0;
}
