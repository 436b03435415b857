"""Other forward proxies, from Debian: installed ones, or unpacked from their packages without being installed."""
import contextlib
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile

from harness import BUILD, Skip, free_port, run, wait_for

LIBRARIES = "usr/lib/*-linux-gnu"
SQUID = ("squid", "squid-common", "squid-langpack", "libecap3", "libltdl7", "libnetfilter-conntrack3", "libnfnetlink0",
         "libtdb1")


def unpack(name, packages):
    """Root directory of the unpacked packages, kept in the build directory; Skip when they cannot be fetched."""
    kept = BUILD / "test-programs" / f"{name}-root"
    if kept.exists():
        return kept
    kept.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="openshell-bench.") as directory:
        os.chmod(directory, 0o777)  # apt fetches as a user of its own
        r = run("apt-get", "download", *packages, cwd=directory, timeout=120)
        if r.code:
            raise Skip(f"{name} is not installed, and apt-get download failed: {' '.join(r.err.split())[:80]}")
        staging = kept.with_name(f"{kept.name}.{os.getpid()}")
        try:
            for package in pathlib.Path(directory).glob("*.deb"):
                run("dpkg", "-x", package, staging)
            staging.replace(kept)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    return kept


class Neighbour:
    """A running proxy on the loopback interface: name, version, port, pid."""

    def __init__(self, private, name, version, port, argv, env=None):
        self.name, self.version, self.port = name, version, port
        self.process = private.spawn(*argv, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                     stderr=subprocess.DEVNULL)
        self.pid = self.process.pid
        with contextlib.suppress(AssertionError):
            wait_for(name, self.up, 10)
            return
        raise Skip(f"{name} did not start")

    def up(self):
        if self.process.poll() is not None:
            return True  # the connection below says so
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True


def tinyproxy(private):
    program = shutil.which("tinyproxy") or unpack("tinyproxy", ["tinyproxy-bin"]) / "usr/bin/tinyproxy"
    port, conf = free_port(), private.dir / "tinyproxy.conf"
    conf.write_text(f"Port {port}\nListen 127.0.0.1\nTimeout 600\nLogLevel Critical\nMaxClients 1000\n")
    return Neighbour(private, "tinyproxy", run(program, "-v").out.split()[-1], port, [program, "-d", "-c", conf])


def squid(private):
    root, program = "", shutil.which("squid") or "/usr/sbin/squid"
    env = dict(os.environ)
    if not os.path.exists(program):
        root = unpack("squid", SQUID)
        program = root / "usr/sbin/squid"
        env["LD_LIBRARY_PATH"] = ":".join(map(str, root.glob(LIBRARIES)))
    port, conf = free_port(), private.dir / "squid.conf"
    conf.write_text(f"""http_port 127.0.0.1:{port}
http_access allow all
cache deny all
access_log none
cache_log /dev/null
pid_filename none
coredump_dir none
pinger_enable off
shutdown_lifetime 0 seconds
cache_effective_user nobody
error_directory {root}/usr/share/squid-langpack/en
mime_table {root}/usr/share/squid/mime.conf
icon_directory {root}/usr/share/squid/icons
unlinkd_program {root}/usr/lib/squid/unlinkd
logfile_daemon {root}/usr/lib/squid/log_file_daemon
""")
    version = run(program, "-v", env=env).out.split("\n")[0].split()[-1]
    return Neighbour(private, "Squid", version, port, [program, "-N", "-f", conf], env)


def neighbours(private):
    """(those that run, why the others do not)"""
    running, why = [], []
    for start in (tinyproxy, squid):
        try:
            running.append(start(private))
        except (Skip, OSError, IndexError) as reason:
            why.append(f"{start.__name__}: {reason}")
    return running, why
