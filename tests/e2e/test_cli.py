#!/usr/bin/env python3
"""The command line as somebody meets it who has just got it: no gateway yet, a terminal or none, typing errors, commands
that end at once."""
import contextlib
import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent / "lib"))
from harness import BIN, Private, Skip, Suite, check, contains, equal, free_port, on_terminal, run, wait_for

suite = Suite()
case = suite.case
private = Private("cli")
CLI = BIN / "openshell"


class Home:
    """A user with directories of its own, and the gateway that its commands start."""

    def __init__(self):
        if os.geteuid() != 0:
            raise Skip("local sandboxes of these tests are made by root")
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("OPENSHELL_")}
        self.bin = private.dir / "bin"
        self.bin.mkdir()
        self.home = private.dir / "home"
        self.home.mkdir()
        self.config = private.dir / "config"
        self.env.update(XDG_CONFIG_HOME=str(self.config), XDG_STATE_HOME=str(private.dir / "state"), LANG="C.UTF-8",
                        HOME=str(self.home), PATH=f"{self.bin}:{os.environ['PATH']}", TERM="xterm",
                        OPENSHELL_SYSTEM_GATEWAY_DIR=str(private.dir / "none"),
                        OPENSHELL_SERVER_PORT=str(free_port()))
        self.env.pop("NO_COLOR", None)
        private.stack.callback(self.close)

    @property
    def url(self):
        return f"https://127.0.0.1:{self.env['OPENSHELL_SERVER_PORT']}"

    def close(self):
        if (private.dir / "state/openshell/gateway/started").exists():
            with contextlib.suppress(Exception):
                self.cli("gateway", "start")
                self.cli("sandbox", "delete", "--all")
            self.cli("gateway", "stop")

    def cli(self, *argv, stdin=b"", timeout=60, **env):
        return run(CLI, *argv, env={**self.env, **env}, stdin=stdin, timeout=timeout)

    def must(self, *argv, **kw):
        r = self.cli(*argv, **kw)
        check(r.code == 0, r)
        return r

    def terminal(self, *argv, answers=(), columns=80, seconds=30, **env):
        return on_terminal(CLI, *argv, env={**self.env, **env}, answers=answers, columns=columns, seconds=seconds)

    def over(self, name):
        wait_for(f"the end of {name}", lambda: json.loads(
            self.must("sandbox", "get", name, "-o", "json").out)["phase"] in ("Stopped", "Error"), 20, 0.05)


# --- no gateway yet ---


@case
def without_a_gateway_the_error_names_the_command(h):
    for argv in (("sandbox", "list"), ("sandbox", "create", "--", "true")):
        r = h.cli(*argv)
        equal(r.code, 1, r)
        contains(r.err, "No active gateway.")
        contains(r.err, "openshell gateway start")
        equal("--start-gateway" in r.err, argv[1] == "create", r)  # the others do not take it
    equal(json.loads(h.must("status", "-o", "json").out), {"status": "not_configured"})
    contains(h.must("gateway", "list").out, "openshell gateway start")


@case
def a_no_starts_nothing(h):
    for typed in (b"n\n", b"\x04"):
        text, code = h.terminal("sandbox", "create", "--", "true", answers=[(b"[Y/n]", typed)])
        equal(code, 1, text)
        contains(text, "No gateway is configured. Start one on this machine now? [Y/n]")
        contains(text, "No active gateway.")
    check(not (private.dir / "state/openshell/gateway/started").exists(), "a gateway was started")


@case
def a_yes_starts_a_gateway_and_goes_on(h):
    text, code = h.terminal("sandbox", "create", "--name", "first", "--", "echo", "it works",
                            answers=[(b"[Y/n]", b"\n")])
    equal(code, 0, text)
    contains(text, "Gateway 'openshell' started and set as active")
    contains(text, "it works")
    contains(h.must("status").out, "Connected")


@case
def other_commands_do_not_ask(h):
    h.must("gateway", "remove")
    text, code = h.terminal("sandbox", "list")
    equal(code, 1, text)
    check("[Y/n]" not in text, text)


@case
def a_lost_registration_is_mended_by_the_printed_command(h):
    r = h.cli("sandbox", "list")
    equal(r.code, 1, r)
    command = re.search(r"Register it with: openshell (gateway add .*)", r.err).group(1)
    h.must(*shlex.split(command))
    contains(h.must("sandbox", "list").out, "first")
    # The active gateway is known by name, its registration is gone.
    (h.config / "openshell/gateways/openshell/metadata.json").unlink()
    r = h.cli("sandbox", "list")
    contains(r.err, "Unknown gateway 'openshell'.")
    contains(r.err, f"openshell gateway add {h.url} --local")
    # Everything of the client is gone, and the gateway is not where a new one would look.
    shutil.rmtree(h.config)
    text, code = h.terminal("sandbox", "create", "--name", "second", "--", "echo", "again",
                            answers=[(b"[Y/n]", b"y\n")], OPENSHELL_SERVER_PORT="")
    equal(code, 0, text)
    contains(text, "is not registered. Use it?")
    contains(text, "again")
    shutil.rmtree(h.config)
    contains(h.must("gateway", "start", OPENSHELL_SERVER_PORT="").err, "is already running")
    equal(len(h.must("sandbox", "list", "--names").out.split()), 2)


@case
def a_stopped_gateway_is_started_again(h):
    h.must("gateway", "stop")
    r = h.cli("sandbox", "create", "--", "true")
    equal(r.code, 1, r)
    contains(r.err, f"failed to connect to gateway 'openshell' at {h.url}")
    contains(r.err, "openshell gateway start")
    r = h.cli("status")
    equal(r.code, 1, r)
    contains(r.out, "Disconnected")
    text, code = h.terminal("sandbox", "create", "--", "echo", "back", answers=[(b"[Y/n]", b"\n")])
    equal(code, 0, text)
    contains(text, "The gateway on this machine is not running. Start it now?")
    contains(text, "back")
    h.must("gateway", "stop")
    r = h.must("sandbox", "create", "--start-gateway", "--no-keep", "--", "echo", "scripted")
    contains(r.out, "scripted\n")


# --- output of commands that end at once ---


@case
def no_output_is_lost_on_a_terminal(h):
    for i in range(8):
        text, code = h.terminal("sandbox", "create", "--no-keep", "--", "sh", "-c", f"echo out-{i}; exit {i}")
        equal(code, i, text)
        contains(text, f"out-{i}")
        check("Error:" not in text, text)


@case
def no_output_is_lost_in_a_pipe(h):
    for i, flag in enumerate(("--no-keep", "--attach") * 8):
        pause = f"sleep 0.0{i};" if i % 2 else ""
        r = h.cli("sandbox", "create", flag, "--", "sh", "-c", f"{pause} echo out-{i}; echo err-{i} >&2; exit {i}")
        equal(r.code, i, r)
        contains(r.out, f"out-{i}\n")
        contains(r.err, f"err-{i}\n")
        check("Error:" not in r.err, r)
    h.must("sandbox", "delete", "--all")


@case
def what_it_wrote_can_be_read_later(h):
    h.cli("sandbox", "create", "--name", "job", "--detach", "--", "sh", "-c", "echo result; echo oops >&2; exit 4")
    h.over("job")
    for _ in range(2):
        r = h.cli("sandbox", "connect", "job")
        equal((r.code, r.out), (4, "result\n"), r)
        contains(r.err, "The main process of sandbox job is over (exit code 4); it wrote:\n")
        contains(r.err, "oops\n")
        h.must("gateway", "stop")  # it outlives the gateway
        h.must("gateway", "start")
    contains(h.cli("sandbox", "exec", "-n", "job", "--", "true").err,
             "is not ready (phase: Error); its main process ended with exit code 4")


@case
def long_output_is_cut_at_its_beginning(h):
    h.must("sandbox", "create", "--name", "long", "--detach", "--", "seq", "1", "300000")
    h.over("long")
    r = h.must("sandbox", "connect", "long")
    check(len(r.out) <= 786432 and r.out.endswith("\n299999\n300000\n"), r.out[-100:])
    dropped = int(re.search(r"openshell: (\d+) earlier bytes of output are no longer kept", r.err).group(1))
    equal(dropped + len(r.out), sum(len(str(i)) + 1 for i in range(1, 300001)), "bytes")
    h.must("sandbox", "delete", "long")
    db = private.dir / "state/openshell/gateway/openshell.db"
    rows = run("python3", "-c", "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute("
               "\"select count(*) from objects where object_type='main_output' and length(payload) > 100000\").fetchone()[0])", db)
    equal(rows.out.strip(), "0", "kept outputs of deleted sandboxes")


@case
def a_new_run_has_its_own_output(h):
    h.must("sandbox", "create", "--name", "twice", "--detach", "--", "sh", "-c", "echo x >>/sandbox/n; wc -l </sandbox/n")
    h.over("twice")
    equal(h.must("sandbox", "connect", "twice").out, "1\n")
    h.must("gateway", "stop")  # after it the driver has no news of the first run any more
    h.must("gateway", "start")
    h.must("sandbox", "start", "twice")
    wait_for("the second run", lambda: h.cli("sandbox", "connect", "twice").out == "2\n", 20, 0.1)


@case
def a_program_that_is_not_there_says_so(h):
    text, code = h.terminal("sandbox", "create", "--no-keep", "--", "frobnicate")
    equal(code, 127, text)
    contains(text, "cannot run 'frobnicate'")
    r = h.cli("sandbox", "create", "--name", "nothere", "--", "frobnicate")
    h.over("nothere")
    r = h.cli("sandbox", "connect", "nothere")
    equal(r.code, 127, r)
    contains(r.err, "cannot run 'frobnicate'")


@case
def without_a_terminal_create_says_how_to_see_more(h):
    r = h.must("sandbox", "create", "--name", "still", "--", "sleep", "infinity")
    contains(r.out, "Created sandbox: still\n")
    contains(r.err, "openshell sandbox connect still")
    h.must("sandbox", "delete", "still")


@case
def an_interrupt_takes_a_sandbox_that_is_not_kept_along(h):
    p = subprocess.Popen([CLI, "sandbox", "create", "--no-keep", "--name", "gone", "--", "sh", "-c", "echo up; sleep 600"],
                         env=h.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    for line in p.stdout:
        if line == b"up\n":
            break
    p.send_signal(signal.SIGINT)
    _, err = p.communicate(timeout=20)
    equal(p.returncode, 130, err)
    contains(err.decode(), "Deleted sandbox gone")
    check("gone" not in h.must("sandbox", "list", "--names").out.split(), "the sandbox is left")


# --- flags of create ---


@case
def create_uploads_and_forwards(h):
    tree = private.dir / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "a").write_text("A")
    (tree / "sub/b").write_text("B")
    port = free_port()
    r = h.must("sandbox", "create", "--name", "full", "--upload", tree, "--upload", f"{tree}/a:/sandbox/x/aa",
               "--forward", port)
    contains(r.err, "  • Uploading [1/2] files to ~...\n  ✓ Files uploaded\n  • Uploading [2/2] files to /sandbox/x/aa...\n")
    contains(r.err, f"  ✓ Forwarding port {port} to sandbox full in the background\n\n  Access at: http://127.0.0.1:{port}/\n")
    equal(h.must("sandbox", "exec", "-n", "full", "--", "cat", "tree/a", "tree/sub/b", "x/aa").out, "ABA")
    r = h.cli("sandbox", "create", "--name", "other", "--forward", port)
    equal(r.code, 1, r)
    contains(r.err, f"Port {port} is already forwarded to sandbox 'full'.")
    check("other" not in h.must("sandbox", "list", "--names").out.split(), "created although the port was taken")
    r = h.cli("sandbox", "create", "--upload", private.dir / "nothing")
    equal(r.code, 1, r)
    contains(r.err, "local path does not exist: ")
    contains(h.must("sandbox", "delete", "full").err, f"Stopped forward of port {port} for sandbox full")


@case
def create_refuses_and_sets(h):
    r = h.cli("sandbox", "create", "--gpu", "--", "true")
    equal(r.code, 1, r)
    contains(r.err, "does not support GPU requests")
    r = h.cli("sandbox", "create", "--gpu", "none", "--", "true")
    equal(r.code, 2, r)
    contains(r.err, "GPU count must be a positive integer")
    h.must("sandbox", "create", "--name", "auto", "--approval-mode", "auto", "--detach", "--", "sleep", "infinity")
    contains(h.must("settings", "get", "auto").out, "proposal_approval_mode = auto (sandbox)")
    h.must("sandbox", "delete", "auto")
    (private.dir / "empty").mkdir()
    contains(h.cli("sandbox", "create", "--from", private.dir / "empty").err, "No Dockerfile found in directory: ")


@case
def an_editor_opens_a_sandbox(h):
    seen = private.dir / "editor"
    code = h.bin / "code"
    code.write_text(f'#!/bin/sh\necho "$@" > {seen}.new && mv {seen}.new {seen}\n')
    code.chmod(0o755)
    (h.home / ".ssh").mkdir(mode=0o700)
    (h.home / ".ssh/config").write_text("Host mine\n    User me\n")
    h.must("sandbox", "create", "--name", "ide", "--detach", "--", "sleep", "infinity")
    for _ in range(2):
        contains(h.must("sandbox", "connect", "ide", "--editor", "vscode").err, "✓ Opened VS Code for sandbox ide")
    wait_for("the editor", seen.exists)
    equal(seen.read_text(), "--remote ssh-remote+openshell-ide.default /sandbox\n")
    config = (h.home / ".ssh/config").read_text()
    equal(config, f'Include "{h.config}/openshell/ssh_config"\n\nHost mine\n    User me\n')
    block = h.must("sandbox", "ssh-config", "ide").out
    equal((h.config / "openshell/ssh_config").read_text(), block)
    r = h.cli("sandbox", "connect", "ide", "--editor", "cursor")
    equal(r.code, 1, r)
    contains(r.err, "cursor is not installed or not on PATH")
    if shutil.which("ssh"):
        r = run("ssh", "-F", h.config / "openshell/ssh_config", "openshell-ide.default", "cat", env=h.env, stdin=b"over ssh")
        equal(r.out, "over ssh", r)
    h.must("sandbox", "delete", "ide")
    equal((h.config / "openshell/ssh_config").read_text(), "", "the block of a deleted sandbox")
    equal((h.home / ".ssh/config").read_text(), config)


# --- gateways ---


@case
def a_gateway_is_chosen_from_a_list(h):
    h.must("gateway", "add", "http://127.0.0.1:9", "--remote", "me@example.test", "--name", "far")
    contains(h.must("gateway", "list").out, "* far ")
    text, code = h.terminal("gateway", "select", answers=[(b"> far", b"\x1b[B"), (b"> openshell", b"\r")])
    equal(code, 0, text)
    contains(text, "Select a gateway")
    contains(text, "Active gateway set to 'openshell'")
    text, code = h.terminal("gateway", "select", answers=[(b"> openshell", b"\x1b")])
    equal(code, 0, text)
    contains(text, "Gateway selection cancelled")
    r = h.must("gateway", "select")
    contains(r.out, "* openshell")
    contains(r.err, "Select a gateway with: openshell gateway select <name>")
    h.must("gateway", "remove", "far")
    contains(h.cli("gateway", "add", "ssh://me@host").err, "ssh:// URL must include a port")
    contains(h.cli("gateway", "add", "ssh://me@host:1", "--local").err, "Cannot use --local with an ssh:// endpoint.")


@case
def who_and_what(h):
    equal(sorted(json.loads(h.must("whoami", "-o", "json").out)),
          ["display_name", "identity_provider", "roles", "scopes", "subject"])
    contains(h.must("whoami").out, "Subject: ")
    r = h.cli("doctor", "check")
    contains(r.out, "Checking system prerequisites...\n\n  Programs ........... ok\n")


# --- texts ---


@case
def slips_are_answered(h):
    for argv, tip in ((("sandbox", "crate"), "a similar subcommand exists: 'create'"),
                      (("polic", "list"), "a similar subcommand exists: 'policy'"),
                      (("create",), "use 'openshell sandbox create'"),
                      (("frobnicate",), "[subcommands: sandbox, forward,"),
                      (("sandbox", "create", "echo", "hi"), "a command goes after '--': -- echo"),
                      (("sandbox", "list", "--nmaes"), "a similar argument exists: '--names'")):
        r = h.cli(*argv)
        equal((r.code, r.out), (2, ""), r)
        contains(r.err, tip)
        contains(r.err, "\nUsage: openshell")
    contains(h.must("help", "sandbox", "get").out, "openshell sandbox get [OPTIONS] [NAME]")
    r = h.cli("sandbox", "get", "nobody")
    equal(r.code, 1, r)
    contains(r.err, "code: 'Some requested entity was not found', message: \"sandbox not found\"")
    contains(r.err, "There is no sandbox 'nobody' in workspace 'default'.")
    h.must("sandbox", "create", "--name", "box", "--detach", "--", "sleep", "infinity")
    r = h.cli("sandbox", "exec", "box", "true")
    equal(r.code, 127, r)
    contains(r.err, "hint: 'box' is a sandbox; name it with -n")
    h.must("sandbox", "delete", "box")


@case
def colour_is_for_terminals(h):
    check("\033" not in h.must("gateway", "list").text, "escapes in a pipe")
    check("\033[" in h.terminal("gateway", "list")[0], "no colour on a terminal")
    check("\033" not in h.terminal("gateway", "list", NO_COLOR="1")[0], "escapes although NO_COLOR is set")
    check("\033" not in h.terminal("sandbox", "crate", TERM="dumb")[0], "escapes on a dumb terminal")


@case
def help_fits_the_terminal(h):
    text, code = h.terminal("sandbox", "create", "--help", columns=60, NO_COLOR="1")
    equal(code, 0, text)
    check(max(len(line) for line in text.splitlines()) <= 60, "a line is too long")
    check(len(max(h.must("sandbox", "create", "--help").out.splitlines(), key=len)) > 80, "wrapped in a pipe")


suite.run(Home())
