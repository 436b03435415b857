#!/usr/bin/env python3
"""Careless and hostile surroundings of the command line and the gateway: closed descriptors, readers that leave, bad
bytes, gateways that hang, clients that are killed, disks that are full."""
import json
import os
import pathlib
import signal
import sqlite3
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
                 " echo ${PIPESTATUS[0]}; sleep 1;"
                 " (openshell logs box --tail; echo $? >&2) | head -1")
    lines = r.out.splitlines()
    equal((lines[1], lines[2], lines[3]), ("0", "y", "141"), r)


@case
def a_full_disk_is_an_error(g):
    for command in ("sandbox list", "logs box", "sandbox exec -n box -- echo x"):
        r = shell(g, f"openshell {command} >/dev/full")
        check(r.code != 0, f"{command}: {r}")


# --- clients that go ---

def start(g, *argv, **kw):
    p = subprocess.Popen([OPENSHELL, *argv], env=g.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **kw)
    private.stack.callback(p.kill)
    return p


def processes(g):
    """Command lines in the sandbox."""
    r = g.exec("box", "sh", "-c", "for f in /proc/[0-9]*/cmdline; do tr '\\0' ' ' <$f 2>/dev/null; echo; done")
    return [line.strip() for line in r.out.splitlines() if "sleep 86" in line and "sh -c for" not in line]


@case
def killed_clients_leave_no_processes(g):
    for number, command in ((signal.SIGKILL, "sleep 86401 & sleep 86402"), (signal.SIGINT, "trap '' TERM HUP; sleep 86403"),
                            (signal.SIGTERM, "sleep 86404 | sleep 86405")):
        clients = [start(g, *EXEC, "sh", "-c", f"echo up; {command}", stdin=subprocess.PIPE) for _ in range(5)]
        for p in clients:
            equal(p.stdout.read(3), b"up\n", "first output")
        check(processes(g), "nothing runs")
        for p in clients:
            p.send_signal(number)
        for p in clients:
            equal(p.wait(10), -number, "status of the client")
            p.stdin.close()
            p.stdout.close()
        wait_for(f"the processes to go after signal {number}: {processes(g)}", lambda: not processes(g), 15, 0.3)


@case
def an_exec_timeout_takes_children_along(g):
    r = g.cli("sandbox", "exec", "-n", "box", "--timeout", "1", "--", "sh", "-c", "trap '' TERM; sleep 86410 & sleep 86411; :")
    equal(r.code, 124, r)
    wait_for("the processes to go", lambda: not processes(g), 15, 0.3)


@case
def the_sandbox_stays_when_its_attached_client_is_killed(g):
    g.must("sandbox", "create", "--name", "att", "--detach", "--", "sh", "-c", "echo up; sleep infinity")
    p = start(g, "sandbox", "connect", "att", stdin=subprocess.PIPE)
    while b"up" not in p.stdout.readline():
        check(p.poll() is None, "the client ended")
    p.kill()
    p.wait(10)
    p.stdin.close()
    p.stdout.close()
    time.sleep(1)
    contains(g.must("sandbox", "get", "att").out, "Ready")
    equal(g.exec("att", "echo", "still").out, "still\n", "exec")
    g.must("sandbox", "delete", "att")


# --- bytes ---

@case
def large_data_both_ways_with_a_slow_reader(g):
    data = os.urandom(4 << 20)
    p = subprocess.Popen([OPENSHELL, *EXEC, "cat"], env=g.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    writer = threading.Thread(target=lambda: (p.stdin.write(data), p.stdin.close()))
    writer.start()
    got = b""
    while True:
        time.sleep(0.002)
        piece = os.read(p.stdout.fileno(), 16384)
        if not piece:
            break
        got += piece
    writer.join()
    p.stdout.close()
    equal(p.wait(20), 0, "exit code")
    check(got == data, f"got {len(got)} of {len(data)} bytes, or other ones")


@case
def arguments_arrive_unchanged(g):
    odd = ["", " ", "a\nb", "'\"$HOME`id`\\", "\t", "é€😀", "--", "-n", "x" * 32768]
    out = g.exec("box", "sh", "-c", "for a; do printf '%s\\0' \"$a\"; done", "sh", *odd).out
    equal(out.split("\0")[:-1], odd, "arguments")
    r = g.exec("box", "true", "x" * 32769)
    check(r.code != 0, r)
    contains(r.err, "32768")


@case
def bad_bytes_in_arguments_are_named(g):
    bad = os.fsdecode(b"\xff\xfe")
    for argv in ((*EXEC, "echo", bad), ("sandbox", "get", bad), ("sandbox", "exec", "-n", "box", "--env", "X=" + bad, "--", "true"),
                 ("sandbox", "create", "--name", "bytes", "--detach", "--", bad), ("sandbox", "exec", "-n", "box", "--workdir", bad, "--", "true")):
        r = g.cli(*argv)
        check(r.code in (1, 2), r)
        contains(r.err, "UTF-8")


@case
def a_policy_may_come_through_a_pipe(g):
    path = private.dir / "pipe.yaml"
    path.write_text("version: 1\nnetwork_policies:\n" + "".join(
        f"  r{i}:\n    endpoints: [{{host: h{i}.test, port: 443}}]\n    binaries: [{{path: /usr/bin/curl}}]\n" for i in range(300)))
    g.must("sandbox", "create", "--name", "piped", "--detach", "--policy", path, "--", "sleep", "infinity")
    r = shell(g, f"openshell policy set piped --policy <(sleep 0.1; head -c 5000 {path}; sleep 0.2; tail -c +5001 {path})")
    equal(r.code, 0, r)
    g.must("sandbox", "delete", "piped")
    fifo = private.dir / "fifo"
    os.mkfifo(fifo)
    equal(g.cli("policy", "set", "box", "--policy", fifo, timeout=20).code, 1, "a pipe without writer")


@case
def what_policy_get_prints_policy_set_takes(g):
    def version():
        return json.loads(g.must("policy", "get", "box", "-o", "json").out)["version"], json.loads(
            g.must("policy", "get", "box", "-o", "json").out)["hash"]

    path = private.dir / "again.yaml"
    for flags in (("--base",), ("--full",), ("--base", "--rev", "1")):
        path.write_text(g.must("policy", "get", "box", *flags).out)
        contains(path.read_text(), "---")
        before = version()
        g.must("policy", "set", "box", "--policy", path)
        equal(version(), before, "version and hash")
    path.write_text(path.read_text() + "nonsense: 1\n")
    r = g.cli("policy", "set", "box", "--policy", path)
    equal(r.code, 1, r)
    contains(r.err, f"line {len(path.read_text().splitlines())} ")


@case
def escapes_from_elsewhere_do_not_reach_the_terminal(g):
    evil = "\x1b[31mred\x1b]0;title\x07\u202e"
    for argv in (("sandbox", "get", evil), ("logs", evil), ("policy", "get", evil), ("sandbox", evil), ("--" + evil,),
                 ("sandbox", "create", "--name", evil, "--detach"), ("gateway", "add", evil), ("-g", evil, "status")):
        r = g.cli(*argv)
        check(r.code != 0, r)
        check("\x1b" not in r.text and "\x07" not in r.text and "\u202e" not in r.text, repr(r.text))
    root = pathlib.Path(g.env["XDG_CONFIG_HOME"]) / "openshell" / "gateways" / "evil"
    root.mkdir()
    (root / "metadata.json").write_text('{"name":"\\u001b[31m","gateway_endpoint":"https://\\u001b[2J:1","is_remote":false,"gateway_port":1}')
    r = g.must("gateway", "list")
    check("\x1b" not in r.text, repr(r.text))
    for text in ("{", "[]", "{\"name\":1}", "\0", "x" * 300000, "{\"name\":\"a\",\"gateway_endpoint\":5}"):
        (root / "metadata.json").write_text(text)
        contains(g.must("gateway", "list").out, "openshell")
        r = g.cli("-g", "evil", "sandbox", "list")
        equal(r.code, 1, r)
    (root / "metadata.json").unlink()
    root.rmdir()


# --- the sandbox ---

def kill_supervisor(g, name):
    """As if somebody had removed the workload behind the gateway's back."""
    pid = json.loads(g.must("sandbox", "get", name, "-o", "json").out)["id"]
    directory = g.state / "local" / pid
    check(directory.is_dir(), directory)
    for number in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = pathlib.Path(f"/proc/{number}/environ").read_bytes()
        except OSError:
            continue
        if f"OPENSHELL_SANDBOX_ID={pid}".encode() in words:
            os.kill(int(number), signal.SIGKILL)


@case
def a_sandbox_whose_workload_was_killed_is_not_ready(g):
    g.must("sandbox", "create", "--name", "dead", "--detach", "--", "sleep", "infinity")
    waiting = start(g, "sandbox", "exec", "-n", "dead", "--", "sleep", "100", stdin=subprocess.DEVNULL)
    attached = start(g, "sandbox", "connect", "dead", stdin=subprocess.PIPE)
    time.sleep(0.5)
    kill_supervisor(g, "dead")
    check(waiting.wait(10) not in (0, -9), "the running exec")
    check(attached.wait(10) not in (0, -9), "the attached client")
    for p in (waiting, attached):
        p.stdout.close()
    attached.stdin.close()
    wait_for("the phase to change", lambda: "Ready" not in g.cli("sandbox", "list").out.split("dead")[1].splitlines()[0], 30, 0.2)
    r = g.cli("sandbox", "exec", "-n", "dead", "--", "true", timeout=5)
    check(r.code != 0, r)
    g.must("sandbox", "delete", "dead")
    check("dead" not in g.must("sandbox", "list", "--names").out.split(), "it is still listed")


# --- the gateway ---

@case
def a_gateway_that_hangs_does_not_hang_its_clients(g):
    tail = start(g, "logs", "box", "--tail")
    run_on = start(g, *EXEC, "sleep", "100", stdin=subprocess.DEVNULL)
    time.sleep(1)
    g.process.send_signal(signal.SIGSTOP)
    try:
        clients = [start(g, *argv, stdin=subprocess.DEVNULL) for argv in
                   (("sandbox", "list"), ("status",), (*EXEC, "true"), ("sandbox", "delete", "box"))]
        for p in clients:
            equal(p.wait(25), 1, "status of a new command")
        for p in (tail, run_on):
            equal(p.wait(45), 1, "status of a running command")
    finally:
        g.process.send_signal(signal.SIGCONT)
    for p in (*clients, tail, run_on):
        p.stdout.close()
    wait_for("the gateway to serve again", lambda: g.cli("sandbox", "list").code == 0, 20, 0.2)


@case
def what_cannot_start_says_why(g):
    gateway = str(BIN / "openshell-gateway")

    def refused(text, *argv, **env):
        r = run(gateway, "--port", free_port(), *argv, env=dict(g.env, **env), timeout=20)
        equal(r.code, 1, r)
        contains(r.err, text)
        check("BEGIN" not in r.text, "a key in the output")

    refused("another gateway runs")
    other = {"XDG_STATE_HOME": str(private.dir / "s2"), "XDG_CONFIG_HOME": str(private.dir / "c2")}
    refused("address already in use", "--port", g.port, **other)
    database = private.dir / "s2" / "openshell" / "gateway" / "openshell.db"
    database.write_bytes(os.urandom(100000))
    for suffix in ("-wal", "-shm"):
        pathlib.Path(str(database) + suffix).unlink(missing_ok=True)
    refused("database", **other)
    (private.dir / "plain").touch()
    refused("Not a directory", XDG_STATE_HOME=str(private.dir / "plain"))


@case
def a_full_disk_is_no_damaged_database(g):
    small = private.dir / "small"
    small.mkdir()
    if run("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", small).code != 0:
        raise Skip("tmpfs cannot be mounted here")
    try:
        r = run(BIN / "openshell-gateway", "--port", free_port(), env=dict(g.env, XDG_STATE_HOME=str(small)), timeout=20)
        equal(r.code, 1, r)
        check("damaged" not in r.err, r)
    finally:
        run("umount", small)


@case
def a_locked_store_is_said_to_be_locked(g):
    """Another program holds the database: writes are refused with one line and leave nothing, reads go on."""
    before = g.sandbox_dirs()
    other = sqlite3.connect(g.state / "gateway" / "openshell.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    try:
        r = g.cli("sandbox", "create", "--name", "locked", "--detach", "--", "true")
        equal(r.code, 1, r)
        equal(r.err, "Error:   × code: 'The service is currently unavailable', message: \"persist sandbox failed: database: "
              "database is locked\"\n")
        g.must("sandbox", "list")
        equal(g.exec("box", "echo", "on").out, "on\n", "exec")
    finally:
        other.close()
    equal((g.sandbox_dirs(), "locked" in g.must("sandbox", "list", "--names").out), (before, False), "what is left")
    g.must("sandbox", "create", "--name", "locked", "--detach", "--", "sleep", "infinity")
    g.must("sandbox", "delete", "locked")


@case
def at_the_limit_of_descriptors_it_refuses_and_goes_on(g):
    few = Private("hostile-fds")
    h = Gateway(few)
    h.prefix = [*h.prefix, "prlimit", "--nofile=64:64"]
    h.start()
    h.prefix = h.prefix[:-2]  # the gateway only
    made = []
    while True:
        r = h.cli("sandbox", "create", "--name", f"fd{len(made)}", "--detach", "--", "sleep", "infinity")
        if r.code:
            break
        made.append(f"fd{len(made)}")
        check(len(made) < 60, "there seems to be no limit")
    check(len(made) > 3, f"only {made}: {r}")
    equal((r.code, len(r.err.strip().splitlines())), (1, 1), r)
    contains(r.err, "Too many open files")
    equal(sorted(h.must("sandbox", "list", "--names").out.split()), sorted(made), "sandboxes")
    equal(len(h.sandbox_dirs()), len(made), "directories")
    for name in made[:3]:
        h.must("sandbox", "delete", name)
    h.must("sandbox", "create", "--name", "again", "--detach", "--", "sleep", "infinity")
    equal(h.exec("again", "echo", "fine").out, "fine\n")
    h.close()
    few.close()


@case
def what_cannot_be_run_is_named(g):
    """Deliberate faults of the main process: the message names what is wrong, within seconds; the sandbox can be deleted."""
    root = private.dir / "fault-root"
    root.mkdir()
    (root / "closed").write_bytes((BIN / "openshell-sandbox").read_bytes())
    (root / "closed").chmod(0o700)
    shut = private.dir / "fault-shut"
    shut.mkdir()
    (shut / "program").write_bytes((BIN / "openshell-sandbox").read_bytes())
    (shut / "program").chmod(0o755)
    shut.chmod(0o700)
    for options, command, part, code in (
            ((), "no-such-program", "cannot run 'no-such-program': no such program in the sandbox", 127),
            ((), "/etc/hostname", "cannot run '/etc/hostname': the file is not executable for the agent", 126),
            ((), "/srv", "cannot run '/srv'", 126),
            (("--from", f"dir:{root}"), "sh", "cannot run 'sh': no such program in the sandbox", 127),
            (("--from", f"dir:{root}"), "/closed", "cannot run '/closed': the file is not executable for the agent", 126),
            (("--from", f"dir:{shut}"), "/program", "cannot run '/program'", 126)):
        r = g.cli("sandbox", "create", "--name", "fault", *options, "--detach", "--", command, timeout=20)
        if r.code == 0:  # it was Ready for a moment
            wait_for("Error", lambda: "Phase: Error" in g.must("sandbox", "get", "fault").out)
        else:
            contains(" ".join(r.err.replace("│", " ").split()), part)
            contains(r.err, f"(exit code {code})")
        contains(g.must("sandbox", "get", "fault").out, part)
        contains(g.must("sandbox", "get", "fault").out, f"Exit code: {code}")
        g.must("sandbox", "delete", "fault")
    r = g.cli("sandbox", "create", "--name", "fault", "--from", f"dir:{private.dir}/nothing", "--detach", "--", "true")
    equal(r.code, 1, r)
    contains(r.err, "No such file or directory")


@case
def typical_mistakes_are_answered(g):
    """What people type who know docker, kubectl or an older version: expected text and exit code."""
    for line, code, part in (
            ("sandbox creat", 2, "a similar subcommand exists: 'create'"),
            ("sandbox list --outptu json", 2, "a similar argument exists: '--output'"),
            ("sandbox list -o xml", 2, "[possible values: table, yaml, json]"),
            ("ps", 2, "tip: use 'openshell sandbox list'"), ("run alpine", 2, "tip: use 'openshell sandbox create'"),
            ("exec box ls", 2, "tip: use 'openshell sandbox exec'"), ("rm box", 2, "tip: use 'openshell sandbox delete'"),
            ("get pods", 2, "tip: use 'openshell sandbox get'"), ("apply -f x", 2, "tip: use 'openshell policy set'"),
            ("sandbox ls", 2, "tip: use 'openshell sandbox list'"), ("sandbox rm box", 2, "tip: use 'openshell sandbox delete'"),
            ("sandbox ps", 2, "tip: use 'openshell sandbox list'"), ("sandbox run x", 2, "tip: use 'openshell sandbox create'"),
            ("sandbox describe box", 2, "tip: use 'openshell sandbox get'"), ("sandbox logs box", 2, "tip: use 'openshell logs'"),
            ("sandbox cp a b", 2, "tip: use 'openshell sandbox upload'"), ("policy apply x", 2, "tip: use 'openshell policy set'"),
            ("logs box --tail 20", 2, "tip: use 'openshell logs -n <LINES>'"), ("logs box -n x", 2, "invalid value 'x' for '--lines"),
            ("logs box --since yesterday", 1, "unknown duration unit: yesterday (use s, m, or h)"),
            ("sandbox exec -n box", 2, "required arguments were not provided"),
            ("sandbox exec -it box -- sh", 2, "unexpected argument '-i' found"),
            ("sandbox exec -n box --timeout x -- true", 2, "invalid value 'x' for '--timeout"),
            ("sandbox create --env FOO --detach -- true", 1, "--env expects KEY=VALUE, got 'FOO'"),
            ("sandbox create --memory 4GG --detach -- true", 1, "4GG"), ("sandbox create --nam x", 2, "'--name'"),
            ("sandbox create --from nowhere:tag --detach -- true", 1, "nowhere:tag"), ("sandbox delete", 2, "<NAME>..."),
            ("policy set box", 2, "--policy <FILE>"), ("policy set box --policy /nowhere.yaml", 1, "/nowhere.yaml"),
            ("settings set box", 2, "--key <KEY>"), ("settings set box --key nonsense --value 1", 1, "nonsense"),
            ("forward start abc box", 1, "invalid forward spec 'abc'"), ("forward start 99999 box", 1, "between 1 and 65535"),
            ("sandbox upload box /nowhere", 1, "/nowhere"), ("-g nowhere sandbox list", 1, "nowhere"), ("gateway select nowhere", 1, "nowhere")):
        r = g.cli(*line.split())
        equal(r.code, code, r)
        equal(r.out, "", line)
        contains(r.err, part)


@case
def reading_from_a_sandbox_that_is_not_there_fails(g):
    policy = private.dir / "any.yaml"
    policy.write_text("version: 1\n")
    for line in ("sandbox get nope", "sandbox get nope -o json", "sandbox get nope --policy-only", "sandbox exec -n nope -- true", "sandbox connect nope",
                 "sandbox ssh-config nope", f"sandbox download nope x {private.dir}", f"sandbox upload nope {policy}", "logs nope",
                 "logs nope --tail", "policy get nope", "policy list nope", "settings get nope", "sandbox stop nope", "sandbox start nope",
                 "forward start 18999 nope", f"policy set nope --policy {policy}"):
        r = g.cli(*line.split(), timeout=20)
        equal((r.code, r.out), (1, ""), r)
        contains(r.err.lower(), "not found")


@case
def files_and_processes_tell_no_secrets(g):
    secret = {str(p) for p in g.state.glob("tls/**/*.key")} | {str(p) for p in g.state.glob("tls/jwt/signing.pem")}
    check(len(secret) >= 3, secret)
    for path in secret | {str(g.state / "gateway" / "openshell.db")}:
        equal(os.stat(path).st_mode & 0o077, 0, path)
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            line = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        check(b"eyJ" not in line or b"openshell" not in line, line)
    log = g.log_text()
    check("eyJ" not in log and "BEGIN" not in log and "Bearer" not in log, "a token or key is in the gateway's log")


def main():
    try:
        g = Gateway(private).start()
    except Skip as why:
        print(f"skip hostile: {why}")
        return
    g.must("sandbox", "create", "--name", "box", "--detach", "--", "sleep", "infinity")
    suite.run(g)


main()
