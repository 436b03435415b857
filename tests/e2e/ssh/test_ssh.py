#!/usr/bin/env python3
"""Existing SSH clients against a sandbox: OpenSSH's ssh, scp and sftp through the printed ProxyCommand."""
import hashlib
import os
import pathlib
import pty
import re
import select
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from harness import (BIN, ECHO_SERVER, Gateway, Private, Suite, check, contains, equal, free_port, in_parallel,  # noqa: E402
                     run, talk, wait_for)

suite = Suite()
NAME = "ssh1"
HOST = f"openshell-{NAME}.default"


class World:
    def __init__(self):
        self.private = Private("ssh")
        self.gateway = Gateway(self.private).start()
        self.gateway.must("sandbox", "create", "--name", NAME, "--detach", "--", "sh", "-c",
                          "echo main is up; exec sleep infinity")
        self.config = self.private.dir / "ssh_config"
        self.config.write_text(self.gateway.must("sandbox", "ssh-config", NAME).out)
        self.env = self.gateway.env

    def ssh(self, *argv, options=(), tool="ssh", **kw):
        return run(tool, "-F", self.config, *[w for o in options for w in ("-o", o)], *argv, env=self.env, **kw)

    def file(self, name, data):
        path = self.private.dir / name
        path.write_bytes(data)
        return path


@suite.case
def config_is_for_sandboxes_that_exist(w):
    text = w.gateway.must("sandbox", "ssh-config", NAME).out
    equal(text, f"""Host {HOST}
    User sandbox
    StrictHostKeyChecking no
    UserKnownHostsFile /dev/null
    GlobalKnownHostsFile /dev/null
    LogLevel ERROR
    ServerAliveInterval 15
    ServerAliveCountMax 3
    ProxyCommand {BIN / "openshell"} ssh-proxy --gateway-name openshell --name {NAME} --workspace default
""")
    r = w.gateway.cli("sandbox", "ssh-config", "nobody")
    equal((r.code, r.out), (1, ""))
    contains(r.err, "sandbox not found")


@suite.case
def exec_has_status_and_separate_streams(w):
    r = w.ssh(HOST, "echo out; echo err >&2; exit 7")
    equal((r.code, r.out, r.err), (7, "out\n", "err\n"))
    r = w.ssh(HOST, "kill -TERM $$")
    equal(r.code, 143, "status of a command ended by a signal")
    r = w.ssh(HOST, "cat", stdin=b"line\r\n\x00\xff")
    equal(r.code, 0)
    r = w.ssh(HOST, "no-such-program")
    equal(r.code, 127)


@suite.case
def commands_run_isolated_like_any_exec(w):
    r = w.ssh(HOST, "id -u; pwd; echo $OPENSHELL_SANDBOX $HTTPS_PROXY; cat /proc/self/status | grep -E 'NoNewPrivs|Seccomp:|CapBnd'")
    e = w.gateway.exec(NAME, "sh", "-c", "id -u; pwd; echo $OPENSHELL_SANDBOX $HTTPS_PROXY; cat /proc/self/status | grep -E 'NoNewPrivs|Seccomp:|CapBnd'")
    equal(r.out, e.out)
    contains(r.out, "NoNewPrivs:\t1")
    contains(r.out, "CapBnd:\t0000000000000000")


@suite.case
def bytes_arrive_unchanged_in_both_directions(w):
    data = os.urandom(8 << 20)
    p = subprocess.run(["ssh", "-F", str(w.config), HOST, "cat"], input=data, capture_output=True, env=w.env, timeout=120,
                       check=False)
    equal(p.returncode, 0)
    equal(hashlib.sha256(p.stdout).digest(), hashlib.sha256(data).digest())


@suite.case
def keys_are_exchanged_again_under_way(w):
    data = os.urandom(16 << 20)
    p = subprocess.run(["ssh", "-F", str(w.config), "-o", "RekeyLimit=1M", HOST, "cat"], input=data, capture_output=True,
                       env=w.env, timeout=120, check=False)
    equal(p.returncode, 0, p.stderr)
    equal(hashlib.sha256(p.stdout).digest(), hashlib.sha256(data).digest())


@suite.case
def early_readers_end_the_command(w):
    p = subprocess.run(f"ssh -F {w.config} {HOST} 'seq 1 200000' | head -c 100000 | wc -c", shell=True, capture_output=True, env=w.env,
                       timeout=30, check=False)
    equal(p.stdout.strip(), b"100000")
    r = w.ssh(HOST, "head -c 10 >/dev/null; echo done", stdin=b"x" * (4 << 20))
    equal((r.code, r.out), (0, "done\n"))


@suite.case
def slow_reader_slows_the_writer(w):
    p = subprocess.Popen(["ssh", "-F", str(w.config), HOST, "yes"], stdout=subprocess.PIPE, env=w.env)
    try:
        time.sleep(2)
        rss = max(int(re.search(r"VmRSS:\s+(\d+)", s).group(1)) for s in supervisors(w))
        check(rss < 64 << 10, f"a supervisor process grew to {rss} kB for a reader that does not read")
        equal(len(p.stdout.read(1 << 20)), 1 << 20)
    finally:
        p.kill()
        p.wait()
        p.stdout.close()


def supervisors(w):
    """/proc/PID/status of the supervisors of our gateway, not of others on this machine."""
    for status in pathlib.Path("/proc").glob("[0-9]*/status"):
        try:
            text = status.read_text()
            environ = (status.parent / "environ").read_bytes()
        except OSError:
            continue
        if f":{w.gateway.port}".encode() not in environ:
            continue
        if text.startswith("Name:\topenshell-sandb") and "VmRSS" in text:
            yield text


class Terminal:
    """ssh on a pseudo-terminal of ours."""

    def __init__(self, w, *argv):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ.update(w.env, TERM="vt220")
            os.execvp("ssh", ["ssh", "-F", str(w.config), *argv])
        self.text = ""

    def size(self, rows, cols):
        import fcntl
        import struct
        import termios
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))

    def send(self, text):
        os.write(self.fd, text.encode())

    def expect(self, pattern, seconds=15):
        end = time.monotonic() + seconds
        while True:
            m = re.search(pattern, self.text)
            if m:
                self.text = self.text[m.end():]
                return m
            check(time.monotonic() < end, f"no {pattern!r} in {self.text!r}")
            if select.select([self.fd], [], [], 0.1)[0]:
                try:
                    self.text += os.read(self.fd, 65536).decode("utf-8", "replace")
                except OSError:
                    check(re.search(pattern, self.text), f"terminal closed; no {pattern!r} in {self.text!r}")

    def end(self):
        try:
            while os.read(self.fd, 65536):
                pass
        except OSError:
            pass
        os.close(self.fd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@suite.case
def terminal_with_resize(w):
    t = Terminal(w, "-tt", HOST)
    t.size(31, 97)
    t.send("echo size=$(stty size) term=$TERM; PS1=\n")
    t.expect(r"size=\d+ \d+ term=vt220")
    t.send("stty size\n")
    t.expect(r"31 97")
    t.size(40, 120)
    t.send("sleep 0.5; stty size\n")
    t.expect(r"40 120")
    t.send("sleep 1000\n")
    time.sleep(0.3)
    t.send("\x03")
    t.send("echo inter''rupted; exit 3\n")
    t.expect("interrupted")
    equal(t.end(), 3)


@suite.case
def no_terminal_unless_asked_for(w):
    r = w.ssh("-T", HOST, stdin=b"tty; echo plain\n")
    contains(r.out, "not a tty")
    contains(r.out, "plain")
    check("$" not in r.out and "\r" not in r.out, r)


@suite.case
def environment_by_allow_list(w):
    r = w.ssh(HOST, "echo $LC_TIME-$COLORTERM-$LD_PRELOAD-$SECRET-$HTTPS_PROXY",
              options=("SetEnv=LC_TIME=C.UTF-8 COLORTERM=truecolor LD_PRELOAD=/x SECRET=1 HTTPS_PROXY=http://evil",))
    check(r.out.startswith("C.UTF-8-truecolor---http://10.200.0.1:"), r)


@suite.case
def hang_up_ends_the_processes(w):
    mark = f"31{os.getpid() % 1000:03}.5"
    p = subprocess.Popen(["ssh", "-F", str(w.config), "-tt", HOST, f"sleep {mark}"], stdin=subprocess.PIPE,
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=w.env)
    def alive():
        return mark in w.gateway.exec(NAME, "sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -o 'sleep [0-9.]*'").out
    wait_for("the command", alive, 15)
    p.kill()
    p.wait()
    p.stdin.close()
    wait_for("its end", lambda: not alive(), 15)


@suite.case
def attaches_to_the_main_process(w):
    p = subprocess.Popen(["ssh", "-F", str(w.config), "-T", "-s", HOST, "openshell-main"], stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE, env=w.env)
    equal(p.stdout.readline(), b"main is up\n")
    p.stdin.write(b"\x10\x11")
    p.stdin.flush()
    equal(p.wait(15), 0, "status after Ctrl-P Ctrl-Q")
    p.stdin.close()
    p.stdout.close()
    contains(w.ssh("-s", HOST, "nothing").err, "subsystem request failed")


@suite.case
def sftp_and_scp_both_ways(w):
    data = os.urandom(3 << 20)
    up, down = w.file("up.bin", data), w.private.dir / "down.bin"
    r = w.ssh(str(up), f"{HOST}:copy.bin", tool="scp")
    equal(r.code, 0, r)
    r = w.ssh(f"{HOST}:copy.bin", str(down), tool="scp")
    equal(r.code, 0, r)
    equal(down.read_bytes(), data)
    batch = f"""mkdir d
put {up} d/a
chmod 640 d/a
ln -s a d/link
ls -l d
rename d/a d/b
get d/b {w.private.dir}/got
rm d/link
rm d/b
rmdir d
pwd
"""
    r = w.ssh("-b", "-", HOST, tool="sftp", stdin=batch.encode())
    equal(r.code, 0, r)
    contains(r.out, "rw-r-----")
    contains(r.out, "Remote working directory: /sandbox")
    equal((w.private.dir / "got").read_bytes(), data)
    r = w.ssh("-b", "-", HOST, tool="sftp", stdin=b"get /etc/shadow /tmp/never\n")
    check(r.code != 0, r)
    r = w.ssh("-b", "-", HOST, tool="sftp", stdin=f"put {up} /etc/evil\n".encode())
    check(r.code != 0, r)


@suite.case
def scp_of_a_tree(w):
    tree = w.private.dir / "tree"
    (tree / "sub dir").mkdir(parents=True)
    (tree / "sub dir" / "file").write_text("inside\n")
    (tree / "empty").write_bytes(b"")
    equal(w.ssh("-r", "-p", str(tree), f"{HOST}:", tool="scp").code, 0)
    equal(w.ssh("-r", f"{HOST}:tree", str(w.private.dir / "tree2"), tool="scp").code, 0)
    equal((w.private.dir / "tree2" / "sub dir" / "file").read_text(), "inside\n")
    equal((w.private.dir / "tree2" / "empty").stat().st_size, 0)


class Echo:
    """A server inside the sandbox that sends back what it gets, and <end> after the end of input."""

    def __init__(self, w, port):
        self.p = subprocess.Popen([str(BIN / "openshell"), "sandbox", "exec", "-n", NAME, "--", "python3", "-c",
                                   ECHO_SERVER.replace("PORT", str(port))], env=w.env, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE)
        equal(self.p.stdout.readline(), b"listening\n")

    def __enter__(self):
        return self

    def __exit__(self, *why):
        self.p.kill()
        self.p.wait()
        self.p.stdout.close()


@suite.case
def local_forward_reaches_a_server_in_the_sandbox(w):
    inside, local = 18080, free_port()
    with Echo(w, inside):
        p = subprocess.Popen(["ssh", "-F", str(w.config), "-N", "-o", "ExitOnForwardFailure=yes", "-L",
                              f"127.0.0.1:{local}:127.0.0.1:{inside}", HOST], env=w.env)
        try:
            def ready():
                try:
                    return talk(local, b"hello") == b"hello<end>"
                except OSError:
                    return False
            wait_for("the forward", ready, 15)
            data = os.urandom(4 << 20)
            equal(hashlib.sha256(talk(local, data)).digest(), hashlib.sha256(data + b"<end>").digest())
            equal(in_parallel(lambda i: talk(local, b"%d" % i), range(20)), [b"%d<end>" % i for i in range(20)])
        finally:
            p.kill()
            p.wait()


@suite.case
def forwards_stay_inside(w):
    for target in ("127.0.0.1.nip.io:80", "10.200.0.1:3128", "169.254.169.254:80", "example.com:80", "0.0.0.0:80"):
        r = w.ssh("-W", target, HOST, options=("LogLevel=INFO",), timeout=20)
        equal(r.code, 255, target)
        contains(r.err, "administratively prohibited")
    wait_for("the event", lambda: "SSH:REFUSE" in w.gateway.must("logs", NAME).out, 10)
    r = w.ssh("-W", "localhost:9", HOST, timeout=20)  # nobody listens: the channel just ends
    equal(r.out, "")
    r = w.ssh("-N", "-R", "0:127.0.0.1:80", HOST, options=("ExitOnForwardFailure=yes",), timeout=20)
    equal(r.code, 255)


@suite.case
def other_users_are_refused(w):
    for user in ("root", "sandbox2", "Sandbox"):
        r = w.ssh("-l", user, HOST, "id", options=("BatchMode=yes",), timeout=30)
        equal((r.code, r.out), (255, ""), user)
        contains(r.err, "Permission denied")


@suite.case
def many_sessions_over_one_connection(w):
    control = w.private.dir / "control"
    options = ("ControlMaster=auto", f"ControlPath={control}", "ControlPersist=30")
    equal(w.ssh(HOST, "true", options=options).code, 0)
    try:
        results = in_parallel(lambda i: w.ssh(HOST, f"yes | head -c 300000 | wc -c; exit {i}", options=options), range(8))
        equal(sorted(r.code for r in results), list(range(8)))
        equal({r.out.strip() for r in results}, {"300000"})
    finally:
        w.ssh("-O", "exit", HOST, options=options)


@suite.case
def startup_files_of_the_agent_change_no_exec_and_no_copy(w):
    """The agent may write them; exec starts its command itself. Commands over SSH go through a login shell, as published."""
    g = w.gateway
    script = "for f in .profile .bash_profile .bashrc .bash_login .shrc .ssh/rc; do mkdir -p /sandbox/.ssh; echo 'echo planted; exit 3' >/sandbox/$f; done"
    equal(g.exec(NAME, "sh", "-c", script).code, 0)
    try:
        for r in (g.exec(NAME, "sh", "-c", "echo own"), g.exec(NAME, "bash", "-c", "echo own"), g.exec(NAME, "echo", "own"), g.cli("sandbox", "exec", "-n", NAME, "--tty", "--", "echo", "own")):
            equal((r.code, r.out.replace("\r", "")), (0, "own\n"), r)
        contains(w.ssh(HOST, "echo own").out, "planted")
        up = w.file("startup.bin", b"data")
        equal(w.ssh(str(up), f"{HOST}:startup.bin", tool="scp").code, 0)
        equal(g.must("sandbox", "download", NAME, "startup.bin", w.private.dir / "startup.back").code, 0)
    finally:
        g.exec(NAME, "sh", "-c", "rm -rf .profile .bash_profile .bashrc .bash_login .shrc .ssh")


@suite.case
def a_read_only_workspace_is_read_only_on_every_way(w):
    """Main process, exec, terminal, SSH, SFTP and upload: no baseline makes writable again what the author's policy reads only."""
    g = w.gateway
    policy = w.private.dir / "ro.yaml"
    policy.write_text("version: 1\nfilesystem_policy: {include_workdir: false, read_only: [/usr, /lib, /bin, /lib64, /proc, /etc, /dev/urandom, /sandbox], "
                      "read_write: [/tmp, /dev/null]}\nlandlock: {compatibility: hard_requirement}\n"
                      "network_policies: {n: {endpoints: [{host: a.test, port: 443}], binaries: [{path: /usr/bin/curl}]}}\n")
    attempt = "echo x >/sandbox/new; rm -f /sandbox/new; mkdir /sandbox/d; echo x >/tmp/fine && echo wrote"
    g.must("sandbox", "create", "--name", "ro", "--policy", policy, "--detach", "--", "sh", "-c", "{ " + attempt + "; } >/tmp/main 2>&1; sleep infinity")
    contains(g.must("sandbox", "get", "ro").out, "Enforcement: complete")
    config = w.private.dir / "ro_config"
    config.write_text(g.must("sandbox", "ssh-config", "ro").out)

    def ssh(tool, *argv, **kw):
        return run(tool, "-F", config, *argv, env=w.env, **kw)
    ways = {"main": wait_for("the main process", lambda: (lambda t: t if "wrote" in t else None)(g.exec("ro", "cat", "/tmp/main").out)),
            "exec": g.exec("ro", "sh", "-c", attempt).text, "tty": g.cli("sandbox", "exec", "-n", "ro", "--tty", "--", "sh", "-c", attempt).text,
            "ssh": ssh("ssh", "openshell-ro.default", attempt).text, "ssh tty": ssh("ssh", "-tt", "openshell-ro.default", attempt).text}
    for way, text in ways.items():
        equal(text.count("Permission denied"), 2, f"{way}: {text}")
        contains(text, "wrote")
    up = w.file("ro.bin", b"x")
    for command in (f"put {up} /sandbox/new", "mkdir /sandbox/d", "symlink /tmp /sandbox/l"):
        check(ssh("sftp", "-b", "-", "openshell-ro.default", stdin=command.encode() + b"\n").code != 0, command)
    check(ssh("scp", up, "openshell-ro.default:/sandbox/new").code != 0, "scp")
    check(g.cli("sandbox", "upload", "ro", up).code != 0, "upload")
    equal(g.exec("ro", "ls", "-A", "/sandbox").out, "", "the workspace")
    g.must("sandbox", "delete", "ro")


def main():
    for tool in ("ssh", "scp", "sftp"):
        if run("sh", "-c", f"command -v {tool}").code:
            print(f"not ok: {tool} is missing; scripts/install-deps.sh installs openssh-client")
            sys.exit(1)
    suite.run(World())


if __name__ == "__main__":
    main()
