/* Questions of anybody to server reflection. Every answer can be packed and read again, repeats the question,
 * and says one thing; a file that is named leads back to itself. */
#include <stdlib.h>
#include <string.h>

#include "gateway/rpc/reflection.h"
#include "rpc/call.h"
#include "rpc/pb.h"

typedef Grpc__Reflection__V1__ServerReflectionRequest reflection_request;
typedef Grpc__Reflection__V1__ServerReflectionResponse reflection_response;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check_answer(struct os_arena *a, const reflection_request *q, const reflection_response *r)
{
    size_t len, again;
    uint8_t *packed = pb_pack(a, &r->base, &len), *question = pb_pack(a, &q->base, &again);
    reflection_response *back = (reflection_response *)rpc_unpack(
        a, &grpc__reflection__v1__server_reflection_response__descriptor, packed, len);
    if (!back || back->message_response_case != r->message_response_case || !r->message_response_case)
        abort();
    size_t echoed;
    uint8_t *echo = pb_pack(a, &back->original_request->base, &echoed);
    if (echoed != again || memcmp(echo, question, again) != 0)
        abort();
    if (r->message_response_case ==
            GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_FILE_DESCRIPTOR_RESPONSE &&
        (!r->file_descriptor_response->n_file_descriptor_proto ||
         !r->file_descriptor_response->file_descriptor_proto[0].len))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct os_arena a = {0};
    reflection_request *q = (reflection_request *)rpc_unpack(
        &a, &grpc__reflection__v1__server_reflection_request__descriptor, data, n);
    reflection_response *r = pb_new(&a, grpc__reflection__v1__server_reflection_response);
    if (q && reflection_answer(&a, q, r))
        check_answer(&a, q, r);
    os_arena_free(&a);
    return 0;
}
