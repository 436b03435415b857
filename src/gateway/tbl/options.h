/* Options of openshell-gateway, in the order in which --help and openshell-gateway(8) list them.
 * OPTION(id, of, name, metavar, env, fallback, help) - of: SERVE, CERTS (generate-certs) or BOTH; metavar ""
 * = a switch. ENVIRONMENT(name, help) - what only a variable says. */
/* clang-format off */
OPTION(CONFIG,      SERVE, "config", "FILE", "OPENSHELL_GATEWAY_CONFIG", NULL,
       "settings in TOML; flags and environment win; without it, $XDG_CONFIG_HOME/openshell/gateway.toml if it is there")
OPTION(BIND,        SERVE, "bind-address", "IP", "OPENSHELL_BIND_ADDRESS", "127.0.0.1", "address to listen on")
OPTION(PORT,        SERVE, "port", "PORT", "OPENSHELL_SERVER_PORT", "17670", "port to listen on, 0 = any free port")
OPTION(HEALTH_PORT, SERVE, "health-port", "PORT", "OPENSHELL_HEALTH_PORT", "0",
       "plain HTTP /healthz /readyz /health, 0 = off")
OPTION(LOG_LEVEL,   SERVE, "log-level", "LEVEL", "OPENSHELL_LOG_LEVEL", "info", "error, warn, info, debug or trace")
OPTION(TLS_CERT,    SERVE, "tls-cert", "FILE", "OPENSHELL_TLS_CERT", NULL, "server certificate chain, PEM; made at the first start if not given")
OPTION(TLS_KEY,     SERVE, "tls-key", "FILE", "OPENSHELL_TLS_KEY", NULL, "its key")
OPTION(TLS_CLIENT_CA, SERVE, "tls-client-ca", "FILE", "OPENSHELL_TLS_CLIENT_CA", NULL, "CA that client certificates must come from")
OPTION(DISABLE_TLS, SERVE, "disable-tls", "", "OPENSHELL_DISABLE_TLS", NULL, "plaintext; for loopback and trusted proxies only")
OPTION(MTLS_AUTH,   SERVE, "enable-mtls-auth", "BOOL", "OPENSHELL_ENABLE_MTLS_AUTH", NULL,
       "users are client certificates; true when client certificates are verified")
OPTION(DB_URL,      SERVE, "db-url", "URL", "OPENSHELL_DB_URL", "sqlite:$XDG_STATE_HOME/openshell/gateway/openshell.db", "sqlite:PATH")
OPTION(DRIVERS,     SERVE, "drivers", "DRIVER", "OPENSHELL_DRIVERS", "local", "the compute driver")
OPTION(SSH_TTL,     SERVE, "ssh-session-ttl-secs", "N", "OPENSHELL_SSH_SESSION_TTL_SECS", "86400",
       "life of SSH session tokens in seconds, 0 = for ever")
OPTION(OUTPUT_DIR,  CERTS, "output-dir", "DIR", NULL, NULL, "where the files go")
OPTION(SERVER_SAN,  BOTH,  "server-san", "SAN", "OPENSHELL_SERVER_SAN", NULL,
       "one more host name or IP address for the generated server certificate; repeatable, and A,B is two")
OPTION(DRY_RUN,     CERTS, "dry-run", "", NULL, NULL, "print certificates and keys instead of writing them")
ENVIRONMENT("OPENSHELL_DEFAULT_PORT", "port to listen on where no flag, variable or file says one; `openshell gateway start` gives that of the "
            "last start, where running sandboxes look for their gateway")
ENVIRONMENT("OPENSHELL_LOCAL_TLS_DIR", "certificates and token keys, default $XDG_STATE_HOME/openshell/tls")
ENVIRONMENT("OPENSHELL_LOCAL_EXTRA_CA", "PEM file: further certificate authorities that sandboxes' proxies trust upstream")
ENVIRONMENT("OPENSHELL_LOCAL_EXTRA_HOSTS", "hosts file: names that sandboxes' proxies look up there before DNS")
ENVIRONMENT("OPENSHELL_LOCAL_ENABLE_BIND_MOUNTS", "true: users may give directories of this machine to sandboxes")
ENVIRONMENT("OPENSHELL_LOCAL_IMAGE_DIRS", "directories, ':' between them, in which images may lie; empty = none, unset = anywhere")
ENVIRONMENT("NOTIFY_SOCKET", "set by a service manager that is told when the gateway is ready (systemd, Type=notify)")
/* clang-format on */
#undef OPTION
#undef ENVIRONMENT
