#!/usr/bin/env python3
"""Measures what DESIGN promises, each figure beside a baseline from the same run, and prints one table."""
import pathlib
import re
import subprocess
import time

from table import BENCH, add, busy, check, figures, middle, pss, row, run, show_rows  # first: it says where the rest is
from decisions import decisions
from forward import ADDRESS, HOST, PROXY, forward
from harness import BIN, Authority, Gateway, Private, lo_address

WEBSOCKET_HOST = "ws.bench.test"
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
      - {{host: bench.test, ports: [444, 445], tls: skip}}
      - {{host: ws.bench.test, port: 443, protocol: websocket, enforcement: enforce, access: read-write}}
    binaries:
      - {{path: /sandbox/https_client}}
      - {{path: /sandbox/blast}}
      - {{path: /sandbox/tunnels}}
      - {{path: /usr/bin/curl}}
"""


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


def https(g, authority):
    client = BENCH / "https_client"
    g.must("policy", "set", "one", "--policy", private.dir / "p0.yaml", "--wait")
    for option, host, count, what in (("", HOST, 3000, "HTTPS request"), ("-2", HOST, 3000, "HTTP/2 request"),
                                      ("-w", WEBSOCKET_HOST, 3000, "WebSocket message"),
                                      ("-n", HOST, 300, "HTTPS request, new connection")):
        direct, through = [], []
        for _ in range(5):
            direct.append(figures(client, *option.split(), count, host, authority.pem, "direct", ADDRESS, 443))
            r = g.exec("one", "sh", "-c", f"exec /sandbox/https_client {option} {count} {host} \"$SSL_CERT_FILE\" "
                       f"proxy {' '.join(PROXY)} {host} 443")
            check(r.code == 0, r)
            through.append(tuple(map(float, r.out.split())))
        direct = middle(direct)
        added = tuple(a - b for a, b in zip(middle(through), direct))
        # A new connection has two handshakes instead of one.
        bar = ("<= 1.5 x direct p50", 1.5 * direct[0]) if option == "-n" else ("<= 60 us p50", 60)
        row(f"{what} added by the proxy, inspected", "us", added, bar, "direct", direct)


def supervisor_kilobytes(g):
    """PSS of the monitor and the worker of every sandbox of this gateway."""
    total = 0
    for pid in filter(str.isdigit, (p.name for p in pathlib.Path("/proc").iterdir())):
        try:
            exe = pathlib.Path(f"/proc/{pid}/exe").resolve().name
            if exe.startswith("openshell-sandbox") and f":{g.port}".encode() in pathlib.Path(f"/proc/{pid}/environ").read_bytes():
                total += pss(pid)
        except OSError:
            continue
    return total


def memory(g):
    this = pss("self") / 1024
    for what, kb, bar in (("supervisor (monitor + worker)", supervisor_kilobytes(g), 6144),
                          ("gateway", pss(g.process.pid), 20480 + 20)):
        row(f"idle memory (PSS), {what}", "MB", (kb / 1024, kb / 1024), (f"<= {bar // 1024} MB", bar / 1024), "this Python",
            (this, this))


def secrets():
    r = run(BENCH / "bench_secrets", timeout=120)
    check(r.code == 0, r)
    speeds = {kind: int(n) for kind, n in re.findall(r"(\w+) (\d+) MB/s", r.out)}
    for kind, bar in (("random", 800), ("base64", 400), ("text", 200)):
        add(f"secret scan of an upload, {kind}", f"{speeds[kind]} MB/s", "processor time, one core", f">= {bar} MB/s",
            speeds[kind] >= bar)


private = Private("bench")


def main():
    others = [busy()]
    authority = Authority(private.dir)
    (private.dir / "hosts").write_text(f"{ADDRESS} {HOST} {WEBSOCKET_HOST}\n")
    lo_address(private, ADDRESS)
    cert, key = authority.issue(HOST, WEBSOCKET_HOST)
    origin = private.spawn(BENCH / "https_origin", ADDRESS, 443, cert, key, stdout=subprocess.PIPE)
    check(origin.stdout.readline() == b"ready\n", "the origin did not start")
    g = Gateway(private, {"OPENSHELL_LOCAL_EXTRA_CA": str(authority.pem),
                          "OPENSHELL_LOCAL_EXTRA_HOSTS": str(private.dir / "hosts")}).start()
    runtime(g)
    policy(g)
    time.sleep(3)  # memory of start-up is given back after two seconds
    memory(g)
    others.append(busy())
    for program in ("https_client", "blast", "tunnels"):
        send(g, BENCH / program)
    https(g, authority)
    others.append(busy())
    show_others = forward(private, g, lambda: supervisor_kilobytes(g))
    others.append(busy())
    decisions(private)
    others.append(busy())
    secrets()
    show_rows()
    show_others()
    print("\nof the processors, other programs had before and between the parts: "
          f"{', '.join(f'{share:.0f} %' for share in others)}; figures beside much more than 0 % say little")


if __name__ == "__main__":
    main()
