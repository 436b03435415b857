#!/usr/bin/env python3
"""Careless and hostile surroundings of the command line and the gateway: closed descriptors, readers that leave, bad
bytes, gateways that hang, clients that are killed, disks that are full."""
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent / "lib"))
from harness import BIN, Gateway, Private, Skip, Suite, check, contains, equal, free_port, run, wait_for

suite = Suite()
case = suite.case
private = Private("hostile")
OPENSHELL = str(BIN / "openshell")
EXEC = ("sandbox", "exec", "-n", "box", "--")


def shell(g, script, timeout=60):
    """A host shell that knows openshell."""
    env = dict(g.env, PATH=f"{BIN}:{g.env['PATH']}")
    return run("bash", "-c", script, env=env, timeout=timeout)


# --- descriptors ---

@case
def closed_standard_descriptors_are_no_danger(g):
    for closed in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
        for command in ("sandbox list", "sandbox exec -n box -- cat", "sandbox exec -n box -- sh -c 'echo x; echo y >&2'",
                        "logs box", "--version", "sandbox get nope"):
            r = shell(g, f"openshell {command} {closed}; exit $?")
            equal(r.code, 1 if "nope" in command else 0, f"{command} {closed}: {r}")


@case
def a_reader_that_leaves_ends_the_command(g):
    r = shell(g, "openshell logs box | head -1; echo ${PIPESTATUS[0]}; openshell sandbox exec -n box -- yes | head -1;"
                 " echo ${PIPESTATUS[0]}; (openshell logs box --tail; echo $? >&2) | head -1")
    lines = r.out.splitlines()
    equal((lines[1], lines[2], lines[3]), ("0", "y", "141"), r)


@case
def a_full_disk_is_an_error(g):
    for command in ("sandbox list", "logs box", "sandbox exec -n box -- echo x"):
        r = shell(g, f"openshell {command} >/dev/full")
        check(r.code != 0, f"{command}: {r}")


def main():
    try:
        g = Gateway(private).start()
    except Skip as why:
        print(f"skip hostile: {why}")
        return
    g.must("sandbox", "create", "--name", "box", "--detach", "--", "sleep", "infinity")
    suite.run(g)


main()
