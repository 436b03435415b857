#!/usr/bin/env python3
"""What an agent can and cannot do: every case runs a command under the real monitor, in real namespaces, and looks
from the inside (spec/supervisor.md 3-7, 9)."""
import os
import pathlib
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "lib"))
from harness import BUILD, Skip, Suite, check, contains, equal, wait_for  # noqa: E402

HOST = BUILD / "tests" / "unit" / "supervisor" / "monitor" / "isolation_host"
AGENT, WORKER = 64998, 64999
BASE = ["--ro", "/usr", "--ro", "/lib", "--ro", "/lib64", "--ro", "/bin", "--ro", "/proc", "--ro", "/etc",
        "--ro", "/dev/urandom", "--rw", "/dev/null"]
suite = Suite()
case = suite.case
scratch = pathlib.Path(tempfile.mkdtemp(prefix="openshell-isolation-"))
os.chmod(scratch, 0o755)


class Ran:
    def __init__(self, out, err, code, events):
        self.out, self.err, self.code, self.events = out, err, code, events


def command(*argv, options=()):
    return [str(HOST), *BASE, *options, "--", *argv]


def inside(*argv, options=(), plan=True):
    """Runs one command as the agent; events are what the listeners saw."""
    with tempfile.TemporaryFile() as events:
        words = command(*argv, options=options) if plan else [str(HOST), *options, "--", *argv]
        # sh lays the events file over descriptor 3.
        p = subprocess.run(["sh", "-c", f'exec "$@" 3>&{events.fileno()}', "sh", *words], pass_fds=[events.fileno()],
                           stdin=subprocess.DEVNULL, capture_output=True, timeout=90)
        events.seek(0)
        return Ran(p.stdout.decode(errors="replace"), p.stderr.decode(errors="replace"), p.returncode,
                   events.read().decode())


def python(code, **kw):
    ran = inside("python3", "-c", code, **kw)
    check(ran.code == 0, f"exit {ran.code}: {ran.err}")
    return ran


def status_of(text):
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


CALL = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *args):
    r = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(a) for a in args])
    return 0 if r >= 0 else ctypes.get_errno()
"""


def syscall_errno(number, *args):
    if platform.machine() != "x86_64":
        raise Skip("system call numbers of x86-64")
    return int(python(CALL + f"print(call({number}, {', '.join(map(str, args)) or 0}))").out)


def directory(name, owner=0, mode=0o755):
    d = scratch / name
    d.mkdir()
    os.chown(d, owner, owner)
    os.chmod(d, mode)
    return d


# --- identity ---

@case
def the_agent_has_its_own_user_and_no_other_group():
    s = status_of(python("print(open('/proc/self/status').read())").out)
    equal(s["Uid"].split(), [str(AGENT)] * 4, "uids")
    equal(s["Gid"].split(), [str(AGENT)] * 4, "gids")
    equal(s["Groups"].split(), [], "groups")


@case
def every_capability_set_is_empty():
    s = status_of(python("print(open('/proc/self/status').read())").out)
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        equal(int(s[name], 16), 0, name)


@case
def no_new_privileges_and_a_seccomp_filter():
    s = status_of(python("print(open('/proc/self/status').read())").out)
    equal((s["NoNewPrivs"], s["Seccomp"]), ("1", "2"), "no_new_privs, seccomp mode")


@case
def there_is_no_way_back_to_root():
    out = python("import os\nfor f in (os.setuid, os.seteuid, os.setgid):\n"
                 "  try: f(0); print('root')\n  except PermissionError: print('refused')\n").out
    equal(out.split(), ["refused"] * 3, "setuid, seteuid, setgid")


@case
def a_set_user_id_program_gives_nothing():
    d = directory("suid")
    copy = d / "id"
    shutil.copy("/usr/bin/id", copy)
    os.chmod(copy, 0o4755)
    equal(inside(str(copy), "-u", options=["--ro", str(d)]).out.strip(), str(AGENT), "effective uid")


@case
def only_the_standard_descriptors_are_open():
    equal(python("import os; print(sorted(int(f) for f in os.listdir('/proc/self/fd')))").out.strip(), "[0, 1, 2, 3]",
          "descriptors (3 is the listing itself)")


@case
def no_signal_is_blocked_or_ignored():
    s = status_of(inside("cat", "/proc/self/status").out)
    equal((int(s["SigBlk"], 16), int(s["SigIgn"], 16)), (0, 0), "blocked, ignored")


@case
def no_core_file():
    equal(inside("sh", "-c", "ulimit -c; ulimit -Hc").out.split(), ["0", "0"], "soft and hard limit")


# --- the self-test ---

def tried(*options, plan=True):
    ran = inside("true", options=options, plan=plan)
    equal(ran.code, 0, ran.err)
    return int(re.search(r"tried=([0-9a-f]+) ", ran.events)[1], 16)


@case
def a_self_test_precedes_every_start():
    """Bits as in selftest.h: write, read, network, socket, system call, privilege."""
    equal(tried(), 0x3f, "tried under a usual policy")
    equal(tried("--ro", "/"), 0x3d, "when all may be read")
    equal(tried("--rw", "/dev"), 0x3e, "when devices may be written")
    equal(tried(plan=False), 0x3c, "when files are not restricted")
    equal(inside("sh", "-c", ": >/dev/random").code, 2, "a device that no policy makes writable")
    ran = inside("sh", "-c", ": >/dev/random", options=["--rw", "/dev/random"])
    equal(ran.code, 0, "without Landlock's word the device can be written")
    equal(inside("sh", "-c", "ps -eo stat= | grep -c Z").out.strip(), "0", "zombies")


@case
def standard_devices_and_streams_are_usable():
    for code in ("open('/dev/null', 'w'), open('/dev/zero'), open('/dev/random'), open('/dev/full')",
                 "open('/dev/stdout', 'w').write('x'), open('/dev/stderr', 'w').write('x'), open('/dev/stdin')",
                 "import multiprocessing; multiprocessing.Lock()", "import pty; pty.openpty()"):
        python(code)
    for code in ("import os; os.mknod('/dev/shm/x', 0o20600, os.makedev(1, 1))", "open('/dev/new', 'w')"):
        check("Error" in inside("python3", "-c", code).err, code)


# --- system calls ---

DENIED = {
    "mount": (165,), "umount2": (166,), "pivot_root": (155,), "ptrace_traceme": (101, 0), "bpf": (321,),
    "process_vm_readv": (310, 1), "process_vm_writev": (311, 1), "pidfd_open": (434, 1), "pidfd_getfd": (438,),
    "pidfd_send_signal": (424,), "io_uring_setup": (425, 1), "memfd_create": (319,), "setns": (308,),
    "userfaultfd": (323,), "perf_event_open": (298,), "open_tree": (428,), "move_mount": (429,), "fsopen": (430,),
    "fsconfig": (431,), "fsmount": (432,), "fspick": (433,), "mount_setattr": (442,), "open_tree_attr": (467,),
    "keyctl": (250, 0, -3), "add_key": (248,), "request_key": (249,),
    "unshare_user": (272, 0x10000000), "clone_user": (56, 0x10000000 | signal.SIGCHLD),
    "seccomp_filter": (317, 1), "prctl_seccomp_filter": (157, 22, 2),
    "execveat_empty_path": (322, 0, 0, 0, 0, 0x1000),
    "socket_packet": (41, 17, 3), "socket_bluetooth": (41, 31, 3), "socket_vsock": (41, 40, 1),
    "socket_netlink_diag": (41, 16, 3, 4), "socket_netlink_netfilter": (41, 16, 3, 12),
    "socket_packet_high_bits": (41, (1 << 32) | 17, 3), "socket_netlink_high_bits": (41, (1 << 32) | 16, 3, 4),
    "prctl_seccomp_high_bits": (157, (1 << 32) | 22, (1 << 32) | 2),
}
EPERM, ENOSYS = 1, 38


def denied_call(name, numbers):
    def run():
        equal(syscall_errno(*numbers), EPERM, "errno of " + name)
    run.__name__ = "denied_" + name
    case(run)


for name, numbers in DENIED.items():
    denied_call(name, numbers)


@case
def clone3_does_not_exist_and_threads_work():
    equal(syscall_errno(435), ENOSYS, "errno of clone3")
    equal(python("import threading as t; x = t.Thread(target=print, args=('ran',)); x.start(); x.join()").out, "ran\n",
          "thread")


@case
def harmless_calls_still_work():
    equal(syscall_errno(272, 0x200), 0, "errno of unshare(CLONE_FS)")
    equal(syscall_errno(41, 16, 3, 0), 0, "errno of a NETLINK_ROUTE socket")


@case
def foreign_call_numbers_kill():
    if platform.machine() != "x86_64":
        raise Skip("x32 numbers exist on x86-64 only")
    ran = inside("python3", "-c", CALL + "call(0x40000000 | 39)")
    equal(ran.code, 128 + signal.SIGSYS, "exit code of an x32 call")


# --- files ---

@case
def what_no_rule_names_cannot_be_read():
    d = directory("unlisted")
    (d / "f").write_text("secret")
    ran = inside("cat", str(d / "f"))
    equal(ran.code, 1, "exit code")
    contains(ran.err, "Permission denied")


@case
def read_only_is_read_only():
    d = directory("readonly", AGENT)
    (d / "f").write_text("text")
    os.chown(d / "f", AGENT, AGENT)
    options = ["--ro", str(d)]
    equal(inside("cat", str(d / "f"), options=options).out, "text", "content")
    for verb in (f"echo x > {d}/f", f"touch {d}/new", f"rm {d}/f", f"mkdir {d}/sub", f"mv {d}/f {d}/g", f"ln {d}/f {d}/h"):
        ran = inside("sh", "-c", verb, options=options)
        check(ran.code != 0 and "denied" in ran.err, f"'{verb}' was not refused: {ran.err}")
    ran = inside("python3", "-c", f"import os; os.truncate('{d}/f', 0)", options=options)
    check(ran.code != 0, "a read-only file was truncated")
    equal((d / "f").read_text(), "text", "content afterwards")


@case
def read_write_can_be_written():
    d = directory("readwrite", AGENT)
    script = f"cd {d} && echo one > f && mkdir sub && mv f sub/g && ln -s g sub/link && cat sub/link && rm -r sub"
    ran = inside("sh", "-c", script, options=["--rw", str(d)])
    equal((ran.out, ran.err, ran.code), ("one\n", "", 0), "output")


@case
def programs_outside_the_policy_do_not_run():
    d = directory("programs")
    shutil.copy("/usr/bin/true", d / "t")
    ran = inside(str(d / "t"))
    equal(ran.code, 126, "exit code")
    contains(ran.err, "the policy does not grant '")


@case
def moving_a_file_out_of_a_grant_is_refused():
    a, b = directory("mv-a", AGENT), directory("mv-b", AGENT)
    (b / "sub").mkdir()
    (a / "f").write_text("x")
    ran = inside("python3", "-c", f"import os; os.rename('{a}/f', '{b}/f')", options=["--rw", str(a), "--ro", str(b)])
    check(ran.code != 0 and (a / "f").exists(), "the file was moved")


@case
def missing_directories_of_the_policy_are_made_for_the_agent():
    d = directory("made")
    ran = inside("sh", "-c", f"echo x > {d}/a/b/f && cat {d}/a/b/f", options=["--rw", str(d / "a" / "b")])
    equal(ran.out, "x\n", "output")
    for made in (d / "a", d / "a" / "b"):
        equal((made.stat().st_uid, made.stat().st_mode & 0o777), (AGENT, 0o755), str(made))


@case
def a_link_as_writable_path_is_refused():
    d = directory("link")
    (d / "to").symlink_to("/etc")
    ran = inside("true", options=["--rw", str(d / "to")])
    equal(ran.code, 98, "exit code")
    contains(ran.err, "is a symlink — refusing to chown")


@case
def links_the_agent_made_do_not_widen_a_later_start():
    d, secret = directory("later", AGENT), directory("later-secret")
    (secret / "f").write_text("secret")
    (d / "way").symlink_to(secret)
    os.chown(d / "way", AGENT, AGENT, follow_symlinks=False)
    ran = inside("cat", str(secret / "f"), options=["--ro", str(d / "way")])
    check(ran.code != 0 and "secret" not in ran.out, "the link was followed")
    (secret / "sub").mkdir()
    contains(inside("true", options=["--rw", str(d / "way" / "sub")]).err, "a symlink made by the agent")


@case
def hard_requirement_refuses_a_missing_path():
    ran = inside("true", options=["--hard", "--ro", "/does/not/exist"])
    equal(ran.code, 98, "exit code")
    contains(ran.err, "Landlock path unavailable in hard_requirement mode: /does/not/exist (path does not exist)")


@case
def best_effort_skips_a_missing_path_and_keeps_the_rest():
    ran = inside("cat", "/root/.profile", options=["--ro", "/does/not/exist"])
    contains(ran.events, "skipped=1")
    check(ran.code != 0, "the rest of the ruleset is not in force")


@case
def working_directory_is_entered_as_the_agent():
    open_, shut = directory("open", AGENT), directory("shut", 0, 0o700)
    equal(inside("pwd", options=["--workdir", str(open_), "--rw", str(open_)]).out.strip(), str(open_), "cwd")
    ran = inside("pwd", options=["--workdir", str(shut)])
    equal(ran.code, 126, "exit code")
    contains(ran.err, "cannot enter the working directory")


# --- network ---

@case
def there_is_only_loopback():
    out = python("import socket; print([n for _, n in socket.if_nameindex()])").out
    equal(out.strip(), "['lo']", "interfaces")


CONNECT = "import socket,time\ns=socket.create_connection(({!r}, {}), 5)\ntime.sleep(0.3)\n"


@case
def a_direct_ipv4_connection_ends_in_the_trap():
    ran = python(CONNECT.format("93.184.216.34", 443))
    contains(ran.events, "trap 93.184.216.34:443 exe=/usr/bin/python3")


@case
def a_direct_ipv6_connection_ends_in_the_trap():
    if not pathlib.Path("/proc/net/if_inet6").exists():
        raise Skip("no IPv6 in this kernel")
    contains(python(CONNECT.format("2001:db8::5", 8443)).events, "trap [2001:db8::5]:8443 exe=/usr/bin/python3")


@case
def the_trap_catches_every_port_and_metadata_addresses():
    for host, port in (("169.254.169.254", 80), ("10.200.0.1", 22), ("192.168.1.1", 65535), ("8.8.8.8", 3128)):
        contains(python(CONNECT.format(host, port)).events, f"trap {host}:{port} ")


@case
def datagrams_end_in_the_trap_with_their_destination():
    code = ("import socket,time\n"
            "for f, a in ((socket.AF_INET, '8.8.8.8'), (socket.AF_INET6, '2001:db8::53')):\n"
            "  s = socket.socket(f, socket.SOCK_DGRAM); s.sendto(b'x', (a, 123))\n"
            "time.sleep(0.2)\n")
    events = python(code).events
    contains(events, "udp 8.8.8.8:123")
    contains(events, "udp [2001:db8::53]:123")


@case
def loopback_belongs_to_the_agent():
    code = ("import socket\n"
            "for f, a in ((socket.AF_INET, '127.0.0.1'), (socket.AF_INET6, '::1')):\n"
            "  l = socket.socket(f); l.bind((a, 0)); l.listen()\n"
            "  c = socket.create_connection(l.getsockname()[:2]); l.accept()[0].send(b'own'); print(c.recv(9))\n")
    ran = python(code)
    equal(ran.out, "b'own'\nb'own'\n", "what the agent's own services answered")
    check("trap" not in ran.events, ran.events)


@case
def raw_sockets_are_refused():
    ran = inside("python3", "-c", "import socket; socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)")
    contains(ran.err, "PermissionError")


# --- who is it ---

@case
def the_proxy_knows_the_program_and_its_ancestors():
    code = CONNECT.format("10.200.0.1", 3128)
    ran = inside("sh", "-c", f"python3 -c '{code.replace(chr(39), chr(34))}'; true")
    line = next(x for x in ran.events.splitlines() if x.startswith("proxy"))
    check(re.match(r"proxy 10\.200\.0\.1:3128 exe=/usr/bin/python3\S* ancestors= /usr/bin/(da|ba)?sh cmdline=", line), line)


@case
def an_exec_has_the_supervisor_as_its_ancestor():
    ran = inside("python3", "-c", CONNECT.format("10.200.0.1", 3128), options=["--exec"])
    contains(ran.events, f"ancestors= {HOST} ")


@case
def a_socket_shared_by_different_programs_is_nobodys():
    d = directory("shared")
    shutil.copy("/bin/sleep", d / "other")
    code = ("import os, socket, subprocess, time\n"
            "s = socket.socket(); s.set_inheritable(True)\n"
            f"p = subprocess.Popen(['{d}/other', '0.5'], close_fds=False)\n"
            "time.sleep(0.1); s.connect(('10.200.0.1', 3128)); time.sleep(0.3)\n")
    contains(python(code, options=["--ro", str(d)]).events, "ambiguous shared socket ownership")


@case
def a_thread_with_a_file_table_of_its_own_hides_nothing():
    d = directory("hidden")
    shutil.copy("/bin/sleep", d / "other")
    code = ("import ctypes, socket, subprocess, threading, time\n"
            "def work():\n"
            "  ctypes.CDLL(None).unshare(0x400)\n"  # CLONE_FILES
            "  s = socket.socket(); s.set_inheritable(True)\n"
            f"  p = subprocess.Popen(['{d}/other', '0.5'], close_fds=False)\n"
            "  time.sleep(0.1); s.connect(('10.200.0.1', 3128)); time.sleep(0.3)\n"
            "t = threading.Thread(target=work); t.start(); t.join()\n")
    contains(python(code, options=["--ro", str(d)]).events, "ambiguous shared socket ownership")


@case
def a_replaced_program_is_not_trusted():
    d = directory("replaced", AGENT)
    python3 = os.path.realpath("/usr/bin/python3")
    code = CONNECT.format("10.200.0.1", 3128)
    (d / "connect.py").write_text(code)
    script = (f"cp {python3} {d}/p && {d}/p {d}/connect.py && rm {d}/p && cp {python3} {d}/p && {d}/p {d}/connect.py && "
              f"printf x >> {d}/p && {d}/p {d}/connect.py")
    events = inside("sh", "-c", script, options=["--rw", str(d)]).events
    lines = [x for x in events.splitlines() if x.startswith("proxy")]
    equal(len(lines), 3, f"connections seen in {events}")
    contains(lines[0], f"exe={d}/p ")
    contains(lines[1], f"exe={d}/p ")  # other inode, same content
    contains(lines[2], f"Binary integrity violation: {d}/p hash changed")


# --- the supervisor itself ---

@case
def the_worker_has_no_privilege():
    s = status_of(python("print(open('/proc/2/status').read())").out)
    equal(s["Uid"].split(), [str(WORKER)] * 4, "uids")
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        equal(int(s[name], 16), 0, name)
    equal((s["NoNewPrivs"], s["Seccomp"], s["Groups"].split()), ("1", "2", []), "no_new_privs, seccomp, groups")


@case
def the_monitor_keeps_only_what_it_uses():
    s = status_of(python("print(open('/proc/1/status').read())").out)
    for number, name in ((21, "SYS_ADMIN"), (12, "NET_ADMIN"), (13, "NET_RAW"), (16, "SYS_MODULE"), (17, "SYS_RAWIO"),
                         (22, "SYS_BOOT"), (27, "MKNOD"), (39, "BPF")):
        equal(int(s["CapEff"], 16) >> number & 1, 0, name)
    equal((s["NoNewPrivs"], s["Seccomp"]), ("1", "2"), "no_new_privs, seccomp mode")


@case
def the_supervisor_cannot_be_read():
    code = ("for pid in (1, 2):\n"
            "  for f in ('environ', 'mem', 'maps', 'fd', 'cwd', 'root', 'exe', 'auxv', 'syscall'):\n"
            "    import os\n"
            "    p = f'/proc/{pid}/{f}'\n"
            "    try:\n"
            "      (os.listdir if f == 'fd' else os.readlink if f in ('cwd', 'root', 'exe') else open)(p)\n"
            "      print('read', p)\n"
            "    except PermissionError: pass\n")
    equal(python(code).out, "", "readable")


@case
def the_supervisor_cannot_be_signalled():
    code = ("import os, signal\n"
            "for pid in (1, 2):\n"
            "  for s in (0, signal.SIGTERM, signal.SIGKILL, signal.SIGSTOP):\n"
            "    try: os.kill(pid, s); print('signalled', pid, s)\n"
            "    except PermissionError: pass\n"
            "try: os.kill(-1, 0)\n"
            "except OSError: pass\n")
    equal(python(code).out, "", "signalled")


@case
def without_the_worker_nothing_goes_on():
    p = subprocess.Popen(command("sh", "-c", "echo up; sleep 50"), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    equal(p.stdout.readline(), b"up\n", "first line")

    def children(pid):
        return [int(x) for x in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    init = children(p.pid)[0]
    worker, main = children(init)[:2]
    os.kill(worker, signal.SIGKILL)
    equal(p.wait(20), 1, "exit code of the supervisor")
    check(not pathlib.Path(f"/proc/{main}").exists(), "the main process lives on")


# --- processes ---

@case
def exit_codes_and_signals_come_through():
    equal(inside("sh", "-c", "exit 41").code, 41, "exit code")
    equal(inside("sh", "-c", "kill -TERM $$").code, 128 + signal.SIGTERM, "exit code after SIGTERM")
    equal(inside("does-not-exist").code, 127, "exit code of a missing program")
    equal(inside("/etc/hostname").code, 126, "exit code of a file that is no program")


@case
def a_terminal_is_the_controlling_one():
    ran = inside("sh", "-c", "test -t 0 && test -t 1 && test -t 2 && ps -o tty= -p $$ && stty size", options=["--tty"])
    contains(ran.out, "pts/")
    contains(ran.out, "24 80")


@case
def orphans_are_reaped():
    ran = inside("sh", "-c", "(sleep 0.05 &) ; (sh -c 'true & true') ; sleep 0.3; ps -eo stat= | grep -c Z")
    equal(ran.out.strip(), "0", "zombies")


@case
def sigterm_reaches_the_main_process():
    code = "trap 'echo got it; exit 5' TERM; echo up; while :; do sleep 0.05; done"
    p = subprocess.Popen(command("sh", "-c", code), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    equal(p.stdout.readline(), b"up\n", "first line")
    init = int(pathlib.Path(f"/proc/{p.pid}/task/{p.pid}/children").read_text().split()[0])
    os.kill(init, signal.SIGTERM)
    equal((p.stdout.readline(), p.wait(20)), (b"got it\n", 5), "output and exit code")


@case
def the_host_sees_nothing_of_it():
    before = set(os.listdir("/sys/class/net"))
    p = subprocess.Popen(command("sh", "-c", "echo up; sleep 50"), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    equal(p.stdout.readline(), b"up\n", "first line")
    equal(set(os.listdir("/sys/class/net")), before, "interfaces of the host")
    init = int(pathlib.Path(f"/proc/{p.pid}/task/{p.pid}/children").read_text().split()[0])
    os.kill(init, signal.SIGKILL)
    p.wait(20)
    wait_for("the end", lambda: not pathlib.Path(f"/proc/{init}").exists())


if __name__ == "__main__":
    if os.geteuid() != 0:
        print("skip isolation: needs root")
        sys.exit(0)
    try:
        suite.run()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
