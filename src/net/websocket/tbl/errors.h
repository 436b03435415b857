/* What ends a WebSocket session: ERROR(name, close code, status_detail of the event). Codes and details are
 * published (spec/proxy.md 14.5); what has no detail of its own is a protocol_error. */
ERROR(UNMASKED, 1002, "unmasked_client_frame")
ERROR(MASKED, 1002, "protocol_error") /* a server's frame */
ERROR(RSV, 1002, "rsv_bits")
ERROR(OPCODE, 1002, "reserved_opcode")
ERROR(LENGTH, 1002, "invalid_length") /* not minimal, or beyond 63 bits */
ERROR(CONTROL, 1002, "invalid_control_frame")
ERROR(FRAGMENTATION, 1002, "invalid_fragmentation")
ERROR(FRAGMENTS, 1002, "invalid_fragmentation") /* more than OS_WEBSOCKET_FRAGMENTS */
ERROR(BINARY_SIZE, 1002, "invalid_length")      /* frame over OS_WEBSOCKET_BINARY_FRAME */
ERROR(CLOSE_PAYLOAD, 1002, "invalid_close_frame")
ERROR(AFTER_CLOSE, 1002, "protocol_error")
ERROR(DEFLATE, 1002, "protocol_error")
ERROR(UTF8, 1007, "invalid_utf8")
ERROR(TEXT_SIZE, 1009, "invalid_length") /* message over OS_WEBSOCKET_TEXT, as sent or inflated */
ERROR(MEMORY, 1013, "assembly_capacity_exhausted")
