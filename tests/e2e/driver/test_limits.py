#!/usr/bin/env python3
"""Limits of a sandbox hold; a full disk, a missing capability and a user without subordinate ids each give one clear
line and leave nothing half-made."""
import contextlib
import os
import pathlib
import signal
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "lib"))
sys.path.insert(0, str(pathlib.Path(__file__).parent))
import images  # noqa: E402
from harness import BIN, USER, Gateway, Private, Skip, Suite, check, contains, equal, free_port, run, user_prefix, wait_for  # noqa: E402

suite = Suite()
case = suite.case
private = Private("limits")
counter = iter(range(1000))


def create(g, *options):
    name = f"limit-{next(counter)}"
    return name, g.cli("sandbox", "create", "--name", name, "--detach", *options, "--", "sleep", "inf")


def sandbox(g, *options):
    name, r = create(g, *options)
    check(r.code == 0, f"{r}\n{g.log_text()[-800:]}")
    return name


def refused(g, part, *options):
    name, r = create(g, *options)
    check(r.code != 0, r)
    contains(" ".join(r.text.split()), part)
    check(len(r.text) < 1200, r)
    check(name not in g.must("sandbox", "list", "--names").out.split(), "the failed sandbox is listed")
    equal([d.name for d in g.sandbox_dirs()], [], "state directories")


def needs_limits(g):
    name, r = create(g, "--memory", "512Mi", "--cpu", "2")
    if "cannot be enforced" in r.text:
        raise Skip("no writable control groups here")
    check(r.code == 0, r)
    g.must("sandbox", "delete", name)


@case
def cpu(g):
    needs_limits(g)
    name = sandbox(g, "--cpu", "200m")
    out = g.exec(name, "python3", "-c", "import time\nw=time.time();c=time.process_time()\nwhile time.time()-w<2: pass\n"
                 "print((time.process_time()-c)/(time.time()-w))").out
    check(float(out) < 0.4, f"share of a CPU: {out}")
    g.must("sandbox", "delete", name)


@case
def memory(g):
    needs_limits(g)
    name = sandbox(g, "--memory", "100Mi")
    r = g.exec(name, "python3", "-c", "b=bytearray(300<<20)\nprint('has it')")
    check(r.code != 0 and "has it" not in r.text, r)
    g.cli("sandbox", "delete", name)
    name = sandbox(g, "--memory", "600Mi")
    contains(g.exec(name, "python3", "-c", "b=bytearray(300<<20)\nprint('has it')").text, "has it")
    g.must("sandbox", "delete", name)


@case
def processes(g):
    needs_limits(g)
    name = sandbox(g)
    script = ("import os,time\nn=0\ntry:\n    while n<4000:\n        if os.fork()==0:\n            time.sleep(60)\n            os._exit(0)\n"
              "        n+=1\nexcept OSError as e:\n    print('stopped', n<2048, e.errno)")
    contains(g.exec(name, "python3", "-c", script).out, "stopped True 11")
    limits = [pathlib.Path(d, "pids.max").read_text().strip() for d, _, files in os.walk("/sys/fs/cgroup")
              if "pids.max" in files and any(s.name in d for s in g.sandbox_dirs())]
    equal(limits[:1], ["2048"], "pids.max")
    g.must("sandbox", "delete", name)


@case
def limits_that_make_no_sense(g):
    refused(g, "too small", "--memory", "1Mi")
    refused(g, "below the kernel's minimum", "--cpu", "1m")


def small(g, directory, size):
    """A full file system at a directory of the gateway."""
    path = g.state / directory
    r = run("mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs", path)
    if r.code:
        raise Skip(f"cannot mount a tmpfs: {r.err}")
    g.private.stack.callback(run, "umount", path)
    fill = path / ".fill"
    fd = os.open(fill, os.O_WRONLY | os.O_CREAT, 0o600)
    with contextlib.suppress(OSError):
        while os.write(fd, b"x" * 4096):
            pass
    os.close(fd)
    return path, fill


@case
def a_full_disk_under_the_sandboxes(g):
    if g.prefix:
        raise Skip("mounts in the private directory need root")
    path, fill = small(g, "local", "1m")
    refused(g, "No space left on device")
    fill.unlink()
    g.must("sandbox", "delete", sandbox(g))
    equal(g.sandbox_dirs(), [])
    run("umount", path)


@case
def sandboxes_that_filled_the_disk_can_be_stopped_and_deleted(g):
    """Database, sandboxes and all on one small disk, filled by what runs in them."""
    if g.prefix:
        raise Skip("mounts in the private directory need root")
    other = Private("limits-full")
    (other.dir / "state").mkdir()
    r = run("mount", "-t", "tmpfs", "-o", "size=20m,mode=700", "tmpfs", other.dir / "state")
    if r.code:
        raise Skip(f"cannot mount a tmpfs: {r.err}")
    other.stack.callback(run, "umount", "-l", other.dir / "state")
    h = Gateway(other).start()
    for name in ("one", "two"):
        h.must("sandbox", "create", "--name", name, "--detach", "--", "sleep", "infinity")
    wait_for("the reserve", (h.state / "gateway/reserve").exists)
    r = h.cli("sandbox", "exec", "-n", "one", "--", "sh", "-c", "cat /dev/urandom >fill")
    contains(r.out + r.err, "No space left on device")
    h.must("sandbox", "stop", "one")
    contains(h.must("sandbox", "list").out, "Stopped")
    h.kill(signal.SIGTERM)
    h.start()
    h.must("sandbox", "delete", "one")
    h.cli("sandbox", "exec", "-n", "two", "--", "sh", "-c", "cat /dev/urandom >fill")
    h.must("sandbox", "delete", "two")
    equal(h.sandbox_dirs(), [])
    wait_for("the room", lambda: os.statvfs(h.state).f_bavail * 4096 > 15 << 20)
    other.close()


@case
def a_full_disk_under_the_images(g):
    if g.prefix:
        raise Skip("mounts in the private directory need root")
    image = images.layout(private.dir / "big", [images.layer(images.entry("big", os.urandom(4 << 20)))])
    path, fill = small(g, "local.images", "2m")
    fill.unlink()
    refused(g, "No space left on device", "--from", f"oci:{image}")
    equal(os.listdir(path), [], "what is left of the image")
    run("umount", path)


def start_fails(argv, env, part):
    p = subprocess.run(argv, env=env, capture_output=True, timeout=60, check=False, text=True)
    equal(p.returncode, 1, p.stderr)
    last = p.stderr.strip().splitlines()[-1]
    contains(last, part)


@case
def a_gateway_without_the_capability(g):
    if g.prefix:
        raise Skip("about root")
    other = Private("limits-cap")
    env = dict(os.environ, XDG_CONFIG_HOME=str(other.dir / "c"), XDG_STATE_HOME=str(other.dir / "s"))
    start_fails(["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-all", "--", str(BIN / "openshell-gateway"), "--port",
                 str(free_port())], env, "needs CAP_SYS_ADMIN")
    other.close()


@case
def a_user_without_subordinate_ids(g):
    other = Private("limits-user")
    os.chown(other.dir, USER, USER)
    env = dict(os.environ, XDG_CONFIG_HOME=str(other.dir / "c"), XDG_STATE_HOME=str(other.dir / "s"))
    start_fails(["setpriv", "--reuid", str(USER), "--regid", str(USER), "--clear-groups", "--", str(BIN / "openshell-gateway"),
                 "--port", str(free_port())], env, "usermod --add-subuids")
    other.close()


@case
def a_kernel_that_forbids_user_namespaces(g):
    other = Private("limits-userns")
    prefix = user_prefix(other, USER)
    env = dict(os.environ, XDG_CONFIG_HOME=str(other.dir / "c"), XDG_STATE_HOME=str(other.dir / "s"))
    script = "echo 0 > /proc/sys/user/max_user_namespaces && exec \"$@\""
    start_fails([*prefix, "unshare", "--map-users", f"{USER},{USER},1", "--map-groups", f"{USER},{USER},1", "--keep-caps", "--user", "sh",
                 "-c", script, "sh", str(BIN / "openshell-gateway"), "--port", str(free_port())], env, "user.max_user_namespaces")
    other.close()


def delegate():
    """Gives the user a control group of its own in the version 1 hierarchies; what to put in front of the gateway."""
    groups = [pathlib.Path("/sys/fs/cgroup", h, f"openshell-test-{os.getpid()}") for h in ("cpu", "memory", "pids")]
    if not os.environ.get("OPENSHELL_TEST_USER") or not all((d.parent / "tasks").exists() for d in groups):
        return []
    for d in groups:
        d.mkdir()
        private.stack.callback(lambda d=d: [x.rmdir() for x in (*filter(pathlib.Path.is_dir, d.iterdir()), d)])
        for path in (d, d / "tasks", d / "cgroup.procs"):
            os.chown(path, USER, USER)
    return ["sh", "-c", "".join(f"echo 0 > {d}/tasks && " for d in groups) + 'exec "$@"', "sh"]


def main():
    enter = delegate()
    g = Gateway(private)
    g.prefix = [*enter, *g.prefix]
    suite.run(g.start())


main()
