#!/usr/bin/env python3
"""Directories of the machine given to a sandbox: --mount, its gate, what is refused, and what the policy still
rules."""
import json
import pathlib
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "lib"))
from harness import BIN, Gateway, Private, Suite, check, contains, equal  # noqa: E402

suite = Suite()
case = suite.case
private = Private("mounts")
counter = iter(range(1000))
shared = private.dir / "shared"
shared.mkdir(mode=0o777)
shared.chmod(0o777)
(shared / "file").write_text("from the host")
(shared / "sub").mkdir()
(private.dir / "link").symlink_to(shared)
POLICY = """version: 1
filesystem_policy:
  include_workdir: true
  read_only: [/usr, /lib, /lib64, /bin, /etc, /proc%s]
  read_write: [/sandbox, /tmp, /dev/null%s]
landlock:
  compatibility: best_effort
process:
  run_as_user: sandbox
  run_as_group: sandbox
"""


def create(g, *options, read_only="", read_write=""):
    name = f"mount-{next(counter)}"
    policy = private.dir / f"{name}.yaml"
    policy.write_text(POLICY % (read_only, read_write))
    return name, g.cli("sandbox", "create", "--name", name, "--policy", policy, "--detach", *options, "--", "sleep", "inf")


def look(g, command, *options, **kw):
    name, r = create(g, *options, **kw)
    check(r.code == 0, f"{r}\n{g.log_text()[-800:]}")
    r = g.exec(name, "sh", "-c", command)
    g.must("sandbox", "delete", name)
    return r.text


def refused(g, part, *options):
    name, r = create(g, *options)
    check(r.code != 0, r)
    contains(r.text, part)
    check(name not in g.must("sandbox", "list", "--names").out.split(), "the refused sandbox is listed")


def mount(source, target, **more):
    return {"type": "bind", "source": str(source), "target": target, **more}


def config(*mounts, **more):
    return "--driver-config-json", json.dumps({"local": {"mounts": list(mounts), **more}})


@case
def read_only_below_the_workspace_unless_said_otherwise(g):
    out = look(g, "cat /sandbox/shared/file; echo x > /sandbox/shared/new",
               "--mount", shared)
    contains(out, "from the host")
    contains(out, "Read-only file system")
    equal(sorted(p.name for p in shared.iterdir()), ["file", "sub"], "the directory afterwards")


@case
def writable_when_asked_for(g):
    out = look(g, "echo hello > /sandbox/w/made && cat /sandbox/w/made; grep ' /sandbox/w ' /proc/mounts", "--mount", f"{shared}:/sandbox/w:rw")
    contains(out, "hello")
    contains(out, "nosuid,nodev")
    equal((shared / "made").read_text(), "hello\n", "the file on the host")
    (shared / "made").unlink()


@case
def a_target_elsewhere_needs_the_policys_word(g):
    contains(look(g, "cat /data/in/file", "--mount", f"{shared}:/data/in"), "Permission denied")
    contains(look(g, "cat /data/in/file", "--mount", f"{shared}:/data/in", read_only=", /data/in"), "from the host")
    out = look(g, "echo x > /data/in/y", "--mount", f"{shared}:/data/in:rw", read_only=", /data/in")
    contains(out, "Permission denied")


@case
def several_and_a_memory_file_system(g):
    out = look(g, "ls /sandbox/a /sandbox/b; echo x > /sandbox/mem/f; df -k /sandbox/mem | tail -1", "--mount", f"{shared}:/sandbox/a",
               *config(mount(shared / "sub", "/sandbox/b"), {"type": "tmpfs", "target": "/sandbox/mem", "size_bytes": 1 << 20}))
    contains(out, "file\nsub")
    contains(out, "1024")


@case
def a_restart_mounts_again_and_follows_no_link_of_the_sandbox(g):
    name, r = create(g, "--mount", f"{shared}:/sandbox/deep/in")
    check(r.code == 0, r)
    g.exec(name, "sh", "-c", "mv /sandbox/deep /sandbox/x; ln -s /etc /sandbox/deep; true")
    g.kill()
    g.start()
    contains(g.exec(name, "sh", "-c", "cat /sandbox/*/in/file").text, "from the host")
    g.must("sandbox", "delete", name)
    equal((shared / "file").read_text(), "from the host", "the shared file after the delete")


@case
def what_is_given_keeps_its_owner(g):
    root = private.dir / "root"
    (root / "sandbox" / "own").mkdir(parents=True)
    (root / "probe").write_bytes(pathlib.Path(BIN / "openshell-sandbox").read_bytes())
    (root / "probe").chmod(0o755)
    before = [(p.stat().st_uid, p.stat().st_mode) for p in (shared, shared / "file", shared / "sub")]
    name = f"mount-{next(counter)}"
    policy = private.dir / "root.yaml"
    policy.write_text(POLICY.replace("/usr, /lib, /lib64, /bin, /etc, /proc%s", "/") % "")
    r = g.cli("sandbox", "create", "--name", name, "--policy", policy, "--from", f"dir:{root}", "--mount", f"{shared}:/sandbox/in:rw",
              "--detach", "--", "/probe", "--help")
    check(r.code == 0 or "MainProcessExited" in r.text or "exited" in r.text, r)
    g.cli("sandbox", "delete", name)
    equal([(p.stat().st_uid, p.stat().st_mode) for p in (shared, shared / "file", shared / "sub")], before, "owners and modes")


@case
def sources_that_are_refused(g):
    refused(g, "does not exist", "--mount", private.dir / "nothing")
    refused(g, "is not a directory", "--mount", shared / "file")
    refused(g, "hidden from sandboxes", "--mount", f"{g.state}:/sandbox/x")
    refused(g, "hidden from sandboxes", "--mount", f"{private.dir}:/sandbox/x")
    refused(g, "hidden from sandboxes", "--mount", "/:/sandbox/x")
    refused(g, "hidden from sandboxes", "--mount", "/proc/1:/sandbox/x")
    refused(g, "hidden from sandboxes", "--mount", "/run:/sandbox/x")
    refused(g, "absolute host path", *config(mount("relative", "/sandbox/x")))
    refused(g, "must not be empty", *config(mount("", "/sandbox/x")))


@case
def targets_that_are_refused(g):
    for target in ("/opt/openshell", "/etc", "/run", "/etc/openshell/auth", "/run/netns/x", "/proc/x", "/dev", "/sys"):
        refused(g, "conflicts with reserved OpenShell path", "--mount", f"{shared}:{target}")
    refused(g, "reserved for the OpenShell workspace", "--mount", f"{shared}:/sandbox")
    refused(g, "container root", "--mount", f"{shared}:/")
    refused(g, "normalized", *config(mount(shared, "/sandbox/../etc")))
    refused(g, "normalized", *config(mount(shared, "/sandbox//x")))
    refused(g, "duplicate", "--mount", f"{shared}:/sandbox/x", "--mount", f"{shared}:/sandbox/x/")


@case
def malformed_configurations_are_refused(g):
    refused(g, "unknown field 'foo'", *config(mount(shared, "/sandbox/x", foo=1)))
    refused(g, "unknown field 'gpu'", *config(gpu=True))
    refused(g, "type 'volume'", *config({"type": "volume", "source": "v", "target": "/sandbox/x"}))
    refused(g, "read_only must be a boolean", *config(mount(shared, "/sandbox/x", read_only="no")))
    refused(g, "must be an object", "--driver-config-json", '{"local": 1}')
    refused(g, "invalid --mount", "--mount", f"{shared}:relative")
    # What is meant for another driver is none of this one's business.
    contains(look(g, "echo fine", "--driver-config-json", '{"docker": {"nonsense": 1}}'), "fine")


@case
def without_the_operators_word_nothing_is_given(g):
    closed = Private("mounts-closed")
    other = Gateway(closed).start()
    refused(other, "enable_bind_mounts", "--mount", shared)
    out = look(other, "echo x > /sandbox/mem/f && echo made", *config({"type": "tmpfs", "target": "/sandbox/mem"}))
    contains(out, "made")
    other.close()
    closed.close()


def main():
    suite.run(Gateway(private, {"OPENSHELL_LOCAL_ENABLE_BIND_MOUNTS": "true"}).start())


main()
