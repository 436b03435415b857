/* Messages from outside: the first byte picks the method. What is accepted can be packed and read again. */
#include <stdlib.h>

#include "rpc/call.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n < 1)
        return 0;
    const ProtobufCMessageDescriptor *desc =
        rpc_method((enum rpc_method_id)(data[0] % RPC_METHOD_COUNT))->request;
    struct os_arena arena = {0};
    ProtobufCMessage *m = rpc_unpack(&arena, desc, data + 1, n - 1);
    if (m) {
        size_t size = protobuf_c_message_get_packed_size(m);
        uint8_t *out = malloc(size + 1);
        if (protobuf_c_message_pack(m, out) != size || !rpc_unpack(&arena, desc, out, size))
            abort();
        free(out);
    }
    os_arena_free(&arena);
    return 0;
}
