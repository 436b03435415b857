/* Every key of gateway.toml. No key is dropped silently: what this gateway cannot do is refused by name.
 * TABLE(table)                        a table whose keys are listed here
 * KEY(table, key, kind, field, help)  kind: TEXT BOOL ADDRESS NUMBER LIST MODE; goes into struct config_file
 * REQUIRED(table, key, field, help)   TEXT that must be given when the table is
 * LISTED(table)                       one of several, [[...]]; the rows that follow fill struct
 * config_middleware MEMBER(table, key, kind, must, field, help)   a key of it; must: it has to be given
 * IGNORED(table, key)                 accepted without effect, as published
 * UNBUILT(table, key, part)           belongs to a part this gateway does not have */
/* clang-format off */
#define ROOT    "openshell"
#define GATEWAY "openshell.gateway"
#define LOCAL   "openshell.drivers.local"
#define WARE    "openshell.supervisor.middleware"
TABLE(ROOT)
IGNORED(ROOT, "version")
UNBUILT(ROOT, "credential_drivers", "credential drivers")
TABLE(GATEWAY)
KEY(GATEWAY, "bind_address",                   ADDRESS, bind,
    "address and port to listen on, as --bind-address and --port")
KEY(GATEWAY, "health_bind_address",            ADDRESS, health,
    "address and port of the plain HTTP health listener")
KEY(GATEWAY, "log_level",                      TEXT,    log_level,
    "error, warn, info, debug or trace")
KEY(GATEWAY, "compute_drivers",                LIST,    compute_drivers,
    "compute drivers; this version has \"local\"")
KEY(GATEWAY, "server_sans",                    LIST,    server_sans,
    "more host names and IP addresses for the generated server certificate")
KEY(GATEWAY, "ssh_session_ttl_secs",           NUMBER,  ssh_session_ttl_secs,
    "life of SSH session tokens in seconds, 0 = for ever")
KEY(GATEWAY, "policy_validation_failure_mode", MODE,    failure_mode,
    "what a sandbox does with a policy it cannot load: \"fail_closed\" or \"retain_last_valid\"")
KEY(GATEWAY, "disable_tls",                    BOOL,    disable_tls,
    "plaintext; for loopback and trusted proxies only")
UNBUILT(GATEWAY, "metrics_bind_address",           "the metrics listener")
UNBUILT(GATEWAY, "credential_drivers",             "credential drivers")
UNBUILT(GATEWAY, "default_credential_driver",      "credential drivers")
UNBUILT(GATEWAY, "credential_storage",             "credential storage")
UNBUILT(GATEWAY, "provider_profile_sources",       "provider profiles")
UNBUILT(GATEWAY, "grpc_rate_limit_requests",       "the rate limit")
UNBUILT(GATEWAY, "grpc_rate_limit_window_seconds", "the rate limit")
UNBUILT(GATEWAY, "enable_loopback_service_http",   "HTTP services")
UNBUILT(GATEWAY, "sandbox_namespace",              "container and Kubernetes drivers")
UNBUILT(GATEWAY, "default_image",                  "container and Kubernetes drivers")
UNBUILT(GATEWAY, "supervisor_image",               "container and Kubernetes drivers")
UNBUILT(GATEWAY, "client_tls_secret_name",         "container and Kubernetes drivers")
UNBUILT(GATEWAY, "service_account_name",           "container and Kubernetes drivers")
UNBUILT(GATEWAY, "host_gateway_ip",                "container and Kubernetes drivers")
UNBUILT(GATEWAY, "enable_user_namespaces",         "container and Kubernetes drivers")
UNBUILT(GATEWAY, "sa_token_ttl_secs",              "container and Kubernetes drivers")
UNBUILT(GATEWAY, "guest_tls_ca",                   "container and VM drivers")
UNBUILT(GATEWAY, "guest_tls_cert",                 "container and VM drivers")
UNBUILT(GATEWAY, "guest_tls_key",                  "container and VM drivers")
UNBUILT(GATEWAY, "oidc",                           "OIDC")
UNBUILT(GATEWAY, "otlp",                           "trace export")
UNBUILT(GATEWAY, "interceptors",                   "interceptors")
TABLE(GATEWAY ".tls")
REQUIRED(GATEWAY ".tls", "cert_path",  tls_cert,
    "server certificate chain, PEM")
REQUIRED(GATEWAY ".tls", "key_path",   tls_key,
    "its key")
KEY(GATEWAY ".tls", "client_ca_path",  TEXT, tls_client_ca,
    "CA that client certificates must come from")
IGNORED(GATEWAY ".tls", "require_client_auth")
UNBUILT(GATEWAY ".tls", "external_cert_path",    "a second certificate by server name")
UNBUILT(GATEWAY ".tls", "external_key_path",     "a second certificate by server name")
UNBUILT(GATEWAY ".tls", "external_server_names", "a second certificate by server name")
TABLE(GATEWAY ".auth")
KEY(GATEWAY ".auth", "allow_unauthenticated_users", BOOL, allow_unauthenticated,
    "whoever reaches the gateway may do everything")
TABLE(GATEWAY ".mtls_auth")
KEY(GATEWAY ".mtls_auth", "enabled", BOOL, mtls_auth,
    "users are client certificates")
TABLE(GATEWAY ".gateway_jwt")
REQUIRED(GATEWAY ".gateway_jwt", "signing_key_path", jwt_signing,
    "key that signs sandbox tokens")
REQUIRED(GATEWAY ".gateway_jwt", "public_key_path",  jwt_public,
    "its public key")
REQUIRED(GATEWAY ".gateway_jwt", "kid_path",         jwt_kid,
    "file with the id of the key")
KEY(GATEWAY ".gateway_jwt", "gateway_id", TEXT,   jwt_gateway_id,
    "name of the gateway in the tokens")
KEY(GATEWAY ".gateway_jwt", "ttl_secs",   NUMBER, jwt_ttl_secs,
    "life of sandbox tokens in seconds, 0 = for ever")
TABLE("openshell.supervisor")
LISTED(WARE)
MEMBER(WARE, "name",                     TEXT,   true,  name,
    "what policies call this middleware service; 1 to 128 of A-Z a-z 0-9 . _ - /")
MEMBER(WARE, "grpc_endpoint",            TEXT,   true,  endpoint,
    "where it is, https://HOST:PORT, or http:// with allow_insecure_transport")
MEMBER(WARE, "max_payload_bytes",        NUMBER, false, max_payload,
    "longest body or message it is shown, 1 to 4194304; must be given, and not be above what the service takes")
MEMBER(WARE, "max_body_bytes",           NUMBER, false, max_payload,
    "the older name of max_payload_bytes")
MEMBER(WARE, "tls_ca_cert_path",         TEXT,   false, ca_path,
    "PEM file with the certificate authorities its certificate must come from, instead of the machine's")
MEMBER(WARE, "audience",                 TEXT,   false, audience,
    "audience of the tokens it is called with; urn:openshell:extension:middleware:NAME by default")
MEMBER(WARE, "allow_insecure_transport", BOOL,   false, insecure,
    "it is called without a token, and plaintext is allowed")
MEMBER(WARE, "timeout",                  TEXT,   false, timeout,
    "for one answer, as 500ms or 2s; 10ms to 30s, 500ms by default")
TABLE("openshell.drivers")
TABLE(LOCAL)
KEY(LOCAL, "enable_bind_mounts", BOOL,   local_bind_mounts,
    "users may give directories of this machine to sandboxes")
KEY(LOCAL, "extra_ca_file",      TEXT,   local_extra_ca,
    "PEM file: certificate authorities that sandboxes' proxies trust upstream, besides the machine's")
KEY(LOCAL, "extra_hosts_file",   TEXT,   local_extra_hosts,
    "hosts file: names that sandboxes' proxies look up there before DNS")
KEY(LOCAL, "https_proxy",        TEXT,   local_https_proxy,
    "sandboxes' way out of the network: http://host:port or https://host:port")
KEY(LOCAL, "no_proxy",           TEXT,   local_no_proxy,
    "reached without it: domains, addresses, CIDRs, each with an optional :port, or *; ',' between")
KEY(LOCAL, "proxy_auth_file",    TEXT,   local_proxy_auth_file,
    "file with user:pass for the proxy, at most 4096 bytes")
KEY(LOCAL, "proxy_auth_allow_insecure", BOOL, local_proxy_auth_insecure,
    "send it to an http:// proxy in the clear")
KEY(LOCAL, "proxy_connect_by_hostname", BOOL, local_proxy_by_hostname,
    "give the proxy names instead of the addresses that were checked")
KEY(LOCAL, "policy_rules_file",  TEXT,   local_policy_rules,
    "rules in Rego that narrow the policy of every sandbox")
KEY(LOCAL, "policy_data_file",   TEXT,   local_policy_data,
    "policy that the rules decide over alone, instead of what the gateway has for a sandbox")
KEY(LOCAL, "opa_path",           TEXT,   local_opa,
    "Open Policy Agent, which runs the rules; looked for in /usr/local/bin and /usr/bin")
KEY(LOCAL, "agent_uid",          NUMBER, local_agent_uid,
    "user and group id of agents")
KEY(LOCAL, "worker_uid",         NUMBER, local_worker_uid,
    "user and group id of the proxy processes")
KEY(LOCAL, "mask",               LIST,   local_mask,
    "paths of this machine that no sandbox sees")
/* clang-format on */
#undef ROOT
#undef GATEWAY
#undef LOCAL
#undef WARE
#undef LISTED
#undef MEMBER
#undef TABLE
#undef KEY
#undef REQUIRED
#undef IGNORED
#undef UNBUILT
