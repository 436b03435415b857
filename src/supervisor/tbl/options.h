/* Options of openshell-sandbox, in the order in which --help and openshell-sandbox(8) list them.
 * OPTION(id, letter, name, metavar, env, fallback, help) - metavar "" = a switch, help NULL = not listed.
 * UNSUPPORTED(name, metavar) - known elsewhere; refused, because dropping it would change what is enforced.
 */
/* clang-format off */
OPTION(WORKDIR,     'w', "workdir", "PATH", NULL, NULL, "working directory of the agent")
OPTION(TIMEOUT,     't', "timeout", "SECS", NULL, NULL, "end the command after SECS (exit 124)")
OPTION(INTERACTIVE, 'i', "interactive", "", NULL, NULL, "give COMMAND a terminal")
OPTION(SANDBOX_ID,  0,   "sandbox-id", "ID", "OPENSHELL_SANDBOX_ID", NULL, "id of the sandbox")
OPTION(SANDBOX,     0,   "sandbox", "NAME", "OPENSHELL_SANDBOX", NULL, "name of the sandbox")
OPTION(ENDPOINT,    0,   "openshell-endpoint", "URL", "OPENSHELL_ENDPOINT", NULL, "gateway")
OPTION(LOG_LEVEL,   0,   "log-level", "LEVEL", "OPENSHELL_LOG_LEVEL", "warn", "error, warn, info, debug or trace")
OPTION(SSH_SOCKET,  0,   "ssh-socket-path", "PATH", "OPENSHELL_SSH_SOCKET_PATH", NULL, "accepted, not served by this version")
OPTION(AGENT_UID,   0,   "agent-uid", "UID", "OPENSHELL_SANDBOX_UID", NULL, "identity of the agent; gid is equal")
OPTION(WORKER_UID,  0,   "worker-uid", "UID", NULL, "1337", "identity of the proxy process; gid is equal")
OPTION(EXTRA_CA,    0,   "extra-ca", "FILE", NULL, NULL, "more upstream trust roots, PEM")
OPTION(EXTRA_HOSTS, 0,   "extra-hosts", "FILE", NULL, NULL, "hosts file consulted before DNS")
OPTION(RESOLV_CONF, 0,   "resolv-conf", "FILE", NULL, "/etc/resolv.conf", "name servers of the supervisor")
OPTION(PROXY,       0,   "upstream-proxy", "URL", NULL, NULL, "way out of the network: http://host:port or https://host:port")
OPTION(NO_PROXY,    0,   "upstream-no-proxy", "LIST", NULL, NULL, "reached without it: domains, addresses, CIDRs, each with an optional :port, or *")
OPTION(PROXY_AUTH,  0,   "upstream-proxy-auth-file", "FILE", NULL, NULL, "user:pass for the proxy, at most 4096 bytes")
OPTION(PROXY_AUTH_INSECURE, 0, "upstream-proxy-auth-allow-insecure", "", NULL, NULL, "send it to an http:// proxy in the clear")
OPTION(PROXY_BY_NAME, 0, "upstream-proxy-connect-by-hostname", "", NULL, NULL, "give the proxy names instead of the addresses that were checked")
OPTION(POLICY_RULES, 0, "policy-rules", "FILE", "OPENSHELL_POLICY_RULES", NULL, "rules in Rego that narrow the policy")
OPTION(POLICY_DATA, 0, "policy-data", "FILE", "OPENSHELL_POLICY_DATA", NULL, "policy that the rules decide over, not the gateway's")
OPTION(OPA_PATH,    0,   "opa-path", "PATH", "OPENSHELL_OPA_PATH", NULL, "Open Policy Agent, which runs them")
OPTION(MODE,        0,   "mode", "PARTS", NULL, "network,process", "this version runs both parts only")
OPTION(IGNORED,     0,   "health-check", "", NULL, NULL, "accepted and ignored")
OPTION(IGNORED_ARG, 0,   "health-port", "PORT", NULL, NULL, "accepted and ignored")
OPTION(HELP,        'h', "help", "", NULL, NULL, "this text")
OPTION(VERSION,     'V', "version", "", NULL, NULL, "the version")
UNSUPPORTED("inference-routes", "FILE")
/* clang-format on */
#undef OPTION
#undef UNSUPPORTED
