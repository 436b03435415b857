/* Which function answers which method. Methods that are not listed answer UNIMPLEMENTED by name. */
/* clang-format off */
UNARY(OpenShell_Health,                 rpc_health)
UNARY(OpenShell_GetGatewayInfo,         rpc_get_gateway_info)
UNARY(OpenShell_CreateSandbox,          rpc_create_sandbox)
UNARY(OpenShell_GetSandbox,             rpc_get_sandbox)
UNARY(OpenShell_ListSandboxes,          rpc_list_sandboxes)
UNARY(OpenShell_DeleteSandbox,          rpc_delete_sandbox)
UNARY(OpenShell_StopSandbox,            rpc_stop_sandbox)
UNARY(OpenShell_StartSandbox,           rpc_start_sandbox)
STREAM(OpenShell_WatchSandbox,          watch_rpc)
STREAM(OpenShell_ExecSandbox,           exec_rpc)
STREAM(OpenShell_ExecSandboxInteractive, exec_interactive_rpc)
UNARY(OpenShell_GetSandboxConfig,       rpc_get_sandbox_config)
UNARY(OpenShell_UpdateConfig,           rpc_update_config)
UNARY(OpenShell_GetSandboxPolicyStatus, rpc_get_policy_status)
UNARY(OpenShell_ListSandboxPolicies,    rpc_list_policies)
UNARY(OpenShell_ReportPolicyStatus,     rpc_report_policy_status)
UNARY(OpenShell_GetSandboxLogs,         rpc_get_logs)
STREAM(OpenShell_PushSandboxLogs,       push_logs_rpc)
STREAM(OpenShell_ConnectSupervisor,     session_connect_rpc)
STREAM(OpenShell_RelayStream,           session_relay_rpc)
UNARY(OpenShell_ReportMainProcessExit,  rpc_report_exit)
UNARY(OpenShell_RefreshSandboxToken,    rpc_refresh_token)
/* clang-format on */
#undef UNARY
#undef STREAM
