"""A real Open Policy Agent for the tests: built by Go from its module, kept in a cache directory."""
import os
import pathlib
import shutil
import subprocess

from harness import Skip

MODULE = "github.com/open-policy-agent/opa@v1.4.2"


def cache():
    base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(base) / "openshell-test" / "opa-v1.4.2"


def find_opa():
    """Path of the program; Skip when it can neither be found nor built."""
    built = cache() / "opa"
    if built.exists():
        return built
    if not shutil.which("go"):
        raise Skip("no Go compiler to build Open Policy Agent with (apt install golang)")
    staging = cache().with_name(f"{cache().name}.{os.getpid()}")
    env = dict(os.environ, GOBIN=str(staging), GOFLAGS="-modcacherw", CGO_ENABLED="0")
    try:
        p = subprocess.run(["go", "install", MODULE], env=env, capture_output=True, text=True, timeout=1200, check=False)
        if p.returncode:
            raise Skip(f"go install {MODULE}: {' '.join(p.stderr.split())[-300:]}")
        cache().mkdir(parents=True, exist_ok=True)
        os.replace(staging / "opa", built)
    except subprocess.TimeoutExpired as why:
        raise Skip(f"go install {MODULE}: {why}") from why
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return built
