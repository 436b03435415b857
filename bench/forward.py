"""Opaque connections: straight to their target, through the proxy of a sandbox, and through other forward proxies on the
same machine. The rounds of all of them take turns."""
import subprocess
import time

from harness import BIN
from neighbours import neighbours
from table import BENCH, add, check, figures, middle, pair, pss, row, run, show

ADDRESS, HOST = "10.96.1.1", "bench.test"
PORT_SOURCE, PORTS_ECHO = 444, (445, 446, 447, 448)  # one for each way: there are only so many ports to connect from
PROXY = ("10.200.0.1", "3128")
MEGABYTES, CONNECTIONS, SINGLY, MESSAGES, IDLE = 2000, 1500, 500, 5000, 400
ROUNDS = 5


class Direct:
    name, port, env = "direct", PORTS_ECHO[1], None

    def command(self, program, *args, port):
        return [BENCH / program, *args, "direct", ADDRESS, port]


class Neighbour(Direct):
    def __init__(self, proxy, port):
        self.name = f"{proxy.name} {proxy.version}"
        self.proxy, self.port = proxy, port

    def command(self, program, *args, port):
        return [BENCH / program, *args, "proxy", "127.0.0.1", self.proxy.port, ADDRESS, port]

    def memory(self):
        return pss(self.proxy.pid)


class Sandbox(Direct):
    name, port = "OpenShell", PORTS_ECHO[0]

    def __init__(self, g, memory):
        self.env = g.env
        self.memory = memory

    def command(self, program, *args, port):
        return [BIN / "openshell", "sandbox", "exec", "-n", "one", "--", f"/sandbox/{program}", *args, "proxy", *PROXY, HOST,
                port]


def number(way, *args, port):
    r = run(*way.command(*args, port=port), env=way.env, timeout=120)
    check(r.code == 0, r)
    return float(r.out)


def round_trips(way, what, count):
    return figures(*way.command("tunnels", what, count, port=way.port), env=way.env)


def idle_kilobytes(private, way):
    """What one idle connection adds to the memory of the proxy."""
    before = way.memory()
    p = private.spawn(*way.command("tunnels", "idle", IDLE, port=way.port), env=way.env, stdin=subprocess.PIPE,
                      stdout=subprocess.PIPE)
    check(p.stdout.readline() == b"ready\n", f"{way.name}: no {IDLE} connections")
    time.sleep(3)
    grown = way.memory() - before
    p.stdin.close()
    p.wait(20)
    return grown / IDLE


MEASURES = {
    "throughput": lambda way: number(way, "blast", "get", MEGABYTES, port=PORT_SOURCE),
    "rate": lambda way: number(way, "tunnels", "rate", CONNECTIONS, port=way.port),
    "new": lambda way: round_trips(way, "new", SINGLY),
    "ping": lambda way: round_trips(way, "ping", MESSAGES),
}


def measure(ways):
    """{measure: {name of the way: figure}}"""
    got = {what: {way.name: [] for way in ways} for what in MEASURES}
    for what, fn in MEASURES.items():
        for _ in range(ROUNDS):
            for way in ways:
                got[what][way.name].append(fn(way))
    return {what: {name: middle(values) for name, values in by_way.items()} for what, by_way in got.items()}


def show_beside(got, idle, ways, why):
    """The second table: one column per way."""
    def line(what, text, values):
        return (what, *(text(values[way.name]) if way.name in values else "" for way in ways))

    show(("opaque connections, same run", *(way.name for way in ways)), [
        line("throughput of a tunnel", "{:.0f} MB/s".format, got["throughput"]),
        line("new connections, four at a time", "{:.0f} /s".format, got["rate"]),
        line("new connection and a message, p50 / p99", lambda v: pair(v, "us"), got["new"]),
        line("message over an open one, p50 / p99", lambda v: pair(v, "us"), got["ping"]),
        line(f"memory (PSS) per idle one, of {IDLE}", "{:.1f} kB".format, idle),
    ])
    for reason in why:
        print(f"not measured: {reason}")


def bars(mine, direct, idle):
    for what, unit, key, least in (("opaque CONNECT throughput", "MB/s", "throughput", 90),
                                   ("new opaque connections, four at a time", "/s", "rate", 25)):
        share = 100 * mine[key] / direct[key]
        add(what, f"{mine[key]:.0f} {unit} = {share:.0f} %", f"direct: {direct[key]:.0f} {unit}", f">= {least} % of direct",
            share >= least)
    row("message added by the proxy, opaque", "us", tuple(a - b for a, b in zip(mine["ping"], direct["ping"])),
        ("<= 60 us p50", 60), "direct round trip", direct["ping"])
    add("memory (PSS) per idle opaque connection", f"{idle:.1f} kB", f"{IDLE} connections", "<= 40 kB", idle <= 40)  # 20 MB with as many as there may be


def forward(private, g, memory):
    """memory(): kilobytes of the supervisor. Adds the rows that have a bar; returns what prints the second table."""
    running, why = neighbours(private)
    ways = [Direct(), Sandbox(g, memory), *map(Neighbour, running, PORTS_ECHO[2:])]
    for port, program in ((PORT_SOURCE, "blast"), *((way.port, "tunnels") for way in ways)):
        p = private.spawn(BENCH / program, "serve", ADDRESS, port, stdout=subprocess.PIPE)
        check(p.stdout.readline() == b"ready\n", f"{program} did not start")
    got = measure(ways)
    idle = {way.name: idle_kilobytes(private, way) for way in ways[1:]}
    bars(*({what: figure[name] for what, figure in got.items()} for name in ("OpenShell", "direct")), idle["OpenShell"])
    return lambda: show_beside(got, idle, ways, why)
