#!/usr/bin/env python3
"""Many sandboxes at once (OPENSHELL_TEST_SANDBOXES, 100): created, used, deleted; no process, mount, namespace, cgroup or file is
left. All agents are one user of the machine: what the kernel counts per user must be enough for all of them."""
import os
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent / "lib"))
from harness import BIN, Authority, Gateway, Origin, Private, Suite, check, equal, in_parallel, lo_address, wait_for

suite = Suite()
private = Private("many")
COUNT = int(os.environ.get("OPENSHELL_TEST_SANDBOXES", "100"))
NAMES = [f"many-{i}" for i in range(COUNT)]


def for_all(fn):
    return in_parallel(fn, NAMES, 10)


KINDS = ("mnt", "pid", "net", "ipc", "uts", "cgroup")


def processes(port):
    """The supervisors of our gateway and everything in their pid namespaces: {pid: {namespace, ...}}."""
    found, pid_spaces = {}, set()
    for want_children in (False, True):
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                spaces = {kind: os.readlink(f"/proc/{pid}/ns/{kind}") for kind in KINDS}
                environ = pathlib.Path(f"/proc/{pid}/environ").read_bytes()
                exe = os.readlink(f"/proc/{pid}/exe")
            except OSError:
                continue
            if "openshell-sandbox" in exe and f":{port}".encode() in environ:
                pid_spaces.add(spaces["pid"])
                found[pid] = spaces
            elif want_children and spaces["pid"] in pid_spaces:
                found[pid] = spaces
    return found


def namespaces():
    seen = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        for kind in KINDS:
            try:
                seen.add(os.readlink(f"/proc/{pid}/ns/{kind}"))
            except OSError:
                pass
    return seen


def cgroups(ids):
    return [f"{root}/{d}" for root, dirs, _ in os.walk("/sys/fs/cgroup") for d in dirs if any(i in d for i in ids)]


def mounts():
    return [m for m in pathlib.Path("/proc/mounts").read_text().splitlines() if str(private.dir) in m]


ADDRESS = f"10.94.{os.getpid() % 250 + 1}.{os.getpid() // 250 % 250 + 1}"
POLICY = """version: 1
filesystem_policy: {include_workdir: true, read_only: [/usr, /lib, /proc, /dev/urandom, /app, /etc, /var/log], read_write: [/tmp, /dev/null]}
landlock: {compatibility: best_effort}
network_policies:
  api:
    name: api
    endpoints: [{host: first.test, port: 443, protocol: rest, enforcement: enforce, rules: [{allow: {method: GET, path: /yes}}]}]
    binaries: [{path: /usr/bin/curl}]
"""


@suite.case
def the_policy_holds_from_the_first_instruction(g):
    """The main process dials out at once, in every sandbox: what its policy says is already so, and its revision was taken up."""
    path = private.dir / "policy.yaml"
    path.write_text(POLICY)
    script = ("for u in first.test/yes first.test/no other.test/; do curl -s --max-time 20 -o /dev/null -w '%{http_connect}/%{http_code} ' "
              "https://$u; done >/sandbox/out; echo >>/sandbox/out; sleep 100")

    def one(n):
        r = g.cli("sandbox", "create", "--name", n, "--policy", path, "--detach", "--", "sh", "-c", script)
        check(r.code == 0, r)
        return wait_for(f"what {n} met", lambda: (lambda t: t if t.endswith("\n") else None)(g.exec(n, "cat", "/sandbox/out").out), 60, 0.2)
    answers = for_all(one)
    equal([a for a in answers if a.split() != ["200/200", "200/403", "403/000"]], [], f"of {COUNT}, wrong answers")
    for n in NAMES[:3]:
        check("loaded" in g.must("policy", "list", n).out.lower(), g.must("policy", "list", n))
    for r in for_all(lambda n: g.cli("sandbox", "delete", n)):
        check(r.code == 0, r)


@suite.case
def created_and_used_at_once(g):
    def one(n):  # the first exec follows on Ready
        return (g.cli("sandbox", "create", "--name", n, "--detach", "--", "sleep", "infinity"), g.exec(n, "echo", "first"))
    for created, first in for_all(one):
        check(created.code == 0, created)
        equal((first.code, first.out), (0, "first\n"), first)
    for n, r in zip(NAMES, for_all(lambda n: g.exec(n, "sh", "-c", "hostname > /tmp/h; cat /tmp/h"))):
        equal((r.code, r.out.strip()), (0, n), r)


@suite.case
def none_sees_another(g):
    for r in for_all(lambda n: g.exec(n, "sh", "-c", "cat /proc/[0-9]*/comm | sort | uniq -c")):
        equal(r.code, 0, r)
        check(r.out.count("sleep") == 1, r)


HOLD = ("import ctypes, os, signal, sys\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "what = sys.argv[1]\n"
        "if what == 'inotify':\n"
        "  fd = libc.inotify_init()\n"
        "  ok = fd >= 0 and libc.inotify_add_watch(fd, b'/sandbox', 0x100) >= 0\n"
        "elif what == 'signals':\n"
        "  signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGRTMIN})\n"
        "  ok = all(libc.sigqueue(os.getpid(), 34, None) == 0 for _ in range(100))\n"
        "print('held' if ok else os.strerror(ctypes.get_errno()), flush=True)\n"
        "sys.stdin.read()\n")


@suite.case
def what_the_kernel_counts_per_user_is_enough_for_all(g):
    """Every sandbox holds one inotify instance, then 100 queued signals, all at once. Limits of the machine:
    fs.inotify.max_user_instances (128 by default) and RLIMIT_SIGPENDING."""
    for what in ("inotify", "signals"):
        holders = [subprocess.Popen([BIN / "openshell", "sandbox", "exec", "-n", n, "--", "python3", "-c", HOLD, what], env=g.env,
                                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for n in NAMES]
        try:
            said = [p.stdout.readline().decode().strip() for p in holders]
        finally:
            for p in holders:
                p.stdin.close()
            for p in holders:
                p.wait(30)
                p.stdout.close()
        equal([s for s in said if s != "held"], [], f"{what}: of {COUNT} sandboxes, {said.count('held')} could")


@suite.case
def deleted_without_a_trace(g):
    ids = [p.name for p in g.sandbox_dirs()]
    equal(len(ids), COUNT, "state directories")
    mine = processes(g.port)
    check(len(mine) >= 3 * COUNT, f"only {len(mine)} processes were found")
    own = {os.readlink(f"/proc/self/ns/{kind}") for kind in KINDS}
    spaces = {space for of in mine.values() for space in of.values()} - own
    check(len(spaces) >= COUNT * 5, f"only {len(spaces)} namespaces were found")
    for r in for_all(lambda n: g.cli("sandbox", "delete", n)):
        check(r.code == 0, r)
    wait_for("the processes to go", lambda: not processes(g.port))
    wait_for("the namespaces to go", lambda: not spaces & namespaces())
    equal(mounts(), [], "mounts")
    equal(g.sandbox_dirs(), [], "directories")
    equal(cgroups(ids), [], "cgroups")


def main():
    authority = Authority(private.dir)
    (private.dir / "hosts").write_text(f"{ADDRESS} first.test\n")
    lo_address(private, ADDRESS)
    Origin(ADDRESS, 443, *authority.issue("first.test"))
    gateway = Gateway(private, {"OPENSHELL_LOCAL_EXTRA_CA": str(authority.pem), "OPENSHELL_LOCAL_EXTRA_HOSTS": str(private.dir / "hosts")})
    gateway.start()
    suite.run(gateway)


main()
