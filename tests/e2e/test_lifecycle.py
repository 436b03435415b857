#!/usr/bin/env python3
"""Stop and start: what is in a sandbox stays, what runs in it does not; also when the gateway is killed in between."""
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent / "lib"))
from harness import BIN, Gateway, Private, Suite, check, contains, equal, wait_for

suite = Suite()
case = suite.case
private = Private("lifecycle")

POLICY = """version: 1
filesystem_policy:
  include_workdir: true
  read_only: [/usr, /lib, /proc, /dev/urandom, /etc, /var/log]
  read_write: [/tmp, /dev/null]
network_policies:
  kept:
    name: kept
    endpoints:
      - {host: kept.test, port: 443}
    binaries:
      - {path: /usr/bin/curl}
"""


def create(g, name, *command):
    g.must("sandbox", "create", "--name", name, "--detach", "--", *(command or ("sleep", "infinity")))


def state(g, name):
    return json.loads(g.must("sandbox", "get", name, "-o", "json").out)


def phase(g, name):
    return state(g, name)["phase"]


def ready(g, name):
    wait_for(f"exec in {name}", lambda: g.exec(name, "true").code == 0, 20, 0.05)


def supervisor_pid(g, name):
    return int((g.state / "local" / state(g, name)["id"] / "process").read_text().split()[0])


@case
def a_start_right_behind_an_end_is_not_undone_by_it(g):
    """The end of the first run may be told when the second one has begun."""
    for i in range(8):
        g.cli("sandbox", "create", "--name", f"quick{i}", "--detach", "--", "sh", "-c",
              "test -e /sandbox/ran && exec sleep infinity; touch /sandbox/ran; exit 3")
        wait_for("the end", lambda: phase(g, f"quick{i}") == "Error", 20, 0.005)
        g.must("sandbox", "start", f"quick{i}")
        ready(g, f"quick{i}")
    time.sleep(0.2)
    equal([phase(g, f"quick{i}") for i in range(8)], ["Ready"] * 8, "phases")
    g.must("sandbox", "delete", *(f"quick{i}" for i in range(8)))


@case
def stop_ends_everything_and_start_brings_the_files_back(g):
    path = private.dir / "policy.yaml"
    path.write_text(POLICY)
    g.must("sandbox", "create", "--name", "box", "--policy", path, "--detach", "--", "sleep", "infinity")
    g.must("sandbox", "exec", "-n", "box", "--", "sh", "-c",
           "echo layer >/tmp/mark; echo home >/sandbox/mark; sleep 4711 >/dev/null 2>&1 &")
    before = state(g, "box")
    pid = supervisor_pid(g, "box")
    r = g.must("sandbox", "stop", "box")
    contains(r.out, "Stopped sandbox box")
    equal(phase(g, "box"), "Stopped")
    check(not os.path.exists(f"/proc/{pid}"), "the supervisor still runs")
    r = g.must("sandbox", "start", "box")
    contains(r.out, "Started sandbox box")
    after = state(g, "box")
    equal(after["phase"], "Ready")
    equal(after["policy"], before["policy"], "the policy")
    equal(after["id"], before["id"])
    equal(g.exec("box", "cat", "/tmp/mark", "/sandbox/mark").out, "layer\nhome\n")
    check("4711" not in g.exec("box", "sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '").out, "a process survived")


@case
def exec_is_refused_while_stopped(g):
    g.must("sandbox", "stop", "box")
    started = time.monotonic()
    r = g.exec("box", "true")
    equal(r.code, 1, r)
    contains(r.err, "is not ready (phase: Stopped)")
    check(time.monotonic() - started < 10, "refusing took long")


@case
def both_are_idempotent(g):
    g.must("sandbox", "stop", "box")
    g.must("sandbox", "start", "box")
    g.must("sandbox", "start", "box")
    equal(g.exec("box", "cat", "/tmp/mark").out, "layer\n")


@case
def two_at_once_are_one_after_the_other(g):
    both = [subprocess.Popen([BIN / "openshell", "sandbox", what, "box"], env=g.env, stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL) for what in ("stop", "stop", "start")]
    for p in both:
        check(p.wait(60) in (0, 1))
    wait_for("a phase at rest", lambda: phase(g, "box") in ("Ready", "Stopped"), 20, 0.05)
    g.must("sandbox", "start", "box")
    ready(g, "box")


@case
def a_kept_sandbox_outlives_its_first_command(g):
    g.must("sandbox", "create", "--name", "kept", "--keep", "--detach", "--", "sh", "-c", "echo first >/sandbox/first")
    wait_for("the exit code", lambda: state(g, "kept").get("exit_code") == 0, 20, 0.05)
    time.sleep(1)
    equal(phase(g, "kept"), "Ready")
    equal(g.exec("kept", "cat", "/sandbox/first").out, "first\n")
    g.kill()
    g.start()
    ready(g, "kept")
    equal((state(g, "kept")["exit_code"], phase(g, "kept")), (0, "Ready"))
    g.must("sandbox", "stop", "kept")
    g.must("sandbox", "start", "kept")
    equal(g.exec("kept", "cat", "/sandbox/first").out, "first\n")
    g.must("sandbox", "delete", "kept")


@case
def a_kept_sandbox_outlives_a_failing_command_too(g):
    g.must("sandbox", "create", "--name", "kept", "--keep", "--detach", "--", "sh", "-c", "exit 3")
    wait_for("the exit code", lambda: state(g, "kept").get("exit_code") == 3, 20, 0.05)
    equal(g.exec("kept", "echo", "still here").out, "still here\n")
    contains(g.must("sandbox", "get", "kept").out, "Exit code: 3")
    g.must("sandbox", "delete", "kept")


@case
def a_job_that_succeeds_is_no_error(g):
    g.must("sandbox", "create", "--name", "job", "--detach", "--", "sh", "-c", "echo done >/sandbox/result")
    wait_for("its end", lambda: phase(g, "job") == "Stopped", 20, 0.05)
    s = state(g, "job")
    equal((s["phase"], s["exit_code"]), ("Stopped", 0))
    time.sleep(1)
    equal(phase(g, "job"), "Stopped")
    g.kill()
    g.start()
    s = state(g, "job")
    equal((s["phase"], s["exit_code"]), ("Stopped", 0))
    g.must("sandbox", "start", "job")
    wait_for("its end", lambda: phase(g, "job") == "Stopped", 20, 0.05)
    g.must("sandbox", "delete", "job")


@case
def a_job_that_fails_shows_its_code(g):
    g.cli("sandbox", "create", "--name", "job", "--detach", "--", "sh", "-c", "exit 41")
    wait_for("its end", lambda: phase(g, "job") == "Error", 20, 0.05)
    equal(state(g, "job")["exit_code"], 41)
    contains(g.must("sandbox", "get", "job").out, "Exit code: 41")
    g.must("sandbox", "delete", "job")


@case
def a_job_that_ends_while_the_gateway_is_away_reports_later(g):
    g.must("sandbox", "create", "--name", "job", "--detach", "--", "sh", "-c", "sleep 1; exit 0")
    g.kill()
    time.sleep(1.5)
    g.start()
    wait_for("its end", lambda: phase(g, "job") == "Stopped", 30, 0.05)
    equal(state(g, "job")["exit_code"], 0)
    g.must("sandbox", "delete", "job")


@case
def an_unknown_name_is_refused(g):
    for what in ("stop", "start"):
        r = g.cli("sandbox", what, "nobody")
        equal(r.code, 1)
        contains(r.err, "sandbox not found")


@case
def stopped_stays_stopped_over_a_restart_of_the_gateway(g):
    g.must("sandbox", "stop", "box")
    g.kill()
    g.start()
    equal(phase(g, "box"), "Stopped")
    g.must("sandbox", "start", "box")
    equal(g.exec("box", "cat", "/tmp/mark", "/sandbox/mark").out, "layer\nhome\n")


@case
def killed_while_stopping_or_starting_it_goes_on(g):
    for i in range(4):
        for what in ("stop", "start"):
            p = subprocess.Popen([BIN / "openshell", "sandbox", what, "box"], env=g.env, stdout=subprocess.DEVNULL,
                                 stderr=subprocess.DEVNULL)
            time.sleep(0.004 + 0.012 * i)
            g.kill()
            p.wait(60)
            g.start()
            rest = ("Ready", "Stopped")
            wait_for("a phase at rest", lambda: phase(g, "box") in rest, 30, 0.05)
    g.must("sandbox", "stop", "box")
    g.must("sandbox", "start", "box")
    equal(g.exec("box", "cat", "/tmp/mark", "/sandbox/mark").out, "layer\nhome\n")


@case
def a_sandbox_in_error_can_be_stopped_and_started(g):
    os.kill(supervisor_pid(g, "box"), signal.SIGKILL)
    wait_for("Error", lambda: phase(g, "box") == "Error", 20, 0.05)
    g.must("sandbox", "stop", "box")
    equal(phase(g, "box"), "Stopped")
    g.must("sandbox", "start", "box")
    equal(g.exec("box", "cat", "/tmp/mark").out, "layer\n")
    os.kill(supervisor_pid(g, "box"), signal.SIGKILL)
    wait_for("Error", lambda: phase(g, "box") == "Error", 20, 0.05)
    g.must("sandbox", "start", "box")
    equal(g.exec("box", "cat", "/tmp/mark").out, "layer\n")


@case
def after_a_restart_of_the_machine_it_runs_again(g):
    """The machine is not restarted for a test: its processes are gone and the boot they belonged to is another."""
    record = g.state / "local" / state(g, "box")["id"] / "process"
    pid = supervisor_pid(g, "box")
    g.kill()
    os.kill(pid, signal.SIGKILL)
    wait_for("the supervisor to end", lambda: not os.path.exists(f"/proc/{pid}"))
    words = record.read_text().split()
    words[2] = "00000000-0000-4000-8000-000000000000"
    record.write_text(" ".join(words) + "\n")
    g.start()
    wait_for("Ready", lambda: phase(g, "box") == "Ready", 20, 0.05)
    ready(g, "box")
    equal(g.exec("box", "cat", "/sandbox/mark").out, "home\n")


@case
def a_stopped_sandbox_can_be_deleted(g):
    g.must("sandbox", "stop", "box")
    g.must("sandbox", "delete", "box")
    contains(g.cli("sandbox", "get", "box").err, "not found")
    wait_for("its directory to go", lambda: not g.sandbox_dirs())


def main():
    gateway = Gateway(private)
    gateway.start()
    suite.run(gateway)


main()
