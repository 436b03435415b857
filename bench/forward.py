"""Opaque connections: straight to their target, through the proxy of a sandbox, and through other forward proxies on the
same machine. The rounds of all of them take turns."""
import statistics
import subprocess
import time

from harness import BIN
from neighbours import neighbours
from table import BENCH, add, check, figures, pair, pss, run, show

ADDRESS, HOST = "10.96.1.1", "bench.test"
PORT_SOURCE, PORT_ECHO = 444, 445
PROXY = ("10.200.0.1", "3128")
MEGABYTES, CONNECTIONS, SINGLY, MESSAGES, IDLE = 2000, 3000, 500, 5000, 400
ROUNDS = 3


class Direct:
    name = "direct"

    def command(self, program, *args, port):
        return [BENCH / program, *args, "direct", ADDRESS, port]

    env = None


class Neighbour(Direct):
    def __init__(self, proxy):
        self.name = f"{proxy.name} {proxy.version}"
        self.proxy = proxy

    def command(self, program, *args, port):
        return [BENCH / program, *args, "proxy", "127.0.0.1", self.proxy.port, ADDRESS, port]

    def memory(self):
        return pss(self.proxy.pid)


class Sandbox(Direct):
    name = "OpenShell"

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
    return figures(*way.command("tunnels", what, count, port=PORT_ECHO), env=way.env)


def idle_kilobytes(private, way):
    """What one idle connection adds to the memory of the proxy."""
    before = way.memory()
    p = private.spawn(*way.command("tunnels", "idle", IDLE, port=PORT_ECHO), env=way.env, stdin=subprocess.PIPE,
                      stdout=subprocess.PIPE)
    check(p.stdout.readline() == b"ready\n", f"{way.name}: no {IDLE} connections")
    time.sleep(3)
    grown = way.memory() - before
    p.stdin.close()
    p.wait(20)
    return grown / IDLE


MEASURES = {
    "throughput": lambda way: number(way, "blast", "get", MEGABYTES, port=PORT_SOURCE),
    "rate": lambda way: number(way, "tunnels", "rate", CONNECTIONS, port=PORT_ECHO),
    "new": lambda way: round_trips(way, "new", SINGLY),
    "ping": lambda way: round_trips(way, "ping", MESSAGES),
}


def middle(values):
    return tuple(map(statistics.median, zip(*values))) if isinstance(values[0], tuple) else statistics.median(values)


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


def forward(private, g, memory):
    """memory(): kilobytes of the supervisor. Adds the rows that have a bar; returns what prints the second table."""
    running, why = neighbours(private)
    ways = [Direct(), Sandbox(g, memory), *map(Neighbour, running)]
    for port, program in ((PORT_SOURCE, "blast"), (PORT_ECHO, "tunnels")):
        p = private.spawn(BENCH / program, "serve", ADDRESS, port, stdout=subprocess.PIPE)
        check(p.stdout.readline() == b"ready\n", f"{program} did not start")
    got = measure(ways)
    idle = {way.name: idle_kilobytes(private, way) for way in ways[1:]}
    mine, direct = ({what: figure[name] for what, figure in got.items()} for name in ("OpenShell", "direct"))
    share = 100 * mine["throughput"] / direct["throughput"]
    add("opaque CONNECT throughput", f"{mine['throughput']:.0f} MB/s = {share:.0f} %",
        f"direct: {direct['throughput']:.0f} MB/s", ">= 90 % of direct", share >= 90)
    return lambda: show_beside(got, idle, ways, why)
