#!/usr/bin/env python3
"""Measures what DESIGN promises, each figure beside a baseline from the same run, and prints one table."""
import pathlib
import re
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests/e2e/lib"))
from harness import BIN, BUILD, Authority, Gateway, Private, check, lo_address, run  # noqa: E402

ADDRESS = "10.96.1.1"
BENCH = BUILD / "bench"
POLICY = """version: 1
filesystem_policy:
  include_workdir: true
  read_only: [/usr, /lib, /proc, /dev/urandom, /app, /etc, /var/log]
  read_write: [/tmp, /dev/null]
landlock:
  compatibility: best_effort
network_policies:
  api:
    name: api
    endpoints:
      - {{host: bench.test, port: 443, protocol: rest, enforcement: enforce, access: {access}}}
      - {{host: bench.test, port: 444, tls: skip}}
    binaries:
      - {{path: /sandbox/https_client}}
      - {{path: /sandbox/blast}}
      - {{path: /usr/bin/curl}}
"""
rows = []


def figures(*argv, env=None):
    r = run(*argv, env=env, timeout=300)
    check(r.code == 0, r)
    p50, p99 = map(float, r.out.split()[-2:])
    return p50, p99


def row(what, unit, got, bar, baseline_name, baseline, value=None):
    value = got[0] if value is None else value
    rows.append((what, f"{got[0]:.2f} / {got[1]:.2f} {unit}", f"{baseline_name}: {baseline[0]:.2f} / {baseline[1]:.2f} {unit}",
                 bar[0], "met" if value <= bar[1] else "MISSED"))
    print(f"  {what}: {got[0]:.2f} / {got[1]:.2f} {unit}", flush=True)


def spawn(env, count, *argv):
    return figures(BENCH / "spawn_time", count, *argv, env=env)


def runtime(g):
    cli = BIN / "openshell"
    bare = spawn(g.env, 200, "true")
    row("openshell --version", "ms", spawn(g.env, 200, cli, "--version"), ("<= 5 ms p50", 5), "fork+exec true", bare)
    spaces = spawn(g.env, 100, "unshare", "-muipnCf", "true")
    created = spawn(g.env, 20, cli, "sandbox", "create", "--name", "b{}", "--detach", "--", "sleep", "infinity")
    row("create -> Ready", "ms", created, ("<= 40 ms p50", 40), "unshare of all namespaces, true", spaces)
    one = spawn(g.env, 200, cli, "sandbox", "exec", "-n", "b0", "--", "true")
    row("exec -- true, 20 sandboxes running", "ms", one, ("<= 5.5 ms p50", 5.5), "fork+exec true", bare)
    removed = spawn(g.env, 20, cli, "sandbox", "delete", "b{}")
    row("delete", "ms", removed, ("<= 50 ms p50", 50), "unshare of all namespaces, true", spaces)
    g.must("sandbox", "create", "--name", "one", "--detach", "--", "sleep", "infinity")
    row("exec -- true", "ms", spawn(g.env, 300, cli, "sandbox", "exec", "-n", "one", "--", "true"), ("<= 5 ms p50", 5),
        "fork+exec true", bare)


def policy(g):
    for i, access in enumerate(("read-only", "full")):
        (private.dir / f"p{i}.yaml").write_text(POLICY.format(access=access))
    # Both files alternate, so that every run is a new revision.
    script = private.dir / "set.sh"
    script.write_text(f"#!/bin/sh\nexec {BIN}/openshell policy set one --policy {private.dir}/p$(($1 % 2)).yaml --wait\n")
    script.chmod(0o755)
    got = spawn(g.env, 60, script, "{}")
    status = spawn(g.env, 60, BIN / "openshell", "policy", "get", "one")
    row("policy set --wait (enforced and reported)", "ms", got, ("<= 50 ms p99", 50), "policy get", status, value=got[1])


def send(g, program):
    r = g.exec("one", "sh", "-c", f"cat > /sandbox/{program.name} && chmod 755 /sandbox/{program.name}",
               stdin=program.read_bytes())
    check(r.code == 0, r)


def throughput(g):
    blast = BENCH / "blast"
    send(g, blast)
    source = private.spawn(blast, "serve", ADDRESS, 444, stdout=subprocess.PIPE)
    check(source.stdout.readline() == b"ready\n", "the source did not start")
    direct = sorted(float(run(blast, "get", 2000, "direct", ADDRESS, 444).out) for _ in range(5))[2]
    through = sorted(float(g.exec("one", "/sandbox/blast", "get", "2000", "proxy", "10.200.0.1", "3128", "bench.test",
                                  "444").out) for _ in range(5))[2]
    share = 100 * through / direct
    rows.append(("opaque CONNECT throughput", f"{through:.0f} MB/s = {share:.0f} %", f"direct: {direct:.0f} MB/s",
                 ">= 90 % of direct", "met" if share >= 90 else "MISSED"))
    print(f"  opaque CONNECT throughput: {through:.0f} MB/s", flush=True)


def https(g, authority):
    client = BENCH / "https_client"
    send(g, client)
    g.must("policy", "set", "one", "--policy", private.dir / "p0.yaml", "--wait")
    for option, what in (("", "HTTPS request"), ("-2", "HTTP/2 request")):
        direct = figures(client, *option.split(), 3000, "bench.test", 443, authority.pem, "direct", ADDRESS)
        r = g.exec("one", "sh", "-c", f"exec /sandbox/https_client {option} 3000 bench.test 443 \"$SSL_CERT_FILE\" "
                   "proxy 10.200.0.1 3128")
        check(r.code == 0, r)
        p50, p99 = map(float, r.out.split())
        added = (p50 - direct[0], p99 - direct[1])
        row(f"{what} added by the proxy, inspected", "us", added, ("<= 60 us p50", 60), "direct round trip", direct)


def memory(g):
    sizes = {"supervisor (monitor + worker)": (0, 6144), "gateway": (0, 20480 + 20)}
    total = {"supervisor (monitor + worker)": 0, "gateway": 0}
    for pid in filter(str.isdigit, (p.name for p in pathlib.Path("/proc").iterdir())):
        try:
            exe = pathlib.Path(f"/proc/{pid}/exe").resolve().name
            mine = f":{g.port}".encode() in pathlib.Path(f"/proc/{pid}/environ").read_bytes()
            pss = next(int(line.split()[1]) for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
                       if line.startswith("Pss:"))
        except (OSError, StopIteration):
            continue
        if exe.startswith("openshell-sandbox") and mine:
            total["supervisor (monitor + worker)"] += pss
        elif pid == str(g.process.pid):
            total["gateway"] += pss
    self_pss = next(int(line.split()[1]) for line in pathlib.Path("/proc/self/smaps_rollup").read_text().splitlines()
                    if line.startswith("Pss:"))
    for what, kb in total.items():
        row(f"idle memory (PSS), {what}", "MB", (kb / 1024, kb / 1024), (f"<= {sizes[what][1] // 1024} MB", sizes[what][1] / 1024),
            "this Python", (self_pss / 1024, self_pss / 1024))


def decisions():
    bars = {"L4": 1000, "L7": 3000}
    for rules in (10, 100, 1000):
        r = run(BENCH / "bench_decide", rules, timeout=120)
        check(r.code == 0, r)
        found = re.search(r"L4 (\d+) ns, L7 (\d+) ns, (\d+) allocations", r.out)
        check(found, r)
        for kind, ns in zip(("L4", "L7"), found.groups()):
            rows.append((f"policy decision, {rules} rules, {kind}", f"{ns} ns", f"allocations: {found.group(3)}",
                         f"<= {bars[kind]} ns", "met" if int(ns) <= bars[kind] else "MISSED"))
            print(f"  policy decision, {rules} rules, {kind}: {ns} ns", flush=True)


def secrets():
    r = run(BENCH / "bench_secrets", timeout=120)
    check(r.code == 0, r)
    speeds = {kind: int(n) for kind, n in re.findall(r"(\w+) (\d+) MB/s", r.out)}
    for kind, bar in (("random", 800), ("base64", 400), ("text", 200)):
        rows.append((f"secret scan of an upload, {kind}", f"{speeds[kind]} MB/s", "processor time, one core", f">= {bar} MB/s",
                     "met" if speeds[kind] >= bar else "MISSED"))
        print(f"  secret scan of an upload, {kind}: {speeds[kind]} MB/s", flush=True)


def table():
    heads = ("what", "p50 / p99", "baseline, same run", "bar", "")
    widths = [max(len(r[i]) for r in [heads, *rows]) for i in range(5)]
    print()
    for r in [heads, tuple("-" * w for w in widths), *rows]:
        print("  ".join(cell.ljust(w) for cell, w in zip(r, widths)).rstrip())


private = Private("bench")


def main():
    authority = Authority(private.dir)
    (private.dir / "hosts").write_text(f"{ADDRESS} bench.test\n")
    lo_address(private, ADDRESS)
    cert, key = authority.issue("bench.test")
    origin = private.spawn(BENCH / "https_origin", ADDRESS, 443, cert, key, stdout=subprocess.PIPE)
    check(origin.stdout.readline() == b"ready\n", "the origin did not start")
    g = Gateway(private, {"OPENSHELL_LOCAL_EXTRA_CA": str(authority.pem),
                          "OPENSHELL_LOCAL_EXTRA_HOSTS": str(private.dir / "hosts")}).start()
    runtime(g)
    policy(g)
    time.sleep(3)  # memory of start-up is given back after two seconds
    memory(g)
    https(g, authority)
    throughput(g)
    decisions()
    secrets()
    table()


if __name__ == "__main__":
    main()
