/* Every key of gateway.toml. No key is dropped silently: what this gateway cannot do is refused by name.
 * TABLE(table)                     a table whose keys are listed here
 * KEY(table, key, kind, field)     kind: TEXT BOOL ADDRESS NUMBER LIST MODE; goes into struct config_file
 * REQUIRED(table, key, field)      TEXT that must be given when the table is
 * IGNORED(table, key)              accepted without effect, as published
 * UNBUILT(table, key, part)        belongs to a part this gateway does not have */
/* clang-format off */
#define ROOT    "openshell"
#define GATEWAY "openshell.gateway"
#define LOCAL   "openshell.drivers.local"
TABLE(ROOT)
IGNORED(ROOT, "version")
UNBUILT(ROOT, "supervisor",         "supervisor middleware")
UNBUILT(ROOT, "credential_drivers", "credential drivers")
TABLE(GATEWAY)
KEY(GATEWAY, "bind_address",                   ADDRESS, bind)
KEY(GATEWAY, "health_bind_address",            ADDRESS, health)
KEY(GATEWAY, "log_level",                      TEXT,    log_level)
KEY(GATEWAY, "compute_drivers",                LIST,    compute_drivers)
KEY(GATEWAY, "server_sans",                    LIST,    server_sans)
KEY(GATEWAY, "ssh_session_ttl_secs",           NUMBER,  ssh_session_ttl_secs)
KEY(GATEWAY, "policy_validation_failure_mode", MODE,    failure_mode)
KEY(GATEWAY, "disable_tls",                    BOOL,    disable_tls)
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
REQUIRED(GATEWAY ".tls", "cert_path",  tls_cert)
REQUIRED(GATEWAY ".tls", "key_path",   tls_key)
KEY(GATEWAY ".tls", "client_ca_path",  TEXT, tls_client_ca)
IGNORED(GATEWAY ".tls", "require_client_auth")
UNBUILT(GATEWAY ".tls", "external_cert_path",    "a second certificate by server name")
UNBUILT(GATEWAY ".tls", "external_key_path",     "a second certificate by server name")
UNBUILT(GATEWAY ".tls", "external_server_names", "a second certificate by server name")
TABLE(GATEWAY ".auth")
KEY(GATEWAY ".auth", "allow_unauthenticated_users", BOOL, allow_unauthenticated)
TABLE(GATEWAY ".mtls_auth")
KEY(GATEWAY ".mtls_auth", "enabled", BOOL, mtls_auth)
TABLE(GATEWAY ".gateway_jwt")
REQUIRED(GATEWAY ".gateway_jwt", "signing_key_path", jwt_signing)
REQUIRED(GATEWAY ".gateway_jwt", "public_key_path",  jwt_public)
REQUIRED(GATEWAY ".gateway_jwt", "kid_path",         jwt_kid)
KEY(GATEWAY ".gateway_jwt", "gateway_id", TEXT,   jwt_gateway_id)
KEY(GATEWAY ".gateway_jwt", "ttl_secs",   NUMBER, jwt_ttl_secs)
TABLE("openshell.drivers")
TABLE(LOCAL)
KEY(LOCAL, "enable_bind_mounts", BOOL,   local_bind_mounts)
KEY(LOCAL, "extra_ca_file",      TEXT,   local_extra_ca)
KEY(LOCAL, "extra_hosts_file",   TEXT,   local_extra_hosts)
KEY(LOCAL, "agent_uid",          NUMBER, local_agent_uid)
KEY(LOCAL, "worker_uid",         NUMBER, local_worker_uid)
KEY(LOCAL, "mask",               LIST,   local_mask)
/* clang-format on */
#undef ROOT
#undef GATEWAY
#undef LOCAL
#undef TABLE
#undef KEY
#undef REQUIRED
#undef IGNORED
#undef UNBUILT
