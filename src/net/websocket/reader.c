/* One direction of a session: frames in order, text collected, everything else handed through. */
#include <stdlib.h>
#include <string.h>

#include "core/str.h"
#include "net/websocket/deflate.h"

enum phase { HEADER, PAYLOAD };

struct websocket_reader {
    enum websocket_side side;
    bool deflate;
    enum phase phase;
    uint8_t head[WEBSOCKET_HEADER_MAX];
    size_t head_n;
    struct websocket_frame frame;
    uint64_t left;                 /* bytes of its payload that did not come yet */
    enum websocket_opcode message; /* TEXT or BINARY while one is open, else CONTINUATION */
    bool compressed;
    size_t fragments;
    uint64_t text_raw; /* payload bytes announced for the text message */
    struct os_buf text;
    struct websocket_inflater *inflater;
    uint8_t control[WEBSOCKET_HEADER_MAX + WEBSOCKET_CONTROL_MAX];
    size_t control_n;
    bool delivered; /* text holds a message that the caller has */
    bool closed;
    enum websocket_error failed;
};

struct websocket_reader *websocket_reader_new(enum websocket_side side, bool deflate)
{
    struct websocket_reader *r = os_calloc(1, sizeof(*r));
    r->side = side;
    r->deflate = deflate;
    r->text.max = OS_WEBSOCKET_TEXT;
    return r;
}

void websocket_reader_free(struct websocket_reader *r)
{
    if (!r)
        return;
    os_buf_free(&r->text);
    websocket_inflater_free(r->inflater);
    free(r);
}

bool websocket_reader_in_text(const struct websocket_reader *r)
{
    return r->message == WEBSOCKET_TEXT;
}

static bool is_control(const struct websocket_frame *f)
{
    return f->opcode >= WEBSOCKET_CLOSE;
}

static void drop_text(struct websocket_reader *r)
{
    websocket_inflater_free(r->inflater);
    r->inflater = NULL;
    r->delivered = false;
    if (r->text.cap > OS_WEBSOCKET_KEPT)
        os_buf_free(&r->text);
    else
        os_buf_clear(&r->text);
    r->text.max = OS_WEBSOCKET_TEXT;
}

/* The rules for a header that depend on what came before. */
static enum websocket_error check_order(const struct websocket_reader *r)
{
    const struct websocket_frame *f = &r->frame;
    if (f->masked != (r->side == WEBSOCKET_FROM_CLIENT))
        return f->masked ? WEBSOCKET_ERROR_MASKED : WEBSOCKET_ERROR_UNMASKED;
    if (f->rsv1 && (!r->deflate || f->opcode == WEBSOCKET_CONTINUATION))
        return WEBSOCKET_ERROR_RSV;
    bool open = r->message != WEBSOCKET_CONTINUATION;
    if (!is_control(f) && open != (f->opcode == WEBSOCKET_CONTINUATION))
        return WEBSOCKET_ERROR_FRAGMENTATION;
    return WEBSOCKET_OK;
}

/* The limits of data frames; text_raw and fragments count this frame already. */
static enum websocket_error check_size(const struct websocket_reader *r)
{
    if (r->message == WEBSOCKET_BINARY)
        return r->frame.length > OS_WEBSOCKET_BINARY_FRAME ? WEBSOCKET_ERROR_BINARY_SIZE : WEBSOCKET_OK;
    if (r->text_raw > OS_WEBSOCKET_TEXT)
        return WEBSOCKET_ERROR_TEXT_SIZE;
    return r->fragments > OS_WEBSOCKET_FRAGMENTS ? WEBSOCKET_ERROR_FRAGMENTS : WEBSOCKET_OK;
}

static enum websocket_error begin_text(struct websocket_reader *r)
{
    drop_text(r);
    if (!r->compressed)
        return WEBSOCKET_OK;
    r->inflater = websocket_inflater_new();
    return r->inflater ? WEBSOCKET_OK : WEBSOCKET_ERROR_MEMORY;
}

/* The header is complete. */
static enum websocket_event begin_frame(struct websocket_reader *r, struct websocket_step *step)
{
    const struct websocket_frame *f = &r->frame;
    step->error = check_order(r);
    if (step->error)
        return WEBSOCKET_FAILED;
    r->phase = PAYLOAD;
    r->left = f->length;
    if (is_control(f)) {
        memcpy(r->control, f->raw, f->raw_n);
        r->control_n = f->raw_n;
        return WEBSOCKET_MORE;
    }
    bool first = f->opcode != WEBSOCKET_CONTINUATION;
    if (first) {
        r->message = f->opcode;
        r->compressed = f->rsv1;
        r->fragments = 0;
        r->text_raw = 0;
    }
    r->fragments++;
    if (r->message == WEBSOCKET_TEXT) /* no sum overflows: the one before was in bounds */
        r->text_raw += f->length;
    step->error = check_size(r);
    if (!step->error && first && r->message == WEBSOCKET_TEXT)
        step->error = begin_text(r);
    if (step->error)
        return WEBSOCKET_FAILED;
    if (r->message == WEBSOCKET_TEXT)
        return first ? WEBSOCKET_TEXT_BEGIN : WEBSOCKET_MORE;
    step->raw = f->raw;
    step->raw_n = f->raw_n;
    return WEBSOCKET_BINARY_BEGIN;
}

/* One byte at a time: a header has 14 at most, and may come in as many pieces. */
static enum websocket_event take_header(struct websocket_reader *r, const uint8_t *p, size_t n,
                                        struct websocket_step *step)
{
    while (step->taken < n) {
        if (r->closed) {
            step->error = WEBSOCKET_ERROR_AFTER_CLOSE;
            return WEBSOCKET_FAILED;
        }
        r->head[r->head_n++] = p[step->taken++];
        int got = websocket_frame_read(r->head, r->head_n, &r->frame, &step->error);
        if (got < 0)
            return WEBSOCKET_FAILED;
        if (!got)
            continue;
        r->head_n = 0;
        return begin_frame(r, step);
    }
    return WEBSOCKET_MORE;
}

static enum websocket_error add_text(struct websocket_reader *r, const uint8_t *p, size_t n, uint64_t offset)
{
    uint8_t piece[4096];
    while (n) {
        size_t k = n < sizeof(piece) ? n : sizeof(piece);
        memcpy(piece, p, k);
        if (r->frame.masked)
            websocket_mask(piece, k, r->frame.mask, offset);
        if (r->compressed) {
            enum websocket_error e = websocket_inflate(r->inflater, piece, k, &r->text);
            if (e)
                return e;
        } else {
            os_buf_add(&r->text, piece, k);
            if (r->text.failed)
                return WEBSOCKET_ERROR_MEMORY;
        }
        p += k;
        n -= k;
        offset += k;
    }
    return WEBSOCKET_OK;
}

static enum websocket_event end_text(struct websocket_reader *r, struct websocket_step *step)
{
    if (r->compressed)
        step->error = websocket_inflate_end(r->inflater, &r->text);
    const char *text = os_buf_str(&r->text);
    if (!step->error && !os_utf8_valid(text, r->text.len))
        step->error = WEBSOCKET_ERROR_UTF8;
    if (step->error)
        return WEBSOCKET_FAILED;
    bool single = r->fragments == 1 && !r->compressed;
    step->message = (struct websocket_message){
        .text = text, .n = r->text.len, .compressed = r->compressed, .single = single, .frame = r->frame};
    r->delivered = true;
    return WEBSOCKET_MESSAGE;
}

static enum websocket_event end_control(struct websocket_reader *r, struct websocket_step *step)
{
    const struct websocket_frame *f = &r->frame;
    if (f->opcode == WEBSOCKET_CLOSE) {
        uint8_t payload[WEBSOCKET_CONTROL_MAX];
        memcpy(payload, r->control + f->raw_n, f->length);
        if (f->masked)
            websocket_mask(payload, f->length, f->mask, 0);
        step->error = websocket_close_check(payload, f->length);
        r->closed = true;
    }
    if (step->error)
        return WEBSOCKET_FAILED;
    step->raw = r->control;
    step->raw_n = r->control_n;
    return WEBSOCKET_CONTROL;
}

static enum websocket_event end_frame(struct websocket_reader *r, struct websocket_step *step)
{
    r->phase = HEADER;
    if (is_control(&r->frame))
        return end_control(r, step);
    if (!r->frame.fin)
        return WEBSOCKET_MORE;
    bool text = r->message == WEBSOCKET_TEXT;
    r->message = WEBSOCKET_CONTINUATION;
    return text ? end_text(r, step) : WEBSOCKET_MORE;
}

static enum websocket_event take_payload(struct websocket_reader *r, const uint8_t *p, size_t n,
                                         struct websocket_step *step)
{
    size_t rest = n - step->taken, k = rest < r->left ? rest : (size_t)r->left;
    const uint8_t *piece = k ? p + step->taken : NULL;
    uint64_t offset = r->frame.length - r->left;
    step->taken += k;
    r->left -= k;
    bool control = is_control(&r->frame);
    if (k && control) {
        memcpy(r->control + r->control_n, piece, k);
        r->control_n += k;
    } else if (k && r->message == WEBSOCKET_TEXT) {
        step->error = add_text(r, piece, k, offset);
        if (step->error)
            return WEBSOCKET_FAILED;
    } else if (k) {
        step->raw = piece;
        step->raw_n = k;
        return WEBSOCKET_PAYLOAD; /* the frame ends with the next step when nothing is left */
    }
    return r->left ? WEBSOCKET_MORE : end_frame(r, step);
}

enum websocket_event websocket_reader_step(struct websocket_reader *r, const uint8_t *p, size_t n,
                                           struct websocket_step *step)
{
    *step = (struct websocket_step){.error = r->failed};
    if (r->failed)
        return WEBSOCKET_FAILED;
    if (r->delivered)
        drop_text(r);
    enum websocket_event event = WEBSOCKET_MORE;
    do {
        event = r->phase == HEADER ? take_header(r, p, n, step) : take_payload(r, p, n, step);
    } while (event == WEBSOCKET_MORE && (step->taken < n || (r->phase == PAYLOAD && !r->left)));
    step->frame = r->frame;
    r->failed = step->error;
    if (r->failed)
        drop_text(r);
    return event;
}
