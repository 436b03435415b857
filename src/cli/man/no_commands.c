/* The command tables without the commands: the tables name them, which function they point to does not count.
 */
#include "cli/commands.h"

#define STUB(f)                                                                                              \
    int f(struct cli *cli, struct os_error *err)                                                             \
    {                                                                                                        \
        return 0;                                                                                            \
    }
STUB(gateway_start_run)
STUB(gateway_stop_run)
STUB(gateway_add_run)
STUB(gateway_list_run)
STUB(gateway_select_run)
STUB(gateway_remove_run)
STUB(gateway_info_run)
STUB(status_run)
STUB(whoami_run)
STUB(doctor_check_run)
STUB(sandbox_create_run)
STUB(sandbox_list_run)
STUB(sandbox_get_run)
STUB(sandbox_delete_run)
STUB(sandbox_stop_run)
STUB(sandbox_start_run)
STUB(sandbox_exec_run)
STUB(sandbox_connect_run)
STUB(sandbox_ssh_config_run)
STUB(sandbox_upload_run)
STUB(sandbox_download_run)
STUB(ssh_proxy_run)
STUB(forward_start_run)
STUB(forward_stop_run)
STUB(forward_list_run)
STUB(forward_service_run)
STUB(policy_set_run)
STUB(policy_update_run)
STUB(policy_check_run)
STUB(policy_get_run)
STUB(policy_list_run)
STUB(policy_delete_run)
STUB(settings_get_run)
STUB(settings_set_run)
STUB(settings_delete_run)
STUB(logs_run)
STUB(completions_run)
STUB(complete_run)
