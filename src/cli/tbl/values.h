/* What shells complete in place of a value or a positional.
 * VALUES(command, name, kind) - command: the words behind `openshell`, "" = any; name: a flag or a
 * positional; kind: NOTHING FILES SANDBOXES GATEWAYS WORKSPACES SETTINGS SHELLS. The first row that fits
 * counts. Choices of the command tables and flags that take a FILE need no row. */
/* clang-format off */
VALUES("gateway select",   "NAME",       GATEWAYS)
VALUES("gateway remove",   "NAME",       GATEWAYS)
VALUES("gateway add",      "name",       NOTHING)
VALUES("",                 "gateway",    GATEWAYS)
VALUES("",                 "workspace",  WORKSPACES)
VALUES("sandbox create",   "name",       NOTHING)
VALUES("sandbox create",   "mount",      FILES)
VALUES("sandbox upload",   "LOCAL_PATH", FILES)
VALUES("sandbox download", "DEST",       FILES)
VALUES("settings set",     "key",        SETTINGS)
VALUES("settings delete",  "key",        SETTINGS)
VALUES("sandbox exec",     "name",       SANDBOXES)
VALUES("completions",      "SHELL",      SHELLS)
VALUES("",                 "NAME",       SANDBOXES)
/* clang-format on */
#undef VALUES
