/* WebSocket frames and messages (RFC 6455, RFC 7692, spec/proxy.md 14.3): bytes in, events out; no I/O, and
 * no randomness, masks are the caller's. A reader belongs to one thread at a time; everything else is free.
 */
#ifndef NET_WEBSOCKET_WEBSOCKET_H
#define NET_WEBSOCKET_WEBSOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/buf.h"
#include "core/limits.h"

enum websocket_opcode {
    WEBSOCKET_CONTINUATION = 0,
    WEBSOCKET_TEXT = 1,
    WEBSOCKET_BINARY = 2,
    WEBSOCKET_CLOSE = 8,
    WEBSOCKET_PING = 9,
    WEBSOCKET_PONG = 10,
};

enum websocket_error {
    WEBSOCKET_OK = 0,
#define ERROR(name, code, detail) WEBSOCKET_ERROR_##name,
#include "net/websocket/tbl/errors.h"
#undef ERROR
};

/* Code of the close frame, and published status_detail; 0 and "" for WEBSOCKET_OK. */
uint16_t websocket_error_code(enum websocket_error e);
const char *websocket_error_detail(enum websocket_error e);

/* --- one frame --- */

enum { WEBSOCKET_HEADER_MAX = 14, WEBSOCKET_CONTROL_MAX = 125 };

struct websocket_frame {
    bool fin, rsv1, masked;
    enum websocket_opcode opcode;
    uint64_t length; /* of the payload */
    uint8_t mask[4];
    uint8_t raw[WEBSOCKET_HEADER_MAX]; /* the header as it came */
    size_t raw_n;
};

/* Reads the header at p. Returns its length; 0 when it is longer than n; -1 and *error when it breaks a rule
 * that needs no context: RSV2, RSV3, reserved opcodes, lengths, control frames. Errors show as early as the
 * bytes do. */
int websocket_frame_read(const uint8_t *p, size_t n, struct websocket_frame *f, enum websocket_error *error);
/* Writes a header; mask NULL = unmasked. Returns its length. */
size_t websocket_frame_write(uint8_t out[WEBSOCKET_HEADER_MAX], bool fin, bool rsv1,
                             enum websocket_opcode opcode, uint64_t length, const uint8_t *mask);
/* Masks or unmasks n bytes that stand at this offset of the payload. */
void websocket_mask(void *p, size_t n, const uint8_t mask[4], uint64_t offset);
/* A close frame with a code and a reason (may be ""; cut at 123 bytes). Returns its length. */
size_t websocket_close_write(uint8_t out[WEBSOCKET_HEADER_MAX + WEBSOCKET_CONTROL_MAX], uint16_t code,
                             const char *reason, const uint8_t *mask);
/* What a close frame may hold: nothing, or a code that may be sent and a reason in UTF-8. */
enum websocket_error websocket_close_check(const uint8_t *payload, size_t n);

/* --- one direction of a session --- */

enum websocket_side { WEBSOCKET_FROM_CLIENT, WEBSOCKET_FROM_SERVER };

enum websocket_event {
    WEBSOCKET_MORE,         /* all bytes are taken */
    WEBSOCKET_TEXT_BEGIN,   /* a text message begins; nothing of its payload is taken: ask for capacity now */
    WEBSOCKET_MESSAGE,      /* it is complete: step->message */
    WEBSOCKET_BINARY_BEGIN, /* header of a frame of a binary message: step->raw */
    WEBSOCKET_PAYLOAD,      /* piece of its payload: step->raw */
    WEBSOCKET_CONTROL, /* whole control frame: step->raw; may come between the frames of a text message */
    WEBSOCKET_FAILED,  /* step->error; the reader takes nothing more */
};

/* A text message, valid UTF-8, unmasked and inflated. Valid until the next step. */
struct websocket_message {
    const char *text; /* NUL-terminated; may hold NUL */
    size_t n;
    bool compressed; /* came so: send it so */
    bool single;     /* one frame, not compressed: websocket_message_original() gives its bytes again */
    struct websocket_frame frame; /* single only */
};

struct websocket_step {
    size_t taken; /* bytes of this call that need not be given again */
    const uint8_t
        *raw; /* to be passed on as they are; in the caller's bytes or the reader, until the next step */
    size_t raw_n;
    struct websocket_frame frame; /* BINARY_BEGIN, PAYLOAD, CONTROL: the frame they belong to */
    struct websocket_message message;
    enum websocket_error error;
};

struct websocket_reader;

/* deflate: permessage-deflate was agreed on, in the form of websocket_safe_offer(): every message stands
 * alone. Needs at most 3 * OS_WEBSOCKET_TEXT + 64 KiB while a text message is read, OS_WEBSOCKET_KEPT
 * otherwise. Aborts when there is no memory for the reader itself. */
struct websocket_reader *websocket_reader_new(enum websocket_side side, bool deflate);
void websocket_reader_free(struct websocket_reader *r);
/* Takes bytes until something happened. Call it again with those not taken (n may be 0) until it says
 * WEBSOCKET_MORE. Rules: frames of a client masked and of a server not; RSV1 on the first frame of a message
 * only, and only with deflate; fragments in order; text at most OS_WEBSOCKET_TEXT bytes and
 * OS_WEBSOCKET_FRAGMENTS frames; binary frames at most OS_WEBSOCKET_BINARY_FRAME; nothing behind a close
 * frame. */
enum websocket_event websocket_reader_step(struct websocket_reader *r, const uint8_t *p, size_t n,
                                           struct websocket_step *step);
/* A text message has begun and is not complete: for timers of its assembly. */
bool websocket_reader_in_text(const struct websocket_reader *r);

/* --- sending text on --- */

/* Appends the frame of a single message exactly as it came. */
void websocket_message_original(const struct websocket_message *m, struct os_buf *out);
/* Appends text as one frame, deflated when compressed; mask NULL = unmasked. out->failed, or an error when
 * deflate has no memory. */
enum websocket_error websocket_message_write(struct os_buf *out, const char *text, size_t n, bool compressed,
                                             const uint8_t *mask);

#endif
