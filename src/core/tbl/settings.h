/* Every registered setting, in the order messages list them (spec/gateway.md 6.1).
 * SETTING(key, BOOL | STRING | INT, choices) - choices: "a,b" for strings, NULL = any. */
/* clang-format off */
SETTING("providers_v2_enabled",           BOOL,   NULL)
SETTING("ocsf_json_enabled",              BOOL,   NULL)
SETTING("agent_policy_proposals_enabled", BOOL,   NULL)
SETTING("proposal_approval_mode",         STRING, "manual,auto")
SETTING("secret_egress_mode",             STRING, "off,audit,enforce,redact")
SETTING("secret_egress_allow",            STRING, NULL)
/* clang-format on */
#undef SETTING
