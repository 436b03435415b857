"""What the end-to-end and interop tests share: cases and their report, programs under a time limit, a private
directory that goes away, and a gateway of one's own.

A test file registers cases with @case and ends with sys.exit(main()). Each case prints one line, "ok NAME",
"not ok NAME: why" or "skip NAME: why"; the last line is "N passed, N failed, N skipped". Arguments on the command
line choose cases by a part of their name.
"""
import atexit
import importlib.util
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
import traceback

sys.dont_write_bytecode = True

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
BIN = os.environ.get("OPENSHELL_BIN") or os.path.join(ROOT, "build", "bin")
PATIENCE = 60  # seconds to wait for something that should be quick; only failures take that long


def need_modules(*names):
    """Continues under Debian's own python3 when this interpreter lacks a module that Debian packages provide."""
    def there(name):
        try:
            return importlib.util.find_spec(name) is not None
        except ImportError:  # no such parent package
            return False

    missing = [n for n in names if not there(n)]
    debian = "/usr/bin/python3"
    if missing and os.path.exists(debian) and not os.environ.get("OPENSHELL_TEST_DEBIAN_PYTHON"):
        os.environ["OPENSHELL_TEST_DEBIAN_PYTHON"] = "1"
        os.execv(debian, [debian] + sys.argv)
    if missing:
        print("not ok modules: missing %s; run scripts/install-deps.sh" % ", ".join(missing))
        sys.exit(1)


# --- cases ---

class Skip(Exception):
    """Raised by a case that cannot run here; its text says why."""


_cases = []
_undo = []


def case(function):
    """Registers a case; they run in the order of the file."""
    _cases.append(function)
    return function


def at_end(function):
    """Runs after all cases, last registered first, also after a failure or SIGTERM."""
    _undo.append(function)
    return function


def _run_undo():
    while _undo:
        try:
            _undo.pop()()
        except Exception:  # the others must still run
            traceback.print_exc()


atexit.register(_run_undo)
for _number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(_number, lambda number, frame: sys.exit(128 + number))


def _why(error):
    text = str(error) or type(error).__name__
    if not isinstance(error, (AssertionError, Failure)):
        text = "%s: %s" % (type(error).__name__, text)
    return " ".join(text.split())[:600]


class Failure(Exception):
    """A check that did not hold."""


def check(condition, why="condition does not hold"):
    if not condition:
        raise Failure(why)


def equal(got, wanted, what="value"):
    if got != wanted:
        raise Failure("%s is %r, not %r" % (what, got, wanted))


def contains(text, part, what="text"):
    if part not in text:
        raise Failure("%s %r does not contain %r" % (what, text if len(text) < 2000 else text[-2000:], part))


def main(setup=None):
    """Runs setup (its failure fails the program) and the chosen cases. Returns the exit status."""
    counts = {"ok": 0, "not ok": 0, "skip": 0}

    def report(verdict, name, why=""):
        counts[verdict] += 1
        print("%s %s%s" % (verdict, name, ": " + why if why else ""), flush=True)

    def attempt(function, name, say_ok=True):
        try:
            function()
            if say_ok:
                report("ok", name)
            return True
        except Skip as e:
            report("skip", name, _why(e))
        except Exception as e:
            report("not ok", name, _why(e))
            where = traceback.extract_tb(e.__traceback__)
            print("".join("    %s:%d %s\n" % (os.path.basename(f.filename), f.lineno, f.line) for f in where),
                  end="", flush=True)
        return False

    chosen = [c for c in _cases if not sys.argv[1:] or any(a in c.__name__ for a in sys.argv[1:])]
    if setup is None or attempt(setup, "setup", say_ok=False):
        for function in chosen:
            attempt(function, function.__name__)
    _run_undo()
    print("%d passed, %d failed, %d skipped" % (counts["ok"], counts["not ok"], counts["skip"]), flush=True)
    return 0 if counts["not ok"] == 0 and (counts["ok"] or counts["skip"]) else 1


def wait_for(condition, what, timeout=PATIENCE, every=0.02):
    """Polls until condition() is true and returns its value."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= end:
            raise Failure("waited %d s for %s" % (timeout, what))
        time.sleep(every)


# --- programs ---

class Result:
    """Exit status (negative: signal), stdout and stderr of a finished program."""

    def __init__(self, argv, status, out, err):
        self.argv, self.status, self.out, self.err = argv, status, out, err

    def __str__(self):
        return "%s -> %d\nstdout: %s\nstderr: %s" % (" ".join(self.argv), self.status, self.out, self.err)


def run(*argv, env=None, timeout=PATIENCE, stdin="", status=None, cwd=None, text=True):
    """Runs a program to its end. status: the exit status it must have; None = any."""
    data = stdin if not text or isinstance(stdin, bytes) else stdin.encode()
    if data == "":
        data = b""
    p = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, cwd=cwd,
                         start_new_session=True)
    try:
        out, err = p.communicate(data, timeout=timeout)
    except BaseException:
        os.killpg(p.pid, signal.SIGKILL)
        out, err = p.communicate()
        if not isinstance(sys.exc_info()[1], subprocess.TimeoutExpired):
            raise
        raise Failure("%s did not end within %d s; stdout %r stderr %r" %
                      (" ".join(argv), timeout, out[-500:], err[-500:])) from None
    if text:
        out, err = out.decode(errors="replace"), err.decode(errors="replace")
    result = Result(argv, p.returncode, out, err)
    if status is not None and result.status != status:
        raise Failure("exit status is not %d: %s" % (status, result))
    return result


def free_port():
    """A TCP port that was free on 127.0.0.1 a moment ago. Prefer port 0 where the program can report it."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def need_root():
    if os.geteuid() != 0:
        raise Skip("local sandboxes need root")


# --- a private directory ---

def mounts_below(path):
    """Mount points at or below path, deepest first."""
    with open("/proc/self/mounts") as f:
        points = [re.sub(r"\\([0-7]{3})", lambda m: chr(int(m.group(1), 8)), line.split()[1]) for line in f]
    return sorted((p for p in points if p == path or p.startswith(path + "/")), key=len, reverse=True)


def processes_of(path):
    """{pid: command line} of the processes whose command line or environment names path."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        texts = []
        for name in ("cmdline", "environ"):
            try:
                with open("/proc/%s/%s" % (pid, name), "rb") as f:
                    texts.append(f.read())
            except OSError:
                texts.append(b"")
        if int(pid) != os.getpid() and any(path.encode() in t for t in texts):
            found[int(pid)] = texts[0].replace(b"\0", b" ").decode(errors="replace").strip()
    return found


def _sweep(path):
    """Last resort for what a failed test left: ends its processes by id, detaches its mounts, removes its files."""
    for pid, command in processes_of(path).items():
        print("    left behind: process %d %s" % (pid, command), flush=True)
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    for point in mounts_below(path):
        print("    left behind: mount %s" % point, flush=True)
        subprocess.run(["umount", "-l", point], check=False)
    if not mounts_below(path):
        shutil.rmtree(path, ignore_errors=True)


def temporary_directory():
    """A new directory that others may pass through (supervisors run under another uid); swept at the end."""
    path = tempfile.mkdtemp(prefix="openshell-test.")
    os.chmod(path, stat.S_IRWXU | stat.S_IXGRP | stat.S_IXOTH)
    at_end(lambda: _sweep(path))
    return path


# --- a gateway ---

class Gateway:
    """An openshell-gateway with its own state, and what is needed to talk to it. See start_gateway()."""

    def __init__(self, directory, arguments, environment):
        self.directory = directory
        self.config = os.path.join(directory, "config")
        self.state = os.path.join(directory, "state")
        self.log_path = os.path.join(directory, "gateway.log")
        self.arguments = list(arguments)
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(("OPENSHELL_", "XDG_", "RUST_LOG"))}
        self.env.update(XDG_CONFIG_HOME=self.config, XDG_STATE_HOME=self.state, HOME=directory, NO_COLOR="1",
                        PATH=BIN + os.pathsep + os.environ.get("PATH", "/usr/bin:/bin"))
        self.env.update(environment or {})
        self.process = None
        self.port = 0
        tls = os.path.join(self.state, "openshell", "tls")
        self.tls_dir = tls
        self.ca = os.path.join(tls, "ca.crt")
        self.cert = os.path.join(tls, "client", "tls.crt")
        self.key = os.path.join(tls, "client", "tls.key")

    @property
    def plaintext(self):
        return "--disable-tls" in self.arguments

    @property
    def endpoint(self):
        return "%s://127.0.0.1:%d" % ("http" if self.plaintext else "https", self.port)

    def log(self):
        with open(self.log_path, errors="replace") as f:
            return f.read()

    def start(self):
        """Starts the program and waits until it says where it listens. A restart keeps the port."""
        program = os.path.join(BIN, "openshell-gateway")
        if not os.path.exists(program):
            raise Failure("%s is missing; build first (make build)" % program)
        before = os.path.getsize(self.log_path) if os.path.exists(self.log_path) else 0
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen([program, "--port", str(self.port)] + self.arguments, env=self.env,
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            start_new_session=True)

        def listening():
            text = self.log()[before:]
            if self.process.poll() is not None:
                raise Failure("the gateway ended with status %d: %s" % (self.process.returncode, text[-2000:]))
            return re.search(r"listening on https?://\S*:(\d+)", text)

        self.port = int(wait_for(listening, "the gateway to listen").group(1))
        return self

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def stop(self):
        """SIGTERM and the exit status."""
        if not self.alive():
            return self.process.returncode if self.process else 0
        self.process.terminate()
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Failure("the gateway did not end on SIGTERM: %s" % self.log()[-2000:]) from None

    def kill(self):
        if self.alive():
            self.process.kill()
        self.process.wait()

    def restart(self):
        self.stop()
        return self.start()

    def cli(self, *arguments, **options):
        """Runs the CLI against this gateway (certificates as generate-certs placed them); see run()."""
        env = dict(self.env, OPENSHELL_GATEWAY_ENDPOINT=self.endpoint)
        return run(os.path.join(BIN, "openshell"), *arguments, env=env, **options)

    def leftovers(self):
        """What sandboxes of this gateway have left: processes besides the gateway's, mounts, directories."""
        own = self.process.pid if self.process else 0
        found = ["process %d %s" % p for p in processes_of(self.directory).items() if p[0] != own]
        found += ["mount %s" % m for m in mounts_below(self.directory)]
        local = os.path.join(self.state, "openshell", "local")
        if os.path.isdir(local):
            found += ["directory %s" % d.path for d in os.scandir(local) if d.is_dir()]
        return found


def start_gateway(*arguments, environment=None):
    """A running gateway on a free port of 127.0.0.1, with its own directories and certificates; ended at the end.
    arguments are further flags of openshell-gateway."""
    gateway = Gateway(temporary_directory(), arguments, environment)

    def end():
        if gateway.process is not None:
            gateway.stop()

    at_end(end)
    return gateway.start()


# --- threads ---

def in_parallel(functions):
    """Runs the functions at once; raises the first failure, returns the results in order."""
    results, errors = [None] * len(functions), []

    def work(i):
        try:
            results[i] = functions[i]()
        except Exception as e:
            errors.append(e)

    threads = [threading.Thread(target=work, args=(i,), daemon=True) for i in range(len(functions))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if errors:
        raise errors[0]
    return results
