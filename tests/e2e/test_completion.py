#!/usr/bin/env python3
"""Completion in real shells: the scripts load, and TAB shows commands, flags, choices, files and names; without a
gateway, or with one that does not answer, it is silent and quick."""
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import socket
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent / "lib"))
from harness import BIN, Gateway, Private, Skip, Suite, check, contains, equal, run

suite = Suite()
case = suite.case
private = Private("completion")
WORK = private.dir / "work"


def needs(shell):
    if not shutil.which(shell):
        raise Skip(f"no {shell} on this machine (apt-get install {shell})")


def environment(g):
    return {**g.env, "PATH": f"{BIN}:{g.env['PATH']}", "HOME": str(WORK), "TERM": "dumb", "LC_ALL": "C.UTF-8"}


def script(shell):
    r = run(BIN / "openshell", "completions", shell)
    equal((r.code, r.err), (0, ""), "completions")
    path = private.dir / f"script.{shell}"
    path.write_text(r.out)
    return path


def type_in(g, argv, setup, text, expect, seconds=20):
    """Types into an interactive shell on a terminal of its own until what it shows matches."""
    pid, fd = pty.fork()
    if pid == 0:
        os.chdir(WORK)
        os.execvpe(argv[0], argv, environment(g))
    seen = ""

    def read_until(pattern):
        nonlocal seen
        end = time.monotonic() + seconds
        while not re.search(pattern, seen):
            if time.monotonic() > end or not select.select([fd], [], [], max(0, end - time.monotonic()))[0]:
                raise AssertionError(f"{argv[0]} does not show {pattern!r} after {text!r}: {seen[-800:]!r}")
            seen += os.read(fd, 4096).decode("utf-8", "replace")
    try:
        os.write(fd, f"{setup}; echo READY$((1+1))\n".encode())
        read_until("READY2")
        seen = ""
        os.write(fd, text.encode())
        read_until(expect)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(fd)


def bash(g, *words):
    """COMPREPLY for words as bash splits them."""
    code = 'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _openshell; printf "%s\\n" "${COMPREPLY[@]}"'
    r = run("bash", "--norc", "-c", code, "bash", script("bash"), "openshell", *words, env=environment(g), cwd=WORK)
    equal((r.code, r.err), (0, ""), "bash")
    return r.out.split("\n")[:-1]


@case
def bash_completes_words(g):
    needs("bash")
    check("sandbox" in bash(g, ""), bash(g, ""))
    equal(bash(g, "sandbox", "del"), ["delete"])
    equal(bash(g, "sb", "connect", ""), ["box-one", "box-two"])
    equal(bash(g, "policy", "get", "--ba"), ["--base"])
    equal(bash(g, "sandbox", "list", "-o", "j"), ["json"])
    equal(bash(g, "sandbox", "list", "--output", "=", "j"), ["json"])
    equal(bash(g, "sandbox", "list", "--output", "="), ["table", "yaml", "json"])
    equal(bash(g, "policy", "set", "--policy", "my p"), ["my policy.yaml"])
    equal(bash(g, "policy", "set", "--policy", "=", "my p"), ["my policy.yaml"])
    equal(bash(g, "--gateway", ""), ["openshell"])
    equal(bash(g, "--gateway", "=", "o"), ["openshell"])
    equal(bash(g, "sandbox", "exec", "-n", "x", "--", ""), [""])


@case
def bash_completes_at_a_terminal(g):
    needs("bash")
    setup = f"PS1='> '; source {script('bash')}"
    shell = ["bash", "--norc", "-i"]
    type_in(g, shell, setup, "openshell sandbox sta\t", "openshell sandbox start ")
    type_in(g, shell, setup, "openshell sandbox list --output=y\t", "--output=yaml ")
    type_in(g, shell, setup, "openshell policy set --policy my\t", r"--policy my\\ policy.yaml ")
    type_in(g, shell, setup, "openshell sandbox get box-\t\t", r"box-one\s+box-two")


@case
def zsh_completes_at_a_terminal(g):
    needs("zsh")
    setup = f"PS1='> '; autoload -Uz compinit; compinit -u -D; source {script('zsh')}"
    shell = ["zsh", "-f", "-i"]
    type_in(g, shell, setup, "openshell sandbox sta\t", "openshell sandbox start ")
    type_in(g, shell, setup, "openshell sandbox list --output=y\t", "--output=yaml ")
    type_in(g, shell, setup, "openshell sandbox list -o y\t", "-o yaml ")
    type_in(g, shell, setup, "openshell policy set --policy my\t", r"my\\ policy.yaml")
    type_in(g, shell, setup, "openshell policy set --policy=my\t", r"my\\ policy.yaml")
    type_in(g, shell, setup, "openshell sandbox get box-o\t", "box-one ")
    type_in(g, shell, setup, "openshell sandbox de\t\t", "delete ")


@case
def zsh_loads_it_from_its_function_path(g):
    needs("zsh")
    functions = private.dir / "functions"
    functions.mkdir(exist_ok=True)
    shutil.copy(script("zsh"), functions / "_openshell")
    setup = f"PS1='> '; fpath=({functions} $fpath); autoload -Uz compinit; compinit -u -D"
    type_in(g, ["zsh", "-f", "-i"], setup, "openshell sandbox get box-t\t", "box-two ")


def fish(g, line):
    r = run("fish", "--no-config", "-c", f"source {script('fish')}; complete -C '{line}'", env=environment(g), cwd=WORK)
    equal((r.code, r.err), (0, ""), "fish")
    return r.out.split("\n")[:-1]


@case
def fish_completes(g):
    needs("fish")
    equal(fish(g, "openshell sandbox del"), ["delete\tDelete sandboxes"])
    equal(fish(g, "openshell sandbox connect "), ["box-one", "box-two"])
    equal(fish(g, "openshell sandbox list -o j"), ["json"])
    equal(fish(g, "openshell sandbox list --output=j"), ["--output=json"])
    contains("\n".join(fish(g, "openshell policy set --policy my")), "my policy.yaml")
    contains("\n".join(fish(g, "openshell policy set --policy=my")), "--policy=my policy.yaml")
    equal(fish(g, "openshell completions z"), ["zsh"])


def complete(g, *words, **env):
    return run(BIN / "openshell", "__complete", "--", *words, env={**g.env, **env}, timeout=20)


@case
def names_are_those_of_the_gateway_on_the_line(g):
    equal(complete(g, "sandbox", "get", "").out, "box-one\nbox-two\n")
    equal(complete(g, "sandbox", "get", "box-t").out, "box-two\n")
    equal(complete(g, "--gateway-endpoint", "http://127.0.0.1:1", "sandbox", "get", "").text, "")
    equal(complete(g, "-g", "unknown", "sandbox", "get", "").text, "")
    equal(complete(g, "sandbox", "get", "--workspace", "elsewhere", "").text, "")
    equal(complete(g, "-g", "").out, f"openshell\t{g.url}\n")


@case
def failures_are_silent(g):
    nowhere = {"XDG_CONFIG_HOME": str(private.dir / "empty")}
    for words in (("sandbox", "get", ""), ("--workspace", ""), ("-g", ""), ("unknown", "")):
        r = complete(g, *words, **nowhere)
        equal((r.code, r.text), (0, ""), words)


@case
def a_gateway_that_does_not_answer_is_not_waited_for(g):
    """The program gives up by itself: whatever the listener does, it ends with status 0 and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        endpoint = f"http://127.0.0.1:{mute.getsockname()[1]}"
        r = complete(g, "--gateway-endpoint", endpoint, "sandbox", "get", "")
        equal((r.code, r.text), (0, ""))


@case
def other_shells_are_refused(g):
    r = run(BIN / "openshell", "completions", "tcsh")
    equal(r.code, 2, r)
    contains(r.err, "invalid value 'tcsh' for '<SHELL>'\n  [possible values: bash, fish, zsh]")


def main():
    WORK.mkdir()
    (WORK / "my policy.yaml").write_text("version: 1\n")
    gateway = Gateway(private).start()
    for name in ("box-one", "box-two"):
        gateway.must("sandbox", "create", "--name", name, "--detach", "--", "sleep", "infinity")
    suite.run(gateway)


main()
