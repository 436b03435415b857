#!/usr/bin/env python3
"""The gateway is killed at awkward moments; what it acknowledged stays, what runs is adopted, nothing leaks."""
import os
import pathlib
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent / "lib"))
from harness import BIN, ROOT, Gateway, Private, Suite, check, contains, equal, wait_for

suite = Suite()
private = Private("recovery")
KILLS = 12


def ready(g, name):
    wait_for(f"{name} to be Ready", lambda: "Ready" in g.cli("sandbox", "get", name).out, 20, 0.1)


@suite.case
def live_sandboxes_survive_many_kills(g):
    g.must("sandbox", "create", "--name", "kept", "--detach", "--", "sleep", "infinity")
    g.must("sandbox", "exec", "-n", "kept", "--", "sh", "-c", "echo original > /tmp/mark")
    main = g.must("sandbox", "exec", "-n", "kept", "--", "sh", "-c", "pgrep -x sleep || cat /proc/[0-9]*/comm").out
    for i in range(KILLS):
        g.kill()
        g.start()
        # The stored phase says Ready before the supervisor is back: what counts is that commands run again.
        wait_for(f"exec to work after kill {i + 1}",
                 lambda: g.exec("kept", "cat", "/tmp/mark").out == "original\n", 20, 0.05)
    again = g.must("sandbox", "exec", "-n", "kept", "--", "sh", "-c", "pgrep -x sleep || cat /proc/[0-9]*/comm").out
    equal(again, main, "the main process")


@suite.case
def killed_during_creates_nothing_is_half_there(g):
    for i in range(4):
        creators = [subprocess.Popen([BIN / "openshell", "sandbox", "create", "--name", f"c{i}-{k}", "--detach", "--",
                                      "sleep", "infinity"], env=g.env, stdout=subprocess.DEVNULL,
                                     stderr=subprocess.DEVNULL) for k in range(4)]
        time.sleep(0.01 + 0.02 * i)
        g.kill()
        for p in creators:
            p.wait(60)
        g.start()
    names = g.must("sandbox", "list", "--names").out.split()
    time.sleep(1)
    for name in names:
        g.must("sandbox", "get", name)
        g.must("sandbox", "delete", name)
    wait_for("the directories to go", lambda: not g.sandbox_dirs())


@suite.case
def an_acknowledged_policy_is_still_there(g):
    g.must("sandbox", "create", "--name", "pol", "--detach", "--", "sleep", "infinity")
    path = private.dir / "p.yaml"
    path.write_text((ROOT / "examples/quickstart/policy.yaml").read_text().replace("api.demo.test", "kept.test"))
    g.must("policy", "set", "pol", "--policy", path, "--wait")
    g.kill()
    g.start()
    contains(g.must("policy", "get", "pol", "--full").out, "kept.test")
    g.must("sandbox", "delete", "pol")


@suite.case
def killed_during_deletes_they_are_finished(g):
    for name in ("d1", "d2", "d3"):
        g.must("sandbox", "create", "--name", name, "--detach", "--", "sleep", "infinity")
    deleters = [subprocess.Popen([BIN / "openshell", "sandbox", "delete", name], env=g.env,
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for name in ("d1", "d2", "d3")]
    time.sleep(0.015)
    g.kill()
    for p in deleters:
        p.wait(60)
    g.start()
    for name in g.must("sandbox", "list", "--names").out.split():
        g.cli("sandbox", "delete", name)
    wait_for("an empty list", lambda: not g.must("sandbox", "list", "--names").out.split())
    wait_for("the directories to go", lambda: not g.sandbox_dirs())


@suite.case
def a_second_gateway_on_the_same_state_is_refused(g):
    p = subprocess.run([BIN / "openshell-gateway", "--port", "0"], env=g.env, capture_output=True, timeout=20, check=False)
    equal(p.returncode, 1)
    contains(p.stderr.decode(), "another gateway runs on the state in")


def main():
    gateway = Gateway(private)
    gateway.start()
    suite.run(gateway)


main()
