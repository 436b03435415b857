/* The text forms of gRPC metadata: grpc-status, grpc-message, grpc-timeout, and the codes that HTTP and
 * HTTP/2 failures stand for. No I/O. */
#ifndef RPC_STATUS_H
#define RPC_STATUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/buf.h"
#include "core/error.h"

/* Room for a grpc-timeout value. */
#define RPC_TIMEOUT_TEXT 16

/* Percent-encodes a status message; it is cut at a character boundary so that at most
 * OS_LIMIT_STATUS_MESSAGE bytes come out. */
void rpc_message_encode(struct os_buf *out, const char *text);
/* Decodes; malformed escapes stay as they are, control bytes and invalid UTF-8 become '?'. */
void rpc_message_decode(struct os_buf *out, const char *value, size_t n);
/* "0".."16"; anything else is OS_UNKNOWN. */
enum os_code rpc_status_parse(const char *value, size_t n);
/* "1500m" -> 1500, rounded up to a millisecond, capped at ten years; false when malformed. */
bool rpc_timeout_parse(const char *value, int64_t *ms);
const char *rpc_timeout_text(int64_t ms, char out[RPC_TIMEOUT_TEXT]);
/* Code for an HTTP status without grpc-status, and for a RST_STREAM error code. */
enum os_code rpc_code_of_http(int status);
enum os_code rpc_code_of_h2(uint32_t error_code);

#endif
