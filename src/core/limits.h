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
#define OS_LIMIT_PROTO_DEPTH 64          /* nested messages */
#define OS_LIMIT_PROTO_UNPACKED 33554432 /* bytes of memory one unpacked message may take */
#define OS_LIMIT_STATUS_MESSAGE 6144 /* bytes of an encoded grpc-message; peers bound their header lists */
#define OS_LIMIT_HTTP1_HEAD 16384    /* bytes of an HTTP/1.1 request head */
#define OS_LIMIT_CONNECTION_PARTIAL 33554432 /* bytes of unfinished messages held per connection */
#define OS_LIMIT_CONNECTION_HEADERS 8388608  /* bytes of request headers held per connection */
#define OS_LIMIT_SERVER_CONNECTIONS 16384
#define OS_H2_STREAM_WINDOW 262144      /* bytes a peer may send on a stream before we take them */
#define OS_H2_CONNECTION_WINDOW 4194304 /* bytes in flight on all streams */
#define OS_H2_OPEN_TIMEOUT_MS 10000     /* accept to first HTTP/2 SETTINGS or complete HTTP/1.1 head */
#define OS_H2_LINGER_MS 2000            /* reading on after the last answer */
#define OS_H2_RESET_BURST 1000          /* streams a peer may reset at once ... */
#define OS_H2_RESET_RATE 100            /* ... and per second after that */
#define OS_H2_CHATTER_BURST 10000       /* frames without content (pings, settings, empty data) at once ... */
#define OS_H2_CHATTER_RATE 1000         /* ... and per second after that */
#define OS_H2_QUEUE 10000               /* frames of ours that may wait for a peer that does not read */
#define OS_H2_REQUEST_MS 120000         /* for the message of a request that has only one */
#define OS_H2_ANSWER_MS 300000          /* a finished answer that the peer takes nothing of */
#define OS_LIMIT_CONNECTION_ANSWERS 67108864 /* bytes of answers waiting on one connection */
#define OS_LIMIT_REQUEST_ID 256              /* bytes of an x-request-id that is kept */

/* gRPC's own services, which need no credentials */
#define OS_LIMIT_REFLECTION_REQUEST 4096 /* bytes of one question */
#define OS_LIMIT_REFLECTION_ANSWERS 1000 /* questions answered on one stream */
#define OS_LIMIT_REFLECTION_STREAMS 64   /* open at once on one gateway; each may hold a window of answers */
#define OS_LIMIT_HEALTH_WATCHES 1024     /* open Watch calls of one gateway */
#define OS_LIMIT_HEALTH_WATCHES_CONN 64  /* ... and of one connection */

/* Validation (spec/gateway.md 3.1), bytes unless noted */
#define OS_LIMIT_NAME 253
#define OS_LIMIT_ROUTABLE_NAME 19
#define OS_LIMIT_PROVIDERS 32 /* per sandbox */
#define OS_LIMIT_LOG_LEVEL 32
#define OS_LIMIT_ENFORCEMENT_REPORT 1024 /* of a supervisor's hello */
#define OS_LIMIT_START_ERROR 1024        /* of a supervisor's report */
#define OS_LIMIT_MAP_ENTRIES 128         /* entries */
#define OS_LIMIT_MAP_KEY 256
#define OS_LIMIT_MAP_VALUE 8192
#define OS_LIMIT_ENV_TOTAL 262144
#define OS_LIMIT_TEMPLATE_TEXT 1024
#define OS_LIMIT_TEMPLATE_STRUCT 65536
#define OS_LIMIT_POLICY_BYTES 262144
#define OS_LIMIT_POLICY_YAML 1048576 /* text of a policy document */
#define OS_LIMIT_POLICY_DEPTH 32     /* nesting of a policy document */
#define OS_LIMIT_POLICY_NODES 65536  /* scalars, lists and maps of a policy document */
#define OS_LIMIT_POLICY_PATHS 256
#define OS_LIMIT_POLICY_STEPS 50000000 /* of comparing endpoints with one another, about 0.1 s */
#define OS_LIMIT_MERGE_OPERATIONS 256  /* of one incremental policy update */
#define OS_LIMIT_MIDDLEWARES 10
#define OS_LIMIT_MIDDLEWARE_PATTERNS 32 /* of one middleware */
#define OS_LIMIT_L7_BODY 65536          /* default of an inspected GraphQL or JSON-RPC body */
#define OS_GLOB_NODES 2048              /* elements of one pattern */
#define OS_LIMIT_COMMAND_ARGS 256       /* arguments of the main command */
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
#define OS_FORWARDS_TOKEN 3            /* open ForwardTcp calls of one SSH session token */
#define OS_FORWARDS_SANDBOX 20         /* ... and of one sandbox */
#define OS_SSH_SESSION_TTL_S 86400     /* default life of an SSH session token */
#define OS_SSH_SESSION_REAP_MS 3600000 /* between two clean-ups of SSH sessions */
#define OS_RELAYS_PENDING_GATEWAY 256
#define OS_RELAYS_PENDING_SANDBOX 32
#define OS_HEARTBEAT_SECS 15
#define OS_RELAY_FRAME 16384
#define OS_RELAY_WINDOW 65536 /* bytes buffered per direction before the reader waits */

/* Reconciliation (spec/gateway.md 5.5) */
#define OS_GATEWAY_RESERVE (1 << 20) /* bytes of disk kept for the writes that make room */
#define OS_GATEWAY_SETTLE_MS 10000   /* for supervisors to come back after a restart */
#define OS_GATEWAY_SWEEP_MS 60000    /* between two sweeps */

/* Logs and watches (spec/gateway.md 7) */
#define OS_LOG_RING 2000
#define OS_EVENT_RING 50
#define OS_WATCH_QUEUE 256
#define OS_LOG_PUSH_LINES 100 /* lines per message */
#define OS_LOG_LINE 16384     /* bytes of one kept line; what is longer is cut */
#define OS_LOG_DROPPED 1024   /* removed sandboxes whose late lines are known to be late */

/* Monitor (DESIGN 4, 10) */
#define OS_TRAP_PORT 15001         /* captured TCP connections (spec/supervisor.md 4.3) */
#define OS_UDP_TRAP_PORT 15053     /* captured datagrams */
#define OS_MONITOR_FRAME 32768     /* bytes of one piece of a message between worker and monitor */
#define OS_MONITOR_MESSAGE 1048576 /* bytes of one such message; argv and env of an exec fit */
#define OS_MONITOR_LIST 8192       /* texts in one list of a message */
#define OS_CHILDREN 1024           /* live children of one sandbox */
#define OS_SPAWN_TIMEOUT_MS 10000  /* from fork to exec */
#define OS_DIAL_TIMEOUT_MS 10000   /* connect inside the sandbox */
#define OS_SETTLE_MS 2000          /* after the start, until memory that only starting needed is given back */
#define OS_TERMINATE_GRACE_MS 8000 /* SIGTERM to the main process, then SIGKILL */
#define OS_CMDLINE 65536           /* bytes read of one command line */
#define OS_CMDLINE_PATHS 64        /* absolute paths kept of the command lines of one connection */
#define OS_SOCKET_OWNERS 64        /* processes that may share one socket */
#define OS_OWNER_DESCRIPTORS                                                                                 \
    131072 /* open files of the sandbox looked at to find them, about 1 s of work                            \
            */

/* Supervisor (spec/supervisor.md 10, 12; spec/proxy.md 19) */
#define OS_MAIN_RETAINED 1048576   /* bytes of main process output kept for attach */
#define OS_MAIN_REPORTED 786432    /* bytes of it reported at its end; a message to the gateway holds them */
#define OS_RELAYS_OPEN_SANDBOX 256 /* relays a supervisor serves at once */
#define OS_LOG_QUEUE 1024          /* lines waiting for push */
#define OS_LOG_BATCH 50
#define OS_LOG_BATCH_MS 500
#define OS_LOG_SETTLE_MS 10 /* wait for more lines after a silence */
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
#define OS_PROXY_KEEPALIVE_S                                                                                 \
    60 /* silence on an upstream connection before the kernel asks whether it is there */
#define OS_PROXY_CREDENTIAL 4096 /* bytes of a credential file of the operator's forward proxy */
#define OS_NO_PROXY_ENTRIES 1024 /* exceptions to it */
#define OS_LEAF_CACHE 256
#define OS_ANCESTORS_MAX 64
#define OS_HTTP1_FIELDS 256       /* header fields of one message */
#define OS_HTTP1_CHUNK_LINE 16384 /* bytes of one chunk size line, or of all trailers */
#define OS_PROXY_DNS_MS 10000
#define OS_PROXY_TUNNEL_IDLE_MS 600000 /* open tunnel before its first byte */
#define OS_PROXY_SNIFF_MS 100          /* wait for an ambiguous first byte sequence of a tunnel */
#define OS_PROXY_BODY_IDLE_MS 300000   /* request body without progress */
#define OS_PROXY_INTERIM 16            /* interim responses to one request that are passed on */
#define OS_PROXY_INTERIM_MAX 1000      /* ... and that it may cost before its upstream is given up */
#define OS_PROXY_CLIENT_ENDED_MS 30000 /* for an answer to move once its client sends no more */
#define OS_PROXY_HALF_CLOSED_MS 600000 /* silence of a raw tunnel that one side has ended */
#define OS_PROXY_LINGER_MS 1000        /* for the peer to read a last answer */
/* HTTP/2 through the proxy. What one connection holds is bounded by twice OS_PROXY_H2_WINDOW for bodies on
 * their way, OS_L7_BODY_MAX for bodies read for a judgement (one stream alone may have its endpoint's limit),
 * and per stream by one head or trailers of OS_PROXY_HEADER in either direction and as much again waiting to
 * be sent. */
#define OS_PROXY_H2_STREAMS 100          /* concurrent streams of an agent's connection */
#define OS_PROXY_H2_STREAM_WINDOW 262144 /* bytes of one stream that were not passed on yet */
#define OS_PROXY_H2_WINDOW 4194304       /* ... and of all streams, in one direction */
#define OS_PROXY_H2_QUEUE 400            /* frames that wait for a peer before nothing more is read */
#define OS_PROXY_H2_WORTHLESS_BURST                                                                          \
    1000 /* pings, settings, empty frames at once, beyond those that follow data */
#define OS_PROXY_H2_WORTHLESS_RATE 100 /* ... and per second */
#define OS_PROXY_PIPE 262144           /* bytes of pipe per direction of an opaque tunnel */
#define OS_PROXY_STACK 262144          /* bytes of stack per connection thread */
#define OS_DNS_PORT 53
#define OS_NAMES_MAX 1024      /* names that have a synthetic address (spec/supervisor.md 4.3) */
#define OS_NAMES_TTL 30        /* seconds that such an answer is valid */
#define OS_NAMES_KEEP_MS 60000 /* an address is not taken from its name before */
#define OS_NAMES_POOL4 198, 18 /* 198.18.0.0/16, of the benchmark range */
#define OS_NAMES_POOL6 0xfd, 0x23, 0x6f, 0x70, 0x65, 0x6e /* fd23:6f70:656e::/48 */
#define OS_NAMES_REPEAT_MS 10000                          /* one event for lookups of one refused name */
#define OS_DNS_IDLE_MS 10000                              /* between two queries of a TCP connection */
#define OS_BYPASS_BURST 10 /* direct connection events at once (spec/supervisor.md 18) */
#define OS_BYPASS_PER_SECOND 5
#define OS_AUDIT_TEXT 1024 /* bytes of one text in an audit line that has no smaller limit */
#define OS_AUDIT_LINE 8192 /* bytes of one audit line */
#define OS_AUDIT_JSON 4095 /* bytes of one audit object; with its line end below 4 KiB */
#define OS_AUDIT_FILES 3   /* daily log files kept */

/* Inspected messages (spec/proxy.md 6.6, 6.7, 14.3, 19) */
#define OS_WEBSOCKET_MESSAGES 32     /* text messages of all connections put together at once */
#define OS_WEBSOCKET_WAITING 64      /* connections that wait to begin one */
#define OS_WEBSOCKET_IDLE_MS 30000   /* between two pieces of a message */
#define OS_WEBSOCKET_TOTAL_MS 120000 /* for a whole message, and to send it on */
#define OS_L7_BODY_DEFAULT 65536     /* bytes of a body that is inspected, unless the endpoint says */
#define OS_L7_BODY_MAX 4194304       /* and what an endpoint may say */
#define OS_L7_BODIES_MAX                                                                                     \
    67108864 /* ... of all connections, until they are sent; buffers have room for up to twice that */
#define OS_JSON_DEPTH 128                  /* nested arrays and objects */
#define OS_JSON_VALUES 65536               /* values of one text; each costs up to 300 bytes once parsed */
#define OS_JSON_EXCERPT 128                /* bytes of a foreign name repeated in an error */
#define OS_GRAPHQL_DEPTH 128               /* nested selections, values and types of a document */
#define OS_GRAPHQL_TOKENS 20000            /* tokens of a document */
#define OS_WEBSOCKET_TEXT 4194304          /* bytes of a text message, as sent and inflated */
#define OS_WEBSOCKET_FRAGMENTS 4096        /* frames of a text message */
#define OS_WEBSOCKET_BINARY_FRAME 16777216 /* bytes of a binary frame */
#define OS_WEBSOCKET_KEPT 65536            /* bytes of buffer kept between two text messages */

/* Supervisor middleware (spec/proxy.md 13) */
#define OS_MIDDLEWARE_ACTIVE 32         /* requests and messages in the chain at once, of all connections */
#define OS_MIDDLEWARE_WAITING 64        /* ... and that wait for it */
#define OS_MIDDLEWARE_SESSIONS 32       /* WebSockets with stages that listen */
#define OS_MIDDLEWARE_PAYLOAD 4194304   /* bytes of a body or message, and of its replacement */
#define OS_MIDDLEWARE_REGEX 262144      /* ... of the built-in stage */
#define OS_MIDDLEWARE_TIMEOUT_MS 500    /* of one stage, unless the service or the operator says less */
#define OS_MIDDLEWARE_TIMEOUT_MIN_MS 10 /* ... and what either may say */
#define OS_MIDDLEWARE_TIMEOUT_MAX_MS 30000
#define OS_MIDDLEWARE_CHAIN_MS 30000     /* the whole chain, from admission */
#define OS_MIDDLEWARE_SATURATED_MS 10000 /* between two findings that requests wait for a place */
#define OS_MIDDLEWARE_PREFLIGHT_MS 1000  /* all stages of a WebSocket, before its upgrade is sent */
#define OS_MIDDLEWARE_CONNECT_MS 5000
#define OS_MIDDLEWARE_ENVELOPE 300032    /* bytes of a message of the protocol besides the payload */
#define OS_MIDDLEWARE_CONFIG 65536       /* bytes, encoded: configuration of a stage */
#define OS_MIDDLEWARE_CONTEXT 4096       /* ... context */
#define OS_MIDDLEWARE_TARGET 32768       /* ... target */
#define OS_MIDDLEWARE_HEADERS 128        /* fields shown to a stage */
#define OS_MIDDLEWARE_HEADER_BYTES 65536 /* bytes of them, encoded */
#define OS_MIDDLEWARE_REASON 4096
#define OS_MIDDLEWARE_REASON_CODE 64
#define OS_MIDDLEWARE_FINDINGS 32        /* of one stage */
#define OS_MIDDLEWARE_CHAIN_FINDINGS 320 /* of a chain */
#define OS_MIDDLEWARE_FINDING 4096       /* bytes of one, encoded */
#define OS_MIDDLEWARE_METADATA 64        /* entries */
#define OS_MIDDLEWARE_METADATA_BYTES 32768
#define OS_MIDDLEWARE_MUTATIONS 64
#define OS_MIDDLEWARE_MUTATION_TEXT 32768  /* bytes of their names and values */
#define OS_MIDDLEWARE_MUTATION_BYTES 65536 /* ... encoded */
#define OS_MIDDLEWARE_SUBPROTOCOLS 32      /* requested subprotocols shown to a stage */
#define OS_MIDDLEWARE_SUBPROTOCOL_BYTES 4096
#define OS_MIDDLEWARE_SUBPROTOCOL 256     /* bytes of the selected one */
#define OS_MIDDLEWARE_NAME 128            /* bytes of the name of a registered service */
#define OS_LIMIT_POLICY_REASON 512        /* bytes of a service's words about a configuration */
#define OS_MIDDLEWARE_RETRY_MS 10000      /* until services that did not answer are asked again */
#define OS_MIDDLEWARE_CREDENTIALS 64      /* tokens of services asked for at once (spec/identity.md 5) */
#define OS_MIDDLEWARE_CREDENTIAL_CALLS 10 /* times a sandbox may ask for them in a minute */

/* Rules of the operator's own (src/supervisor/rules) */
#define OS_RULES_TEXT 1048576         /* bytes of the rules file */
#define OS_RULES_ANSWER 4194304       /* bytes of one answer of the policy agent */
#define OS_RULES_ANSWER_MS 5000       /* for it to answer one question */
#define OS_RULES_START_MS 10000       /* for it to be there, before the main process starts */
#define OS_RULES_RESTART_MS 200       /* pause before it is started again, doubling ... */
#define OS_RULES_RESTART_MAX_MS 30000 /* ... up to this */

/* SSH server (spec/supervisor.md 11) */
#define OS_SSH_LOGIN_MS 30000 /* key exchange and authentication */
#define OS_SSH_LOGIN_ATTEMPTS 10
#define OS_SSH_CHANNELS 64    /* channels of one connection */
#define OS_SSH_BUFFER 2097152 /* bytes of one channel that may wait in either direction */
#define OS_SSH_ENV 32         /* variables a client may set */
#define OS_SSH_ENV_KEY 64     /* bytes */
#define OS_SSH_ENV_VALUE 1024 /* bytes */
#define OS_SSH_TERM 64        /* bytes of a terminal name */

/* Names, addresses, trust (src/net) */
#define OS_LIMIT_HOST_NAME 253       /* bytes without the final dot, RFC 1035 2.3.4 */
#define OS_LIMIT_HOST_LABEL 63       /* bytes */
#define OS_LIMIT_HOSTS_FILE 16777216 /* bytes of /etc/hosts; block lists reach several megabytes */
#define OS_INTEGRITY_PATHS 4096      /* executables remembered by path */
#define OS_LIMIT_CA_BUNDLE 8388608   /* bytes of trust roots in PEM */
#define OS_DNS_OTHER_FAMILY_MS 500   /* wait for the other of A and AAAA once one has addresses */

/* Command line (spec/cli.md) */
#define OS_LIMIT_CONFIG_FILE 262144      /* bytes of a registration, token or PEM file */
#define OS_PIPE_WAIT_MS 10000            /* for the next bytes of a file that is a pipe */
#define OS_LIMIT_GATEWAYS 1024           /* registrations listed */
#define OS_LIMIT_EXEC_STDIN_UNARY 786432 /* bytes of stdin that fit one request; more is streamed */
#define OS_STDIN_FRAME 4096              /* bytes of one interactive stdin frame, spec/cli.md 7.4 */
#define OS_NOTIFY_WAIT_MS 500            /* for room in the socket of the service manager */
#define OS_GATEWAY_START_MS 10000        /* until a started gateway must answer */
#define OS_COMPLETE_NAMES 200            /* sandboxes or workspaces offered, spec/cli.md 18 */
#define OS_COMPLETE_MS 1500              /* a completion that needs the gateway; then it shows what it has */

/* Local compute driver (spec/drivers.md 3.5, 9) */
#define OS_LOCAL_PIDS 2048                 /* processes and threads of a sandbox */
#define OS_LOCAL_STOP_MS 10000             /* SIGTERM to SIGKILL */
#define OS_LOCAL_KILL_MS 30000             /* for a killed sandbox to be gone */
#define OS_LOCAL_LAUNCH_MS 10000           /* for the launcher to become the supervisor */
#define OS_LOCAL_CGROUP_WAIT_MS 2000       /* for a control group to empty after its last process ended */
#define OS_LOCAL_SPEC ((size_t)2 << 20)    /* bytes of a stored sandbox description */
#define OS_LOCAL_LOG ((size_t)4 << 20)     /* bytes of console log kept from before a start */
#define OS_LOCAL_MOUNTS 32                 /* directories and memory file systems given to a sandbox */
#define OS_LOCAL_ETC ((size_t)64 << 20)    /* bytes of /etc an ordinary user's sandboxes get */
#define OS_LOCAL_TMPFS (64ull << 30)       /* bytes of one of the latter */
#define OS_LOCAL_IMAGE_BYTES (32ull << 30) /* bytes of the layers of an image, unpacked */
#define OS_LOCAL_IMAGE_ENTRIES 4000000     /* files, directories and links in them */
#define OS_LOCAL_IMAGE_LAYERS 256
#define OS_LOCAL_IMAGE_MEMBERS 10000 /* files of an image archive */
#define OS_LOCAL_IMAGES_KEPT 4       /* unpacked images that no sandbox uses any more */

/* Test programs replace some of them. */
#ifdef OS_LIMITS_OVERRIDE
#include OS_LIMITS_OVERRIDE
#endif

#endif
