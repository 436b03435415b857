#!/usr/bin/env python3
"""The gateway and the supervisors are killed at awkward moments; what was acknowledged stays, what runs is adopted, what cannot be
enforced any more ends, nothing leaks."""
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent / "lib"))
from harness import (BIN, ROOT, Authority, Gateway, Origin, Private, Suite, check, contains, equal, lo_address,
                     wait_for)

suite = Suite()
private = Private("recovery")
KILLS = 12
WRITE_KILLS = 20
ADDRESS = f"10.96.{os.getpid() % 250 + 1}.{os.getpid() // 250 % 250 + 1}"


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


def policy_text(host):
    return f"""version: 1
filesystem_policy: {{include_workdir: true, read_only: [/usr, /lib, /proc, /dev/urandom, /app, /etc, /var/log], read_write: [/tmp, /dev/null]}}
landlock: {{compatibility: best_effort}}
network_policies:
  api:
    name: api
    endpoints: [{{host: {host}, port: 443, protocol: rest, enforcement: enforce, access: read-only}}]
    binaries: [{{path: /usr/bin/curl}}]
"""


class Writer(threading.Thread):
    """Writes through the command line, over and over; remembers the last write that was acknowledged, and the one under way."""

    def __init__(self, write):
        super().__init__()
        self.write, self.acknowledged, self.tried, self.stop, self.count = write, None, None, False, 0

    def run(self):
        n = 0
        while not self.stop:
            n += 1
            self.tried = n
            if self.write(n):
                self.acknowledged = n
                self.count += 1
            else:
                time.sleep(0.02)


@suite.case
def killed_under_writes_no_acknowledged_one_is_lost(g):
    """Policies, settings, creates, deletes, stops and starts go on while the gateway is killed, WRITE_KILLS times."""
    for name in ("wpol", "wset", "wrun"):
        g.must("sandbox", "create", "--name", name, "--detach", "--", "sleep", "infinity")
    g.must("sandbox", "exec", "-n", "wrun", "--", "sh", "-c", "echo kept > /sandbox/mark")
    path = private.dir / "w.yaml"

    def set_policy(n):
        path.write_text(policy_text(f"w{n}.test"))
        return g.cli("policy", "set", "wpol", "--policy", path).code == 0

    def set_setting(n):
        return g.cli("settings", "set", "wset", "--key", "ocsf_json_enabled", "--value", "true" if n % 2 else "false").code == 0

    def create_or_delete(n):
        name = f"w{n // 2}"
        if n % 2 == 0:
            return g.cli("sandbox", "create", "--name", name, "--detach", "--", "sleep", "infinity").code == 0
        return g.cli("sandbox", "delete", name).code == 0

    def stop_or_start(n):
        return g.cli("sandbox", "stop" if n % 2 else "start", "wrun").code == 0

    writers = {f.__name__: Writer(f) for f in (set_policy, set_setting, create_or_delete, stop_or_start)}
    for w in writers.values():
        w.start()
    try:
        for i in range(WRITE_KILLS):
            time.sleep(0.1 + 0.037 * (i % 7))
            g.kill()
            acknowledged = writers["set_policy"].acknowledged or 0
            g.start()
            found = re.findall(r"w(\d+)\.test", g.must("policy", "get", "wpol", "--full").out)
            check(int((found or ["0"])[0]) >= acknowledged, f"kill {i + 1}: policy {found}, acknowledged {acknowledged}")
    finally:
        for w in writers.values():
            w.stop = True
        for w in writers.values():
            w.join(90)
    for name, w in writers.items():
        check(w.count >= 3, f"{name}: only {w.count} writes were acknowledged")
    print(f"# acknowledged under {WRITE_KILLS} kills:", {n: w.count for n, w in writers.items()}, flush=True)

    w = writers["set_policy"]
    hosts = re.findall(r"w(\d+)\.test", g.must("policy", "get", "wpol", "--full").out)
    check(hosts and w.acknowledged <= int(hosts[0]) <= w.tried, f"policy {hosts}, acknowledged {w.acknowledged}, tried {w.tried}")
    w = writers["set_setting"]
    if w.tried == w.acknowledged:  # otherwise the last one may or may not have been taken
        value = json.loads(g.must("settings", "get", "wset", "--json").out)["settings"]["ocsf_json_enabled"]
        contains(json.dumps(value), "true" if w.acknowledged % 2 else "false")
    w = writers["create_or_delete"]
    names = set(g.must("sandbox", "list", "--names").out.split())
    if w.tried == w.acknowledged:
        equal(f"w{w.acknowledged // 2}" in names, w.acknowledged % 2 == 0, "the last created or deleted")
    w = writers["stop_or_start"]
    if w.tried == w.acknowledged:
        want = "Stopped" if w.acknowledged % 2 else "Ready"
        wait_for(want, lambda: json.loads(g.must("sandbox", "get", "wrun", "-o", "json").out)["phase"] == want, 20, 0.1)
    # Consistent: everything listed is at rest or gets there, works, and goes without a trace.
    wait_for("phases at rest", lambda: all(s["phase"] in ("Ready", "Stopped", "Error") for s in
                                           json.loads(g.must("sandbox", "list", "-o", "json").out)), 30, 0.2)
    g.must("sandbox", "stop", "wrun")
    g.must("sandbox", "start", "wrun")
    equal(g.exec("wrun", "cat", "/sandbox/mark").out, "kept\n")
    for name in g.must("sandbox", "list", "--names").out.split():
        if name != "kept":
            g.must("sandbox", "delete", name)
    wait_for("the directories to go", lambda: len(g.sandbox_dirs()) == len(g.must("sandbox", "list", "--names").out.split()))


def curl(g, name, *more):
    return g.exec(name, "curl", "-sS", "--max-time", "10", *more, "https://kept.test/x")


@suite.case
def without_the_gateway_the_agent_and_its_egress_go_on(g):
    """The agent fetches all the time; the gateway is away for a while; the policy holds; the session is back within 1 s."""
    path = private.dir / "egress.yaml"
    path.write_text(policy_text("kept.test"))
    loop = ("while :; do a=$(curl -sS --max-time 5 -o /dev/null -w %{http_code} https://kept.test/x); "
            "b=$(curl -sS --max-time 5 -o /dev/null -w %{http_code} -X POST https://kept.test/x); "
            "c=$(curl -sS --max-time 5 -o /dev/null -w %{http_connect} https://other.test/ 2>/dev/null); "
            "echo $a $b $c >> /sandbox/log; sleep 0.05; done")
    g.must("sandbox", "create", "--name", "lone", "--policy", path, "--detach", "--", "sh", "-c", loop)
    log = next(g.state.glob(f"local/{json.loads(g.must('sandbox', 'get', 'lone', '-o', 'json').out)['id']}/workspace")) / "log"
    wait_for("the first answers", lambda: log.exists() and log.read_text().count("\n") >= 3, 20)
    g.kill()
    before = log.read_text().count("\n")
    time.sleep(4)  # by now the supervisor has tried some times
    during = log.read_text().splitlines()
    check(len(during) >= before + 5, f"{before} rounds before, {len(during)} after 4 s without a gateway")
    equal(set(during), {"200 403 403"}, "answers")
    started = time.monotonic()
    g.start()
    listening = time.monotonic()
    wait_for("the session", lambda: g.exec("lone", "true").code == 0, 30, 0.02)
    print(f"# the gateway listened after {listening - started:.2f} s, exec worked {time.monotonic() - listening:.2f} s later", flush=True)
    wait_for("the session in the log", lambda: "supervisor session: accepted" in g.must("logs", "lone").out)
    waits = re.findall(r"next attempt in (\d+) ms", "".join(p.read_text("utf-8", "replace") for p in g.state.glob("local/*/log")))
    check(waits and max(map(int, waits)) < 1000, f"waits between attempts: {waits}")
    equal(set(log.read_text().splitlines()[:-1]), {"200 403 403"}, "answers afterwards")
    g.must("sandbox", "delete", "lone")


@suite.case
def running_execs_end_with_the_gateway(g):
    """Every exec under way returns an error when the link goes, none hangs; none claims success or an exit code of its command."""
    g.must("sandbox", "create", "--name", "busy", "--detach", "--", "sleep", "infinity")
    execs = [subprocess.Popen([BIN / "openshell", "sandbox", "exec", "-n", "busy", "--", "sh", "-c", "echo up; sleep 100"], env=g.env,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(30)]
    for p in execs:
        equal(p.stdout.readline(), b"up\n")
    g.kill()
    for p in execs:
        out, err = p.communicate(timeout=40)
        equal((p.returncode, out), (1, b""), err)
        contains(err.decode(), "Error:")
    g.start()
    wait_for("exec", lambda: g.exec("busy", "true").code == 0, 20, 0.05)
    g.must("sandbox", "delete", "busy")


def supervisors(g, name):
    """pid of the first process of a sandbox and of all others in it, as the machine sees them."""
    record = g.state / "local" / json.loads(g.must("sandbox", "get", name, "-o", "json").out)["id"] / "process"
    first = int(record.read_text().split()[0])
    space = os.readlink(f"/proc/{first}/ns/pid")
    rest = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.readlink(f"/proc/{pid}/ns/pid") == space and int(pid) != first:
                rest.append(int(pid))
        except OSError:
            continue
    return first, sorted(rest)


@suite.case
def the_agent_ends_with_its_supervisor(g):
    """Monitor or worker: without either nothing would be enforced."""
    for victim in ("monitor", "worker"):
        g.must("sandbox", "create", "--name", "doomed", "--detach", "--", "sh", "-c", "sleep 1000 & sleep 1001")
        monitor, rest = supervisors(g, "doomed")
        check(len(rest) >= 4, f"worker, shell and two sleepers: {rest}")
        worker = [p for p in rest if b"openshell-sandbox" in pathlib.Path(f"/proc/{p}/cmdline").read_bytes()][0]
        os.kill(monitor if victim == "monitor" else worker, signal.SIGKILL)
        wait_for(f"all of it to end after the {victim}", lambda: not [p for p in (monitor, *rest) if os.path.exists(f"/proc/{p}")],
                 30)
        wait_for("Error", lambda: json.loads(g.must("sandbox", "get", "doomed", "-o", "json").out)["phase"] == "Error", 20, 0.05)
        check(g.exec("doomed", "true", timeout=5).code != 0, "exec in a dead sandbox")
        g.must("sandbox", "delete", "doomed")


@suite.case
def a_second_gateway_on_the_same_state_is_refused(g):
    p = subprocess.run([BIN / "openshell-gateway", "--port", "0"], env=g.env, capture_output=True, timeout=20, check=False)
    equal(p.returncode, 1)
    contains(p.stderr.decode(), "another gateway runs on the state in")


def main():
    authority = Authority(private.dir)
    lo_address(private, ADDRESS)
    (private.dir / "hosts").write_text(f"{ADDRESS} kept.test\n")
    Origin(ADDRESS, 443, *authority.issue("kept.test"))
    gateway = Gateway(private, {"OPENSHELL_LOCAL_EXTRA_CA": str(authority.pem),
                                "OPENSHELL_LOCAL_EXTRA_HOSTS": str(private.dir / "hosts")})
    gateway.start()
    suite.run(gateway)


main()
