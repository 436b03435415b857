/* gRPC length-prefixed messages. First stop of received DATA bytes, last stop of a packed message. */
#include "rpc/frame.h"

enum rpc_frame_result rpc_frame_peek(const uint8_t *data, size_t n, size_t limit, const uint8_t **msg,
                                     size_t *len)
{
    *msg = NULL;
    *len = 0;
    if (n == 0)
        return RPC_FRAME_MORE;
    if (data[0] != 0)
        return data[0] == 1 ? RPC_FRAME_COMPRESSED : RPC_FRAME_BAD_FLAG;
    if (n < RPC_FRAME_PREFIX)
        return RPC_FRAME_MORE;
    *len = (size_t)data[1] << 24 | (size_t)data[2] << 16 | (size_t)data[3] << 8 | data[4];
    if (*len > limit)
        return RPC_FRAME_TOO_LARGE;
    if (n - RPC_FRAME_PREFIX < *len)
        return RPC_FRAME_MORE;
    *msg = data + RPC_FRAME_PREFIX;
    return RPC_FRAME_MESSAGE;
}

void rpc_frame_prefix(uint8_t out[RPC_FRAME_PREFIX], size_t len)
{
    out[0] = 0;
    out[1] = (uint8_t)(len >> 24);
    out[2] = (uint8_t)(len >> 16);
    out[3] = (uint8_t)(len >> 8);
    out[4] = (uint8_t)len;
}
