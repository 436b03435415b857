/* A session's bytes, given whole and byte by byte: both tell the same, text is UTF-8 and within its limit,
 * and as long as every text message is a single plain frame, what is passed on is what came. First byte: bit
 * 0 deflate, bit 1 frames of a server. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/str.h"
#include "net/websocket/websocket.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct telling {
    struct os_buf passed;
    uint64_t hash;
    bool rewritten; /* some text message was not a single plain frame */
    enum websocket_error error;
};

static void mix(struct telling *t, const void *p, size_t n)
{
    const uint8_t *b = p;
    for (size_t i = 0; i < n; i++)
        t->hash = (t->hash ^ b[i]) * 0x100000001b3;
}

static void check_message(const struct websocket_message *m, struct telling *t)
{
    if (m->n > OS_WEBSOCKET_TEXT || !os_utf8_valid(m->text, m->n) || m->text[m->n] ||
        (m->single && m->compressed))
        abort();
    mix(t, m->text, m->n);
    if (m->single)
        websocket_message_original(m, &t->passed);
    else
        t->rewritten = true;
}

/* What was read can be sent and is read again. */
static void check_again(const struct websocket_message *m)
{
    static const uint8_t mask[4] = {1, 2, 3, 4};
    struct os_buf out = {0};
    struct websocket_step s;
    struct websocket_reader *r = websocket_reader_new(WEBSOCKET_FROM_CLIENT, m->compressed);
    if (websocket_message_write(&out, m->text, m->n, m->compressed, mask) || out.failed)
        abort();
    if (websocket_reader_step(r, (uint8_t *)out.data, out.len, &s) != WEBSOCKET_TEXT_BEGIN)
        abort();
    size_t at = s.taken;
    if (websocket_reader_step(r, (uint8_t *)out.data + at, out.len - at, &s) != WEBSOCKET_MESSAGE)
        abort();
    if (at + s.taken != out.len || s.message.n != m->n || memcmp(s.message.text, m->text, m->n) != 0)
        abort();
    websocket_reader_free(r);
    os_buf_free(&out);
}

static bool take_step(struct websocket_reader *r, const uint8_t *p, size_t n, size_t *at, struct telling *t)
{
    struct websocket_step s;
    enum websocket_event event = websocket_reader_step(r, p + *at, n - *at, &s);
    if (s.taken > n - *at || !s.error != (event != WEBSOCKET_FAILED))
        abort();
    *at += s.taken;
    os_buf_add(&t->passed, s.raw, s.raw_n);
    if (event != WEBSOCKET_MORE && event != WEBSOCKET_PAYLOAD)
        mix(t, &event, sizeof(event));
    if (event == WEBSOCKET_MESSAGE) {
        check_message(&s.message, t);
        check_again(&s.message);
    }
    if (event == WEBSOCKET_FAILED)
        t->error = s.error;
    if (event == WEBSOCKET_CONTROL && websocket_reader_in_text(r))
        t->rewritten = true; /* passes before the fragments around it */
    return event != WEBSOCKET_MORE && event != WEBSOCKET_FAILED;
}

static void run(const uint8_t *p, size_t n, uint8_t how, size_t piece, struct telling *t)
{
    struct websocket_reader *r =
        websocket_reader_new(how & 2 ? WEBSOCKET_FROM_SERVER : WEBSOCKET_FROM_CLIENT, how & 1);
    for (size_t at = 0; at < n && !t->error;) {
        size_t end = n - at < piece ? n : at + piece;
        while (take_step(r, p, end, &at, t))
            ;
        if (!t->error && at != end)
            abort();
    }
    websocket_reader_free(r);
    if (!t->rewritten &&
        (t->passed.len > n || (t->passed.len && memcmp(t->passed.data, p, t->passed.len) != 0)))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    struct telling whole = {0}, single = {0};
    run(data + 1, size - 1, data[0], SIZE_MAX, &whole);
    run(data + 1, size - 1, data[0], 1, &single);
    if (whole.error != single.error || whole.hash != single.hash)
        abort();
    if (whole.passed.len != single.passed.len ||
        (whole.passed.len && memcmp(whole.passed.data, single.passed.data, whole.passed.len) != 0))
        abort();
    os_buf_free(&whole.passed);
    os_buf_free(&single.passed);
    return 0;
}
