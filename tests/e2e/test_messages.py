#!/usr/bin/env python3
"""What the command line says to slips, to sandboxes that are not there, not running or gone meanwhile, and about what it
left behind."""
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent / "lib"))
from harness import BIN, Gateway, Private, Suite, check, contains, equal, wait_for

suite = Suite()
case = suite.case
private = Private("messages")
MISSING = "There is no sandbox 'nope' in workspace 'default'. List them with: openshell sandbox list"


def policy(name, text=""):
    path = private.dir / name
    path.write_text("version: 1\n" + text)
    return path


def create(g, name, *argv):
    g.must("sandbox", "create", "--name", name, "--detach", *argv, "--", "sleep", "infinity")


def started(g, *argv):
    return private.spawn(*g.prefix, BIN / "openshell", *argv, env=g.env, stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def said(p):
    return p.communicate(timeout=30)[1].decode()


# --- slips ---


@case
def empty_values_are_not_defaults(g):
    for argv, text in ((("create", "--name", ""), "--name must not be empty"),
                       (("create", "--from", ""), "--from must not be empty"),
                       (("create", "--", ""), "the command is empty"),
                       (("exec", "-n", "nope", "--", ""), "the command is empty")):
        r = g.cli("sandbox", *argv)
        equal(r.code, 1, r)
        contains(r.err, text)
    equal(g.must("sandbox", "list", "--names").out, "")


@case
def a_refused_value_is_shown(g):
    contains(g.cli("sandbox", "create", "--name", "my box", "--detach").err, "--name was 'my box'")
    r = g.cli("sandbox", "exec", "-n", "nope", "--timeout", "-1", "--", "true")
    equal(r.code, 2, r)
    contains(r.err, "invalid value '-1' for '--timeout <SECONDS>': expected a number from 0 to ")


@case
def a_conflict_names_the_way_round(g):
    for argv, other, tip in ((("--upload", __file__), "--upload <LOCAL[:PATH]>", "openshell sandbox exec -n <NAME> -- <COMMAND>"),
                             (("-o", "json"), "--output <OUTPUT>", "openshell sandbox get <NAME> --output json")):
        r = g.cli("sandbox", "create", *argv, "--", "true")
        equal(r.code, 2, r)
        contains(r.err, f"the argument '{other}' cannot be used with '<COMMAND>...'")
        contains(r.err, tip)


@case
def a_sandbox_that_is_not_there_is_named_by_every_command(g):
    setting = ("--key", "ocsf_json_enabled")
    for argv in (("sandbox", "get"), ("sandbox", "stop"), ("sandbox", "start"), ("sandbox", "connect"), ("logs",),
                 ("policy", "get"), ("policy", "get", "--rev", "2"), ("policy", "list"),
                 ("policy", "set", "--policy", policy("empty.yaml")),
                 ("policy", "update", "--add-endpoint", "a.example.com:443"), ("settings", "get"),
                 ("settings", "set", *setting, "--value", "true"), ("settings", "delete", *setting)):
        r = g.cli(*argv, "nope")
        equal(r.code, 1, r)
        contains(r.err, "code: 'Some requested entity was not found', message: \"sandbox not found\"")
        contains(r.err, MISSING)


# --- revisions and logs ---


@case
def revisions_have_dates(g):
    create(g, "box")
    r = wait_for("revision 1", lambda: (lambda r: r if "Loaded: " in r.out else None)(g.must("policy", "get", "box", "--rev", "1")))
    for label in ("Created: ", "Loaded:  "):
        check(any(line.startswith(label) and line.endswith(")") and " ms (20" in line for line in r.out.splitlines()), r)
    r = g.must("policy", "get", "box", "--rev", "9")
    equal(r.out, "")
    contains(r.err, "No policy history found for sandbox 'box'\nThere is no revision 9.")


@case
def since_warns_only_of_what_may_be_missing(g):
    warning = "--since results may be incomplete."
    r = g.must("logs", "box", "--since", "1h")
    check(r.out.count("\n") > 3 and warning not in r.err, r)
    contains(g.must("logs", "box", "--since", "1h", "-n", "2").err, f"only the last 2 lines; {warning}")
    check(warning not in g.must("logs", "box", "-n", "2").err, "without --since nothing is promised")


@case
def no_lines_are_no_lines(g):
    equal(g.must("logs", "box", "-n", "0").text, "")
    p = started(g, "logs", "box", "--tail", "-n", "0")
    g.must("policy", "update", "box", "--add-endpoint", "new.example.com:443", "--binary", "/usr/bin/curl", "--wait")
    lines = [p.stdout.readline().decode() for _ in range(2)]
    p.terminate()
    said(p)
    check("version 1" not in "".join(lines) and "CreateSandbox" not in "".join(lines), lines)


# --- stopped, gone ---


@case
def a_policy_for_a_stopped_sandbox_waits_for_nobody(g):
    g.must("sandbox", "stop", "box")
    r = g.must("policy", "update", "box", "--add-endpoint", "b.example.com:443", "--binary", "/usr/bin/curl", "--wait",
               timeout=20)
    contains(r.err, "Sandbox box is Stopped; policy version 3 counts from its next start")
    contains(g.must("policy", "get", "box", "--rev", "3").out, "Pending")
    g.must("sandbox", "start", "box")
    wait_for("version 3", lambda: "Loaded" in g.must("policy", "get", "box", "--rev", "3").out, 20)


@case
def who_is_in_a_sandbox_hears_that_it_was_stopped_or_deleted(g):
    for argv, end, text in ((("stop", "box"), "stop", "sandbox 'box' was stopped; start it again with: openshell sandbox start box"),
                            (("delete", "box"), "delete", "sandbox 'box' was deleted")):
        p = started(g, "sandbox", "exec", "-n", "box", "--", "sh", "-c", "echo up; sleep 600")
        equal(p.stdout.readline(), b"up\n")
        g.must("sandbox", *argv)
        err = said(p)
        equal(p.returncode, 1, err)
        contains(err, text)
        if end == "stop":
            g.must("sandbox", "start", "box")


# --- what stays ---


@case
def a_create_that_fails_says_what_it_left(g):
    r = g.cli("sandbox", "create", "--name", "left", "--upload", f"{__file__}:/etc/openshell-test/x")
    equal(r.code, 1, r)
    contains(r.err, "Sandbox left was created and stays. Delete it with: openshell sandbox delete left")
    g.must("sandbox", "delete", "left")
    r = g.cli("sandbox", "create", "--name", "left", "--no-keep", "--", "/nowhere/frobnicate")
    check(r.code != 0 and "stays" not in r.err, r)
    equal(g.must("sandbox", "list", "--names").out, "")


@case
def without_its_program_an_editor_leaves_nothing(g):
    g.env["HOME"] = str(private.dir)
    g.env["PATH"] = "/usr/bin:/bin"
    r = g.cli("sandbox", "create", "--name", "ide", "--editor", "cursor")
    equal(r.code, 1, r)
    contains(r.err, "cursor is not installed or not on PATH")
    equal(g.must("sandbox", "list", "--names").out, "")
    create(g, "ide")
    contains(g.cli("sandbox", "connect", "ide", "--editor", "cursor").err, "cursor is not installed or not on PATH")
    check(not (private.dir / ".ssh").exists(), "an SSH configuration was written")
    g.must("sandbox", "delete", "ide")


def main():
    g = Gateway(private)
    g.start()
    suite.run(g)


if __name__ == "__main__":
    main()
