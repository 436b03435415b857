/* Every registered setting, in the order messages list them (spec/gateway.md 6.1).
 * SETTING(key, BOOL | STRING | INT, choices) - choices: "a,b" for strings, NULL = any. */
/* clang-format off */
SETTING("providers_v2_enabled",           BOOL,   NULL)
SETTING("ocsf_json_enabled",              BOOL,   NULL)
SETTING("agent_policy_proposals_enabled", BOOL,   NULL)
SETTING("proposal_approval_mode",         STRING, "manual,auto")
/* clang-format on */
#undef SETTING
