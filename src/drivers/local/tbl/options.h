/* Options of openshell-driver-local, in the order in which --help and openshell-driver-local(8) list them.
 * OPTION(id, letter, name, metavar, env, fallback, help) - metavar "" = a switch. */
/* clang-format off */
OPTION(SOCKET,      0,   "bind-socket", "PATH", "OPENSHELL_COMPUTE_DRIVER_SOCKET", NULL, "where the gateway calls; required")
OPTION(STATE,       0,   "state-dir", "DIR", NULL, NULL, "what the sandboxes leave on disk; required")
OPTION(ENDPOINT,    0,   "gateway-endpoint", "URL", NULL, NULL, "what supervisors call; required")
OPTION(TLS_CA,      0,   "tls-ca", "FILE", NULL, NULL, "CA of the gateway, for the supervisors; needs --tls-cert and --tls-key")
OPTION(TLS_CERT,    0,   "tls-cert", "FILE", NULL, NULL, "client certificate of the supervisors")
OPTION(TLS_KEY,     0,   "tls-key", "FILE", NULL, NULL, "its key")
OPTION(EXTRA_CA,    0,   "extra-ca", "FILE", NULL, NULL, "more upstream trust roots, PEM")
OPTION(PROXY,       0,   "sandbox-https-proxy", "URL", "OPENSHELL_SANDBOX_HTTPS_PROXY", NULL, "the sandboxes' way out: http://host:port or https://host:port")
OPTION(NO_PROXY,    0,   "sandbox-no-proxy", "LIST", "OPENSHELL_SANDBOX_NO_PROXY", NULL, "reached without it: domains, addresses, CIDRs, each with an optional :port, or *")
OPTION(PROXY_AUTH,  0,   "sandbox-proxy-auth-file", "FILE", "OPENSHELL_SANDBOX_PROXY_AUTH_FILE", NULL, "user:pass for the proxy, at most 4096 bytes")
OPTION(PROXY_AUTH_INSECURE, 0, "sandbox-proxy-auth-allow-insecure", "", "OPENSHELL_SANDBOX_PROXY_AUTH_ALLOW_INSECURE", NULL, "send it to an http:// proxy in the clear")
OPTION(PROXY_BY_NAME, 0, "sandbox-proxy-connect-by-hostname", "", "OPENSHELL_SANDBOX_PROXY_CONNECT_BY_HOSTNAME", NULL, "give the proxy names instead of the addresses that were checked")
OPTION(POLICY_RULES, 0,  "policy-rules", "FILE", "OPENSHELL_SANDBOX_POLICY_RULES", NULL, "rules in Rego that narrow the policy of every sandbox")
OPTION(POLICY_DATA, 0,   "policy-data", "FILE", "OPENSHELL_SANDBOX_POLICY_DATA", NULL, "policy that the rules decide over, not the gateway's")
OPTION(OPA_PATH,    0,   "opa-path", "PATH", "OPENSHELL_SANDBOX_OPA_PATH", NULL, "Open Policy Agent, which runs the rules; looked for in /usr/local/bin and /usr/bin")
OPTION(BIND_MOUNTS, 0,   "enable-bind-mounts", "", NULL, NULL, "users may give directories of this machine to sandboxes")
OPTION(LOG_LEVEL,   0,   "log-level", "LEVEL", "OPENSHELL_LOG_LEVEL", "info", "error, warn, info, debug or trace")
OPTION(HELP,        'h', "help", "", NULL, NULL, "this text")
OPTION(VERSION,     'V', "version", "", NULL, NULL, "the version")
/* clang-format on */
#undef OPTION
