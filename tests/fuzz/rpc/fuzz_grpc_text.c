/* HTTP/1.1 request heads, grpc-message and grpc-timeout from the same bytes. */
#include <stdlib.h>
#include <string.h>

#include "core/str.h"
#include "rpc/http1.h"
#include "rpc/status.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    char *text = malloc(n + 1);
    memcpy(text, data, n);
    text[n] = '\0';

    int64_t ms = 0;
    if (rpc_timeout_parse(text, &ms) && ms < 0)
        abort();
    struct os_buf message = {0}, again = {0}, encoded = {0};
    rpc_message_decode(&message, text, n);
    if (message.len && !os_utf8_valid(message.data, message.len))
        abort();
    rpc_message_encode(&encoded, os_buf_str(&message));
    rpc_message_decode(&again, os_buf_str(&encoded), encoded.len);
    if (!os_str_starts(os_buf_str(&message), os_buf_str(&again)))
        abort();
    os_buf_free(&message);
    os_buf_free(&again);
    os_buf_free(&encoded);

    struct rpc_http1_head head;
    int status = rpc_http1_parse(text, n, &head);
    if (status == 200 && (!head.method[0] || head.path[0] != '/' || strpbrk(head.path, "? \r\n")))
        abort();
    free(text);
    return 0;
}
