#!/usr/bin/env python3
"""Sandboxes over a directory and over OCI images: layouts, archives, whiteouts, hostile archives, sharing and
collection; and the supervisor in a root file system that holds one static program."""
import gzip
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "lib"))
sys.path.insert(0, str(pathlib.Path(__file__).parent))
import images  # noqa: E402
from harness import Gateway, Private, Skip, Suite, check, contains, equal, run  # noqa: E402
from images import directory, entry, hardlink, layer, layout, symlink  # noqa: E402

suite = Suite()
case = suite.case
private = Private("rootfs")
counter = iter(range(1000))
POLICY = private.dir / "policy.yaml"
POLICY.write_text("""version: 1
filesystem_policy:
  include_workdir: true
  read_only: [/]
  read_write: [/sandbox, /tmp, /dev/null]
landlock:
  compatibility: hard_requirement
process:
  run_as_user: sandbox
  run_as_group: sandbox
""")


def probe():
    path = private.dir / "probe"
    if not path.exists():
        r = run("cc", "-static", "-O1", "-o", path, pathlib.Path(__file__).with_name("probe.c"))
        check(r.code == 0, r)
    return path.read_bytes()


PROBE = entry("probe", probe(), mode=0o755)


def root_with(name):
    root = private.dir / name
    root.mkdir()
    (root / "probe").write_bytes(probe())
    (root / "probe").chmod(0o755)
    return root


def create(g, source, *more, name=None):
    name = name or f"root-{next(counter)}"
    r = g.cli("sandbox", "create", "--name", name, "--from", source, "--policy", POLICY, "--detach", *more, "--", "/probe", "sleep")
    return name, r


def look(g, source, *words, more=()):
    """What the probe prints in a new sandbox, which is then deleted."""
    name, r = create(g, source, *more)
    check(r.code == 0, f"{r}\n{g.log_text()[-800:]}")
    r = g.exec(name, "/probe", *words)
    g.must("sandbox", "delete", name)
    check(r.code == 0, r)
    return r.out


def refused(g, source, part):
    name, r = create(g, source)
    check(r.code != 0, r)
    contains(r.text, part)
    check("\n\n\n" not in r.text and len(r.text) < 1500, r)
    check(name not in g.must("sandbox", "list", "--names").out.split(), "the refused sandbox is listed")
    equal([d for d in unpacked(g) if d.startswith(".new")], [], "unfinished unpackings")


def unpacked(g):
    path = g.state / "local.images"
    return sorted(d.name for d in path.iterdir()) if path.exists() else []


@case
def an_empty_root_with_one_static_program(g):
    root = root_with("empty")
    out = look(g, f"dir:{root}", "hello", "id", "@/etc/hostname", "+/sandbox/file", "+/probe", "+/tmp/x", "%/dev/null")
    contains(out, "hello\n")
    contains(out, "id=58998 58998 /sandbox\n")
    contains(out, "/sandbox/file=written\n")
    contains(out, "/tmp/x=written\n")
    contains(out, "/probe=Permission denied\n")
    contains(out, "/dev/null=20666 65534 65534 1 \n" if g.prefix else "/dev/null=20666 0 0 1 \n")
    equal(sorted(p.name for p in root.iterdir()), ["probe"], "the directory afterwards")


@case
def a_directory_keeps_what_was_written_over_a_restart_and_stays_untouched(g):
    root = root_with("kept")
    name, r = create(g, f"dir:{root}")
    check(r.code == 0, r)
    contains(g.exec(name, "/probe", "+/sandbox/kept", "+/tmp/kept").out, "/tmp/kept=written\n")
    if "unrecognized" in g.cli("sandbox", "stop", name).text:
        g.must("sandbox", "delete", name)
        raise Skip("this CLI does not stop sandboxes")
    g.must("sandbox", "start", name)
    out = g.exec(name, "/probe", "@/sandbox/kept", "@/tmp/kept").out
    contains(out, "/sandbox/kept=x\n")
    contains(out, "/tmp/kept=x\n")
    g.must("sandbox", "delete", name)
    equal(sorted(p.name for p in root.iterdir()), ["probe"], "the directory afterwards")


@case
def directories_that_cannot_be_a_root_are_refused(g):
    (private.dir / "file").write_text("x")
    refused(g, f"dir:{private.dir}/nothing", "No such file or directory")
    refused(g, f"dir:{private.dir}/file", "is not a directory")
    refused(g, "dir:/", "own root")
    refused(g, f"dir:{g.state}/local", "hidden from sandboxes")
    refused(g, "docker.io/library/debian:12", "it pulls nothing")


@case
def an_operator_says_where_images_may_lie(g):
    allowed, other = private.dir / "allowed", root_with("elsewhere")
    allowed.mkdir()
    shutil.copytree(other, allowed / "root")
    (allowed / "link").symlink_to(other)
    strict = Private("rootfs-strict")
    h = Gateway(strict, {"OPENSHELL_LOCAL_IMAGE_DIRS": f"/nothing:{allowed}"}).start()
    contains(look(h, f"dir:{allowed}/root", "hello"), "hello")
    refused(h, f"dir:{other}", "the operator allows")
    refused(h, f"dir:{allowed}/link", "the operator allows")
    refused(h, f"oci:{other}", "the operator allows")
    h.close()
    strict.close()


FULL = [layer(PROBE, directory("etc"), entry("etc/one", b"1"), entry("etc/two", b"2"), directory("old"),
              entry("old/a", b"a"), entry("old/b", b"b"), directory("usr"), directory("usr/lib"),
              symlink("lib", "usr/lib"), entry("usr/lib/x", b"x", uid=7, gid=8, mode=0o640),
              entry("set", b"", mode=0o6755), entry("dev/sda", kind=tarfile.BLKTYPE)),
        layer(entry("etc/.wh.one", b""), entry("etc/two", b"second"), entry("old/new", b"n"),
              entry("old/.wh..wh..opq", b""), entry("lib/y", b"through a link"), hardlink("hard", "etc/two"),
              symlink("up", "../../../../etc/two"), entry("etc/" + "long" * 40 + "/f", b"long"))]
WORDS = ("@/etc/one", "@/etc/two", "@/old/a", "@/old/new", "@/usr/lib/y", "@/hard", "%/hard", "%/usr/lib/x", "%/set",
         "@/up", "%/dev/sda", "@/etc/" + "long" * 40 + "/f")


def check_full(out):
    for line in ("/etc/one=No such file or directory", "/etc/two=second", "/old/a=No such file or directory", "/old/new=n",
                 "/usr/lib/y=through a link", "/hard=second", "/hard=100644 0 0 2 ", "/usr/lib/x=100640 7 8 1 ",
                 "/set=100755 0 0 1 ", "/up=second", "/dev/sda=No such file or directory", "/f=long"):
        contains(out, line + "\n")


@case
def an_oci_layout_with_whiteouts_and_links(g):
    check_full(look(g, f"oci:{layout(private.dir / 'full', FULL)}", *WORDS))


@case
def an_archive_of_a_layout(g):
    check_full(look(g, f"oci:{images.archive(private.dir / 'full.tar', private.dir / 'full')}", *WORDS))


@case
def what_docker_saves(g):
    path = images.docker_archive(private.dir / "docker.tar", FULL, tags=("a:1", "b:2"))
    check_full(look(g, f"oci:{path}", *WORDS))
    check_full(look(g, f"oci:{path}:b:2", *WORDS))
    refused(g, f"oci:{path}:c:3", "tagged c:3")


@case
def plain_and_gnu_layers(g):
    gnu = [layer(PROBE, entry("etc/" + "g" * 150 + "/f", b"gnu"), form=tarfile.GNU_FORMAT)]
    out = look(g, f"oci:{layout(private.dir / 'gnu', gnu, compress=lambda d: d)}", f"@/etc/{'g' * 150}/f")
    contains(out, "=gnu\n")


@case
def zstd_layers(g):
    if not shutil.which("zstd"):
        raise Skip("no zstd program to write one with")

    def squeeze(data):
        return subprocess.run(["zstd", "-q", "-c"], input=data, stdout=subprocess.PIPE, check=True).stdout
    check_full(look(g, f"oci:{layout(private.dir / 'zstd', FULL, compress=squeeze)}", *WORDS))


@case
def the_images_environment_user_and_directory_hold(g):
    passwd = entry("etc/passwd", b"root:x:0:0::/:/x\nnode:x:1234:2345::/home/node:/x\n")
    data = [layer(PROBE, directory("etc"), passwd, directory("home"), directory("home/node", uid=1234, gid=2345))]
    config = {"Env": ["PATH=/img/bin:/bin", "FROM_IMAGE=1", "BOTH=image", "LD_PRELOAD=/evil", "OPENSHELL_ENDPOINT=http://evil"],
              "User": "node", "WorkingDir": "/home/node", "Entrypoint": ["/never"], "Cmd": ["never"]}
    path = layout(private.dir / "config", data, config)
    name, r = create(g, f"oci:{path}", "--env", "BOTH=user")
    check(r.code == 0, f"{r}\n{g.log_text()[-800:]}")
    out = g.exec(name, "/probe", "id", "$PATH", "+/home/node/f").out
    contains(out, "id=1234 2345 /home/node\n")
    contains(out, "PATH=/img/bin:/bin\n")
    contains(out, "/home/node/f=written\n")
    environ = next(pathlib.Path(f"/proc/{p}/environ").read_bytes() for p in map(int, filter(str.isdigit, os.listdir("/proc")))
                   if pathlib.Path(f"/proc/{p}/cmdline").read_bytes() == b"/probe\0sleep\0")
    for pair in (b"FROM_IMAGE=1", b"BOTH=user", b"PATH=/img/bin:/bin"):
        check(pair in environ.split(b"\0"), environ)
    check(b"evil" not in environ, environ)
    g.must("sandbox", "delete", name)


@case
def an_image_is_unpacked_once_shared_and_collected(g):
    path = layout(private.dir / "shared", [layer(PROBE, entry("data", b"d"))])
    before = set(unpacked(g))
    first, r = create(g, f"oci:{path}")
    check(r.code == 0, r)
    new = set(unpacked(g)) - before
    equal(len(new), 1, "unpacked images")
    second, r = create(g, f"oci:{path}")
    check(r.code == 0, r)
    check(new <= set(unpacked(g)), unpacked(g))
    g.must("sandbox", "delete", second)
    g.kill()
    g.start()
    contains(g.exec(first, "/probe", "@/data").out, "/data=d\n")
    for i in range(6):  # the image in use outlives any number of others
        look(g, f"oci:{layout(private.dir / f'other-{i}', [layer(PROBE, entry('data', str(i).encode()))])}", "@/data")
    check(new <= set(unpacked(g)), unpacked(g))
    check(len(unpacked(g)) <= 5, unpacked(g))
    contains(g.exec(first, "/probe", "@/data").out, "/data=d\n")
    g.must("sandbox", "delete", first)


@case
def one_of_several_images_is_named(g):
    path = layout(private.dir / "names", [layer(PROBE)], names=("one", "two"))
    refused(g, f"oci:{path}", "one, two")
    contains(look(g, f"oci:{path}:two", "hi"), "hi\n")


@case
def damaged_and_foreign_images_are_refused(g):
    path = layout(private.dir / "damaged", [layer(PROBE, entry("other", b"content"))])
    blob = max((path / "blobs" / "sha256").iterdir(), key=lambda f: f.stat().st_size)
    data = bytearray(blob.read_bytes())
    data[len(data) // 2] ^= 1
    blob.write_bytes(data)
    refused(g, f"oci:{path}", "image")
    refused(g, f"oci:{layout(private.dir / 'foreign', [layer(PROBE)], arch='s390x')}", "made for linux/s390x")
    (private.dir / "nothing.tar").write_bytes(layer(PROBE))
    refused(g, f"oci:{private.dir}/nothing.tar", "neither index.json nor manifest.json")
    (private.dir / "squeezed.tar.gz").write_bytes(gzip.compress(layer(PROBE)))
    refused(g, f"oci:{private.dir}/squeezed.tar.gz", "decompress it")
    (private.dir / "cut.tar").write_bytes((private.dir / "full.tar").read_bytes()[:-20000])
    refused(g, f"oci:{private.dir}/cut.tar", "cut.tar")


@case
def hostile_layers_do_not_leave_their_root(g):
    outside = private.dir / "outside"
    outside.mkdir()
    (outside / "victim").write_text("untouched")
    hostile = {
        "dots": [PROBE, entry("../../outside/victim", b"bad")],
        "link-to-dots": [PROBE, hardlink("leak", "../../outside/victim")],
        "whiteout-dots": [PROBE, entry(".wh...", b"")],
    }
    for name, entries in hostile.items():
        refused(g, f"oci:{layout(private.dir / f'hostile-{name}', [layer(*entries)])}", "unsafe")
    refused(g, f"oci:{layout(private.dir / 'dangling', [layer(PROBE, symlink('out', str(outside)), entry('out/x', b''))])}",
            "no directory")
    parts = str(outside).strip("/").split("/")
    tops = [directory("/".join(parts[:i + 1])) for i in range(len(parts))]
    through = [PROBE, *tops, symlink("out", str(outside)), entry("out/victim", b"bad"), entry("out/new", b"bad"),
               hardlink("leak", "out/victim"), symlink("up", "../" * 20 + str(outside).lstrip("/")), entry("up/other", b"bad")]
    out = look(g, f"oci:{layout(private.dir / 'through', [layer(*through)])}", f"@{outside}/victim", "@/leak", "%/out")
    contains(out, f"{outside}/victim=bad\n")
    contains(out, "/leak=bad\n")
    # A layer above that removes what a lower one's link points to.
    two = [layer(PROBE, symlink("out", str(outside))), layer(entry("out/.wh.victim", b""), entry("out/.wh..wh..opq", b""))]
    contains(look(g, f"oci:{layout(private.dir / 'removing', two)}", "%/out"), "/out=120777")
    equal((outside / "victim").read_text(), "untouched", "the victim")
    equal(sorted(p.name for p in outside.iterdir()), ["victim"], "files outside")


def main():
    g = Gateway(private).start()
    suite.run(g)


main()
