#!/usr/bin/env python3
"""make install and uninstall: the layout, programs that find each other, shells' and systemd's files, man pages without
a flaw, and a gateway of the installed tree that says when it is ready and runs a sandbox."""
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent / "lib"))
import harness
from harness import BUILD, ROOT, Gateway, Private, Skip, Suite, check, contains, equal, run, wait_for

suite = Suite()
case = suite.case
private = Private("install")
PREFIX = "/opt/openshell"
DESTDIR = private.dir / "dest"
TREE = DESTDIR / PREFIX[1:]


def script(*argv, **env):
    return run(ROOT / "scripts/install.sh", *argv, BUILD, env={**os.environ, "DESTDIR": str(DESTDIR), "PREFIX": PREFIX, **env})


def files(top):
    return {str(p.relative_to(top)) for p in top.rglob("*") if not p.is_dir()}


@case
def every_file_has_its_place(g):
    expected = {
        "bin/openshell": 0o755, "bin/openshell-gateway": 0o755,
        "libexec/openshell/openshell-sandbox": 0o755, "libexec/openshell/openshell-local-launcher": 0o755,
        "libexec/openshell/openshell-driver-local": 0o755,
        "share/man/man1/openshell.1": 0o644, "share/man/man1/openshell-sandbox-create.1": 0o644,
        "share/man/man5/gateway.toml.5": 0o644, "share/man/man5/openshell-policy.5": 0o644,
        "share/man/man8/openshell-gateway.8": 0o644, "share/man/man8/openshell-sandbox.8": 0o644,
        "share/man/man8/openshell-driver-local.8": 0o644,
        "share/bash-completion/completions/openshell": 0o644, "share/zsh/site-functions/_openshell": 0o644,
        "share/fish/vendor_completions.d/openshell.fish": 0o644,
        "lib/systemd/user/openshell-gateway.service": 0o644, "lib/systemd/system/openshell-gateway.service": 0o644,
        "share/doc/openshell/LICENSE": 0o644, "share/doc/openshell/examples/quickstart/policy.yaml": 0o644,
    }
    for name, mode in expected.items():
        check((TREE / name).is_file(), f"{name} is missing")
        equal((TREE / name).stat().st_mode & 0o7777, mode, name)
    others = {f for f in files(TREE) - set(expected)
              if not re.fullmatch(r"share/man/man1/openshell-[a-z-]+\.1|share/doc/openshell/examples/.*", f)}
    equal(others, set(), "files nobody expects")
    equal({p.name for p in (TREE / "bin").iterdir()}, {"openshell", "openshell-gateway"})
    for p in TREE.rglob("*"):
        if p.is_dir():
            equal(p.stat().st_mode & 0o777, 0o755, p)


@case
def nothing_knows_where_it_was_made(g):
    """Nothing names the staging directory; the units name the prefix."""
    for name in files(TREE):
        data = (TREE / name).read_bytes()
        check(str(DESTDIR).encode() not in data, f"{name} names {DESTDIR}")
        check(b"@BINDIR@" not in data, name)
        if name.startswith("lib/systemd"):
            contains(data.decode(), f"\nExecStart={PREFIX}/bin/openshell-gateway\n")


@case
def programs_say_their_version(g):
    for name in ("bin/openshell", "bin/openshell-gateway", "libexec/openshell/openshell-sandbox",
                 "libexec/openshell/openshell-driver-local"):
        r = run(TREE / name, "--version")
        equal((r.code, r.err), (0, ""), name)
        check(re.fullmatch(rf"{pathlib.Path(name).name} \d+\.\d+\.\d+\n", r.out), r)


@case
def completions_are_those_of_the_program(g):
    for shell, place in (("bash", "bash-completion/completions/openshell"), ("zsh", "zsh/site-functions/_openshell"),
                         ("fish", "fish/vendor_completions.d/openshell.fish")):
        equal((TREE / "share" / place).read_text(), run(TREE / "bin/openshell", "completions", shell).out)


@case
def a_sandbox_of_the_installed_tree(g):
    g.start()
    g.must("sandbox", "create", "--name", "box", "--detach", "--", "sleep", "infinity")
    equal(g.exec("box", "echo", "hello").out, "hello\n")
    g.must("sandbox", "delete", "box")
    equal(g.sandbox_dirs(), [])


@case
def gateway_start_finds_its_gateway(g):
    g.kill(signal.SIGTERM)
    r = g.cli("gateway", "start", "--port", g.port)
    equal(r.code, 0, r)
    r = g.must("gateway", "stop")
    contains(r.text, "Gateway stopped")


class Manager:
    """Plays the socket of a service manager."""

    def __init__(self, name):
        self.name = name
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + name[1:] if name[0] == "@" else name)
        self.socket.settimeout(20)

    def hears(self):
        return self.socket.recv(4096).decode()


@case
def the_manager_is_told(g):
    for name in (str(private.dir / "notify"), f"@{private.dir}/notify"):
        manager = Manager(name)
        g.env["NOTIFY_SOCKET"] = name
        p = private.spawn(harness.BIN / "openshell-gateway", "--port", g.port, env=g.env, stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        equal(manager.hears(), "READY=1")
        with socket.create_connection(("127.0.0.1", g.port), 5):
            pass  # ready means that it listens
        p.terminate()
        equal(manager.hears(), "STOPPING=1")
        equal(p.wait(20), 0)
        manager.socket.close()


@case
def a_manager_that_is_gone_is_no_reason_to_fail(g):
    g.env["NOTIFY_SOCKET"] = "/nonexistent/notify"
    g.start()
    wait_for("the warning", lambda: "cannot send READY=1 to NOTIFY_SOCKET" in g.log_text())
    g.must("sandbox", "list")
    g.kill(signal.SIGTERM)
    del g.env["NOTIFY_SOCKET"]


@case
def a_missing_program_is_named_with_its_places(g):
    sandbox = TREE / "libexec/openshell/openshell-sandbox"
    hidden = sandbox.with_suffix(".away")
    sandbox.rename(hidden)
    try:
        r = run(TREE / "bin/openshell-gateway", "--port", "0", env=g.env, timeout=20)
    finally:
        hidden.rename(sandbox)
    equal(r.code, 1, r)
    contains(r.err, f"the local driver needs the program '{TREE}/bin/openshell-sandbox' (supervisor)")
    contains(r.err, "install it beside openshell-gateway or in ../libexec/openshell seen from there")


@case
def units_are_valid(g):
    if not shutil.which("systemd-analyze"):
        raise Skip("no systemd-analyze on this machine (apt-get install systemd)")
    for kind in ("user", "system"):
        # ExecStart has to exist for the check, and here it is below DESTDIR.
        text = (TREE / f"lib/systemd/{kind}/openshell-gateway.service").read_text().replace(PREFIX, str(TREE))
        unit = private.dir / "openshell-gateway.service"
        unit.write_text(re.sub(r"^Documentation=.*\n", "", text, flags=re.M))
        r = run("systemd-analyze", "verify", *(["--user"] if kind == "user" else []), "--man=no", unit,
                env={**os.environ, "XDG_RUNTIME_DIR": str(private.dir)})
        equal((r.code, [line for line in r.text.splitlines() if "openshell" in line]), (0, []), kind)


@case
def man_pages_are_clean(g):
    if not shutil.which("mandoc"):
        raise Skip("no mandoc on this machine (apt-get install mandoc)")
    pages = sorted((TREE / "share/man").rglob("*.[158]"))
    check(len(pages) > 30, f"{len(pages)} pages")
    r = run("mandoc", "-Tlint", "-Wwarning", *pages)
    equal((r.code, r.text), (0, ""), "mandoc")
    text = run("mandoc", "-Tascii", TREE / "share/man/man1/openshell-sandbox-create.1").out
    text = re.sub(r".\x08", "", text)
    for part in ("openshell sandbox create [OPTIONS] [-- <COMMAND>...]", "--policy FILE", "OPENSHELL_SANDBOX_POLICY"):
        contains(text, part)


@case
def man_pages_read_like_text(g):
    for page in sorted((TREE / "share/man").rglob("*.[158]")):
        text = page.read_text()
        doubled = [line for line in text.splitlines() if re.search(r"[^.][.?!]\.$", line)]
        equal(doubled, [], f"sentences with two stops in {page.name}")
        if "The options of every command" in text:
            contains(text, ".PP\nThe options of every command")


def commands(tree_help, *path):
    """Every command that --help shows, with its aliases left out."""
    text = run(TREE / "bin/openshell", *path, "--help").out
    for block in re.findall(r"^[A-Z ]*COMMANDS\n((?:  .*\n)+)", text, re.M):
        for name in re.findall(r"^  ([a-z-]+) ", block, re.M):
            yield (*path, name)
            yield from commands(tree_help, *path, name)


@case
def every_command_has_a_page(g):
    listed = {"-".join(("openshell", *c)) + ".1" for c in commands(g)} | {"openshell.1"}
    check(len(listed) > 25, listed)
    equal({p.name for p in (TREE / "share/man/man1").iterdir()}, listed)


@case
def it_runs_when_it_is_moved(g):
    moved = private.dir / "moved"
    shutil.copytree(TREE, moved)
    (private.dir / "link").symlink_to(moved / "bin/openshell-gateway")
    manager = Manager(f"@{private.dir}/moved")
    p = private.spawn(private.dir / "link", "--port", g.port, env={**g.env, "NOTIFY_SOCKET": manager.name},
                      stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    equal(manager.hears(), "READY=1")  # the driver has found its programs
    p.terminate()
    equal(p.wait(20), 0)


@case
def make_passes_destdir_and_prefix_on(g):
    other = private.dir / "made"
    r = run("make", "-s", "-C", ROOT, "-o", "build", "install", f"BUILD={BUILD}", f"DESTDIR={other}", "PREFIX=/usr")
    equal(r.code, 0, r)
    equal(files(other / "usr"), files(TREE))
    r = run("make", "-s", "-C", ROOT, "-o", "build", "uninstall", f"BUILD={BUILD}", f"DESTDIR={other}", "PREFIX=/usr")
    equal(r.code, 0, r)
    equal(files(other), set())


@case
def uninstall_leaves_nothing_of_it(g):
    kept = TREE / "share/doc/other"
    kept.write_text("somebody else's\n")
    r = script("uninstall")
    equal(r.code, 0, r)
    equal(files(DESTDIR), {f"{PREFIX[1:]}/share/doc/other"})
    kept.unlink()
    other = TREE / "state/other-app/empty"
    other.mkdir(parents=True)
    equal(script("uninstall").code, 0)
    check(other.is_dir(), "an empty directory of somebody else's")
    shutil.rmtree(TREE / "state")
    equal([str(p) for p in TREE.rglob("*")], [])


@case
def mistakes_are_named(g):
    r = script("install", PREFIX="relative")
    equal((r.code, r.err), (2, "error: PREFIX must be an absolute path, not 'relative'\n"))
    r = run(ROOT / "scripts/install.sh", "install", "/nonexistent")
    equal((r.code, r.err), (1, "error: there is no build in '/nonexistent'; run make build first\n"))


def main():
    r = script("install")
    check(r.code == 0, r)
    for p in (DESTDIR, DESTDIR / "opt"):
        p.chmod(0o755)
    harness.BIN = TREE / "bin"  # the gateway and the command line of the installed tree
    suite.run(Gateway(private))


main()
