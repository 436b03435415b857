/* Every limit in one place: value, unit, source. */
#ifndef OS_CORE_LIMITS_H
#define OS_CORE_LIMITS_H

/* gRPC (spec/gateway.md 2.1, 14) */
#define OS_LIMIT_GRPC_MESSAGE 1048576        /* bytes, decoded message a server accepts */
#define OS_LIMIT_GRPC_CLIENT_MESSAGE 4194304 /* bytes, decoded message a client accepts */
#define OS_LIMIT_HEADER_LIST 65536           /* bytes of request or response headers */
#define OS_LIMIT_STREAMS_PER_CONNECTION 1000 /* concurrent HTTP/2 streams */
#define OS_H2_PING_INTERVAL_MS 20000
#define OS_H2_PING_TIMEOUT_MS 10000
#define OS_H2_CLIENT_PING_INTERVAL_MS 10000 /* spec/supervisor.md 12 */
#define OS_H2_CLIENT_PING_TIMEOUT_MS 20000
#define OS_CONNECT_TIMEOUT_MS 10000

/* Validation (spec/gateway.md 3.1), bytes unless noted */
#define OS_LIMIT_NAME 253
#define OS_LIMIT_ROUTABLE_NAME 19
#define OS_LIMIT_PROVIDERS 32 /* per sandbox */
#define OS_LIMIT_LOG_LEVEL 32
#define OS_LIMIT_MAP_ENTRIES 128 /* entries */
#define OS_LIMIT_MAP_KEY 256
#define OS_LIMIT_MAP_VALUE 8192
#define OS_LIMIT_ENV_TOTAL 262144
#define OS_LIMIT_TEMPLATE_TEXT 1024
#define OS_LIMIT_TEMPLATE_STRUCT 65536
#define OS_LIMIT_POLICY_BYTES 262144
#define OS_LIMIT_COMMAND_ARGS 256 /* arguments of the main command */
#define OS_LIMIT_ARG 32768
#define OS_LIMIT_COMMAND_TOTAL 262144
#define OS_LIMIT_EXEC_ARGS 1024 /* arguments of an exec */
#define OS_LIMIT_WORKDIR 4096
#define OS_LIMIT_SELECTOR_PAIRS 64
#define OS_PAGE_DEFAULT 100
#define OS_PAGE_DEFAULT_POLICIES 50
#define OS_PAGE_MAX 1000

/* Sessions and relays (spec/gateway.md 8, 14) */
#define OS_SESSION_WAIT_MS 15000
#define OS_RELAY_CLAIM_MS 10000
#define OS_RELAYS_PENDING_GATEWAY 256
#define OS_RELAYS_PENDING_SANDBOX 32
#define OS_HEARTBEAT_SECS 15
#define OS_RELAY_FRAME 16384
#define OS_RELAY_WINDOW 65536 /* bytes buffered per direction before the reader waits */

/* Logs and watches (spec/gateway.md 7) */
#define OS_LOG_RING 2000
#define OS_EVENT_RING 50
#define OS_WATCH_QUEUE 256
#define OS_LOG_PUSH_LINES 100 /* lines per message */

/* Supervisor (spec/supervisor.md 10, 12; spec/proxy.md 19) */
#define OS_MAIN_RETAINED 1048576 /* bytes of main process output kept for attach */
#define OS_LOG_QUEUE 1024        /* lines waiting for push */
#define OS_LOG_BATCH 50
#define OS_LOG_BATCH_MS 500
#define OS_PROXY_PORT 3128
#define OS_PROXY_FIRST_HEADER 8192
#define OS_PROXY_HEADER 16384
#define OS_PROXY_PATH 4096
#define OS_PROXY_COPY 16384
#define OS_PROXY_CONNECTIONS 512 /* agent connections served at once */
#define OS_PROXY_FIRST_BYTE_MS 30000
#define OS_PROXY_HANDSHAKE_MS 30000
#define OS_PROXY_CONNECT_MS 30000
#define OS_PROXY_UNFRAMED_IDLE_MS 5000
#define OS_LEAF_CACHE 256
#define OS_ANCESTORS_MAX 64
#define OS_HTTP1_FIELDS 256         /* header fields of one message */
#define OS_HTTP1_CHUNK_LINE 16384   /* bytes of one chunk size line, or of all trailers */
#define OS_PROXY_DNS_MS 10000
#define OS_PROXY_TUNNEL_IDLE_MS 600000 /* open tunnel before its first byte */
#define OS_PROXY_SNIFF_MS 100        /* wait for an ambiguous first byte sequence of a tunnel */
#define OS_PROXY_BODY_IDLE_MS 300000 /* request body without progress */
#define OS_PROXY_LINGER_MS 1000      /* for the peer to read a last answer */
#define OS_PROXY_PIPE 262144         /* bytes of pipe per direction of an opaque tunnel */
#define OS_PROXY_STACK 262144        /* bytes of stack per connection thread */
#define OS_BYPASS_BURST 10           /* direct connection events at once (spec/supervisor.md 18) */
#define OS_BYPASS_PER_SECOND 5
#define OS_AUDIT_TEXT 1024 /* bytes of one text in an audit line that has no smaller limit */
#define OS_AUDIT_LINE 8192 /* bytes of one audit line */
#define OS_AUDIT_FILES 3   /* daily log files kept */

/* Names, addresses, trust (src/net) */
#define OS_LIMIT_HOST_NAME 253       /* bytes without the final dot, RFC 1035 2.3.4 */
#define OS_LIMIT_HOST_LABEL 63       /* bytes */
#define OS_LIMIT_HOSTS_FILE 16777216 /* bytes of /etc/hosts; block lists reach several megabytes */
#define OS_LIMIT_CA_BUNDLE 8388608   /* bytes of trust roots in PEM */
#define OS_DNS_OTHER_FAMILY_MS 500   /* wait for the other of A and AAAA once one has addresses */

#endif
