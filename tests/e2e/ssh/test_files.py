#!/usr/bin/env python3
"""Files into and out of a sandbox, and port forwards of the command line. OPENSHELL_TEST_TREE_MB is the size of the large tree
(1024)."""
import hashlib
import io
import os
import pathlib
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tarfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from harness import (BIN, ECHO_SERVER, Gateway, Private, Suite, check, contains, equal, free_port, in_parallel,  # noqa: E402
                     run, talk, wait_for)

suite = Suite()
NAME = "files1"
TREE_MB = int(os.environ.get("OPENSHELL_TEST_TREE_MB", "1024"))


class World:
    def __init__(self):
        self.private = Private("files")
        self.dir = self.private.dir
        self.gateway = Gateway(self.private).start()
        self.gateway.must("sandbox", "create", "--name", NAME, "--detach", "--", "sleep", "infinity")
        self.idle = self.private.spawn(BIN / "openshell", "sandbox", "exec", "-n", NAME, "--tty", "--", "cat", env=self.gateway.env,
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.idle_since = time.monotonic()

    def upload(self, *argv, **kw):
        return self.gateway.cli("sandbox", "upload", NAME, *argv, **kw)

    def download(self, *argv, **kw):
        return self.gateway.cli("sandbox", "download", NAME, *argv, **kw)

    def shell(self, script, **kw):
        r = self.gateway.exec(NAME, "sh", "-c", script, **kw)
        check(r.code == 0, r)
        return r.out


def describe(root):
    """Everything that must survive the way there and back."""
    found = {}
    for path in sorted(pathlib.Path(root).rglob("*")):
        st = path.lstat()
        kind = stat.S_IFMT(st.st_mode)
        what = os.readlink(path) if stat.S_ISLNK(kind) else hashlib.sha256(path.read_bytes()).hexdigest() \
            if stat.S_ISREG(kind) else ""
        found[str(path.relative_to(root))] = (kind, 0 if stat.S_ISLNK(kind) else st.st_mode & 0o777,
                                              0 if stat.S_ISDIR(kind) else int(st.st_mtime), what)
    return found


def make_tree(root):
    (root / "deep" / ("d" * 90) / ("e" * 90)).mkdir(parents=True)
    (root / "deep" / ("d" * 90) / ("e" * 90) / ("long name " * 20 + "ü")).write_text("long\n")
    (root / "empty dir").mkdir()
    (root / "empty").touch()
    (root / "script").write_text("#!/bin/sh\n")
    (root / "script").chmod(0o755)
    (root / "secret").write_text("s")
    (root / "secret").chmod(0o600)
    (root / "wide").write_text("w")
    (root / "wide").chmod(0o666)
    (root / "-dash").write_text("-")
    (root / "new\nline").write_text("n")
    (root / "link").symlink_to("script")
    (root / "dangling").symlink_to("/nowhere/" + "x" * 150)
    (root / "dirlink").symlink_to("deep")
    with open(root / "big", "wb") as f:
        for _ in range(100):
            f.write(os.urandom(1 << 20))
    with open(root / "sparse", "wb") as f:
        f.truncate(3 << 20)
        f.seek(1 << 20)
        f.write(b"middle")
    for i in range(300):
        (root / "deep" / f"file{i}").write_text(str(i))
    os.utime(root / "script", (1e9, 1e9))
    (root / "deep").chmod(0o750)


@suite.case
def a_tree_comes_back_as_it_was(w):
    tree = w.dir / "tree"
    tree.mkdir()
    make_tree(tree)
    r = w.upload(tree, timeout=300)
    equal((r.code, r.out), (0, ""), r)
    equal(r.err, f"Uploading {tree} -> sandbox:~\n✓ Upload complete\n")
    r = w.download("tree", w.dir / "back", timeout=300)
    equal((r.code, r.out), (0, ""), r)
    equal(r.err, f"Downloading sandbox:tree -> {w.dir / 'back'}\n✓ Download complete\n")
    equal(describe(w.dir / "back"), describe(tree))


def make_large_tree(root):
    """A third in large files, the rest in many of some kilobytes up to a megabyte; links and modes among them."""
    block = os.urandom(1 << 20)
    big = TREE_MB // 3
    with open(root / "big", "wb") as f:
        for i in range(big):
            f.write(i.to_bytes(8, "big") + block[8:])
    left, i = (TREE_MB - big) << 20, 0
    while left > 0:
        d = root / f"d{i % 37}" / f"e{i % 11}"
        d.mkdir(parents=True, exist_ok=True)
        data = block[i % 4096:i % 4096 + min(left, (4 << 10, 60 << 10, 700 << 10, 1 << 20)[i % 4])]
        (d / f"f{i}").write_bytes(data)
        (d / f"f{i}").chmod((0o644, 0o755, 0o600, 0o444)[i % 4])
        if i % 10 == 0:
            (d / f"l{i}").symlink_to(("f%d" % i, "../../big", "/etc/hostname", "nowhere")[i // 10 % 4])
        left -= len(data)
        i += 1


@suite.case
def a_large_tree_comes_back_as_it_was(w):
    tree = w.dir / "large"
    tree.mkdir()
    make_large_tree(tree)
    started = time.monotonic()
    r = w.upload(tree, timeout=280)
    equal((r.code, r.out), (0, ""), r)
    there = time.monotonic()
    r = w.download("large", w.dir / "large-back", timeout=280)
    equal((r.code, r.out), (0, ""), r)
    print(f"# {TREE_MB} MB: up {there - started:.1f} s, down {time.monotonic() - there:.1f} s", flush=True)
    want, got = describe(tree), describe(w.dir / "large-back")
    check(got == want, f"{len(got)} of {len(want)} entries, differing: {[k for k in want if got.get(k) != want[k]][:5]}")
    shutil.rmtree(tree)
    shutil.rmtree(w.dir / "large-back")
    w.shell("rm -rf /sandbox/large")


@suite.case
def an_idle_session_goes_on(w):
    """Interactive, opened first, silent while the cases before this one ran: no timer of its set-up is left."""
    time.sleep(max(0.0, 20 - (time.monotonic() - w.idle_since)))
    w.idle.stdin.write(b"still here\n")
    w.idle.stdin.flush()
    contains(w.idle.stdout.readline().decode(), "still here")
    w.idle.kill()


@suite.case
def destinations_follow_the_rules(w):
    f = w.dir / "one.txt"
    f.write_text("one\n")
    for dest, where in ((None, "one.txt"), ("renamed.txt", "renamed.txt"), ("sub/", "sub/one.txt"),
                        ("/sandbox/abs.txt", "abs.txt"), ("a/b/c.txt", "a/b/c.txt"), ("with space/x y", "with space/x y")):
        r = w.upload(f, *([dest] if dest else []))
        equal(r.code, 0, r)
        equal(w.shell(f"cat '/sandbox/{where}'"), "one\n", where)
    d = w.dir / "dir"
    d.mkdir()
    (d / "in").write_text("in\n")
    equal(w.upload(d, "into").code, 0)
    equal(w.shell("cat /sandbox/into/dir/in"), "in\n")
    r = run(BIN / "openshell", "sandbox", "upload", NAME, ".", "flat", env=w.gateway.env, cwd=d)
    equal(r.code, 0, r)
    equal(w.shell("cat /sandbox/flat/in"), "in\n")
    link = w.dir / "a-link"
    link.symlink_to("one.txt")
    equal(w.upload(link).code, 0)
    equal(w.shell("readlink /sandbox/a-link"), "one.txt\n")


@suite.case
def gitignore_is_heeded(w):
    repo = w.dir / "repo"
    repo.mkdir()
    (repo / ".gitignore").write_text("*.o\nbuild/\n")
    (repo / "src").mkdir()
    (repo / "src" / "a.c").write_text("a")
    (repo / "src" / "a.o").write_text("o")
    (repo / "build").mkdir()
    (repo / "build" / "x").write_text("x")
    check(run("git", "init", "-q", repo).code == 0)
    equal(w.upload(repo).code, 0)
    equal(w.shell("cd /sandbox/repo; find . -type f | sort"), "./.gitignore\n./src/a.c\n")
    equal(w.upload(repo / "src", "only").code, 0)
    equal(w.shell("cd /sandbox/only; find . -type f | sort"), "./src/a.c\n")
    equal(w.upload("--no-git-ignore", repo, "all").code, 0)
    contains(w.shell("cd /sandbox/all; find . -type f | sort"), "./repo/src/a.o\n")
    r = w.upload(repo / "build", "ignored")
    contains(r.err, "⚠ .gitignore filtering excluded all files in")
    equal(w.shell("cat /sandbox/ignored/build/x"), "x")


@suite.case
def bad_uploads_are_refused_by_name(w):
    r = w.upload(w.dir / "nothing")
    equal(r.code, 1)
    contains(r.err, f"local path does not exist: {w.dir}/nothing")
    d = w.dir / "special"
    d.mkdir()
    os.mkfifo(d / "fifo")
    r = w.upload(d)
    equal(r.code, 1)
    contains(r.err, f"unsupported file type for upload: {d}/fifo")
    f = w.dir / "plain"
    f.write_text("x")
    r = w.upload(f, "/etc/evil")
    equal(r.code, 1, r)
    contains(r.err, "tar extract in the sandbox exited with status")
    r = w.gateway.cli("sandbox", "upload", "nobody", f)
    contains(r.err, "sandbox not found")


@suite.case
def downloads_of_files(w):
    w.shell("mkdir -p /sandbox/dl; printf content > /sandbox/dl/f; chmod 751 /sandbox/dl/f; : > '/sandbox/dl/e m p t y'; "
            "ln -sf f /sandbox/dl/l; ln -sf /etc/hostname /sandbox/dl/out; ln -sfn /etc /sandbox/dl/etc")
    out = w.dir / "out"
    out.mkdir()
    equal(w.download("dl/f", out).code, 0)
    equal(((out / "f").read_text(), (out / "f").stat().st_mode & 0o777), ("content", 0o751))
    equal(w.download("/sandbox/dl/f", w.dir / "named").code, 0)
    equal((w.dir / "named").read_text(), "content")
    equal(w.download("dl/e m p t y", f"{w.dir}/fresh/").code, 0)
    equal((w.dir / "fresh" / "e m p t y").read_bytes(), b"")
    equal(w.download("dl/l", w.dir / "through").code, 0)
    equal((w.dir / "through").read_text(), "content")
    r = run(BIN / "openshell", "sandbox", "download", NAME, "dl/f", env=w.gateway.env, cwd=out)
    equal(r.code, 0, r)
    for path, text in (("../etc/passwd", "is outside the sandbox workspace (/sandbox)"),
                       ("/etc/passwd", "is outside the sandbox workspace (/sandbox)"),
                       ("dl/out", "outside the sandbox workspace (/sandbox)"),
                       ("dl/etc/passwd", "outside the sandbox workspace (/sandbox)"),
                       ("dl/none", "sandbox source path 'dl/none' does not exist"), ("", "sandbox source path is empty")):
        r = w.download(path, w.dir / "never")
        equal(r.code, 1, r)
        contains(" ".join(r.err.replace("│", "").split()), text)
        check(not (w.dir / "never").exists())
    (w.dir / "isdir" / "f").mkdir(parents=True)
    contains(w.download("dl/f", w.dir / "isdir").err, "cannot overwrite directory")
    contains(w.download("dl", w.dir / "named").err, "over non-directory destination")
    equal([p for p in w.dir.glob(".openshell-download*")], [])


HUGE = 8 << 30  # sparse; more than is copied before the signal comes


def interrupted(w, *argv, when):
    p = w.private.spawn(BIN / "openshell", "sandbox", *argv, env=w.gateway.env, stdin=subprocess.DEVNULL,
                        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_for("some of it", when, 30)
    p.send_signal(signal.SIGINT)
    err = p.communicate(timeout=30)[1].decode()
    equal(p.returncode, 130, err)
    return err


@suite.case
def an_interrupted_download_leaves_nothing(w):
    w.shell(f"mkdir -p /sandbox/cut && truncate -s {HUGE} /sandbox/cut/huge && echo old > /sandbox/cut/a")
    out = w.dir / "cut"
    out.mkdir()
    (out / "huge").write_text("mine")
    err = interrupted(w, "download", NAME, "cut/huge", out / "huge",
                      when=lambda: any(f.stat().st_size for f in out.glob(".openshell-download.*/huge")))
    contains(err, "interrupted")
    equal([(f.name, f.read_text()) for f in out.iterdir()], [("huge", "mine")])
    tree = w.dir / "cut-tree"
    interrupted(w, "download", NAME, "cut", tree, when=lambda: (tree / "huge").exists() and (tree / "huge").stat().st_size)
    check(not (tree / "huge").exists(), "half a file under its name")
    w.shell("rm -r /sandbox/cut")


@suite.case
def an_interrupted_upload_leaves_nothing(w):
    local = w.dir / "half"
    local.mkdir()
    with open(local / "huge", "wb") as f:
        f.truncate(HUGE)
    w.shell("mkdir /sandbox/up && echo old > /sandbox/up/huge")
    arrives = "ls -l /sandbox/up/.openshell-upload.*/huge /sandbox/up/.openshell-upload.*/*/huge 2>/dev/null || true"
    for what, dest, text in ((local / "huge", "up/huge", "a file that is not complete is not in the sandbox"),
                             (local, "up", "files that had arrived may be in the sandbox")):
        contains(interrupted(w, "upload", NAME, what, dest, when=lambda: w.shell(arrives)), text)
        wait_for("the clean-up", lambda: w.shell("ls -A /sandbox/up") == "huge\n", 20)
        equal(w.shell("cat /sandbox/up/huge"), "old\n")
    w.shell("rm -r /sandbox/up")


@suite.case
def an_upload_replaces_files_and_keeps_modes(w):
    tree = w.dir / "modes"
    tree.mkdir()
    (tree / "f").write_text("new")
    (tree / "f").chmod(0o640)
    tree.chmod(0o555)
    w.shell("mkdir -p /sandbox/over/d && ln -s d /sandbox/over/link && echo old > /sandbox/over/f")
    for dest in ("over/f", "over/link"):
        equal(w.upload(tree / "f", dest).code, 0)
        equal(w.shell(f"test ! -L {dest} && stat -c %a {dest} && cat {dest}"), "640\nnew")
    r = w.upload(tree / "f", "over/d")
    equal(r.code, 1, r)
    contains(r.err, "cannot overwrite directory")
    equal(w.upload(tree, "over").code, 0)
    equal(w.shell("stat -c %a over/modes; ls -A over"), "555\nd\nf\nlink\nmodes\n")
    w.shell("chmod -R u+w /sandbox/over; rm -r /sandbox/over")


def hostile(*members):
    """An archive with these members: (name, type, link or content)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as t:
        for name, kind, what in members:
            m = tarfile.TarInfo(name)
            m.type = kind
            m.mode = 0o6755
            if kind == tarfile.REGTYPE:
                m.size = len(what)
                t.addfile(m, io.BytesIO(what))
            else:
                m.linkname = what.decode()
                t.addfile(m)
    return out.getvalue()


@suite.case
def a_directory_without_a_place_comes_by_its_name(w):
    """What an agent made must not replace files of the directory one is in."""
    here = w.dir / "here"
    here.mkdir()
    (here / ".bashrc").write_text("mine")
    w.gateway.must("sandbox", "exec", "-n", NAME, "--", "sh", "-c", "mkdir -p made; echo theirs >made/.bashrc")
    r = run(BIN / "openshell", "sandbox", "download", NAME, "made", env=w.gateway.env, cwd=here)
    equal(r.code, 0, r)
    contains(r.err, "-> ./made")
    equal(((here / ".bashrc").read_text(), (here / "made/.bashrc").read_text()), ("mine", "theirs\n"), "files")
    r = run(BIN / "openshell", "sandbox", "download", NAME, "made", ".", env=w.gateway.env, cwd=here)
    equal((r.code, (here / ".bashrc").read_text()), (0, "theirs\n"), "asked for")


@suite.case
def hostile_archives_stay_in_the_destination(w):
    """The agent chose what `tar` is: a script that sends whatever it likes."""
    w.gateway.must("sandbox", "create", "--name", "evil", "--detach", "--env", "PATH=/sandbox/bin:/usr/bin:/bin", "--",
                   "sleep", "infinity")
    regular, link, hard = tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE
    victim = w.dir / "victim"
    victim.mkdir()
    cases = {
        "absolute": [(str(victim / "abs"), regular, b"x")],
        "dotdot": [("../victim/up", regular, b"x")],
        "inner dotdot": [("a/../../victim/up", regular, b"x")],
        "through link": [("d", link, str(victim).encode()), ("d/through", regular, b"x")],
        "link over dir": [("d/", tarfile.DIRTYPE, b""), ("d", link, str(victim).encode()), ("d/x", regular, b"x")],
        "hard link out": [("h", hard, str(victim / "target").encode())],
        "hard link up": [("h", hard, b"../victim/target")],
        "hard link through": [("d", link, str(victim).encode()), ("h", hard, b"d/target"), ("h", regular, b"overwritten")],
        "device": [("null", tarfile.CHRTYPE, b"")],
        "block": [("disk", tarfile.BLKTYPE, b"")],
        "fifo": [("pipe", tarfile.FIFOTYPE, b"")],
    }
    (victim / "target").write_text("untouched")
    for label, members in cases.items():
        archive = w.dir / "hostile.tar"
        archive.write_bytes(hostile(*members))
        g = w.gateway
        script = b"#!/bin/sh\ncat /sandbox/hostile.tar\n"
        put = g.cli("sandbox", "exec", "-n", "evil", "--", "/bin/sh", "-c",
                    "mkdir -p bin src; cat > bin/tar; chmod 755 bin/tar", stdin=script)
        equal(put.code, 0, put)
        put = g.cli("sandbox", "exec", "-n", "evil", "--", "/bin/sh", "-c", "cat > hostile.tar", stdin=archive.read_bytes())
        equal(put.code, 0, put)
        dest = w.dir / "dest" / label
        r = g.cli("sandbox", "download", "evil", "src", dest)
        equal(r.code, 1, f"{label}: {r}")
        if label != "link over dir":
            contains(r.err, "refused")
        equal((victim / "target").read_text(), "untouched", label)
        equal(sorted(p.name for p in victim.iterdir()), ["target"], label)
    # What is allowed loses its set-id bits and replaces links instead of following them.
    dest = w.dir / "dest" / "good"
    dest.mkdir(parents=True)
    (dest / "f").symlink_to(victim / "target")
    put = w.gateway.cli("sandbox", "exec", "-n", "evil", "--", "/bin/sh", "-c", "cat > hostile.tar",
                        stdin=hostile(("f", regular, b"new")))
    equal(w.gateway.cli("sandbox", "download", "evil", "src", dest).code, 0)
    equal(((dest / "f").read_text(), (dest / "f").lstat().st_mode & 0o7777), ("new", 0o755))
    equal((victim / "target").read_text(), "untouched")
    # A file asked for, something else sent.
    w.gateway.cli("sandbox", "exec", "-n", "evil", "--", "/bin/sh", "-c", ": > plain")
    r = w.gateway.cli("sandbox", "download", "evil", "plain", w.dir / "plain2")
    equal(r.code, 1, r)
    contains(r.err, "is not the file")
    # An archive that is cut off.
    w.gateway.cli("sandbox", "exec", "-n", "evil", "--", "/bin/sh", "-c", "cat > hostile.tar",
                  stdin=hostile(("f", regular, b"x" * 5000))[:3000])
    r = w.gateway.cli("sandbox", "download", "evil", "src", w.dir / "cut")
    equal(r.code, 1, r)
    contains(r.err, "ends in the middle")


# --- forwards ---

def echo_server(w, port):
    p = w.private.spawn(BIN / "openshell", "sandbox", "exec", "-n", NAME, "--", "python3", "-c",
                        ECHO_SERVER.replace("PORT", str(port)), env=w.gateway.env, stdin=subprocess.DEVNULL,
                        stdout=subprocess.PIPE)
    equal(p.stdout.readline(), b"listening\n")
    return p


@suite.case
def background_forward(w):
    port = free_port()
    server = echo_server(w, port)
    g = w.gateway
    # The port is taken in the sandbox only: its network is its own.
    r = g.must("forward", "start", "-d", str(port), NAME)
    equal(r.err, f"✓ Forwarding port {port} to sandbox {NAME} in the background\n"
                 f"  Access at: http://127.0.0.1:{port}/\n  Stop with: openshell forward stop {port} {NAME}\n")
    equal(talk(port, b"hello"), b"hello<end>")
    data = os.urandom(5 << 20)
    equal(hashlib.sha256(talk(port, data)).digest(), hashlib.sha256(data + b"<end>").digest())
    equal(in_parallel(lambda i: talk(port, b"%d" % i), range(40)), [b"%d<end>" % i for i in range(40)])
    lines = g.must("forward", "list").out.splitlines()
    equal(lines[0].split(), ["SANDBOX", "BIND", "PORT", "PID", "STATUS"])
    row = lines[1].split()
    equal((row[:3], row[4]), ([NAME, "127.0.0.1", str(port)], "running"))
    r = g.cli("forward", "start", str(port), NAME)
    equal(r.code, 1)
    contains(" ".join(r.err.replace("│", "").split()), f"Port {port} is already forwarded to sandbox '{NAME}'.")
    # The gateway goes and comes back: nobody has to do anything.
    g.kill()
    waiting = []
    t = threading.Thread(target=lambda: waiting.append(talk(port, b"patience", 60)))
    t.start()
    time.sleep(0.5)
    g.start()
    t.join()
    server.kill()
    wait_for("the sandbox", lambda: g.exec(NAME, "true").code == 0, 30, 0.2)
    contains(g.must("forward", "list").out, "running")
    # Killed: listed once as dead, the port is free, and it can be started again.
    os.kill(int(row[3]), signal.SIGKILL)
    wait_for("its end", lambda: not pathlib.Path(f"/proc/{row[3]}/exe").exists(), 10)
    contains(g.must("forward", "list").out, "dead")
    equal(g.must("forward", "list").err, "No active forwards.\n")
    g.must("forward", "start", "-d", str(port), NAME)
    r = g.must("forward", "stop", str(port))
    equal(r.err, f"→ Found forward on sandbox '{NAME}'\n✓ Stopped forward of port {port} for sandbox {NAME}\n")
    equal(g.must("forward", "stop", str(port)).err, f"! No active forward found for port {port}\n")
    equal(g.must("forward", "stop", str(port), NAME).err, f"! No active forward found for port {port} on sandbox {NAME}\n")
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("127.0.0.1", port))


@suite.case
def forward_survives_a_gateway_restart(w):
    port = free_port()
    g = w.gateway
    g.must("forward", "start", "-d", str(port), NAME)
    g.kill()
    g.start()
    wait_for("the sandbox", lambda: g.exec(NAME, "true").code == 0, 30, 0.2)
    echo_server(w, port)
    equal(talk(port, b"again"), b"again<end>")
    g.must("forward", "stop", str(port), NAME)


@suite.case
def foreground_and_service_forwards(w):
    inside, local = free_port(), free_port()
    echo_server(w, inside)
    p = w.private.spawn(BIN / "openshell", "forward", "start", str(inside), NAME, env=w.gateway.env, stderr=subprocess.PIPE)
    equal(p.stderr.readline().decode(), f"✓ Forwarding port {inside} to sandbox {NAME}\n")
    equal(talk(inside, b"fg"), b"fg<end>")
    p.send_signal(signal.SIGINT)
    equal(p.wait(10), 0)
    p = w.private.spawn(BIN / "openshell", "forward", "service", NAME, "--target-port", str(inside), "--local", str(local),
                        env=w.gateway.env, stderr=subprocess.PIPE)
    equal(p.stderr.readline().decode(), f"✓ Forwarding 127.0.0.1:{local} -> 127.0.0.1:{inside} in sandbox {NAME} via gRPC\n")
    equal(talk(local, b"service"), b"service<end>")
    p.terminate()
    equal(p.wait(10), 0)
    r = w.gateway.cli("forward", "start", "99999", NAME)
    contains(r.err, "port must be between 1 and 65535")
    r = w.gateway.cli("forward", "start", "a:b", NAME)
    contains(r.err, "invalid forward spec 'a:b': expected [bind_address:]port")
    r = w.gateway.cli("forward", "start", "8080", "nobody")
    contains(r.err, "sandbox not found")


@suite.case
def deleting_a_sandbox_stops_its_forwards(w):
    port = free_port()
    g = w.gateway
    g.must("sandbox", "create", "--name", "short", "--detach", "--", "sleep", "infinity")
    g.must("forward", "start", "-d", str(port), "short")
    contains(g.must("sandbox", "delete", "short").err, f"✓ Stopped forward of port {port} for sandbox short\n")
    equal(g.must("forward", "list").err, "No active forwards.\n")


if __name__ == "__main__":
    suite.run(World())
