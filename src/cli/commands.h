/* The command tree: every command, flag and default of the program in one table. */
#ifndef CLI_COMMANDS_H
#define CLI_COMMANDS_H

#include "cli/args.h"

extern const struct command_spec commands_root;
extern const struct flag_spec commands_globals[];

/* One function per command: exit code, or -1 with *err. */
int gateway_start_run(struct cli *cli, struct os_error *err);
int gateway_stop_run(struct cli *cli, struct os_error *err);
int gateway_add_run(struct cli *cli, struct os_error *err);
int gateway_list_run(struct cli *cli, struct os_error *err);
int gateway_select_run(struct cli *cli, struct os_error *err);
int gateway_remove_run(struct cli *cli, struct os_error *err);
int gateway_info_run(struct cli *cli, struct os_error *err);
int doctor_check_run(struct cli *cli, struct os_error *err);
int whoami_run(struct cli *cli, struct os_error *err);
int status_run(struct cli *cli, struct os_error *err);
int sandbox_create_run(struct cli *cli, struct os_error *err);
int sandbox_list_run(struct cli *cli, struct os_error *err);
int sandbox_get_run(struct cli *cli, struct os_error *err);
int sandbox_delete_run(struct cli *cli, struct os_error *err);
int sandbox_stop_run(struct cli *cli, struct os_error *err);
int sandbox_start_run(struct cli *cli, struct os_error *err);
int sandbox_exec_run(struct cli *cli, struct os_error *err);
int sandbox_connect_run(struct cli *cli, struct os_error *err);
int sandbox_ssh_config_run(struct cli *cli, struct os_error *err);
int sandbox_upload_run(struct cli *cli, struct os_error *err);
int sandbox_download_run(struct cli *cli, struct os_error *err);
int forward_start_run(struct cli *cli, struct os_error *err);
int forward_stop_run(struct cli *cli, struct os_error *err);
int forward_list_run(struct cli *cli, struct os_error *err);
int forward_service_run(struct cli *cli, struct os_error *err);
int ssh_proxy_run(struct cli *cli, struct os_error *err);
int policy_set_run(struct cli *cli, struct os_error *err);
int policy_update_run(struct cli *cli, struct os_error *err);
int policy_check_run(struct cli *cli, struct os_error *err);
int policy_get_run(struct cli *cli, struct os_error *err);
int policy_list_run(struct cli *cli, struct os_error *err);
int policy_delete_run(struct cli *cli, struct os_error *err);
int settings_get_run(struct cli *cli, struct os_error *err);
int settings_set_run(struct cli *cli, struct os_error *err);
int settings_delete_run(struct cli *cli, struct os_error *err);
int logs_run(struct cli *cli, struct os_error *err);
int completions_run(struct cli *cli, struct os_error *err);
int complete_run(struct cli *cli, struct os_error *err);

#endif
