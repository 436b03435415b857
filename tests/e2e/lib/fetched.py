"""Client programs that no Debian package has, of pinned versions: fetched once from the registries of their languages by
those languages' own tools and kept in a cache directory. Where that cannot be done, Skip says so."""
import hashlib
import os
import pathlib
import shutil
import subprocess

from harness import Skip


def cache():
    base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(base) / "openshell-test"


def made(name, make):
    """The directory of that name in the cache; make(staging) fills it the first time."""
    final = cache() / name
    if final.exists():
        return final
    staging = final.with_name(f"{name}.{os.getpid()}")
    staging.mkdir(parents=True)
    try:
        make(staging)
        if not final.exists():
            os.replace(staging, final)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return final


def command(*argv, **kw):
    try:
        p = subprocess.run([str(a) for a in argv], capture_output=True, text=True, timeout=600, check=False, **kw)
    except (OSError, subprocess.TimeoutExpired) as why:
        raise Skip(f"{argv[0]}: {why}") from why
    if p.returncode:
        raise Skip(f"{' '.join(map(str, argv[:5]))}: {' '.join((p.stderr or p.stdout).split())[-300:]}")


def python_packages(name, *requirements):
    """A directory for PYTHONPATH, for Debian's Python."""
    if not pathlib.Path("/usr/lib/python3/dist-packages/pip").exists():
        raise Skip("no pip for Debian's Python (apt install python3-pip)")
    return made(name, lambda d: command("/usr/bin/python3", "-m", "pip", "install", "-q", "--target", d, *requirements))


def node_packages(name, *specifications):
    """A directory with node_modules."""
    if not shutil.which("npm"):
        raise Skip("no npm on this machine (apt install npm)")
    return made(name, lambda d: command("npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", d, *specifications))


def go_program(name, source, *requirements):
    """A static program of one file; requirements are MODULE@VERSION."""
    if not shutil.which("go"):
        raise Skip("no Go compiler on this machine (apt install golang)")
    env = dict(os.environ, CGO_ENABLED="0", GOFLAGS="-modcacherw -mod=mod", GOTOOLCHAIN="local")

    def make(d):
        (d / "main.go").write_text(source)
        command("go", "mod", "init", "test", cwd=d, env=env)
        if requirements:
            command("go", "get", *requirements, cwd=d, env=env)
        command("go", "build", "-o", d / name, ".", cwd=d, env=env)
    digest = hashlib.sha256((source + " ".join(requirements)).encode()).hexdigest()[:12]
    return made(f"{name}-{digest}", make) / name
