/* Every registered setting, in the order messages list them (spec/gateway.md 6.1).
 * SETTING(key, BOOL | STRING | INT, choices, used, help) - choices: "a,b" for strings, NULL = any; used:
 * false for keys of the published format whose part is not built: they are stored and shown. */
/* clang-format off */
SETTING("providers_v2_enabled",           BOOL,   NULL,          false, "providers by profiles (no effect yet: there are no providers)")
SETTING("ocsf_json_enabled",              BOOL,   NULL,          true,  "events also as OCSF JSON, in /var/log of the sandbox")
SETTING("agent_policy_proposals_enabled", BOOL,   NULL,          false, "the agent may propose rules (no effect yet)")
SETTING("proposal_approval_mode",         STRING, "manual,auto", false, "who approves what it proposes: manual or auto (no effect yet)")
/* clang-format on */
#undef SETTING
