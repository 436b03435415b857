#!/usr/bin/env python3
"""Many sandboxes at once (OPENSHELL_TEST_SANDBOXES, 100): created, used, deleted; no process, mount, namespace, cgroup or file is
left. All agents are one user of the machine: what the kernel counts per user must be enough for all of them."""
import concurrent.futures
import os
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent / "lib"))
from harness import BIN, Gateway, Private, Suite, check, equal, wait_for

suite = Suite()
private = Private("many")
COUNT = int(os.environ.get("OPENSHELL_TEST_SANDBOXES", "100"))
NAMES = [f"many-{i}" for i in range(COUNT)]


def in_parallel(fn):
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        return list(pool.map(fn, NAMES))


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


@suite.case
def created_and_used_at_once(g):
    for r in in_parallel(lambda n: g.cli("sandbox", "create", "--name", n, "--detach", "--", "sleep", "infinity")):
        check(r.code == 0, r)
    for n, r in zip(NAMES, in_parallel(lambda n: g.exec(n, "sh", "-c", "hostname > /tmp/h; cat /tmp/h"))):
        equal((r.code, r.out.strip()), (0, n), r)


@suite.case
def none_sees_another(g):
    for r in in_parallel(lambda n: g.exec(n, "sh", "-c", "cat /proc/[0-9]*/comm | sort | uniq -c")):
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
    for r in in_parallel(lambda n: g.cli("sandbox", "delete", n)):
        check(r.code == 0, r)
    wait_for("the processes to go", lambda: not processes(g.port))
    wait_for("the namespaces to go", lambda: not spaces & namespaces())
    equal(mounts(), [], "mounts")
    equal(g.sandbox_dirs(), [], "directories")
    equal(cgroups(ids), [], "cgroups")


def main():
    gateway = Gateway(private)
    gateway.start()
    suite.run(gateway)


main()
