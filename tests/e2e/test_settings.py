#!/usr/bin/env python3
"""Settings and the policy of all sandboxes through the CLI: what is printed, asked and refused, and that a sandbox obeys."""
import json
import os
import pathlib
import pty
import select
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent / "lib"))
from harness import BIN, Gateway, Private, Suite, check, contains, equal, wait_for

suite = Suite()
case = suite.case
private = Private("settings")

POLICY = """version: 1
network_policies:
  r:
    name: r
    endpoints:
      - {host: %s, port: 443}
    binaries:
      - {path: /usr/bin/curl}
"""


def policy_file(host):
    path = private.dir / f"{host}.yaml"
    path.write_text(POLICY % host)
    return path


def on_a_terminal(g, answer, *argv):
    """(exit code, what the terminal shows) of a command whose question is answered."""
    parent, child = pty.openpty()
    p = subprocess.Popen([BIN / "openshell", *argv], env=g.env, stdin=child, stdout=child, stderr=child)
    os.close(child)
    shown = b""
    while select.select([parent], [], [], 30)[0]:
        try:
            data = os.read(parent, 4096)
        except OSError:
            break
        if not data:
            break
        shown += data
        if answer and b"[y/N]" in shown:
            os.write(parent, answer)
            answer = None
    os.close(parent)
    return p.wait(30), shown.decode()


@case
def settings_of_a_sandbox(g):
    g.must("sandbox", "create", "--name", "box", "--detach", "--", "sleep", "infinity")
    lines = g.must("settings", "get", "box").out.splitlines()
    equal(lines[0], "Sandbox:       box")
    equal(lines[2], "Policy Source: sandbox")
    equal(lines[4:], ["Settings:", "  agent_policy_proposals_enabled = <unset> (unset)",
                      "  ocsf_json_enabled = <unset> (unset)", "  proposal_approval_mode = <unset> (unset)",
                      "  providers_v2_enabled = <unset> (unset)"])
    equal(g.must("settings", "set", "box", "--key", "ocsf_json_enabled", "--value", "ON").out,
          "✓ Set sandbox setting ocsf_json_enabled=true for box (revision 1)\n")
    j = json.loads(g.must("settings", "list", "box", "--json").out)
    equal(j["settings"]["ocsf_json_enabled"], {"scope": "sandbox", "value": "true"})
    equal((j["sandbox"], j["workspace"], j["policy_source"]), ("box", "default", "sandbox"))
    equal(g.must("settings", "delete", "box", "--key", "ocsf_json_enabled").out,
          "✓ Deleted sandbox setting ocsf_json_enabled for box (revision 2)\n")
    equal(g.must("settings", "delete", "box", "--key", "ocsf_json_enabled").out,
          "! Sandbox setting ocsf_json_enabled not found for box\n")


@case
def what_nothing_reads_is_said(g):
    for key, value, noted in (("ocsf_json_enabled", "false", False), ("providers_v2_enabled", "true", True),
                              ("agent_policy_proposals_enabled", "true", True), ("proposal_approval_mode", "auto", True)):
        r = g.must("settings", "set", "box", "--key", key, "--value", value)
        equal(r.err, f"! {key} is kept, but has no effect with gateways of this version\n" if noted else "", r)
        g.must("settings", "delete", "box", "--key", key)
        contains(g.must("settings", "set", "--help").out, f"\n  {key}  ")
    r = g.must("sandbox", "create", "--name", "auto", "--approval-mode", "auto", "--auto-providers", "--detach", "--", "true")
    contains(r.err, "! proposal_approval_mode is kept, but has no effect")
    contains(r.err, "! --auto-providers has no effect")
    g.must("sandbox", "delete", "auto")


@case
def bad_values_are_refused_before_the_gateway_is_asked(g):
    for key, value, text in (
            ("nope", "1", "unknown setting key 'nope'. Allowed keys: providers_v2_enabled, ocsf_json_enabled, "
                          "agent_policy_proposals_enabled, proposal_approval_mode"),
            ("ocsf_json_enabled", "maybe", "invalid bool value 'maybe' for key 'ocsf_json_enabled'; expected one of: "
                                           "true,false,yes,no,1,0"),
            ("proposal_approval_mode", "x", "invalid value 'x' for key 'proposal_approval_mode'; expected one of: "
                                            "manual, auto")):
        r = g.cli("settings", "set", "box", "--key", key, "--value", value)
        equal(r.code, 1, r)
        contains(r.err, text)


@case
def global_settings_want_a_yes(g):
    want = ("settings", "set", "--global", "--key", "proposal_approval_mode", "--value", "auto")
    r = g.cli(*want)
    equal(r.code, 1, r)
    contains(r.err, "global setting updates require confirmation; pass --yes in non-interactive mode")
    code, shown = on_a_terminal(g, b"n\n", *want)
    equal(code, 1, shown)
    contains(shown, "Setting 'proposal_approval_mode' globally will disable sandbox-level management for this key. Continue?")
    contains(shown, "aborted by user")
    code, shown = on_a_terminal(g, b"y\n", *want)
    equal(code, 0, shown)
    contains(shown, "Set global setting proposal_approval_mode=auto (revision 1)")
    j = json.loads(g.must("settings", "get", "--global", "--json").out)
    equal((j["scope"], j["settings_revision"], j["settings"]["proposal_approval_mode"],
           j["settings"]["ocsf_json_enabled"]), ("global", 1, "auto", "<unset>"))
    contains(g.must("settings", "get", "box").out, "  proposal_approval_mode = auto (global)")
    r = g.cli("settings", "set", "box", "--key", "proposal_approval_mode", "--value", "manual")
    equal(r.code, 1, r)
    contains(r.err, "is managed globally; delete the global setting before sandbox update")
    r = g.cli("settings", "delete", "--global", "--key", "proposal_approval_mode")
    contains(r.err, "global setting deletes require confirmation; pass --yes in non-interactive mode")
    equal(g.must("settings", "delete", "--global", "--key", "proposal_approval_mode", "--yes").out,
          "✓ Deleted global setting proposal_approval_mode (revision 2)\n")
    r = g.cli("settings", "get", "--global", "box")
    equal(r.code, 1, r)
    contains(r.err, "settings get --global does not accept a sandbox name")


@case
def one_policy_for_all(g):
    g.must("sandbox", "delete", "box")
    g.must("sandbox", "create", "--name", "box", "--policy", policy_file("own.test"), "--detach", "--", "sleep", "infinity")
    equal(g.cli("policy", "get", "--global").err, "No global policy history found\n")
    equal(g.cli("policy", "list", "--global").err, "No global policy history found\n")
    want = ("policy", "set", "--global", "--policy", policy_file("all.test"))
    contains(g.cli(*want).err, "global setting updates require confirmation")
    contains(g.cli(*want, "--wait", "--yes").err, "--wait is not supported for global policies")
    equal(g.cli(*want, "box").code, 2)
    r = g.must(*want, "--yes")
    contains(r.err, "✓ Global policy configured (hash: ")
    contains(r.err, "settings revision: 3)")
    text = g.must("policy", "get", "--global", "--full").out
    contains(text, "Scope:        global\nVersion:      1\n")
    contains(text, "all.test")
    check("Active:" not in text, text)
    j = json.loads(g.must("policy", "get", "--global", "-o", "json").out)
    equal((j["scope"], j["version"], "sandbox" in j, "active_version" in j), ("global", 1, False, False))
    text = g.must("policy", "get", "box", "--full").out
    contains(text, "Source:       global")
    contains(text, "all.test")
    contains(g.must("policy", "list", "--global").out, "Loaded")
    wait_for("the sandbox to run under it",
             lambda: "Policy reloaded successfully (global)" in g.must("logs", "box").out)
    r = g.cli("policy", "set", "box", "--policy", policy_file("own2.test"))
    contains(r.err, "policy is managed globally; delete global policy before sandbox policy update")
    contains(g.cli("policy", "delete", "--yes").err,
             "sandbox policy delete is not supported; use --global to remove global policy lock")
    contains(g.must("policy", "delete", "--global", "--yes").out, "✓ Deleted global setting policy (revision 4)")
    contains(g.must("policy", "get", "box", "--full").out, "own.test")
    contains(g.must("policy", "delete", "--global", "--yes").out, "! Global setting policy not found")
    contains(g.must("policy", "get", "--global").out, "Superseded")


def main():
    gateway = Gateway(private)
    gateway.start()
    suite.run(gateway)


main()
