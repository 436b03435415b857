/* gRPC length-prefixed messages (gRPC over HTTP/2, "Length-Prefixed-Message"): one flag byte, four length
 * bytes (big endian), the message. Bytes in, verdict out; no I/O. */
#ifndef RPC_FRAME_H
#define RPC_FRAME_H

#include <stddef.h>
#include <stdint.h>

#define RPC_FRAME_PREFIX 5

enum rpc_frame_result {
    RPC_FRAME_MORE,       /* not a whole message yet */
    RPC_FRAME_MESSAGE,    /* *msg, *len: the message, inside data */
    RPC_FRAME_COMPRESSED, /* flag 1 */
    RPC_FRAME_BAD_FLAG,   /* any other flag but 0 */
    RPC_FRAME_TOO_LARGE,  /* *len: declared length, over the limit */
};

/* Looks at the message that starts at data. Every verdict is given as early as the bytes allow it: a flag at
 * the first byte, a length at the fifth. A message occupies RPC_FRAME_PREFIX + *len bytes. */
enum rpc_frame_result rpc_frame_peek(const uint8_t *data, size_t n, size_t limit, const uint8_t **msg,
                                     size_t *len);
/* Writes the prefix of an uncompressed message of len bytes. */
void rpc_frame_prefix(uint8_t out[RPC_FRAME_PREFIX], size_t len);

#endif
