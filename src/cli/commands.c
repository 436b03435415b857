/* The command tree (spec/cli.md 4). Help, usage errors and parsing all come from these tables. */
#include "cli/commands.h"

/* clang-format off */
#define OUTPUT(values) {.name = "output", .letter = 'o', .kind = FLAG_TEXT, .metavar = "OUTPUT", .fallback = "table", \
                        .choices = values, .help = "Output format"}
#define LIMIT(n) {.name = "limit", .kind = FLAG_U32, .metavar = "LIMIT", .fallback = n, .help = "Most entries to show"}
#define OFFSET {.name = "offset", .kind = FLAG_U32, .metavar = "OFFSET", .fallback = "0", .help = "Entries to skip"}
#define SWITCH(flag, text, ...) {.name = flag, .kind = FLAG_SWITCH, .help = text, __VA_ARGS__}
#define TEXT(flag, meta, text, ...) {.name = flag, .kind = FLAG_TEXT, .metavar = meta, .help = text, __VA_ARGS__}
#define FLAGS_END {0}

const struct flag_spec commands_globals[] = {
    TEXT("gateway", "NAME", "Gateway to use", .letter = 'g', .env = "OPENSHELL_GATEWAY", .last_wins = true),
    TEXT("gateway-endpoint", "URL", "Endpoint to use instead of a registered gateway", .env = "OPENSHELL_GATEWAY_ENDPOINT", .last_wins = true),
    SWITCH("gateway-insecure", "Do not verify the certificate of the gateway", .env = "OPENSHELL_GATEWAY_INSECURE", .last_wins = true),
    TEXT("workspace", "NAME", "Workspace", .env = "OPENSHELL_WORKSPACE", .fallback = "default", .last_wins = true),
    SWITCH("verbose", "More log lines on stderr (-v info, -vv debug, -vvv trace)", .letter = 'v', .repeat = true),
    SWITCH("help", "Print help", .letter = 'h', .last_wins = true),
    SWITCH("version", "Print version", .letter = 'V', .last_wins = true),
    FLAGS_END};

static const struct arg_spec sandbox_name[] = {{"NAME", "Sandbox (default: the last used one)", false, false, ARG_PLAIN}, {0}};
static const struct arg_spec gateway_name[] = {{"NAME", "Gateway", false, false, ARG_PLAIN}, {0}};

/* --- sandbox --- */

static const struct flag_spec create_flags[] = {
    TEXT("name", "NAME", "Name of the sandbox, at most 19 characters (default: generated)"),
    TEXT("from", "SOURCE", "What it runs over: host (default), dir:PATH or oci:PATH[:NAME]; with other gateways an image reference"),
    TEXT("upload", "LOCAL[:PATH]", "Copy files into the sandbox before attaching", .repeat = true, .conflicts = "COMMAND",
         .tip = "create the sandbox with --upload --detach alone, then run the command with: openshell sandbox exec -n <NAME> -- <COMMAND>"),
    SWITCH("no-git-ignore", "Upload files that .gitignore excludes, too", .requires = "upload"),
    SWITCH("keep", "Stay usable after the main process has ended"),
    SWITCH("no-keep", "Delete the sandbox when its main process has been attached to and left", .conflicts = "keep,editor,forward,detach"),
    TEXT("editor", "EDITOR", "Open the sandbox in an editor on this machine", .choices = "vscode,cursor", .conflicts = "no-keep,detach"),
    TEXT("forward", "[BIND:]PORT", "Forward a local port into the sandbox, in the background"),
    TEXT("gpu", "COUNT", "Ask for GPUs (without a number: what the compute driver gives)", .optional = true),
    TEXT("cpu", "QUANTITY", "CPU limit: cores (2, 0.5) or millicores (500m)"),
    TEXT("memory", "QUANTITY", "Memory limit: bytes or a quantity such as 512Mi, 4Gi, 8G"),
    TEXT("driver-config-json", "JSON", "Settings for the compute driver, an object keyed by driver name"),
    TEXT("mount", "SRC[:DST][:ro|rw]",
         "Give the sandbox a directory of the gateway's machine, read-only unless :rw; DST is /sandbox/<name of SRC> unless "
         "given, and must be allowed by the policy",
         .repeat = true),
    TEXT("provider", "NAME", "Attach a provider", .repeat = true),
    TEXT("policy", "FILE", "Policy file (YAML)", .env = "OPENSHELL_SANDBOX_POLICY"),
    SWITCH("tty", "Give the main process a terminal", .last_wins = true),
    SWITCH("no-tty", "Give the main process no terminal", .last_wins = true),
    SWITCH("detach", "Start without attaching", .conflicts = "no-keep,editor"),
    SWITCH("attach", "Attach although there is no terminal: show the output, return the exit code", .conflicts = "detach,editor"),
    SWITCH("auto-providers", "Create missing providers from local credentials (no effect yet)", .last_wins = true),
    SWITCH("no-auto-providers", "Never create providers", .last_wins = true),
    TEXT("label", "KEY=VALUE", "Label", .repeat = true),
    TEXT("env", "KEY=VALUE", "Environment variable of the main process", .letter = 'e', .repeat = true),
    SWITCH("no-credential-warnings", "Do not warn about --env keys that look like credentials"),
    TEXT("approval-mode", "MODE", "Who approves policy proposals of the agent (no effect yet)", .fallback = "manual", .choices = "manual,auto"),
    SWITCH("start-gateway", "Start a gateway on this machine, without asking, when none is configured or it does not run"),
    OUTPUT("table,yaml,json"),
    FLAGS_END};
static const struct arg_spec create_args[] = {{"COMMAND", "Main process (default: /bin/bash -l)", false, true, ARG_DASHES}, {0}};

static const struct flag_spec get_flags[] = {
    SWITCH("policy-only", "Print only the policy, as YAML", .conflicts = "output"),
    OUTPUT("table,yaml,json"), FLAGS_END};

static const struct flag_spec list_flags[] = {
    LIMIT("100"), OFFSET,
    SWITCH("ids", "Print only ids", .conflicts = "names,output"),
    SWITCH("names", "Print only names", .conflicts = "ids,output"),
    TEXT("selector", "SELECTOR", "Only sandboxes with these labels (k=v,...)"),
    OUTPUT("table,yaml,json"),
    SWITCH("all-workspaces", "Sandboxes of every workspace"), FLAGS_END};

static const struct flag_spec delete_flags[] = {
    SWITCH("all", "Delete every sandbox of the workspace", .conflicts = "NAME"), FLAGS_END};
static const struct arg_spec delete_args[] = {{"NAME", "Sandboxes to delete", false, true, ARG_PLAIN}, {0}};

static const struct flag_spec exec_flags[] = {
    TEXT("name", "NAME", "Sandbox (default: the last used one)", .letter = 'n'),
    TEXT("workdir", "DIR", "Working directory in the sandbox"),
    {.name = "timeout", .kind = FLAG_U32, .metavar = "SECONDS", .fallback = "0", .help = "End the command after this time with exit code 124 (0 = never)"},
    SWITCH("tty", "Give the command a terminal", .last_wins = true),
    SWITCH("no-tty", "Give the command no terminal", .last_wins = true),
    TEXT("env", "KEY=VALUE", "Environment variable", .letter = 'e', .repeat = true), FLAGS_END};
static const struct arg_spec exec_args[] = {{"COMMAND", "Command and arguments, taken as they are", true, true, ARG_VERBATIM}, {0}};

static const struct flag_spec connect_flags[] = {
    TEXT("editor", "EDITOR", "Open the sandbox in an editor on this machine instead", .choices = "vscode,cursor"), FLAGS_END};

static const struct flag_spec upload_flags[] = {
    SWITCH("no-git-ignore", "Upload files that .gitignore excludes, too"), FLAGS_END};
static const struct arg_spec upload_args[] = {{"NAME", "Sandbox", true, false, ARG_PLAIN},
                                              {"LOCAL_PATH", "File or directory on this machine", true, false, ARG_PLAIN},
                                              {"DEST", "Where to in the sandbox (default: its workspace); a directory keeps its name below it", false, false, ARG_PLAIN}, {0}};
static const struct arg_spec download_args[] = {{"NAME", "Sandbox", true, false, ARG_PLAIN},
                                                {"SANDBOX_PATH", "File or directory in the sandbox's workspace", true, false, ARG_PLAIN},
                                                {"DEST", "Where to on this machine (default: ., a directory: ./<its name>)", false, false, ARG_PLAIN}, {0}};

static const struct command_spec sandbox_commands[] = {
    {.name = "create", .about = "Create a sandbox and attach to its main process", .flags = create_flags, .args = create_args, .run = sandbox_create_run,
     .examples = "  openshell sandbox create\n  openshell sandbox create --name demo --detach -- sleep infinity\n"
                 "  openshell sandbox create --policy policy.yaml --env MODE=test -- ./agent\n"},
    {.name = "list", .about = "List sandboxes", .flags = list_flags, .run = sandbox_list_run},
    {.name = "get", .about = "Show a sandbox and its policy", .flags = get_flags, .args = sandbox_name, .run = sandbox_get_run},
    {.name = "exec", .about = "Run a command in a sandbox", .flags = exec_flags, .args = exec_args, .run = sandbox_exec_run,
     .examples = "  openshell sandbox exec -n demo -- ls -la\n  echo text | openshell sandbox exec -n demo -- cat\n"
                 "  openshell sandbox exec -n demo --tty -- /bin/bash\n"},
    {.name = "connect", .about = "Attach to the main process of a sandbox (Ctrl-P Ctrl-Q detaches)", .flags = connect_flags, .args = sandbox_name, .run = sandbox_connect_run,
     .examples = "  openshell sandbox connect demo\n  openshell sandbox connect demo --editor vscode\n"},
    {.name = "stop", .about = "Stop a sandbox; its files stay", .args = sandbox_name, .run = sandbox_stop_run},
    {.name = "start", .about = "Start a stopped sandbox again", .args = sandbox_name, .run = sandbox_start_run},
    {.name = "upload", .about = "Copy files into a sandbox", .flags = upload_flags, .args = upload_args, .run = sandbox_upload_run,
     .examples = "  openshell sandbox upload demo .\n  openshell sandbox upload demo ./src\n  openshell sandbox upload demo ./config.yaml /sandbox/config.yaml\n"},
    {.name = "download", .about = "Copy files out of a sandbox", .args = download_args, .run = sandbox_download_run,
     .examples = "  openshell sandbox download demo result.txt\n  openshell sandbox download demo src\n"},
    {.name = "ssh-config", .about = "Print a Host block for ~/.ssh/config", .args = sandbox_name, .run = sandbox_ssh_config_run,
     .examples = "  openshell sandbox ssh-config demo >> ~/.ssh/config\n  ssh openshell-demo.default\n"},
    {.name = "delete", .about = "Delete sandboxes", .flags = delete_flags, .args = delete_args, .run = sandbox_delete_run},
    {0}};

/* --- gateway --- */

static const struct flag_spec start_flags[] = {
    {.name = "port", .kind = FLAG_U16, .metavar = "PORT", .env = "OPENSHELL_SERVER_PORT", .fallback = "17670", .help = "Port on 127.0.0.1"}, FLAGS_END};
static const struct arg_spec start_args[] = {{"ARGS", "More arguments for openshell-gateway", false, true, ARG_DASHES}, {0}};

static const struct flag_spec add_flags[] = {
    TEXT("name", "NAME", "Name to register it under (default: from the endpoint)"),
    TEXT("remote", "SSH_DEST", "Gateway on another machine with client certificates", .conflicts = "local"),
    SWITCH("local", "Gateway on this machine", .conflicts = "remote"), FLAGS_END};
static const struct arg_spec add_args[] = {{"ENDPOINT", "https://host:port, http://host:port or ssh://user@host:port", true, false, ARG_PLAIN}, {0}};
static const struct flag_spec output_flags[] = {OUTPUT("table,yaml,json"), FLAGS_END};

static const struct command_spec gateway_commands[] = {
    {.name = "start", .about = "Start a gateway on this machine, register and select it", .flags = start_flags, .args = start_args, .run = gateway_start_run},
    {.name = "stop", .about = "Stop the gateway that `gateway start` started", .run = gateway_stop_run},
    {.name = "add", .about = "Register a gateway and select it", .flags = add_flags, .args = add_args, .run = gateway_add_run,
     .examples = "  openshell gateway add https://127.0.0.1:17670 --local\n  openshell gateway add http://127.0.0.1:8080 --local\n"},
    {.name = "list", .about = "List registered gateways", .flags = output_flags, .run = gateway_list_run},
    {.name = "select", .about = "Set the active gateway", .args = gateway_name, .run = gateway_select_run},
    {.name = "remove", .about = "Remove a registration", .args = gateway_name, .run = gateway_remove_run},
    {.name = "info", .about = "Show version and compute drivers of the gateway", .flags = output_flags, .run = gateway_info_run},
    {0}};

/* --- policy, logs --- */

static const struct flag_spec policy_set_flags[] = {
    TEXT("policy", "FILE", "Policy file (YAML)", .required = true),
    SWITCH("global", "The policy of all sandboxes, in place of their own", .conflicts = "NAME"),
    SWITCH("yes", "Do not ask before a change to all sandboxes"),
    SWITCH("wait", "Wait until the sandbox runs under it"),
    {.name = "timeout", .kind = FLAG_U64, .metavar = "SECONDS", .fallback = "60", .help = "How long --wait waits"}, FLAGS_END};
static const struct flag_spec policy_update_flags[] = {
    TEXT("add-endpoint", "SPEC", "Allow a destination: host:port[:access[:protocol[:enforcement[:options]]]]", .repeat = true),
    TEXT("remove-endpoint", "HOST:PORT", "Take a destination out of every rule", .repeat = true),
    TEXT("add-allow", "SPEC", "Allow requests on an endpoint: host:port:METHOD:path_glob", .repeat = true),
    TEXT("add-deny", "SPEC", "Deny requests on an endpoint: host:port:METHOD:path_glob", .repeat = true),
    TEXT("remove-rule", "NAME", "Remove a rule", .repeat = true),
    TEXT("binary", "PATH", "Program that may use the added endpoints", .repeat = true),
    TEXT("rule-name", "NAME", "Rule to add the endpoint to (default: from host and port)"),
    SWITCH("dry-run", "Show the policy that would result, change nothing"),
    SWITCH("wait", "Wait until the sandbox runs under it"),
    {.name = "timeout", .kind = FLAG_U64, .metavar = "SECONDS", .fallback = "60", .help = "How long --wait waits"}, FLAGS_END};
static const struct flag_spec policy_check_flags[] = {
    TEXT("request", "METHOD URL", "Would this request be allowed?", .conflicts = "connect"),
    TEXT("connect", "HOST:PORT", "Would this connection be allowed?", .conflicts = "request"),
    TEXT("binary", "PATH", "Program that asks (default: any that a rule names)"),
    TEXT("ancestor", "PATH", "What started it, parent first", .repeat = true),
    TEXT("address", "IP", "What the host resolves to"),
    OUTPUT("table,json"), FLAGS_END};
static const struct arg_spec policy_check_args[] = {{"FILE", "Policy file (YAML)", true, false, ARG_PLAIN}, {0}};
static const struct flag_spec policy_get_flags[] = {
    {.name = "rev", .kind = FLAG_U32, .metavar = "VERSION", .fallback = "0", .help = "Revision (0 = the effective policy)"},
    SWITCH("full", "Print the policy too", .conflicts = "base"),
    SWITCH("base", "Print the policy too, without the rules of providers", .conflicts = "full"),
    SWITCH("global", "The policy of all sandboxes", .conflicts = "NAME"),
    OUTPUT("table,json"), FLAGS_END};
static const struct flag_spec policy_list_flags[] = {
    LIMIT("20"), SWITCH("global", "Revisions of the policy of all sandboxes", .conflicts = "NAME"), FLAGS_END};
static const struct flag_spec policy_delete_flags[] = {
    SWITCH("global", "The policy of all sandboxes; each has its own again"),
    SWITCH("yes", "Do not ask before a change to all sandboxes"), FLAGS_END};

static const struct command_spec policy_commands[] = {
    {.name = "set", .about = "Replace the policy of a sandbox", .flags = policy_set_flags, .args = sandbox_name, .run = policy_set_run,
     .examples = "  openshell policy set demo --policy policy.yaml --wait\n"},
    {.name = "update", .about = "Change parts of the policy of a sandbox", .flags = policy_update_flags, .args = sandbox_name, .run = policy_update_run,
     .examples = "  openshell policy update demo --add-endpoint api.example.com:443:read-only:rest:enforce --binary /usr/bin/curl --wait\n"
                 "  openshell policy update demo --add-allow 'api.example.com:443:POST:/v1/issues/*' --dry-run\n"
                 "  openshell policy update demo --remove-endpoint api.example.com:443\n"},
    {.name = "check", .about = "Look a policy file over, and try a request on it", .flags = policy_check_flags, .args = policy_check_args, .run = policy_check_run,
     .examples = "  openshell policy check policy.yaml\n"
                 "  openshell policy check policy.yaml --request 'POST https://api.example.com/v1/x' --binary /usr/bin/curl\n"
                 "  openshell policy check policy.yaml --connect db.example.com:5432 --binary /usr/bin/psql --address 10.0.0.5\n"
                 "\n  Exit codes: 0 no errors, and allowed if asked; 1 errors in the file; 3 denied; 4 the body decides\n"},
    {.name = "get", .about = "Show the policy of a sandbox", .flags = policy_get_flags, .args = sandbox_name, .run = policy_get_run},
    {.name = "list", .about = "List policy revisions of a sandbox (CREATED in ms since 1970)", .flags = policy_list_flags, .args = sandbox_name, .run = policy_list_run},
    {.name = "delete", .about = "Remove the policy of all sandboxes", .flags = policy_delete_flags, .run = policy_delete_run},
    {0}};

/* --- settings --- */

static const struct flag_spec settings_get_flags[] = {
    SWITCH("global", "Settings of all sandboxes"), SWITCH("json", "Print JSON"), FLAGS_END};
static const struct flag_spec settings_set_flags[] = {
    TEXT("key", "KEY", "Setting", .required = true),
    TEXT("value", "VALUE", "Value", .required = true),
    SWITCH("global", "For all sandboxes"),
    SWITCH("yes", "Do not ask before a change to all sandboxes"), FLAGS_END};
static const struct flag_spec settings_delete_flags[] = {
    TEXT("key", "KEY", "Setting", .required = true),
    SWITCH("global", "For all sandboxes"),
    SWITCH("yes", "Do not ask before a change to all sandboxes"), FLAGS_END};

static const char settings_keys[] =
#define SETTING(key, kind, choices, used, help) "  " key "  " help "\n"
#include "core/tbl/settings.h"
    ;

static const struct command_spec settings_commands[] = {
    {.name = "get", .alias = "list", .about = "Show the settings of a sandbox", .flags = settings_get_flags, .args = sandbox_name, .keys = settings_keys, .run = settings_get_run},
    {.name = "set", .about = "Set a setting", .flags = settings_set_flags, .args = sandbox_name, .keys = settings_keys, .run = settings_set_run,
     .examples = "  openshell settings set demo --key ocsf_json_enabled --value true\n"
                 "  openshell settings set --global --key ocsf_json_enabled --value true --yes\n"},
    {.name = "delete", .about = "Unset a setting", .flags = settings_delete_flags, .args = sandbox_name, .run = settings_delete_run},
    {0}};

static const struct flag_spec logs_flags[] = {
    {.name = "lines", .letter = 'n', .kind = FLAG_U32, .metavar = "LINES", .fallback = "200", .help = "Lines to show (0 = none, with --tail only new ones)"},
    SWITCH("tail", "Follow new lines"),
    SWITCH("follow", "Same as --tail", .letter = 'f', .hidden = true),
    TEXT("since", "DURATION", "Only lines of the last DURATION (30s, 5m, 1h)"),
    TEXT("source", "SOURCE", "Only lines of this source (sandbox, gateway, all)", .repeat = true),
    TEXT("level", "LEVEL", "Least level (error, warn, info, debug, trace)"), FLAGS_END};

/* --- forward --- */

static const struct flag_spec forward_start_flags[] = {
    SWITCH("background", "Keep forwarding after this command has returned", .letter = 'd'),
    TEXT("forwarder", "ID", "Started by another run, for this sandbox id", .hidden = true), FLAGS_END};
static const struct arg_spec forward_start_args[] = {{"PORT", "[BIND:]PORT, here and in the sandbox", true, false, ARG_PLAIN},
                                                     {"NAME", "Sandbox (default: the last used one)", false, false, ARG_PLAIN}, {0}};
static const struct arg_spec forward_stop_args[] = {{"PORT", "Port", true, false, ARG_PLAIN},
                                                    {"NAME", "Sandbox (default: whichever has the port)", false, false, ARG_PLAIN}, {0}};
static const struct flag_spec forward_service_flags[] = {
    {.name = "target-port", .kind = FLAG_U16, .metavar = "PORT", .required = true, .help = "Port in the sandbox"},
    TEXT("target-host", "HOST", "Loopback address in the sandbox", .fallback = "127.0.0.1"),
    TEXT("local", "[BIND:]PORT", "Where to listen (default: 127.0.0.1 and the same port; 0 = any)"), FLAGS_END};

static const struct command_spec forward_commands[] = {
    {.name = "start", .about = "Forward a local port into a sandbox", .flags = forward_start_flags, .args = forward_start_args, .run = forward_start_run,
     .examples = "  openshell forward start 8080 demo\n  openshell forward start -d 0.0.0.0:3000 demo\n"},
    {.name = "stop", .about = "Stop a background forward", .args = forward_stop_args, .run = forward_stop_run},
    {.name = "list", .about = "List background forwards", .run = forward_list_run},
    {.name = "service", .about = "Forward a local port to another port of a sandbox", .flags = forward_service_flags, .args = sandbox_name, .run = forward_service_run,
     .examples = "  openshell forward service demo --target-port 8000 --local 18000\n"},
    {0}};

/* --- ssh-proxy: run by ssh --- */

static const struct flag_spec ssh_proxy_flags[] = {
    TEXT("gateway", "URL", "Gateway endpoint", .letter = 'g'),
    TEXT("sandbox-id", "ID", "Sandbox id"),
    TEXT("token", "TOKEN", "SSH session token"),
    TEXT("server", "URL", "Gateway endpoint, with --name"),
    TEXT("gateway-name", "NAME", "Registered gateway"),
    TEXT("name", "NAME", "Sandbox name"), FLAGS_END};

static const struct command_spec doctor_commands[] = {
    {.name = "check", .about = "Check what local sandboxes need of this machine", .run = doctor_check_run},
    {0}};

/* --- root --- */

#define SANDBOX_HEADING "SANDBOX COMMANDS"
#define GATEWAY_HEADING "GATEWAY COMMANDS"
#define MORE_HEADING "ADDITIONAL COMMANDS"

static const struct arg_spec completions_args[] = {{"SHELL", "bash, zsh or fish", true, false, ARG_PLAIN}, {0}};
static const struct arg_spec complete_args[] = {{"WORD", "Words behind openshell, the last one unfinished", false, true, ARG_DASHES}, {0}};

static const struct habit_spec root_habits[] = {
    {"ps", "openshell sandbox list"}, {"ls", "openshell sandbox list"}, {"list", "openshell sandbox list"},
    {"run", "openshell sandbox create"}, {"create", "openshell sandbox create"}, {"exec", "openshell sandbox exec"},
    {"rm", "openshell sandbox delete"}, {"delete", "openshell sandbox delete"}, {"get", "openshell sandbox get"},
    {"describe", "openshell sandbox get"}, {"inspect", "openshell sandbox get"}, {"attach", "openshell sandbox connect"},
    {"connect", "openshell sandbox connect"}, {"stop", "openshell sandbox stop"}, {"start", "openshell sandbox start"},
    {"cp", "openshell sandbox upload' or 'openshell sandbox download"}, {"apply", "openshell policy set"},
    {"port-forward", "openshell forward start"}, {0}};
static const struct habit_spec sandbox_habits[] = {
    {"ps", "openshell sandbox list"}, {"ls", "openshell sandbox list"}, {"run", "openshell sandbox create"},
    {"new", "openshell sandbox create"}, {"rm", "openshell sandbox delete"}, {"remove", "openshell sandbox delete"},
    {"describe", "openshell sandbox get"}, {"inspect", "openshell sandbox get"}, {"show", "openshell sandbox get"},
    {"attach", "openshell sandbox connect"}, {"ssh", "openshell sandbox connect"}, {"logs", "openshell logs"},
    {"cp", "openshell sandbox upload' or 'openshell sandbox download"}, {"forward", "openshell forward start"}, {0}};
static const struct habit_spec policy_habits[] = {
    {"apply", "openshell policy set"}, {"show", "openshell policy get"}, {0}};
static const struct habit_spec logs_habits[] = {{"#", "openshell logs -n <LINES>"}, {0}};

static const struct command_spec root_commands[] = {
    {.name = "sandbox", .alias = "sb", .heading = SANDBOX_HEADING, .about = "Create and use sandboxes", .sub = sandbox_commands, .habits = sandbox_habits},
    {.name = "forward", .alias = "fwd", .heading = SANDBOX_HEADING, .about = "Forward local ports into sandboxes", .sub = forward_commands},
    {.name = "logs", .alias = "lg", .heading = SANDBOX_HEADING, .about = "Show log lines of a sandbox", .flags = logs_flags, .args = sandbox_name, .run = logs_run, .habits = logs_habits,
     .examples = "  openshell logs demo --since 5m\n  openshell logs demo --source sandbox --level debug --tail\n"},
    {.name = "policy", .alias = "pol", .heading = SANDBOX_HEADING, .about = "Read, change and check policies", .sub = policy_commands, .habits = policy_habits},
    {.name = "settings", .heading = SANDBOX_HEADING, .about = "Read and change settings", .sub = settings_commands, .keys = settings_keys},
    {.name = "gateway", .alias = "gw", .heading = GATEWAY_HEADING, .about = "Start, register and select gateways", .sub = gateway_commands},
    {.name = "ssh-proxy", .hidden = true, .heading = GATEWAY_HEADING, .about = "Connect standard input and output to the SSH server of a sandbox", .flags = ssh_proxy_flags, .run = ssh_proxy_run},
    {.name = "status", .heading = GATEWAY_HEADING, .about = "Is the gateway there, and am I let in?", .flags = output_flags, .run = status_run},
    {.name = "whoami", .heading = GATEWAY_HEADING, .about = "Who the gateway takes me for", .flags = output_flags, .run = whoami_run},
    {.name = "doctor", .alias = "dr", .heading = GATEWAY_HEADING, .about = "Check this machine", .sub = doctor_commands},
    {.name = "completions", .heading = MORE_HEADING, .about = "Print a completion script for a shell", .args = completions_args, .run = completions_run,
     .examples = "  source <(openshell completions bash)\n  openshell completions zsh > ~/.zsh/functions/_openshell\n"
                 "  openshell completions fish > ~/.config/fish/completions/openshell.fish\n"},
    {.name = "__complete", .hidden = true, .heading = MORE_HEADING, .about = "What may stand in place of the last word; called by completion scripts", .args = complete_args, .run = complete_run},
    {0}};

const struct command_spec commands_root = {
    .name = "openshell", .about = "OpenShell runs autonomous agents in sandboxes ruled by policy.",
    .sub = root_commands, .flags = commands_globals, .habits = root_habits,
    .examples = "  openshell gateway start\n  openshell sandbox create -- bash\n"
                "  openshell policy set --policy policy.yaml --wait\n  openshell logs --tail\n"};
/* clang-format on */
